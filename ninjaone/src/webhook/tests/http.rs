//! The carrier of production against a server on this machine.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use super::{Answer, Carrier, MayLeave, SECRET, Signed, SigningSecrets};
use crate::webhook::WebhookUrl;
use crate::webhook::carrier::Http;

type Seen = Arc<Mutex<Vec<(HeaderMap, String)>>>;

/// A server that answers so and remembers what it was asked; its address.
async fn answering(
    answer: impl Fn() -> Response + Clone + Send + Sync + 'static,
) -> (String, Seen) {
    let seen = Seen::default();
    let kept = Arc::clone(&seen);
    let handler = move |headers: HeaderMap, body: Bytes| {
        let body = String::from_utf8(body.to_vec()).unwrap();
        kept.lock().unwrap().push((headers, body));
        std::future::ready(answer())
    };
    let router = Router::new().route("/hook", post(handler));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://localhost:{port}/hook?token=1"), seen)
}

fn message() -> Signed {
    let body = r#"{"type":"gap"}"#.to_owned();
    let secrets = SigningSecrets::parse(SECRET).unwrap();
    Signed {
        id: "c-1".to_owned(),
        timestamp_s: 1_763_700_000,
        signature: secrets.sign("c-1", 1_763_700_000, &body),
        body,
    }
}

fn may(leave: bool) -> MayLeave {
    Arc::new(move || leave)
}

async fn posted(url: &str) -> Answer {
    let carrier = Http::new(WebhookUrl::parse(url).unwrap()).unwrap();
    carrier.post(message(), may(true)).await
}

#[tokio::test]
async fn a_webhook_arrives_with_its_headers_and_its_very_bytes() {
    let (url, seen) = answering(|| StatusCode::ACCEPTED.into_response()).await;
    let answer = posted(&url).await;
    assert_eq!(answer, super::status(202));
    let seen = seen.lock().unwrap();
    let [(headers, body)] = seen.as_slice() else {
        panic!("{seen:?}");
    };
    let sent = message();
    assert_eq!(*body, sent.body);
    for (name, value) in [
        ("webhook-id", sent.id.as_str()),
        ("webhook-timestamp", "1763700000"),
        ("webhook-signature", &sent.signature),
        ("content-type", "application/json"),
        ("content-length", "14"),
    ] {
        assert_eq!(headers[name], value, "{name}");
    }
    assert!(!format!("{headers:?}").contains(&SECRET["whsec_".len()..]));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    // The one would be followed with the same request, the other with a GET.
    for redirect in [StatusCode::TEMPORARY_REDIRECT, StatusCode::SEE_OTHER] {
        let (elsewhere, never) = answering(|| StatusCode::OK.into_response()).await;
        let (url, _) = answering(move || {
            let location = [(header::LOCATION, elsewhere.clone())];
            (redirect, location).into_response()
        })
        .await;
        assert_eq!(posted(&url).await, super::status(redirect.as_u16()));
        assert!(never.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_wish_to_be_left_alone_is_heard() {
    let (url, _) = answering(|| {
        let later = [(header::RETRY_AFTER, "120")];
        (StatusCode::SERVICE_UNAVAILABLE, later).into_response()
    })
    .await;
    let retry_after = Some(std::time::Duration::from_secs(120));
    let expected = Answer::Status {
        status: 503,
        retry_after,
    };
    assert_eq!(posted(&url).await, expected);
}

#[tokio::test]
async fn an_endless_answer_counts_by_its_status() {
    let (url, _) = answering(|| {
        let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'x'; 16_384]));
        axum::body::Body::from_stream(endless).into_response()
    })
    .await;
    assert_eq!(posted(&url).await, super::status(200));
}

#[tokio::test]
async fn nothing_leaves_that_may_not() {
    let (url, seen) = answering(|| StatusCode::OK.into_response()).await;
    let carrier = Http::new(WebhookUrl::parse(&url).unwrap()).unwrap();
    let answer = carrier.post(message(), may(false)).await;
    assert_eq!(answer, Answer::Withheld);
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn nobody_there_is_told_as_such() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let url = format!("http://127.0.0.1:{port}/hook");
    assert_eq!(posted(&url).await, Answer::Unreachable);
}
