//! One minute of `evergreen bench torture`: everything breaks under a fleet of real processes, and nothing is lost
//! but what no process has ever read.
//!
//! Ten minutes at full size: `cargo run --release -- bench torture --minutes 10`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::time::Duration;

use evergreen_tests::{Evergreen, RedisServer, Signal, eventually};
use serde_json::Value;

/// How long a minute of it may take with what comes before and after.
const WITHIN: Duration = Duration::from_secs(170);

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("not a number: {value}"))
}

/// Settings of a run that fits a machine of two cores on which other tests run.
const SMALL: [&str; 8] = [
    "--minutes",
    "1",
    "--integrations",
    "100",
    "--lifetime",
    "30s",
    "--lease",
    "4s",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_of_torture_loses_nothing_that_a_process_has_read() {
    let server = evergreen_tests::redis::program();
    let server = server.to_str().expect("UTF-8");
    let arguments = [
        "bench",
        "torture",
        "--json",
        "--seed",
        "1",
        "--redis-server",
        server,
    ];
    let run = Evergreen::with(arguments.into_iter().chain(SMALL));
    let ended = run.run(WITHIN).await;
    assert_eq!(ended.code(), Some(0), "{}\n{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains("seed 1"), "{}", ended.stderr);
    let report = ended.json();
    assert_eq!(report["violations"], serde_json::json!([]), "{report}");
    assert_eq!(report["seed"], 1);
    assert_eq!(report["redis"], "killed");
    // It did something, and the fleet went on all the same.
    let done = &report["done"];
    for what in ["workers_killed", "workers_stopped", "disks_full", "redis"] {
        assert!(number(&done[what]) > 0, "{what}: {done}");
    }
    assert!(number(&report["ledger"]["refreshed"]) > 100, "{report}");
    let states = report["states"].as_object().unwrap();
    assert_eq!(states.values().map(number).sum::<u64>(), 100, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_removes_its_keys_from_a_redis_that_it_was_given() {
    // The settings of a fleet: it takes no server that a fleet would not.
    let redis = RedisServer::start_own().await;
    let arguments = ["bench", "torture", "--minutes", "2", "--integrations", "10"];
    let mut run = Evergreen::with(arguments).redis(&redis).spawn();
    run.wait_for_line("connecting the integrations", WITHIN)
        .await;
    eventually("they are connected", WITHIN, async || {
        let records: Vec<String> = redis.cli(&["KEYS", "evergreen:bench:*:wf:*"]).await;
        (records.len() == 10).then_some(())
    })
    .await;
    run.signal(Signal::INT);
    let ended = run.finished(WITHIN).await.expect_code(1);
    assert!(ended.stderr.contains("interrupted"), "{}", ended.stderr);
    let left: u64 = redis.cli(&["DBSIZE"]).await;
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_redis_that_a_fleet_would_refuse_is_refused() {
    let redis = RedisServer::start_with(&["--appendonly", "no"]).await;
    let run = Evergreen::with(["bench", "torture", "--minutes", "1"]).redis(&redis);
    let refused = run.run(WITHIN).await.expect_code(2);
    assert!(refused.stderr.contains("appendonly"), "{}", refused.stderr);
    let nothing = Evergreen::with(["bench", "torture"]).env("PATH", "");
    let refused = nothing.run(WITHIN).await.expect_code(2);
    assert!(
        refused.stderr.contains("--redis-server"),
        "{}",
        refused.stderr
    );
}
