//! `evergreen bench` against a real Redis: it completes, tells what it measured, and leaves nothing
//! behind. How fast anything was is for it to tell, and nobody's promise.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::time::Duration;

use evergreen_tests::{Evergreen, RedisServer, Signal, eventually};
use serde_json::Value;

/// How long a small run may take.
const WITHIN: Duration = Duration::from_secs(180);

/// Measures, and looks what is left.
async fn measured(arguments: &[&str]) -> Value {
    let redis = RedisServer::start_own().await;
    let words = ["bench"].into_iter().chain(arguments.iter().copied());
    let run = Evergreen::with(words.chain(["--json"]))
        .redis(&redis)
        .run(WITHIN);
    let report = run.await.expect_code(0).json();
    assert_eq!(keys(&redis).await, 0, "{report}");
    report
}

async fn keys(redis: &RedisServer) -> u64 {
    redis.cli(&["DBSIZE"]).await
}

#[tokio::test]
async fn timers_tells_the_cost_of_every_script_and_the_memory() {
    let report = measured(&["timers", "--count", "1000"]).await;
    assert_eq!(report["workflows"], 1000, "{report}");
    let scripts = [
        "claim",
        "commit",
        "extend",
        "give_back",
        "peek",
        "read",
        "reconcile",
        "signal",
    ];
    let told = report["scripts"].as_object().unwrap();
    assert_eq!(told.keys().collect::<Vec<_>>(), scripts);
    for name in scripts {
        let cost = &report["scripts"][name];
        assert!(
            cost["client_us"]["count"].as_u64() > Some(0),
            "{name}: {cost}"
        );
        assert!(
            cost["client_us"]["median"].as_f64() > Some(0.0),
            "{name}: {cost}"
        );
        assert!(cost["server"]["calls"].as_u64() > Some(0), "{name}: {cost}");
    }
    // One each; a commit whose answer was late is sent again.
    assert!(report["scripts"]["commit"]["server"]["calls"].as_u64() >= Some(1000));
    assert!(report["memory"]["bytes_per_workflow"].as_u64() > Some(100));
    let reconcile = &report["reconcile"];
    // All of them; a walk may meet one twice.
    assert!(reconcile["records"].as_u64() >= Some(1000), "{reconcile}");
    assert!(reconcile["entries"].as_u64() >= Some(1000), "{reconcile}");
    assert_eq!(reconcile["repaired"], 0, "{reconcile}");
    assert!(report["slow"]["calls"].is_array(), "{report}");
}

#[tokio::test]
async fn takeover_kills_a_worker_and_sees_another_commit() {
    let arguments = [
        "takeover",
        "--lease",
        "3s",
        "--rounds",
        "1",
        "--at-work",
        "4",
    ];
    let report = measured(&arguments).await;
    assert_eq!(
        (&report["lease_ms"], &report["rounds"]),
        (&3000.into(), &1.into())
    );
    let spread = &report["crash_to_commit_ms"];
    assert!(spread["count"].as_u64() > Some(0), "{report}");
    assert_eq!(spread["count"], report["lease_end_to_commit_ms"]["count"]);
}

#[tokio::test]
async fn lateness_hears_every_timer_with_messages_and_without() {
    for (wakes, more) in [(true, None), (false, Some("--no-wakes"))] {
        let arguments = ["lateness", "--timers", "5", "--workers", "1"];
        let arguments: Vec<_> = arguments.into_iter().chain(more).collect();
        let report = measured(&arguments).await;
        assert_eq!(report["wakes"], wakes);
        for heard in ["timers_ms", "signals_ms"] {
            assert_eq!(report[heard]["count"], 5, "{report}");
        }
    }
}

#[tokio::test]
async fn idle_counts_what_each_worker_asks() {
    let arguments = ["idle", "--workers", "2", "--timers", "100", "--for", "3s"];
    let report = measured(&arguments).await;
    assert_eq!(report["timers"], 100);
    let workers = report["workers"].as_array().unwrap();
    assert_eq!(workers.len(), 2, "{report}");
    for asked in workers {
        assert!(
            asked["round_trips_per_second"].as_f64() > Some(0.0),
            "{report}"
        );
        assert!(asked["commands_per_second"].as_f64() > asked["round_trips_per_second"].as_f64());
    }
}

#[tokio::test]
async fn an_interrupted_run_removes_its_keys() {
    let redis = RedisServer::start_own().await;
    let mut run = Evergreen::with(["bench", "timers", "--count", "1000000"])
        .redis(&redis)
        .spawn();
    eventually("it is at work", WITHIN, async || {
        (keys(&redis).await > 1000).then_some(())
    })
    .await;
    run.signal(Signal::INT);
    let ended = run.finished(WITHIN).await.expect_code(1);
    assert!(ended.stderr.contains("interrupted"), "{}", ended.stderr);
    assert_eq!(keys(&redis).await, 0);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_before_anything_is_made() {
    let redis = RedisServer::start_with(&["--maxmemory", "64mb"]).await;
    let run = Evergreen::with(["bench", "timers", "--count", "1000000"]).redis(&redis);
    let refused = run.run(WITHIN).await.expect_code(2);
    assert!(refused.stderr.contains("--count"), "{}", refused.stderr);
    assert_eq!(keys(&redis).await, 0);
}

#[tokio::test]
async fn a_replica_is_refused_by_what_it_says() {
    let master = RedisServer::start_own().await;
    let (host, port) = master.peer_address().await;
    let replica = RedisServer::start_with(&["--replicaof", &host, &port.to_string()]).await;
    let run = Evergreen::with(["bench", "lateness", "--timers", "1"]).redis(&replica);
    let refused = run.run(WITHIN).await.expect_code(5);
    assert!(refused.stderr.contains("replica"), "{}", refused.stderr);
    assert_eq!(keys(&replica).await, 0);
}
