//! What the log says of requests, and what it never says.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use serde_json::Value;
use tower::ServiceExt;
use tracing_subscriber::fmt::MakeWriter;

use super::fixture::{Fixture, path};
use crate::api::layers;

/// A log in memory.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Lines {
    /// Everything that this thread logs from now on, as JSON.
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(self.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn of(&self, target: &str) -> Vec<Value> {
        let text = self.text();
        let all = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        all.filter(|line| line["target"] == target)
            .map(|mut line| line["fields"].take())
            .collect()
    }
}

#[tokio::test]
async fn s61_every_token_read_is_audited_without_material() {
    let fixture = Fixture::new().await;
    let seeded = fixture.adopted().await;
    let lines = Lines::default();
    let listening = lines.listen();
    let path = format!("{}/token?refresh_token=true", path(&seeded));
    assert_eq!(
        fixture.get(&path, &fixture.token).await.status,
        StatusCode::OK
    );
    assert_eq!(
        fixture.get(&path, &fixture.read).await.status,
        StatusCode::FORBIDDEN
    );
    drop(listening);
    let audit = lines.of("evergreen::audit");
    let read = &audit[0];
    assert_eq!(read["message"], "token read");
    assert_eq!(read["key_name"], "token");
    assert!(read["key_id"].as_str().unwrap().starts_with("key_"));
    let integration = format!("{}/{}", seeded.tenant, seeded.integration);
    assert_eq!(read["integration"], integration.as_str());
    assert_eq!(
        (&read["grant"], &read["with_refresh_token"]),
        (&"user".into(), &true.into())
    );
    assert!(read["generation"].is_u64() && read["remaining_s"].is_u64());
    assert_eq!(
        (&audit[1]["message"], &audit[1]["needs"]),
        (&"refused".into(), &"token".into())
    );
    let text = lines.text();
    let secrets = [
        &seeded.access_token,
        seeded.refresh_token.as_ref().unwrap(),
        &fixture.token,
    ];
    for secret in secrets {
        assert!(!text.contains(secret.as_str()), "{text}");
    }
}

#[tokio::test]
async fn a_request_is_logged_by_its_route_and_never_by_its_query() {
    let fixture = Fixture::new().await;
    let lines = Lines::default();
    let listening = lines.listen();
    fixture
        .get("/oauth/callback?code=CANARY&state=CANARY", "")
        .await;
    fixture
        .get("/oauth/connect/acme/prod?ticket=CANARY", "")
        .await;
    fixture.get("/CANARY?CANARY", "eg_CANARY").await;
    drop(listening);
    let http = lines.of("evergreen::http");
    let routes: Vec<&Value> = http.iter().map(|line| &line["route"]).collect();
    assert_eq!(
        routes,
        [
            "/oauth/callback",
            "/oauth/connect/{tenant}/{integration}",
            "(no route)"
        ]
    );
    assert_eq!(http[0]["status"], 400);
    assert!(!lines.text().contains("CANARY"), "{}", lines.text());
}

#[tokio::test]
async fn a_panic_ends_one_request_without_a_word_of_its_text() {
    async fn fall() -> &'static str {
        panic!("CANARY")
    }
    let router = layers::around(Router::new().route("/", get(fall)));
    let request = Request::get("/").body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    let body = axum::body::to_bytes(response.into_body(), 10_000)
        .await
        .unwrap();
    assert!(!String::from_utf8_lossy(&body).contains("CANARY"));
}
