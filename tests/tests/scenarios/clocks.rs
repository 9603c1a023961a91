//! Machines whose clock is wrong, and machines that sleep.

use std::time::{Duration, Instant};

use evergreen_engine::store::clock::ManualClock;
use evergreen_tests::bench::{PATIENCE, adopt};
use evergreen_tests::{Bench, eventually};
use ninjaone::api::{Server, ServerOptions};
use ninjaone::service::App;

use crate::support::*;

/// Half a minute: how soon after waking what is overdue must have begun.
const WAKING: Duration = Duration::from_secs(30);

/// By how much the store's clock is ahead, once the worker has seen it so.
async fn sees(app: &App, store_ahead_ms: i64) {
    eventually("a look at the store", PATIENCE, async || {
        (app.engine().counters().store_ahead_ms() == Some(store_ahead_ms)).then_some(())
    })
    .await;
}

/// By how many ms the first of two times is later.
fn ahead_of(one: u64, other: u64) -> i64 {
    i64::try_from(one).unwrap() - i64::try_from(other).unwrap()
}

/// The worker's metrics, as it serves them.
async fn metrics(app: &App) -> String {
    let server = Server::bind(ServerOptions::new(([127, 0, 0, 1], 0).into()));
    let server = server.await.unwrap();
    let url = format!("http://{}/metrics", server.address());
    let serving = tokio::spawn(server.run_metrics_only(app.clone(), std::future::pending()));
    let page = reqwest::get(url).await.unwrap().text().await.unwrap();
    serving.abort();
    page
}

#[tokio::test(flavor = "multi_thread")]
async fn s11_the_stores_time_decides_and_a_clock_that_is_five_minutes_off_is_shown() {
    const OFF_MS: i64 = 300_000;
    for ahead in [OFF_MS, -OFF_MS] {
        let bench = Bench::with_a_clock(life(3600)).await;
        let store = bench.clock.clone().unwrap();
        let wall = ManualClock::at(store.now().saturating_add_signed(ahead));
        let app = bench.app_by("worker-1", wall.clock());
        let grant = bench.seed(1).remove(0);
        adopt(&app, &grant).await;
        let worker = bench.worker(&app);
        sees(&app, -ahead).await;
        let page = metrics(&app).await;
        let shown = format!(
            "evergreen_clock_skew_seconds{{source=\"store\"}} {}.0",
            -ahead / 1_000
        );
        assert!(page.lines().any(|line| line == shown), "{shown} in {page}");

        let status = app.status(&target(&grant)).await.unwrap();
        let planned = ms(status.next_refresh_at.as_ref().unwrap());
        let handle = bench.simulator.handle();
        // By the machine's own clock it is time, or long past it: by the store's a second is missing.
        store.set(planned - 1_000);
        sees(&app, ahead_of(planned - 1_000, wall.now())).await;
        wall.set((planned - 1_000).saturating_add_signed(ahead));
        sees(&app, -ahead).await;
        assert_eq!(handle.totals().requests, 0, "{ahead}");
        store.set(planned);
        bench
            .see(&app, &target(&grant).to_string(), "its refresh", |status| {
                status.generation == 1
            })
            .await;
        assert_eq!(handle.totals().requests, 1);
        let status = app.status(&target(&grant)).await.unwrap();
        let expires_at = ms(status.access_token_expires_at.as_ref().unwrap());
        let life = expires_at - planned;
        assert!(
            (3_600_000..3_700_000).contains(&life),
            "by the store: {life}"
        );
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s11_after_two_hours_of_sleep_what_is_overdue_begins_within_half_a_minute() {
    let bench = Bench::with_a_clock(life(3600)).await;
    let store = bench.clock.clone().unwrap();
    let wall = ManualClock::at(store.now());
    let app = bench.app_by("worker-1", wall.clock());
    let grants = bench.seed(20);
    for grant in &grants {
        adopt(&app, grant).await;
    }
    let worker = bench.worker(&app);
    sees(&app, 0).await;
    // The time of day goes on while a machine sleeps, its monotonic clock does not.
    store.advance(HOUR * 2);
    wall.advance(HOUR * 2);
    let woken = Instant::now();
    let handle = bench.simulator.handle();
    eventually("every overdue refresh", PATIENCE, async || {
        (handle.totals().requests >= 20).then_some(())
    })
    .await;
    assert!(woken.elapsed() < WAKING, "{:?}", woken.elapsed());
    for grant in &grants {
        let name = target(grant).to_string();
        bench
            .see(&app, &name, "its refresh", |status| status.generation == 1)
            .await;
    }
    assert_eq!(handle.totals().requests, 20, "one each");
    worker.stop().await;
}
