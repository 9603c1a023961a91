//! What an operator, or a proxy, may do to Redis while work goes on: forget the scripts, throw every
//! client out, make them wait.

use evergreen_tests::eventually;
use evergreen_tests::proxy::{Side, Step};
use ninjaone::simulator::When;

use crate::checks::{healthy, refreshed};
use crate::machine::LEASE;
use crate::stage::{PATIENCE, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_are_forgotten_before_every_write_are_told_again() {
    let stage = Stage::new().await;
    let mut one = stage.working("one").await;
    let steps = [Step::Claim, Step::Intent, Step::Commit];
    let traps = steps.map(|step| one.proxy.trap(step, Side::Asked));
    stage.ask().await;
    for mut trap in traps {
        trap.caught().await;
        let _: String = stage.redis.cli(&["SCRIPT", "FLUSH"]).await;
        trap.release();
    }
    refreshed(&stage, 1).await;
    let unknown = one.proxy.passed();
    let unknown = unknown
        .iter()
        .filter(|passed| passed.word.starts_with("-NOSCRIPT"));
    let mut unknown: Vec<_> = unknown.map(|passed| passed.call.step).collect();
    unknown.dedup();
    unknown.retain(|step| steps.contains(step));
    assert_eq!(unknown, steps);

    // A replay's signal goes the way of what is durable.
    let mut commit = one.proxy.trap(Step::Commit, Side::Asked);
    stage.ask().await;
    commit.caught().await;
    one.kill();
    drop(commit);
    let mut signal = one.proxy.trap(Step::Signal, Side::Asked);
    one.start().await;
    signal.caught().await;
    let _: String = stage.redis.cli(&["SCRIPT", "FLUSH"]).await;
    signal.release();
    refreshed(&stage, 2).await;
    one.see_entries(0).await;
    one.end().await;
}

/// Throws everybody out but the caller.
async fn throw_out(stage: &Stage) {
    for kind in ["normal", "pubsub"] {
        let gone: u64 = stage.redis.cli(&["CLIENT", "KILL", "TYPE", kind]).await;
        assert!(gone > 0, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_are_thrown_out_with_their_answers_unread_come_back() {
    let stage = Stage::new().await;
    let mut one = stage.working("one").await;
    for (done, step) in [Step::Claim, Step::Intent, Step::Commit]
        .into_iter()
        .enumerate()
    {
        let mut trap = one.proxy.trap(step, Side::Answered);
        stage.ask().await;
        trap.caught().await;
        throw_out(&stage).await;
        drop(trap);
        refreshed(&stage, done as u64 + 1).await;
        listening(&stage).await;
    }
    // What was written and not heard of is not written again.
    eventually(
        "intent and commit answered once more",
        PATIENCE,
        async || {
            let passed = one.proxy.passed();
            (passed
                .iter()
                .filter(|passed| passed.word == "already")
                .count()
                >= 2)
                .then_some(())
        },
    )
    .await;
    one.see_entries(0).await;
    one.end().await;
}

/// Somebody listens to the wake channel again.
async fn listening(stage: &Stage) {
    eventually("a listener", PATIENCE, async || {
        let told: (String, u64) = stage
            .redis
            .cli(&["PUBSUB", "NUMSUB", "evergreen:wake"])
            .await;
        (told.1 >= 1).then_some(())
    })
    .await;
}

/// Redis makes clients wait between answer and commit; another worker may be there to take over.
async fn made_to_wait(mode: &str, ms: u64, another: bool) {
    let stage = Stage::new().await;
    let mut machines = vec![stage.working("one").await];
    if another {
        machines.push(stage.working("two").await);
    }
    let hold = stage.hold(When::After);
    stage.ask().await;
    stage.held(hold).await;
    let _: String = stage
        .redis
        .cli(&["CLIENT", "PAUSE", &ms.to_string(), mode])
        .await;
    stage.simulator.release(hold);
    // The pair is nowhere but in memory and in a journal, and that is shown.
    eventually("a pair that waits", PATIENCE, async || {
        let (mut pending, mut entries) = (0, 0);
        for machine in &machines {
            pending += machine.counts("evergreen_persist_pending").await;
            entries += machine.entries();
        }
        (pending == 1 && entries == 1).then_some(())
    })
    .await;
    if another {
        healthy(&stage).await;
    } else {
        refreshed(&stage, 1).await;
    }
    for machine in &mut machines {
        machine.see_entries(0).await;
        machine.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s24_a_pause_longer_than_a_client_waits_costs_nothing() {
    let ms = 2_300;
    assert!(u128::from(ms) < LEASE.as_millis());
    tokio::join!(
        made_to_wait("WRITE", ms, false),
        made_to_wait("ALL", ms, false)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn s24_a_pause_longer_than_a_lease_loses_nothing() {
    let ms = 4_500;
    assert!(u128::from(ms) > LEASE.as_millis());
    tokio::join!(
        made_to_wait("WRITE", ms, true),
        made_to_wait("ALL", ms, true)
    );
}
