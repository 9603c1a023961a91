//! A rotated pair that one worker has and no store is seen from everywhere.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::time::Duration;

use evergreen_engine::WorkflowId;
use evergreen_tests::Bench;
use evergreen_tests::bench::adopt;
use ninjaone::lifecycle::KIND;
use ninjaone::simulator::SimulatorOptions;

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_that_waits_on_one_worker_is_shown_by_another() {
    let simulator = SimulatorOptions {
        access_token_life: Duration::from_secs(3600),
        ..SimulatorOptions::default()
    };
    let bench = Bench::in_memory(simulator).await;
    let grant = bench.seed(1).remove(0);
    let (one, two) = (bench.app("one"), bench.app("two"));
    adopt(&one, &grant).await;
    let name = format!("{}/{}", grant.tenant, grant.integration);
    let status = two.status(&name.parse().unwrap()).await.unwrap();
    assert!(!status.persist_pending);

    let worker = bench.worker(&one);
    let id = WorkflowId::new(KIND, &format!("{name}@user")).unwrap();
    let hold = one.engine().counters().pending.hold(&id);
    let told = bench.see(&two, &name, "word of the pair", |s| s.persist_pending);
    assert_eq!(told.await.state, "Scheduled");
    let line: String = bench
        .store
        .table_get("workers", "one")
        .await
        .unwrap()
        .unwrap();
    assert!(line.contains(&id.to_string()), "{line}");
    drop(hold);
    bench
        .see(&two, &name, "the end of it", |s| !s.persist_pending)
        .await;
    worker.stop().await;
}
