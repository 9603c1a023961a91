//! The index of timers when somebody has meddled with it.

use std::time::Duration;

use evergreen_tests::bench::{adopt, offer};
use ninjaone::service::{AdoptOptions, StatusView};
use ninjaone::simulator::SeededGrant;

use crate::processes::Beside;
use crate::support::*;

/// Two rounds of the reconciler over one partition, and a busy machine's patience.
const PERIOD: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn s09_an_entry_that_was_deleted_and_a_stray_one_are_put_right_and_each_fires_once() {
    let beside = Beside::new(life(3600)).await;
    let app = beside.bench.app("eye");
    let grants = beside.bench.seed(3);
    let [missing, whole, dead] = &grants[..] else {
        panic!("three");
    };
    for grant in [missing, whole] {
        let mut soon = offer(grant);
        soon.expires_at = Some(beside.bench.now().await + 24_000);
        app.adopt(soon, AdoptOptions::default()).await.unwrap();
    }
    adopt(&app, dead).await;
    let handle = beside.bench.simulator.handle();
    handle.revoke(&dead.chain);
    app.refresh(&target(dead)).await.unwrap();
    assert_eq!(handle.totals().requests, 1);

    let member = |grant: &SeededGrant| format!("ninjaone.credential:{}@user", target(grant));
    let keys: Vec<String> = beside.redis.cli(&["KEYS", "*:due"]).await;
    let due = keys[0].as_str();
    let score = async |grant: &SeededGrant| {
        let score: Option<u64> = beside.redis.cli(&["ZSCORE", due, &member(grant)]).await;
        score
    };
    let planned = score(missing).await.expect("a timer");
    let gone: u64 = beside.redis.cli(&["ZREM", due, &member(missing)]).await;
    let later = (beside.bench.now().await + 3_600_000).to_string();
    let added: u64 = beside
        .redis
        .cli(&["ZADD", due, &later, &member(dead)])
        .await;
    assert_eq!((gone, added), (1, 1));

    let began = std::time::Instant::now();
    let worker = beside.worker().await;
    let repairs = "evergreen_reconcile_repairs_total";
    worker.see(repairs, 2.0).await;
    assert!(began.elapsed() < PERIOD, "{:?}", began.elapsed());
    assert_eq!(score(missing).await, Some(planned));
    assert_eq!(score(dead).await, None, "nothing is to be done for it");
    for grant in [missing, whole] {
        let name = target(grant).to_string();
        let refreshed = |status: &StatusView| status.generation == 1;
        let status = beside.bench.see(&app, &name, "its refresh", refreshed);
        let began = ms(status.await.last_attempt_at.as_ref().unwrap());
        assert!(began + 5_000 >= planned, "not before its time");
    }
    assert!((worker.counts(repairs).await - 2.0).abs() < f64::EPSILON);
    worker.process.stop(PERIOD).await.expect_code(0);
    for grant in &grants {
        let requests = handle.chain(&grant.chain).unwrap().tally;
        let requests = requests.refreshes_succeeded + requests.refreshes_refused;
        assert_eq!(requests, 1, "{grant:?}");
    }
}
