//! A server that answers what a test says, for tests of commands.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Response, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Api;

/// What reached the server.
#[derive(Debug, Clone)]
pub(in super::super) struct Seen {
    /// Such as `GET /v1/integrations?limit=500`.
    pub(in super::super) line: String,
    pub(in super::super) authorization: Option<String>,
    pub(in super::super) body: Value,
}

struct Shared {
    answers: Mutex<VecDeque<(u16, String)>>,
    seen: Mutex<Vec<Seen>>,
}

/// Answers in the order given; the last answer again and again.
#[derive(Clone)]
pub(in super::super) struct Stub {
    shared: Arc<Shared>,
    pub(in super::super) api: Api,
}

impl Stub {
    pub(in super::super) async fn answering(answers: &[(u16, Value)]) -> Self {
        let texts = answers
            .iter()
            .map(|(status, body)| (*status, body.to_string()));
        Self::start(texts.collect()).await
    }

    pub(in super::super) async fn streaming(text: &str) -> Self {
        Self::start([(200, text.to_owned())].into()).await
    }

    async fn start(answers: VecDeque<(u16, String)>) -> Self {
        let shared = Arc::new(Shared {
            answers: Mutex::new(answers),
            seen: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            shared,
            api: Api::new(&url, Some("eg_CANARY-key".into())).unwrap(),
        }
    }

    pub(in super::super) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub(in super::super) fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let line = format!("{} {}", request.method(), request.uri());
    let authorization = request
        .headers()
        .get(header::AUTHORIZATION)
        .map(|value| value.to_str().unwrap().to_owned());
    let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
    shared.seen.lock().unwrap().push(Seen {
        line,
        authorization,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    });
    let (status, body) = {
        let mut answers = shared.answers.lock().unwrap();
        if answers.len() > 1 {
            answers.pop_front().unwrap()
        } else {
            answers[0].clone()
        }
    };
    let response = Response::builder().status(status);
    response.body(Body::from(body)).unwrap()
}

/// A problem as the server writes it.
pub(in super::super) fn problem(kind: &str, detail: &str, recovery: &str) -> Value {
    json!({
        "type": format!("urn:evergreen:problem:{kind}"),
        "title": kind, "detail": detail, "recovery": recovery,
    })
}

/// A healthy grant as the server shows it, at noon of the tests' day.
pub(in super::super) fn healthy() -> Value {
    json!({
        "integration": "acme/prod", "tenant": "acme", "grant": "user", "state": "Scheduled",
        "purpose": "refresh", "source": "proactive_refresh_success", "reason": null,
        "attention": null, "recovery": "none", "warning": null, "epoch": 1, "generation": 4,
        "next_refresh_at": "2026-03-26T12:38:00.000Z",
        "access_token_expires_at": "2026-03-26T12:53:00.000Z", "access_token_valid": true,
        "expiry_assumed": false, "last_refresh_at": "2026-03-26T11:53:00.000Z",
        "last_attempt_at": "2026-03-26T11:53:00.000Z", "consecutive_failures": 0,
        "unknown_since": null, "provider": null, "instance_url": "https://eu.ninjarmm.com",
        "host_paused_until": null, "host_breaker": "closed",
        "client_id": "app", "scopes": "monitoring management offline_access",
        "persist_pending": false, "quarantined": 0, "parked": null, "v": 12, "owner": null,
    })
}

/// One that a person must connect again.
pub(in super::super) fn revoked() -> Value {
    let mut view = healthy();
    view["integration"] = json!("umbrella/prod");
    view["tenant"] = json!("umbrella");
    view["state"] = json!("ReconnectRequired");
    view["purpose"] = Value::Null;
    view["source"] = Value::Null;
    view["reason"] = json!("revoked");
    view["recovery"] = json!("reconnect");
    view["next_refresh_at"] = Value::Null;
    view["access_token_expires_at"] = json!("2026-03-26T11:00:00.000Z");
    view["access_token_valid"] = json!(false);
    view["consecutive_failures"] = json!(1);
    view["provider"] = json!({
        "status": 400, "code": "invalid_token", "description": null,
        "incident_id": "abc-123", "request_id": null,
    });
    view
}
