//! Which answer means what, through the real client and the machine.

use std::collections::BTreeMap;
use std::time::Duration;

use evergreen_tests::Bench;
use evergreen_tests::bench::PATIENCE;
use evergreen_tests::bench::{adopt, offer};
use ninjaone::provider::ClientApp;
use ninjaone::service::{AdoptOptions, App, Recovery, ServiceError, TokenAsk};
use ninjaone::simulator::{Action, ClientChange, Fault, Respond};
use ninjaone::vault::KeyRing;
use secrecy::ExposeSecret;

use crate::support::*;

fn answer(status: u16, code: &str) -> Fault {
    Fault::respond(status, &format!(r#"{{"error":"{code}"}}"#))
}

fn with_header(status: u16, name: &str, value: &str) -> Fault {
    Fault::new(Action::Respond(Respond {
        status,
        headers: BTreeMap::from([(name.to_owned(), value.to_owned())]),
        ..Respond::default()
    }))
}

async fn refused(app: &App, life: &Life) -> ServiceError {
    let answer = app.token(&life.target, &TokenAsk::default()).await;
    answer.map(drop).unwrap_err()
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
    assert_eq!((healed.epoch, healed.generation), (1, 2));
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
async fn s34_s35_a_host_that_throttles_is_left_alone_by_everybody() {
    let in_two_minutes = || {
        let date = chrono::Utc::now() + chrono::TimeDelta::seconds(120);
        date.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
    };
    let page = |status| Fault::new(Action::ThrottlePage { status });
    for (what, fault, seconds) in [
        ("seconds", with_header(429, "retry-after", "120"), 120),
        (
            "a date",
            with_header(429, "retry-after", &in_two_minutes()),
            120,
        ),
        ("nonsense", with_header(429, "retry-after", "abc"), 30),
        ("for ever", with_header(429, "retry-after", "999999"), 3_600),
        ("503", with_header(503, "retry-after", "120"), 120),
        ("a page", page(200), 30),
        ("a page with 503", page(503), 30),
    ] {
        let life = Life::of(3600).await;
        let others = life.bench.seed(4).split_off(1);
        for (n, other) in others.iter().enumerate() {
            let mut offer = offer(other);
            // Due soon after the first, in an order that is not that of their expiry.
            let left = [900, 300, 600][n] * 1_000;
            offer.expires_at = Some(life.bench.now().await + left);
            life.app
                .adopt(offer, AdoptOptions::default())
                .await
                .unwrap();
        }
        life.script(fault);
        life.app.refresh(&life.target).await.unwrap();
        assert_eq!(life.requests(), 1, "{what}");
        assert_eq!(life.status().await.consecutive_failures, 0, "no strike");
        for other in &others {
            let status = life.app.refresh(&target(other)).await.unwrap();
            assert_eq!(status.state, "Scheduled", "{what}");
        }
        life.pass(Duration::from_secs(seconds - 3)).await;
        assert_eq!(life.requests(), 1, "{what}: everybody waits");
        life.pass(Duration::from_secs(10)).await;
        let entries = life.bench.simulator.handle().entries(1, 100).entries;
        let mut order = Vec::new();
        for entry in entries {
            let chain = entry.chain.unwrap();
            order.extend(others.iter().position(|o| o.chain == chain.as_str()));
        }
        assert_eq!(order, [1, 2, 0], "{what}: soonest expiry first");
        assert_eq!(life.status().await.generation, 2, "{what}");
        assert_eq!(life.count("REFRESH_FAILED").await, 0);
    }
}

#[tokio::test]
async fn s36_an_outage_of_two_hours_is_waited_out() {
    let life = Life::of(3600).await;
    life.script(Fault::respond(503, "").always());
    life.pass_the_refresh().await;
    let token = life.token().await;
    assert_eq!(token.access_token.expose_secret(), life.grant.access_token);
    life.pass(HOUR * 2).await;
    let status = life.status().await;
    assert_eq!(
        (status.state.as_str(), status.recovery.as_str()),
        ("Scheduled", "wait")
    );
    let tries = life.requests();
    assert!((24..=60).contains(&tries), "growing delays: {tries}");
    let error = refused(&life.app, &life).await;
    let later = error.retry_after_s().unwrap();
    assert!(
        matches!(error, ServiceError::TryLater { .. }) && later <= 300,
        "{error:?}"
    );
    assert_eq!(life.requests(), tries, "a caller shortens nothing");
    assert_eq!(life.count("REFRESH_FAILED").await, 1);
    assert_eq!(life.count("EXPIRING").await, 1);
    life.bench.simulator.handle().clear_faults();
    life.pass(MINUTE * 5).await;
    assert_eq!(life.status().await.generation, 2);
    assert_eq!(life.count("RECOVERED").await, 1);
    assert_eq!(life.count("RECONNECT_REQUIRED").await, 0);
}

#[tokio::test]
async fn s37_a_refused_connection_is_retried_and_not_ambiguous() {
    let bench = Bench::with_a_clock(life(3600)).await;
    let app = bench.app("worker-1");
    let grant = bench.seed(1).remove(0);
    let mut offer = offer(&grant);
    // Nobody listens there: the port was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap();
    drop(port);
    offer.instance_url = Some(format!("http://{address}"));
    app.adopt(offer, AdoptOptions::default()).await.unwrap();
    bench.pass(&app, HOUR * 2).await;
    let status = app.status(&target(&grant)).await.unwrap();
    assert_eq!(status.state, "Scheduled");
    assert_eq!(status.unknown_since, None);
    assert!(status.consecutive_failures > 10);
    assert_eq!(bench.simulator.handle().totals().requests, 0);
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
    assert!(status.unknown_since.is_some() && status.generation == 1);
    life.pass(MINUTE).await;
    let status = life.status().await;
    assert_eq!((status.generation, status.unknown_since), (2, None));

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
        assert!(life.status().await.generation >= 2);
    }
}

#[tokio::test]
async fn s40_a_redirect_is_not_followed() {
    let life = Life::of(3600).await;
    let other = Bench::in_memory(crate::support::life(60)).await;
    let url = other.simulator.handle().url();
    let location = format!("{url}/ws/oauth/token?refresh_token=CANARY");
    life.script(Fault::new(Action::Redirect {
        status: 307,
        location,
    }));
    life.pass_the_refresh().await;
    let status = life.status().await;
    assert_eq!(status.attention.as_deref(), Some("unexpected_redirect"));
    let shown = status.provider.unwrap().description.unwrap();
    assert!(
        shown.contains("127.0.0.1") && !shown.contains("CANARY"),
        "{shown}"
    );
    assert_eq!(other.simulator.handle().totals().requests, 0);
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
    assert_eq!(life.status().await.generation, 2);
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
        strict: false,
        consumed: 0,
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

#[tokio::test(flavor = "multi_thread")]
async fn s42_endless_answers_are_cut_and_disturb_nobody() {
    let bench = Bench::in_memory(life(600))
        .await
        .with_limits(short_leases());
    let app = bench.app("worker-1");
    let grants = bench.seed(3);
    for grant in &grants {
        adopt(&app, grant).await;
    }
    let handle = bench.simulator.handle();
    let huge = Action::HugeBody { bytes: 50 << 20 };
    let slow = Action::SlowBody {
        piece: 1,
        pause: Duration::from_secs(1),
    };
    for (action, grant) in [(huge, &grants[0]), (slow, &grants[1])] {
        let fault = Fault::new(action).on_chain(&grant.chain);
        handle.script(fault).unwrap();
    }
    let refresh = |n: usize| {
        let (app, target) = (app.clone(), target(&grants[n]));
        tokio::spawn(async move { app.refresh(&target).await.unwrap() })
    };
    let (huge, slow, healthy) = (refresh(0), refresh(1), refresh(2));
    assert_eq!(healthy.await.unwrap().generation, 2);
    // The beginning of both held no refresh token; the provider has spent the old one.
    for disturbed in [huge.await.unwrap(), slow.await.unwrap()] {
        let state = (disturbed.state.as_str(), disturbed.generation);
        assert!(state != ("Refreshing", 1), "{disturbed:?}");
        assert!(disturbed.unknown_since.is_some() || disturbed.generation > 1);
    }
}
