//! A grant that waits for a human is given back.

use std::time::Duration;

use axum::http::StatusCode;
use evergreen_engine::WorkflowId;
use evergreen_engine::store::{Claim, ClaimMode, Claimed, Commit};
use serde_json::json;

use super::fixture::{Fixture, path};
use crate::lifecycle::KIND;
use crate::simulator::SeededGrant;

/// Parks a grant, as a worker does whose turns fail again and again.
async fn park(fixture: &Fixture, seeded: &SeededGrant) {
    let name = format!("{}/{}@user", seeded.tenant, seeded.integration);
    let id = WorkflowId::new(KIND, &name).unwrap();
    let claim = Claim {
        id: id.clone(),
        claim: "0123456789abcdef".to_owned(),
        owner: "a worker".to_owned(),
        lease: Duration::from_secs(15),
        mode: ClaimMode::Drive,
        spare_owned: false,
    };
    let told = fixture.store.claim(&claim).await.unwrap();
    let Claimed::Claimed { record, .. } = told.answer else {
        panic!("{told:?}");
    };
    let commit = Commit {
        id,
        fence: record.fence,
        claim: claim.claim,
        commit: "fedcba9876543210".to_owned(),
        follows: record.commit,
        strict: false,
        consumed: 0,
        last_heard: None,
        state: record.state,
        data: record.data,
        schema: record.schema,
        wake_at: record.wake_at,
        visible_at: None,
        activity: None,
        keep: None,
        finish: false,
        park: Some("its turns panic".to_owned()),
        sealed: Vec::new(),
        log: String::new(),
        log_max: 10,
        events: Vec::new(),
        events_max: 1_000,
        durable: false,
    };
    fixture.store.commit(&commit).await.unwrap();
}

#[tokio::test]
async fn a_parked_grant_is_given_back_once_and_only_by_an_admin() {
    let fixture = Fixture::new().await;
    let seeded = fixture.adopted().await;
    let there = path(&seeded);
    let requeue = format!("{there}/requeue");
    park(&fixture, &seeded).await;
    let status = fixture.get(&there, &fixture.read).await.json();
    assert_eq!(status["parked"], "its turns panic");
    let explain = format!("{there}/explain");
    let explained = fixture.get(&explain, &fixture.read).await.json();
    assert_eq!(explained["findings"][0]["word"], "parked", "{explained:#}");
    let fleet = fixture.get("/v1/fleet", &fixture.read).await.json();
    assert_eq!(
        (&fleet["parked"], &fleet["attention"]),
        (&json!(1), &json!(1))
    );

    let refused = fixture.post(&requeue, &fixture.read, &json!({})).await;
    assert_eq!(refused.problem(), "forbidden");
    for requeued in [true, false] {
        let answer = fixture.post(&requeue, &fixture.admin, &json!({})).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        assert_eq!(answer.json()["requeued"], requeued);
        assert_eq!(answer.json()["status"]["parked"], json!(null));
        assert_eq!(answer.json()["status"]["state"], "Scheduled");
    }
    let unknown = "/v1/integrations/no/such/requeue";
    let unknown = fixture.post(unknown, &fixture.admin, &json!({})).await;
    assert_eq!(unknown.problem(), "not-found");
}

#[tokio::test]
async fn a_bound_key_sees_its_part_of_the_fleet() {
    let fixture = Fixture::new().await;
    let seeded = fixture.adopted().await;
    let line = json!({"host": "CANARY", "version": "1",
        "heartbeat": fixture.store.now().await.unwrap()});
    let line = line.to_string();
    fixture
        .store
        .table_put("workers", "w", &line)
        .await
        .unwrap();
    let all = fixture.get("/v1/fleet", &fixture.read).await.json();
    assert_eq!(all["states"], json!({"Scheduled": 1}));
    assert_eq!(all["workers"][0]["host"], "CANARY");
    for (tenant, states) in [
        (seeded.tenant.as_str(), json!({"Scheduled": 1})),
        ("zz-other", json!({})),
    ] {
        let key = fixture.key(crate::api::Scope::Read, tenant).await;
        let part = fixture.get("/v1/fleet", &key).await;
        assert_eq!(part.json()["states"], states);
        assert_eq!(part.json()["workers_alive"], 1);
        assert!(!part.text.contains("CANARY"), "{}", part.text);
    }
}
