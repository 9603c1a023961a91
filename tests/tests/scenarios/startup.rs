//! What a process is told when it starts, and what it then does not do.

use evergreen_tests::bench::adopt;
use evergreen_tests::eventually;

use crate::processes::{Beside, SOON};
use crate::support::*;

/// Every setting that is a duration.
const DURATIONS: [&str; 6] = [
    "EVERGREEN_REFRESH_BUFFER",
    "EVERGREEN_REFRESH_MIN_DELAY",
    "EVERGREEN_LEASE",
    "EVERGREEN_TOKEN_TIMEOUT",
    "EVERGREEN_SHUTDOWN_GRACE",
    "EVERGREEN_RETENTION",
];

#[tokio::test(flavor = "multi_thread")]
async fn s04_every_bad_setting_is_told_in_one_message_and_nothing_was_claimed() {
    let beside = Beside::new(life(6)).await;
    let app = beside.bench.app("eye");
    let grant = beside.bench.seed(1).remove(0);
    adopt(&app, &grant).await;
    let target = target(&grant);
    let fence = async || {
        let id = format!("ninjaone.credential:{target}@user");
        let keys: Vec<String> = beside.redis.cli(&["KEYS", &format!("*:wf:{id}")]).await;
        let fence: u64 = beside.redis.cli(&["HGET", &keys[0], "fence"]).await;
        fence
    };
    // Whoever works claims it at once.
    let due = app.status(&target).await.unwrap().next_refresh_at.unwrap();
    eventually("the timer", SOON, async || {
        (beside.bench.now().await > ms(&due)).then_some(())
    })
    .await;
    let before = fence().await;
    for (value, why) in [
        ("0", "has no unit"),
        ("0s", "is zero"),
        ("-5s", "is negative"),
        ("abc", "is not a duration"),
        ("", "is empty"),
        ("15fortnights", "has an unknown unit"),
    ] {
        let mut worker = beside.program(&["worker"]);
        for name in DURATIONS {
            worker = worker.env(name, value);
        }
        worker = worker.env("EVERGREEN_PARTITIONS", "none");
        let refused = worker.run(SOON).await.expect_code(2);
        let said = refused.stderr;
        assert_eq!(said.matches("error:").count(), 1, "one message: {said}");
        assert!(said.contains("7 settings are wrong"), "{said}");
        for name in DURATIONS {
            let line = said.lines().find(|line| line.contains(name));
            let line = line.unwrap_or_else(|| panic!("{name} is not in {said}"));
            let told = format!("{name}: {why}; allowed is a duration from ");
            assert!(line.contains(&told), "{line}");
        }
        let partitions = "EVERGREEN_PARTITIONS: is not a whole number; allowed is a whole number";
        assert!(said.contains(partitions), "{said}");
        assert_eq!(refused.stdout, "");
    }
    assert_eq!(fence().await, before, "nothing was claimed");
    let workers: u64 = beside.redis.cli(&["HLEN", "evergreen:workers"]).await;
    assert_eq!(workers, 0, "no worker has said that it lives");
    assert_eq!(beside.bench.simulator.handle().totals().requests, 0);

    // The same worker with good settings.
    let worker = beside.worker().await;
    let name = target.to_string();
    let refreshed = |status: &ninjaone::service::StatusView| status.generation >= 1;
    beside.bench.see(&app, &name, "a refresh", refreshed).await;
    assert!(fence().await > before);
    worker.process.stop(SOON).await.expect_code(0);
}
