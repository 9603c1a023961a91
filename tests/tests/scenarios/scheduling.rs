//! When the request leaves.

use std::time::Duration;

use evergreen_tests::bench::offer;
use evergreen_tests::{Bench, RedisServer};
use ninjaone::lifecycle::Settings;
use ninjaone::service::{AdoptOptions, Adopted, ListQuery};

use crate::support::*;

fn with_buffer(minutes: u64) -> Settings {
    Settings {
        refresh_buffer: Some(MINUTE * u32::try_from(minutes).unwrap()),
        ..Settings::default()
    }
}

#[tokio::test]
async fn s01_one_timer_between_minute_40_and_45_also_if_adopted_twice() {
    let life = Life::of(3600).await;
    let began = life.bench.now().await;
    let again = life
        .app
        .adopt(offer(&life.grant), AdoptOptions::default())
        .await;
    assert_eq!(again.unwrap(), Adopted::Unchanged);
    assert_eq!(life.told().await, ["CONNECTED", "REFRESH_SCHEDULED"]);
    let status = life.status().await;
    let planned = ms(status.next_refresh_at.as_ref().unwrap());
    // The seeded token's life is told in whole seconds.
    let window = began + 2_399_000..=began + 2_700_000;
    assert!(window.contains(&planned), "{}", planned - began);
    assert_eq!(life.due().await, (Some(planned), 0));
    life.pass(Duration::from_millis(planned - began - 1)).await;
    assert_eq!(life.requests(), 0);
    life.pass(Duration::from_millis(1)).await;
    assert_eq!(life.requests(), 1);
    assert_eq!(life.status().await.generation, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn s02_the_next_timer_comes_with_the_commit_not_after_it() {
    let redis = RedisServer::start().await;
    let bench = Bench::on_redis(&redis, life(6)).await;
    let host = bench.host("one").await;
    let grant = bench.seed(1).remove(0);
    evergreen_tests::bench::adopt(host.app(), &grant).await;
    let handle = bench.simulator.handle();
    let name = target(&grant).to_string();
    bench
        .see(host.app(), &name, "a refresh", |s| s.generation == 1)
        .await;
    host.crash().await;
    let other = bench.app("reader");
    let status = other.status(&target(&grant)).await.unwrap();
    assert!(status.next_refresh_at.is_some(), "{status:?}");
    let host = bench.host("two").await;
    bench
        .see(host.app(), &name, "the next", |s| s.generation >= 2)
        .await;
    assert_eq!(handle.totals().double_sends, 0);
}

#[tokio::test]
async fn s03_the_buffer_decides_when_the_request_leaves_and_status_tells_the_truth() {
    for (minutes, earliest, latest) in [(5, 50, 55), (20, 35, 40)] {
        let bench = Bench::with_a_clock(life(3600)).await;
        let life = Life::on(bench.with_settings(with_buffer(minutes))).await;
        let began = life.bench.now().await;
        let shown = ms(life.status().await.next_refresh_at.as_ref().unwrap());
        let minute = (shown - began).div_ceil(60_000);
        assert!((earliest..=latest).contains(&minute), "{minute}");
        life.pass(Duration::from_millis(shown - began - 1_000))
            .await;
        assert_eq!(life.requests(), 0);
        life.pass(Duration::from_secs(2)).await;
        assert_eq!(life.requests(), 1, "a {minutes} min buffer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s03_a_restart_with_another_buffer_moves_timers_that_are_stored() {
    let bench = Bench::with_a_clock(life(3600)).await;
    let life = Life::on(bench.with_settings(with_buffer(5))).await;
    let worker = life.bench.worker(&life.app);
    let first = life.status().await.next_refresh_at.unwrap();
    // The first worker of a fleet leaves word of what it goes by.
    evergreen_tests::eventually(
        "word of the settings",
        evergreen_tests::bench::PATIENCE,
        async || {
            life.bench
                .store
                .table_get("settings", "access")
                .await
                .unwrap()
        },
    )
    .await;
    worker.stop().await;
    let bench = life.bench.with_settings(with_buffer(20));
    let app = bench.app("worker-2");
    let worker = bench.worker(&app);
    let name = life.target.to_string();
    let moved = bench
        .see(&app, &name, "the timer to move", |s| {
            s.source.as_deref() == Some("configuration")
        })
        .await;
    let moved = ms(&moved.next_refresh_at.unwrap());
    assert_eq!(ms(&first) - moved, 15 * 60_000);
    worker.stop().await;
}

#[tokio::test]
async fn s05_short_lives_and_large_buffers_are_no_hot_loop() {
    for (seconds, buffer, at_most) in [(60, None, 150), (600, None, 12), (600, Some(15), 15)] {
        let mut bench = Bench::with_a_clock(life(seconds)).await;
        if let Some(minutes) = buffer {
            bench = bench.with_settings(with_buffer(minutes));
        }
        let life = Life::on(bench).await;
        let warned = buffer.map(|_| "buffer_shortened");
        assert_eq!(life.status().await.warning.as_deref(), warned);
        for _ in 0..120 {
            life.pass(Duration::from_secs(30)).await;
            life.token().await;
        }
        let requests = life.requests();
        assert!(
            (3600 / seconds..=at_most).contains(&requests),
            "{requests} in an hour of {seconds} s with {buffer:?}"
        );
        // Nobody ever had to wait for a token.
        for (name, event) in events(&life.app).await {
            let lazy = event["source"] == "lazy_refresh_success";
            assert!(!lazy, "{name} {event}");
        }
    }
}

#[tokio::test]
async fn s06_what_is_overdue_is_done_once_and_what_is_not_is_done_in_time() {
    let bench = Bench::with_a_clock(life(3600)).await;
    let app = bench.app("worker-1");
    let grants = bench.seed(20);
    for (n, grant) in grants.iter().enumerate() {
        let mut offer = offer(grant);
        // Half of them are due within the time that no worker lives, half are not.
        let left = if n % 2 == 0 { 600_000 } else { 36_000_000 };
        offer.expires_at = Some(bench.now().await + left);
        app.adopt(offer, AdoptOptions::default()).await.unwrap();
    }
    bench.clock.as_ref().unwrap().advance(HOUR);
    let app = bench.app("worker-2");
    bench.settle(&app).await;
    let handle = bench.simulator.handle();
    assert_eq!(handle.totals().requests, 10);
    for (n, grant) in grants.iter().enumerate() {
        let status = app.status(&target(grant)).await.unwrap();
        assert_eq!(status.generation, if n % 2 == 0 { 1 } else { 0 });
    }
}

#[tokio::test]
async fn s08_a_thousand_connects_are_refreshed_over_four_minutes() {
    let bench = Bench::with_a_clock(life(3600)).await;
    let app = bench.app("worker-1");
    let began = bench.now().await;
    for grant in bench.seed(1_000) {
        evergreen_tests::bench::adopt(&app, &grant).await;
    }
    let query = ListQuery {
        limit: 1_000,
        ..ListQuery::default()
    };
    let all = app.list(&query).await.unwrap().integrations;
    let mut planned: Vec<_> = (all.iter())
        .map(|status| ms(status.next_refresh_at.as_ref().unwrap()))
        .collect();
    planned.sort_unstable();
    assert_eq!(planned.len(), 1_000);
    assert!(planned[999] - planned[0] >= 240_000);
    assert!(planned[999] <= began + 2_700_000 + 60_000, "none late");
    let busiest = planned.windows(50).map(|w| w[49] - w[0]).min().unwrap();
    assert!(busiest > 2_000, "fifty within {busiest} ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_of_a_hundred_new_credentials_the_newest_decides_and_no_replaced_timer_fires() {
    let life = Life::of(3600).await;
    let grants = life.bench.seed(101).split_off(1);
    let now = life.bench.now().await;
    let mut all = tokio::task::JoinSet::new();
    for (n, grant) in grants.into_iter().enumerate() {
        let (app, mut offer) = (life.app.clone(), offer(&grant));
        offer.grant = life.target.integration.grant(offer.grant.kind());
        offer.expires_at = Some(now + (n as u64 + 10) * 60_000);
        let how = AdoptOptions {
            replace: true,
            ..AdoptOptions::default()
        };
        all.spawn(async move { app.adopt(offer, how).await });
    }
    while let Some(adopted) = all.join_next().await {
        // Those that were overtaken meanwhile are told so.
        assert!(adopted.unwrap().is_ok());
    }
    life.bench.settle(&life.app).await;
    let (score, inbox) = life.due().await;
    let status = life.status().await;
    let planned = ms(status.next_refresh_at.as_ref().unwrap());
    assert_eq!((score, inbox), (Some(planned), 0));
    let expires = ms(status.access_token_expires_at.as_ref().unwrap());
    assert_eq!((expires - now) % 60_000, 0, "it is one of the hundred");
    life.pass(Duration::from_millis(planned - now - 1)).await;
    assert_eq!(life.requests(), 0);
    life.pass(Duration::from_millis(1)).await;
    assert_eq!(life.requests(), 1);
}
