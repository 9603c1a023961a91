//! Redis is restarted, in order and by kill -9, between commits and in the middle of one. Its AOF has
//! what it acknowledged.

use std::time::Duration;

use evergreen_tests::eventually;
use evergreen_tests::proxy::{Side, Step};
use ninjaone::simulator::SimulatorOptions;

use crate::checks::refreshed;
use crate::stage::{PATIENCE, Stage, target};

/// Redis dies with one frame of a turn on its way to it, or on its way back, and comes back.
async fn redis_dies_at(step: Step, side: Side) {
    let mut stage = Stage::new().await;
    let mut one = stage.working("one").await;
    let mut trap = one.proxy.trap(step, side);
    stage.ask().await;
    trap.caught().await;
    stage.redis.kill().await;
    drop(trap);
    if step == Step::Commit {
        one.see_entries(1).await;
        one.see_count("evergreen_persist_pending", |pending| pending == 1)
            .await;
    }
    stage.redis.restart().await;
    refreshed(&stage, 1).await;
    one.see_count("evergreen_persist_pending", |pending| pending == 0)
        .await;
    one.see_entries(0).await;
    one.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_an_intent_arrives() {
    redis_dies_at(Step::Intent, Side::Asked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_an_intent_was_written() {
    redis_dies_at(Step::Intent, Side::Answered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s24_killed_before_a_commit_arrives() {
    redis_dies_at(Step::Commit, Side::Asked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s24_killed_after_a_commit_was_written() {
    redis_dies_at(Step::Commit, Side::Answered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_outlives_a_redis_that_is_restarted_and_killed() {
    let simulator = SimulatorOptions {
        access_token_life: Duration::from_secs(6),
        response_delay: Duration::from_millis(100),
        ..SimulatorOptions::default()
    };
    let mut stage = Stage::of(6, simulator).await;
    let mut one = stage.working("one").await;
    let mut two = stage.working("two").await;
    for killed in [true, false, true] {
        let so_far = stage.simulator.entries(0, 10_000).next_after;
        let request = stage.simulator.entry(so_far, |_| true);
        tokio::time::timeout(PATIENCE, request)
            .await
            .expect("the fleet works");
        if !killed {
            stage.redis.stop().await;
        }
        stage.redis.restart().await;
    }
    for grant in &stage.grants {
        let target = target(grant);
        let status = eventually("another refresh", PATIENCE, async || {
            let status = stage.api.status(&target).await.ok()?;
            (status.generation >= 3 && status.owner.is_none()).then_some(status)
        })
        .await;
        assert_eq!(
            (status.state.as_str(), status.reason, status.unknown_since),
            ("Scheduled", None, None)
        );
    }
    let presented = stage.presented();
    println!(
        "{} refresh tokens, {} requests",
        presented.len(),
        presented.iter().sum::<u64>()
    );
    assert!(presented.iter().all(|count| *count <= 2), "{presented:?}");
    one.end().await;
    two.end().await;
    assert_eq!((one.entries(), two.entries()), (0, 0));
}
