//! The server on a socket: its address, its end.

use std::time::Duration;

use futures::StreamExt;
use tokio::sync::oneshot;

use super::fixture::Fixture;
use crate::api::{Server, ServerOptions};

fn options() -> ServerOptions {
    ServerOptions::new("127.0.0.1:0".parse().unwrap())
}

fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap()
}

#[tokio::test]
async fn it_takes_a_free_port_and_ends_although_a_stream_is_open() {
    let fixture = Fixture::new().await;
    let server = Server::bind(options()).await.unwrap();
    let address = server.address();
    assert_ne!(address.port(), 0);
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        stopped.await.unwrap();
    };
    let running = tokio::spawn(server.run(fixture.app.clone(), fixture.keys.clone(), shutdown));
    let url = format!("http://{address}/v1/events");
    let stream = client()
        .get(url)
        .bearer_auth(&fixture.read)
        .send()
        .await
        .unwrap();
    assert_eq!(stream.status(), 200);
    stop.send(()).unwrap();
    let rest: Vec<_> = stream.bytes_stream().collect().await;
    assert!(
        rest.iter().all(Result::is_ok),
        "the stream ends, it is not cut"
    );
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let first = Server::bind(options()).await.unwrap();
    let second = Server::bind(ServerOptions::new(first.address()))
        .await
        .unwrap_err();
    assert!(
        second.to_string().contains(&first.address().to_string()),
        "{second}"
    );
}

#[tokio::test]
async fn a_worker_shows_its_metrics_and_nothing_else() {
    let fixture = Fixture::new().await;
    let server = Server::bind(options()).await.unwrap();
    let address = server.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        stopped.await.unwrap();
    };
    let running = tokio::spawn(server.run_metrics_only(fixture.app.clone(), shutdown));
    for (path, status) in [
        ("/metrics", 200),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/", 404),
        ("/v1/integrations", 404),
    ] {
        let answer = client()
            .get(format!("http://{address}{path}"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "{path}");
    }
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}
