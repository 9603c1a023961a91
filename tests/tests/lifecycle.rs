//! Lives of grants, end to end, over a real Redis: worker, engine, machine, vault, journal, provider.

use std::time::Duration;

use evergreen_tests::bench::{adopt, offer};
use evergreen_tests::{Bench, RedisServer};
use ninjaone::service::{AdoptOptions, Adopted, TokenAsk};
use ninjaone::simulator::{Fault, SimulatorOptions};
use secrecy::ExposeSecret;

fn simulator(life: u64) -> SimulatorOptions {
    SimulatorOptions {
        access_token_life: Duration::from_secs(life),
        ..SimulatorOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_grant_is_refreshed_before_it_expires_again_and_again() {
    let redis = RedisServer::start().await;
    let bench = Bench::on_redis(&redis, simulator(6)).await;
    let app = bench.app("worker-1");
    let worker = bench.worker(&app);
    let grant = bench.seed(1).remove(0);
    assert_eq!(adopt(&app, &grant).await, Adopted::Adopted);
    assert_eq!(adopt(&app, &grant).await, Adopted::Unchanged);

    let name = format!("{}/{}", grant.tenant, grant.integration);
    let status = bench
        .see(&app, &name, "three refreshes", |s| s.generation >= 4)
        .await;
    assert_eq!((status.consecutive_failures, status.epoch), (0, 1));
    let target = name.parse().unwrap();
    let token = app.token(&target, &TokenAsk::default()).await.unwrap();
    assert_ne!(token.access_token.expose_secret(), grant.access_token);

    let chain = bench.simulator.handle().chain(&grant.chain).unwrap();
    assert_eq!(
        (chain.tally.double_sends, chain.tally.longest_gap_ms),
        (0, 0),
        "{chain:?}"
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_is_told_once_and_nothing_is_sent_after_it() {
    let redis = RedisServer::start().await;
    let bench = Bench::on_redis(&redis, simulator(6)).await;
    let app = bench.app("worker-1");
    let worker = bench.worker(&app);
    let grant = bench.seed(1).remove(0);
    bench.simulator.handle().revoke(&grant.chain);
    adopt(&app, &grant).await;
    let name = format!("{}/{}", grant.tenant, grant.integration);
    let status = bench
        .see(&app, &name, "the verdict", |s| {
            s.state == "ReconnectRequired"
        })
        .await;
    assert_eq!(status.reason.as_deref(), Some("revoked"));
    assert_eq!(status.recovery, "reconnect");

    let requests = bench.simulator.handle().totals().requests;
    for _ in 0..20 {
        let again = app.refresh(&name.parse().unwrap()).await.unwrap();
        assert_eq!(again.state, "ReconnectRequired");
    }
    assert_eq!(bench.simulator.handle().totals().requests, requests);
    let told: Vec<String> = app
        .events(&Default::default(), 100)
        .await
        .unwrap()
        .into_iter()
        .map(|event| event.event)
        .filter(|event| !event.ends_with("SCHEDULED") && !event.ends_with("EXPIRING"))
        .collect();
    assert_eq!(
        told,
        [
            "INTEGRATION_CONNECTED",
            "INTEGRATION_TOKEN_REFRESH_FAILED",
            "INTEGRATION_RECONNECT_REQUIRED"
        ]
    );

    // A new grant heals it.
    let fresh = &bench.seed(2)[1];
    let mut again = offer(fresh);
    again.grant = name
        .parse::<ninjaone::integration::IntegrationId>()
        .unwrap()
        .grant(again.grant.kind());
    assert_eq!(
        app.adopt(again, AdoptOptions::default()).await.unwrap(),
        Adopted::Adopted
    );
    let status = bench
        .see(&app, &name, "health", |s| s.state == "Scheduled")
        .await;
    assert_eq!((status.epoch, status.reason), (2, None));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s54_a_disconnect_wins_against_a_refresh_in_flight() {
    let redis = RedisServer::start().await;
    let bench = Bench::on_redis(&redis, simulator(600)).await;
    let app = bench.app("worker-1");
    let grant = bench.seed(1).remove(0);
    adopt(&app, &grant).await;
    let name: ninjaone::integration::Target = format!("{}/{}", grant.tenant, grant.integration)
        .parse()
        .unwrap();

    let handle = bench.simulator.handle();
    let hold = handle
        .script(Fault::new(ninjaone::simulator::Action::Hold {
            when: ninjaone::simulator::When::After,
        }))
        .unwrap();
    let refreshing = tokio::spawn({
        let (app, name) = (app.clone(), name.clone());
        async move { app.refresh(&name).await }
    });
    handle.applied(hold, 1).await;
    // In the very process whose request is under way: it must not wait for that either.
    let gone = app.disconnect(&name).await.unwrap();
    assert_eq!(gone[0].state, "Disconnected");
    assert!(!refreshing.is_finished(), "the request is under way still");
    handle.release(hold);
    let late = refreshing.await.unwrap().unwrap();
    assert_eq!(late.state, "Disconnected");
    let sealed: Vec<String> = redis.cli(&["KEYS", "*sealed*"]).await;
    assert_eq!(
        sealed,
        Vec::<String>::new(),
        "no credential exists after disconnect"
    );
    app.token(&name, &TokenAsk::default()).await.unwrap_err();
}
