//! The stream of events.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use evergreen_engine::testing::{Fault, Op};
use futures::StreamExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::fixture::{Fixture, path};
use crate::api::Scope;

/// An open stream, read event by event.
struct Stream {
    body: axum::body::BodyDataStream,
    rest: String,
}

impl Stream {
    async fn open(fixture: &Fixture, query: &str, key: &str, last: Option<&str>) -> Self {
        let mut request = Request::get(format!("/v1/events{query}"))
            .header(header::AUTHORIZATION, format!("Bearer {key}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = fixture.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-cache");
        Self {
            body: response.into_body().into_data_stream(),
            rest: String::new(),
        }
    }

    /// The next event: id, name, data. `None` at the end of the stream.
    async fn next(&mut self) -> Option<(String, String, Value)> {
        loop {
            if let Some((block, rest)) = self.rest.split_once("\n\n") {
                let field = |name: &str| {
                    let line = block.lines().find_map(|line| line.strip_prefix(name));
                    line.map(|text| text.trim_start_matches(':').trim_start().to_owned())
                };
                let event = field("data").map(|data| {
                    let data = serde_json::from_str(&data).unwrap();
                    (field("id").unwrap(), field("event").unwrap(), data)
                });
                self.rest = rest.to_owned();
                if event.is_some() {
                    return event;
                }
                continue;
            }
            let more = tokio::time::timeout(Duration::from_secs(20), self.body.next()).await;
            let bytes = more.expect("an event or an end in time")?.unwrap();
            self.rest.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }
}

#[tokio::test]
async fn events_are_told_from_the_start_and_gone_on_with_after_an_id() {
    let fixture = Fixture::new().await;
    let seeded = fixture.adopted().await;
    let mut stream = Stream::open(&fixture, "?from=start", &fixture.read, None).await;
    let (first, name, data) = stream.next().await.unwrap();
    assert_eq!(data["event"], name.as_str());
    assert_eq!(data["cursor"], first.as_str());
    assert!(
        data["integration"]
            .as_str()
            .unwrap()
            .starts_with(&seeded.tenant)
    );
    let (second, ..) = stream.next().await.unwrap();
    assert_ne!(first, second);

    for (query, last) in [
        (String::new(), Some(first.as_str())),
        (format!("?after={first}"), None),
    ] {
        let mut stream = Stream::open(&fixture, &query, &fixture.read, last).await;
        assert_eq!(stream.next().await.unwrap().0, second);
    }
}

#[tokio::test]
async fn a_stream_from_now_tells_what_comes_and_ends_with_the_server() {
    let fixture = Fixture::new().await;
    let path = path(&fixture.adopted().await);
    let mut stream = Stream::open(&fixture, "", &fixture.read, None).await;
    fixture
        .post(&format!("{path}/refresh"), &fixture.admin, &json!({}))
        .await;
    let mut names = Vec::new();
    while !names.contains(&"INTEGRATION_TOKEN_REFRESHED".to_owned()) {
        names.push(stream.next().await.unwrap().1);
    }
    assert!(
        !names.contains(&"INTEGRATION_CONNECTED".to_owned()),
        "{names:?}"
    );
    fixture.ending.cancel();
    while stream.next().await.is_some() {}
}

#[tokio::test]
async fn a_bound_key_hears_of_its_tenant_alone() {
    let fixture = Fixture::new().await;
    let seeded = fixture.adopted().await;
    let body = json!({ "instance_url": fixture.simulator.url() });
    let other = "/v1/integrations/zz-other/machine?grant=client";
    assert_eq!(
        fixture.put(other, &fixture.admin, &body).await.status,
        StatusCode::OK
    );
    let key = fixture.key(Scope::Read, "zz-other").await;
    for (key, query) in [
        (&key, "?from=start"),
        (&fixture.read, "?from=start&tenant=zz-other"),
    ] {
        let mut stream = Stream::open(&fixture, query, key, None).await;
        let (_, _, data) = stream.next().await.unwrap();
        assert!(
            data["integration"]
                .as_str()
                .unwrap()
                .starts_with("zz-other/"),
            "{data}"
        );
        assert!(!data.to_string().contains(&seeded.tenant));
    }
}

/// Whoever asks then would take silence for "nothing has happened".
#[tokio::test]
async fn while_the_store_is_away_no_stream_is_opened() {
    let fixture = Fixture::new().await;
    for query in ["", "?from=start", "?after=0.1-1"] {
        fixture.way.next(Op::Now, Fault::Away);
        let answer = fixture
            .get(&format!("/v1/events{query}"), &fixture.read)
            .await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{query}");
        assert_eq!(answer.problem(), "store-unavailable");
    }
}

#[tokio::test]
async fn a_wrong_place_is_refused_by_name() {
    let fixture = Fixture::new().await;
    for (query, field) in [
        ("?after=CANARY", "after"),
        ("?from=noon", "from"),
        ("?since=1", "since"),
    ] {
        let answer = fixture
            .get(&format!("/v1/events{query}"), &fixture.read)
            .await;
        assert_eq!(answer.problem(), "invalid-input");
        assert_eq!(answer.json()["field"], field);
        assert!(!answer.text.contains("CANARY"));
    }
    assert_eq!(
        fixture.get("/v1/events", &fixture.token).await.status,
        StatusCode::FORBIDDEN
    );
}
