//! Which answer means what, through the real client and the machine.

use std::time::Duration;

use evergreen_tests::bench::PATIENCE;
use ninjaone::provider::ClientApp;
use ninjaone::service::Recovery;
use ninjaone::simulator::{Action, ClientChange, Fault};
use ninjaone::vault::KeyRing;
use secrecy::ExposeSecret;

use crate::support::*;

fn answer(status: u16, code: &str) -> Fault {
    Fault::respond(status, &format!(r#"{{"error":"{code}"}}"#))
}

#[tokio::test]
async fn s30_a_rejection_condemns_once_and_nothing_is_sent_after_it() {
    for (status, code, reason) in [
        (400, "invalid_token", "revoked"),
        (400, "invalid_grant", "revoked"),
        (401, "invalid_grant", "revoked"),
        (403, "invalid_grant", "revoked"),
        (400, "expired_token", "expired"),
    ] {
        let life = Life::of(3600).await;
        life.script(answer(status, code).always());
        life.pass_the_refresh().await;
        let shown = life.status().await;
        assert_eq!(shown.state, "ReconnectRequired", "{status} {code}");
        assert_eq!(shown.reason.as_deref(), Some(reason));
        assert_eq!(shown.recovery, "reconnect");
        assert_eq!(shown.next_refresh_at, None);
        assert_eq!(life.due().await, (None, 0), "no timer");
        let token = life.token().await;
        assert_eq!(token.access_token.expose_secret(), life.grant.access_token);
        assert_eq!(token.warning.as_deref(), Some(reason));
        for _ in 0..10 {
            life.pass(HOUR).await;
            life.app.refresh(&life.target).await.unwrap();
            let error = refused(&life.app, &life).await;
            assert_eq!(error.recovery(), Recovery::Reconnect);
        }
        assert_eq!(life.requests(), 1);
        let failed: Vec<_> = (events(&life.app).await.into_iter())
            .filter(|(name, _)| !matches!(name.as_str(), "CONNECTED" | "REFRESH_SCHEDULED"))
            .collect();
        assert_eq!(names(&failed), ["REFRESH_FAILED", "RECONNECT_REQUIRED"]);
        assert_eq!(failed[0].1["retryable"], false);
        assert_eq!(failed[0].1["errorCode"], code);
    }
}

#[tokio::test]
async fn s32_an_unknown_app_is_a_matter_of_configuration() {
    let life = Life::of(3600).await;
    let body = r#"{"resultCode":"Client app not exist","incidentId":"WEB_MGMT_SERVICE-77"}"#;
    life.script(Fault::respond(404, body).always());
    life.pass_the_refresh().await;
    assert_eq!(life.requests(), 1, "no path fallback");
    let status = life.status().await;
    assert_eq!(status.state, "Active");
    assert_eq!(status.attention.as_deref(), Some("client_unknown"));
    assert_eq!(status.recovery, "fix_configuration");
    let incident = status.provider.unwrap().incident_id;
    assert_eq!(incident.as_deref(), Some("WEB_MGMT_SERVICE-77"));
    life.pass(HOUR * 10).await;
    let looked = life.requests() - 1;
    assert!((10..=20).contains(&looked), "hourly, jittered: {looked}");
    assert_eq!(life.count("REFRESH_FAILED").await, 1, "told once");
    let error = refused(&life.app, &life).await;
    assert_eq!(error.recovery(), Recovery::FixConfiguration);
}

#[tokio::test]
async fn s33_a_wrong_secret_heals_by_itself_when_it_is_corrected() {
    for status in [400, 401] {
        let life = Life::of(3600).await;
        life.script(answer(status, "invalid_client").times(3));
        life.pass_the_refresh().await;
        let shown = life.status().await;
        assert_eq!(shown.attention.as_deref(), Some("client_rejected"));
        life.pass(HOUR * 3).await;
        let healed = life.status().await;
        assert_eq!((healed.state.as_str(), healed.epoch), ("Scheduled", 1));
        assert_eq!(life.count("RECOVERED").await, 1);
        assert_eq!(life.bench.simulator.handle().totals().double_sends, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s33_a_worker_that_comes_with_the_right_secret_heals_it_at_once() {
    let life = Life::of(3600).await;
    let worker = life.bench.worker(&life.app);
    evergreen_tests::eventually("word of the settings", PATIENCE, async || {
        let store = &life.bench.store;
        store.table_get("settings", "access").await.unwrap()
    })
    .await;
    worker.stop().await;
    let change = serde_json::json!({"client_id": "evergreen-demo", "client_secret": "new"});
    let change: ClientChange = serde_json::from_value(change).unwrap();
    life.bench.simulator.handle().change_client(change).unwrap();
    life.pass_the_refresh().await;
    assert_eq!(life.status().await.state, "Active");
    let mut options = life.bench.options("worker-2");
    options.client = Some(ClientApp {
        client_id: "evergreen-demo".to_owned(),
        client_secret: Some("new".into()),
    });
    let app = life.bench.app_from(options);
    let worker = life.bench.worker(&app);
    let name = life.target.to_string();
    let healed = life
        .bench
        .see(&app, &name, "health", |s| s.state == "Scheduled")
        .await;
    assert_eq!((healed.epoch, healed.generation), (1, 1));
    worker.stop().await;
}

#[tokio::test]
async fn s33_a_rejection_after_the_app_was_changed_speaks_of_the_app() {
    let life = Life::of(3600).await;
    life.script(answer(400, "invalid_grant"));
    let mut options = life.bench.options("worker-2");
    options.settings.client_id = Some("another-app".to_owned());
    let app = life.bench.app_from(options);
    life.bench.pass(&app, HOUR).await;
    let status = app.status(&life.target).await.unwrap();
    assert_eq!(status.attention.as_deref(), Some("client_changed"));
    assert_eq!(life.count("RECONNECT_REQUIRED").await, 0);
}

#[tokio::test]
async fn s38_a_lost_answer_is_retried_once_at_once_and_remembered() {
    let lost = |rotate| {
        Fault::new(Action::Drop {
            rotate,
            reset: false,
        })
    };
    let life = Life::of(3600).await;
    life.script(lost(false).times(3));
    life.pass_the_refresh().await;
    assert_eq!(life.requests(), 2, "one retry, then back-off");
    let status = life.status().await;
    assert!(status.unknown_since.is_some() && status.generation == 0);
    life.pass(MINUTE).await;
    let status = life.status().await;
    assert_eq!((status.generation, status.unknown_since), (1, None));

    let life = Life::of(3600).await;
    life.script(lost(true));
    life.pass_the_refresh().await;
    let status = life.status().await;
    assert_eq!(status.reason.as_deref(), Some("rotation_lost"));
    assert!(status.unknown_since.is_some(), "with that history");
    assert_eq!(life.requests(), 2);
}

#[tokio::test]
async fn s39_what_no_rule_knows_is_no_reason_to_reconnect() {
    let waf = "<html><head><title>Blocked</title></head>invalid_token</html>";
    for fault in [
        Fault::respond(401, waf),
        Fault::respond(403, waf),
        answer(400, "foo"),
    ] {
        let life = Life::of(3600).await;
        life.script(fault.always());
        life.pass_the_refresh().await;
        assert_eq!(life.status().await.state, "Scheduled");
        life.token().await;
        life.pass(MINUTE * 40).await;
        let status = life.status().await;
        assert_eq!(status.attention.as_deref(), Some("unclassified"));
        life.bench.simulator.handle().clear_faults();
        life.pass(HOUR).await;
        assert_eq!(life.status().await.state, "Scheduled");
        assert!(life.status().await.generation >= 1);
    }
}

#[tokio::test]
async fn s41_what_cannot_be_opened_is_shown_as_such_and_healed_by_the_key() {
    let life = Life::of(3600).await;
    let key = KeyRing::generate().unwrap();
    let mut options = life.bench.options("worker-2");
    options.ring = KeyRing::parse(key.printable.expose_secret()).unwrap();
    let stranger = life.bench.app_from(options);
    life.bench.pass(&stranger, MINUTE * 50).await;
    let status = life.status().await;
    assert_eq!(status.attention.as_deref(), Some("undecryptable"));
    assert_eq!(life.requests(), 0);
    let error = refused(&stranger, &life).await;
    assert!(error.to_string().contains("undecryptable"), "{error}");
    // Whoever has the key serves it, and looks again within the hour.
    life.token().await;
    life.pass(HOUR).await;
    assert_eq!(life.status().await.generation, 1);
    assert_eq!(life.count("RECONNECT_REQUIRED").await, 0);
}

#[tokio::test]
async fn s41_no_refresh_token_is_missing_credentials() {
    let life = Life::of(3600).await;
    let id = life.id();
    let store = &life.bench.store;
    let claim = evergreen_engine::store::Claim {
        id: id.clone(),
        claim: "0000000000000001".to_owned(),
        owner: "test".to_owned(),
        lease: Duration::from_secs(10),
        mode: evergreen_engine::store::ClaimMode::Drive,
        spare_owned: false,
    };
    let answer = store.claim(&claim).await.unwrap().answer;
    let evergreen_engine::store::Claimed::Claimed { record, .. } = answer else {
        panic!("{answer:?}");
    };
    // As if somebody had erased it by hand.
    let commit = evergreen_engine::store::Commit {
        id,
        fence: record.fence,
        claim: claim.claim,
        commit: "0000000000000002".to_owned(),
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
        park: None,
        sealed: vec![evergreen_engine::store::SealedOp::Clear],
        log: String::new(),
        log_max: 0,
        events: Vec::new(),
        events_max: 1_000,
        durable: false,
    };
    store.commit(&commit).await.unwrap();
    life.pass_the_refresh().await;
    let status = life.status().await;
    assert_eq!(status.reason.as_deref(), Some("missing_credentials"));
    assert_eq!(life.requests(), 0);
}
