//! What is shown of a rotated pair that is in no store yet.

use evergreen_engine::WorkflowId;
use serde_json::{Value, json};

use super::fixture::{Fixture, path};
use crate::lifecycle::KIND;
use crate::simulator::SeededGrant;

async fn shown(fixture: &Fixture, seeded: &SeededGrant) -> (Value, Value) {
    let one = fixture.get(&path(seeded), &fixture.read).await.json();
    let all = fixture.get("/v1/integrations", &fixture.read).await.json();
    let listed = &all["integrations"][0];
    (
        one["persist_pending"].clone(),
        listed["persist_pending"].clone(),
    )
}

fn workflow(seeded: &SeededGrant) -> WorkflowId {
    let id = format!("{}/{}@user", seeded.tenant, seeded.integration);
    WorkflowId::new(KIND, &id).unwrap()
}

#[tokio::test]
async fn a_pair_that_waits_in_this_process_is_shown_as_long_as_it_does() {
    let fixture = Fixture::new().await;
    let seeded = fixture.adopted().await;
    assert_eq!(shown(&fixture, &seeded).await, (json!(false), json!(false)));
    let pending = &fixture.app.engine().counters().pending;
    let hold = pending.hold(&workflow(&seeded));
    assert_eq!(shown(&fixture, &seeded).await, (json!(true), json!(true)));
    drop(hold);
    assert_eq!(shown(&fixture, &seeded).await, (json!(false), json!(false)));
}

#[tokio::test]
async fn what_another_worker_has_told_is_shown_too() {
    let fixture = Fixture::new().await;
    let seeded = fixture.adopted().await;
    let line = json!({"host": "h", "version": "1", "heartbeat": fixture.store.now().await.unwrap(),
        "pending": [workflow(&seeded).to_string()]});
    fixture
        .store
        .table_put("workers", "another", &line.to_string())
        .await
        .unwrap();
    assert_eq!(shown(&fixture, &seeded).await, (json!(true), json!(true)));
}

/// A line as releases before wrote it is still a line.
#[tokio::test]
async fn a_line_that_tells_nothing_of_pairs_is_none_that_waits() {
    let fixture = Fixture::new().await;
    let seeded = fixture.adopted().await;
    let line = json!({"host": "h", "version": "0", "heartbeat": 1});
    fixture
        .store
        .table_put("workers", "older", &line.to_string())
        .await
        .unwrap();
    assert_eq!(shown(&fixture, &seeded).await, (json!(false), json!(false)));
}
