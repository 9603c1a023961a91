//! Credentials that others have left behind.

use evergreen_tests::Bench;
use evergreen_tests::bench::{adopt, offer};
use ninjaone::service::{AdoptOptions, Adopted, BackfillAsk, Offer};
use ninjaone::simulator::{Fault, SeededGrant};
use ninjaone::vault::KeyRing;
use secrecy::ExposeSecret;

use crate::support::*;

fn dry_run() -> BackfillAsk {
    BackfillAsk {
        dry_run: true,
        ..BackfillAsk::default()
    }
}

#[tokio::test]
async fn s55_a_backfill_schedules_what_is_not_scheduled_and_nothing_else() {
    let bench = Bench::with_a_clock(life(3600)).await;
    let app = bench.app("worker-1");
    let grants = bench.seed(5);
    let [scheduled, disconnected, dead, attention, stray] = &grants[..] else {
        panic!("five");
    };
    for grant in &grants {
        adopt(&app, grant).await;
    }
    let handle = bench.simulator.handle();
    app.disconnect(&target(disconnected)).await.unwrap();
    handle.revoke(&dead.chain);
    app.refresh(&target(dead)).await.unwrap();
    let wrong = Fault::respond(400, r#"{"error":"invalid_client"}"#);
    handle.script(wrong.on_chain(&attention.chain)).unwrap();
    app.refresh(&target(attention)).await.unwrap();
    // An import without an expiry is refreshed at once, so there is nothing left to schedule.
    let memory = bench.memory.as_ref().unwrap();
    memory.break_index(&id(stray), evergreen_engine::store::memory::Set::Due, None);

    let before = app.status(&target(attention)).await.unwrap();
    let requests = handle.totals().requests;
    let told = app.backfill(&dry_run()).await.unwrap();
    assert_eq!(app.status(&target(attention)).await.unwrap(), before);
    assert_eq!(
        handle.totals().requests,
        requests,
        "a dry run writes nothing"
    );
    let done = app.backfill(&BackfillAsk::default()).await.unwrap();
    assert_eq!(told, done, "and tells the same");
    assert_eq!((done.adopted, done.unchanged, done.refused), (2, 3, 0));
    for (grant, state) in [
        (scheduled, "Scheduled"),
        (disconnected, "Disconnected"),
        (dead, "ReconnectRequired"),
        (attention, "Scheduled"),
        (stray, "Scheduled"),
    ] {
        let status = app.status(&target(grant)).await.unwrap();
        assert_eq!(status.state, state, "{grant:?}");
    }
    assert_eq!(handle.totals().requests, requests + 1);
    let again = app.backfill(&BackfillAsk::default()).await.unwrap();
    assert_eq!((again.adopted, again.unchanged), (0, 5));
    bench.pass(&app, HOUR).await;
    assert_eq!(app.status(&target(stray)).await.unwrap().generation, 1);
}

/// What waits for a person waits on, and is not said to be scheduled, however often it is looked at.
#[tokio::test]
async fn s55_what_still_waits_for_a_person_is_not_called_adopted() {
    let bench = Bench::with_a_clock(life(3600)).await;
    let app = bench.app("worker-1");
    let grants = bench.seed(1);
    adopt(&app, &grants[0]).await;
    let wrong = Fault::respond(400, r#"{"error":"invalid_client"}"#).times(3);
    let handle = bench.simulator.handle();
    handle.script(wrong.on_chain(&grants[0].chain)).unwrap();
    app.refresh(&target(&grants[0])).await.unwrap();
    for _ in 0..2 {
        let done = app.backfill(&BackfillAsk::default()).await.unwrap();
        assert_eq!((done.adopted, done.unchanged), (0, 1));
        let status = app.status(&target(&grants[0])).await.unwrap();
        assert_eq!(status.attention.as_deref(), Some("client_rejected"));
    }
    let done = app.backfill(&BackfillAsk::default()).await.unwrap();
    assert_eq!((done.adopted, done.unchanged), (1, 0));
}

/// A limit bounds what is asked of the provider, and not only what it answers well.
#[tokio::test]
async fn s55_a_limit_counts_what_was_looked_at_in_vain() {
    let bench = Bench::with_a_clock(life(3600)).await;
    let app = bench.app("worker-1");
    let handle = bench.simulator.handle();
    for grant in &bench.seed(3) {
        adopt(&app, grant).await;
        let wrong = Fault::respond(400, r#"{"error":"invalid_client"}"#).times(2);
        handle.script(wrong.on_chain(&grant.chain)).unwrap();
        app.refresh(&target(grant)).await.unwrap();
    }
    let before = handle.totals().requests;
    let ask = BackfillAsk {
        limit: Some(1),
        ..BackfillAsk::default()
    };
    let done = app.backfill(&ask).await.unwrap();
    assert_eq!((done.adopted, done.unchanged), (0, 1));
    assert_eq!(handle.totals().requests, before + 1);
}

#[tokio::test]
async fn s55_what_no_key_opens_is_named_and_left_as_it_is() {
    let bench = Bench::with_a_clock(life(3600)).await;
    let app = bench.app("worker-1");
    let grants = bench.seed(2);
    for grant in &grants {
        adopt(&app, grant).await;
    }
    let key = KeyRing::generate().unwrap();
    let mut options = bench.options("worker-2");
    options.ring = KeyRing::parse(key.printable.expose_secret()).unwrap();
    let stranger = bench.app_from(options);
    let before = app.status(&target(&grants[0])).await.unwrap();
    let told = stranger.backfill(&dry_run()).await.unwrap();
    for _ in 0..2 {
        let done = stranger.backfill(&BackfillAsk::default()).await.unwrap();
        assert_eq!(done, told);
        assert_eq!((done.adopted, done.unchanged, done.refused), (0, 0, 2));
        for row in &done.rows {
            assert_eq!(row.field.as_deref(), Some("credentials"));
            assert!(row.reason.as_deref().unwrap().contains("undecryptable"));
        }
    }
    assert_eq!(app.status(&target(&grants[0])).await.unwrap(), before);
    // When its time comes it is shown to whoever looks, and nothing is sent.
    bench.pass(&stranger, HOUR).await;
    for grant in &grants {
        let status = stranger.status(&target(grant)).await.unwrap();
        assert_eq!(status.attention.as_deref(), Some("undecryptable"));
    }
    assert_eq!(bench.simulator.handle().totals().requests, 0);
    let healed = app.backfill(&BackfillAsk::default()).await.unwrap();
    assert_eq!((healed.adopted, healed.refused), (2, 0));
    let status = app.status(&target(&grants[0])).await.unwrap();
    assert_eq!((status.state.as_str(), status.generation), ("Scheduled", 1));
}

fn id(grant: &SeededGrant) -> evergreen_engine::WorkflowId {
    let name = format!("{}@user", target(grant));
    evergreen_engine::WorkflowId::new(ninjaone::lifecycle::KIND, &name).unwrap()
}

#[tokio::test]
async fn s58_an_older_refresh_token_is_refused_by_whatever_way_it_comes() {
    let life = Life::of(3600).await;
    life.pass_the_refresh().await;
    let current = life.token().await;
    for how in [
        AdoptOptions::default(),
        AdoptOptions {
            replace: true,
            ..AdoptOptions::default()
        },
    ] {
        let spent = life.app.adopt(offer(&life.grant), how).await.unwrap();
        let Adopted::Refused { field, reason } = spent else {
            panic!("{spent:?}");
        };
        assert_eq!(field, "refresh_token");
        assert!(reason.contains("spent"), "{reason}");
    }
    let stored = life.token().await;
    let (one, two) = (&current.access_token, &stored.access_token);
    assert_eq!(one.expose_secret(), two.expose_secret());
    assert_eq!(life.status().await.epoch, 1);
    life.pass_the_refresh().await;
    assert_eq!(life.bench.simulator.handle().totals().double_sends, 0);
}

#[tokio::test]
async fn s58_an_access_token_alone_never_replaces_a_grant_that_can_be_refreshed() {
    let life = Life::of(3600).await;
    let alone = Offer {
        refresh_token: None,
        access_token: Some("an access token from elsewhere".into()),
        ..offer(&life.grant)
    };
    let told = life.app.adopt(alone, AdoptOptions::default()).await;
    assert_eq!(told.unwrap(), Adopted::Unchanged);
    let token = life.token().await;
    assert_eq!(token.access_token.expose_secret(), life.grant.access_token);
}

#[tokio::test]
async fn s55_what_comes_without_an_expiry_is_refreshed_at_once() {
    let bench = Bench::with_a_clock(life(3600)).await;
    let app = bench.app("worker-1");
    let grant = bench.seed(1).remove(0);
    let unknown = Offer {
        expires_at: None,
        ..offer(&grant)
    };
    app.adopt(unknown, AdoptOptions::default()).await.unwrap();
    bench.settle(&app).await;
    let status = app.status(&target(&grant)).await.unwrap();
    assert_eq!((status.generation, status.state.as_str()), (1, "Scheduled"));
    assert_eq!(bench.simulator.handle().totals().requests, 1);
}
