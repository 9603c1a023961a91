//! Many who want a token at once, and the refresh that a caller's need begins.

use std::time::Duration;

use evergreen_tests::bench::{PATIENCE, adopt, offer};
use evergreen_tests::{Bench, RedisServer, eventually};
use ninjaone::service::{AdoptOptions, Recovery, ServiceError, TokenAsk};
use ninjaone::simulator::{Action, Fault, When};
use secrecy::ExposeSecret;

use crate::support::*;

fn at_least(seconds: u64) -> TokenAsk {
    TokenAsk {
        min_validity: Some(Duration::from_secs(seconds)),
        ..TokenAsk::default()
    }
}

/// With so many seconds left of an hour.
async fn with_left(seconds: u64) -> Life {
    let life = Life::of(3600).await;
    let clock = life.bench.clock.as_ref().unwrap();
    let expires_at = ms(&life.status().await.access_token_expires_at.unwrap());
    clock.set(expires_at - seconds * 1_000);
    life
}

#[tokio::test(flavor = "multi_thread")]
async fn s43_fifty_callers_in_two_processes_are_one_request() {
    let redis = RedisServer::start().await;
    let bench = Bench::on_redis(&redis, life(3600)).await;
    let apps = [bench.app("api-1"), bench.app("api-2")];
    let grant = bench.seed(1).remove(0);
    let expires_at = bench.now().await + 1_500;
    let mut expiring = offer(&grant);
    expiring.expires_at = Some(expires_at);
    apps[0]
        .adopt(expiring, AdoptOptions::default())
        .await
        .unwrap();
    eventually("the token's end", PATIENCE, async || {
        (bench.now().await >= expires_at).then_some(())
    })
    .await;
    let handle = bench.simulator.handle();
    let when = When::Before;
    let hold = handle.script(Fault::new(Action::Hold { when })).unwrap();
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..50 {
        let (app, target) = (apps[n % 2].clone(), target(&grant));
        callers.spawn(async move { app.token(&target, &TokenAsk::default()).await });
    }
    handle.applied(hold, 1).await;
    handle.release(hold);
    let mut tokens = std::collections::BTreeSet::new();
    while let Some(token) = callers.join_next().await {
        let token = token.unwrap().unwrap();
        tokens.insert(token.access_token.expose_secret().to_owned());
    }
    assert_eq!(tokens.len(), 1);
    assert_eq!(handle.totals().requests, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn s43_whoever_waits_for_a_failure_shares_it() {
    let life = with_left(0).await;
    life.script(Fault::respond(500, r#"{"error":"server_error"}"#).always());
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..30 {
        let (app, target) = (life.app.clone(), life.target.clone());
        callers.spawn(async move { app.token(&target, &TokenAsk::default()).await.map(drop) });
    }
    while let Some(refused) = callers.join_next().await {
        let refused = refused.unwrap().unwrap_err();
        assert!(
            matches!(refused, ServiceError::TryLater { .. }),
            "{refused}"
        );
    }
    assert_eq!(life.requests(), 1);
}

#[tokio::test]
async fn s44_a_caller_begins_a_refresh_in_the_last_minute_and_not_before() {
    // The window of an hour is its last minute; no worker lives.
    for (left, requests) in [(1_800, 0), (61, 0), (59, 1), (0, 1)] {
        let life = with_left(left).await;
        let token = life.token().await;
        assert_eq!(life.requests(), requests, "{left} s left");
        let fresh = token.access_token.expose_secret() != life.grant.access_token;
        assert_eq!(fresh, requests == 1);
        if fresh {
            let status = life.status().await;
            assert_eq!(status.source.as_deref(), Some("lazy_refresh_success"));
            let moved = ms(status.next_refresh_at.as_ref().unwrap());
            assert!(moved > life.bench.now().await + 2_000_000);
            assert_eq!(life.due().await.0, Some(moved));
        }
    }
}

#[tokio::test]
async fn s44_callers_alone_keep_it_alive() {
    let life = Life::of(600).await;
    let clock = life.bench.clock.clone().unwrap();
    for _ in 0..200 {
        clock.advance(Duration::from_secs(50));
        life.token().await;
    }
    let requests = life.requests();
    assert!((15..=20).contains(&requests), "{requests}");
    let totals = life.bench.simulator.handle().totals();
    assert_eq!(totals.double_sends, 0);
}

#[tokio::test]
async fn s29_a_grant_that_nobody_wanted_for_ten_lives_still_works() {
    let life = Life::of(3600).await;
    life.bench.clock.as_ref().unwrap().advance(HOUR * 10);
    let token = life.token().await;
    assert!(life.api_takes(token.access_token.expose_secret()).await);
    assert_eq!(life.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn s46_a_thousand_callers_of_a_dead_integration_send_and_tell_nothing() {
    let life = Life::of(3600).await;
    life.bench.simulator.handle().revoke(&life.grant.chain);
    life.pass_the_refresh().await;
    life.bench.clock.as_ref().unwrap().advance(HOUR);
    let told = life.told().await;
    let before = life.status().await;
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        let (app, target) = (life.app.clone(), life.target.clone());
        callers.spawn(async move { app.token(&target, &TokenAsk::default()).await.map(drop) });
    }
    while let Some(refused) = callers.join_next().await {
        let refused = refused.unwrap().unwrap_err();
        assert_eq!(refused.recovery(), Recovery::Reconnect);
    }
    assert_eq!(life.requests(), 1);
    assert_eq!(life.told().await, told);
    assert_eq!(life.status().await, before, "not even a transition");
}

#[tokio::test]
async fn s47_who_asks_for_more_than_is_left_waits_for_a_refresh() {
    let life = with_left(200).await;
    assert_eq!(life.token().await.generation, 1, "200 s are served");
    let fresh = life.app.token(&life.target, &at_least(300)).await.unwrap();
    assert_eq!((fresh.generation, life.requests()), (2, 1));
    assert!(fresh.expires_in_s > 3_000 && fresh.warning.is_none());

    let life = with_left(200).await;
    life.script(Fault::respond(500, r#"{"error":"server_error"}"#).always());
    let refused = life.app.token(&life.target, &at_least(300)).await;
    let refused = refused.map(drop).unwrap_err();
    assert_eq!(refused.status(), 503);
    assert!(refused.retry_after_s().is_some());
    assert_eq!(
        life.token().await.generation,
        1,
        "the 200 s are there still"
    );
    assert_eq!(life.requests(), 1);
}

#[tokio::test]
async fn s47_also_a_dead_integration_serves_nothing_shorter_than_asked_for() {
    let life = with_left(200).await;
    life.bench.simulator.handle().revoke(&life.grant.chain);
    life.app.refresh(&life.target).await.unwrap();
    assert_eq!(life.token().await.warning.as_deref(), Some("revoked"));
    let refused = life.app.token(&life.target, &at_least(300)).await;
    let refused = refused.map(drop).unwrap_err();
    assert_eq!(refused.recovery(), Recovery::Reconnect);
}

#[tokio::test]
async fn s47_who_asks_for_more_than_half_a_life_gets_half_and_a_warning() {
    let life = Life::of(3600).await;
    for _ in 0..10 {
        let token = life
            .app
            .token(&life.target, &at_least(9_999))
            .await
            .unwrap();
        assert_eq!(token.warning.as_deref(), Some("min_validity_shortened"));
    }
    assert_eq!(life.requests(), 0, "no hot loop");
}

#[tokio::test(flavor = "multi_thread")]
async fn s28_the_refresh_completes_though_its_caller_hangs_up() {
    let life = with_left(0).await;
    let handle = life.bench.simulator.handle();
    let hold = life.script(Fault::new(Action::Hold { when: When::After }));
    let caller = tokio::spawn({
        let (app, target) = (life.app.clone(), life.target.clone());
        async move { app.token(&target, &TokenAsk::default()).await.map(drop) }
    });
    handle.applied(hold, 1).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    handle.release(hold);
    let name = life.target.to_string();
    life.bench
        .see(&life.app, &name, "the commit", |s| s.generation == 2)
        .await;
    assert_eq!(life.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn s28_a_worker_that_is_told_to_stop_finishes_what_it_has_begun() {
    let bench = Bench::in_memory(life(6)).await;
    let app = bench.app("worker-1");
    let grant = bench.seed(1).remove(0);
    let handle = bench.simulator.handle();
    let hold = handle
        .script(Fault::new(Action::Hold { when: When::After }))
        .unwrap();
    let worker = bench.worker(&app);
    adopt(&app, &grant).await;
    tokio::time::timeout(PATIENCE, handle.applied(hold, 1))
        .await
        .unwrap();
    let stopping = tokio::spawn(worker.stop());
    handle.release(hold);
    stopping.await.unwrap();
    let status = app.status(&target(&grant)).await.unwrap();
    assert_eq!((status.generation, status.owner), (2, None));
    assert_eq!(handle.totals().requests, 1);
    let names = ninjaone::journal::read_dir(&bench.journals()).unwrap();
    assert!(names.entries.is_empty(), "its journal is empty");
}
