//! A worker is stopped past its lease and goes on when another has taken over: what it then tries
//! changes nothing of the other's, and what it has learnt is not lost.

use evergreen_tests::Signal;
use evergreen_tests::proxy::{Side, Step, Trap};
use ninjaone::simulator::When;

use crate::checks::{condemned, healed, looked, refreshed};
use crate::machine::Machine;
use crate::stage::Stage;

/// Who holds the workflow, and by which fence.
type Holder = (Option<String>, u64);

async fn holder(stage: &Stage) -> Holder {
    (stage.field("owner").await, stage.field("fence").await)
}

/// Stops a worker where something is held.
async fn stopped(trap: &mut Trap, one: &mut Machine) {
    trap.caught().await;
    one.worker().signal(Signal::STOP);
}

/// Another takes over, and its request is under way.
async fn taken_over(stage: &Stage) -> (Machine, u64, Holder) {
    let hold = stage.hold(When::After);
    let two = stage.successor().await;
    stage.held(hold).await;
    (two, hold, holder(stage).await)
}

/// The first goes on and looks around; the second is left alone, and ends what it has begun.
async fn goes_on(stage: &Stage, mut one: Machine, (mut two, hold, held): (Machine, u64, Holder)) {
    let before = one.proxy.passed().len();
    one.worker().signal(Signal::CONT);
    looked(&one, before).await;
    assert_eq!(holder(stage).await, held, "nobody else's lease is freed");
    stage.simulator.release(hold);
    refreshed(stage, 1).await;
    one.end().await;
    two.end().await;
}

/// What it had under way arrives late, and is told that it comes too late.
async fn is_fenced(one: &Machine, late: Trap) {
    late.release();
    one.proxy
        .see("a commit that is fenced", |passed| {
            passed.side == Side::Answered && passed.word == "fenced"
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s27_stopped_with_its_claim_unread() {
    let stage = Stage::new().await;
    let mut one = stage.working("one").await;
    let mut claim = one.proxy.trap(Step::Claim, Side::Answered);
    stage.ask().await;
    stopped(&mut claim, &mut one).await;
    claim.release();
    let two = taken_over(&stage).await;
    goes_on(&stage, one, two).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s27_stopped_holding_a_claim() {
    let stage = Stage::new().await;
    let mut one = stage.working("one").await;
    let mut intent = one.proxy.trap(Step::Intent, Side::Asked);
    stage.ask().await;
    stopped(&mut intent, &mut one).await;
    let two = taken_over(&stage).await;
    is_fenced(&one, intent).await;
    goes_on(&stage, one, two).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s27_stopped_after_its_intent() {
    let stage = Stage::new().await;
    let mut one = stage.working("one").await;
    let mut intent = one.proxy.trap(Step::Intent, Side::Answered);
    stage.ask().await;
    stopped(&mut intent, &mut one).await;
    intent.release();
    let two = taken_over(&stage).await;
    goes_on(&stage, one, two).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s27_stopped_with_the_answer_unread() {
    let stage = Stage::new().await;
    let mut one = stage.working("one").await;
    let mut answer = stage.provider.trap_any(Side::Answered, |_| true);
    stage.ask().await;
    stopped(&mut answer, &mut one).await;
    answer.release();
    let mut two = stage.successor().await;
    condemned(&stage).await;
    one.worker().signal(Signal::CONT);
    healed(&stage).await;
    one.see_entries(0).await;
    one.end().await;
    two.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s27_stopped_with_the_final_commit_unsent() {
    let stage = Stage::new().await;
    let mut one = stage.working("one").await;
    let mut commit = one.proxy.trap(Step::Commit, Side::Asked);
    stage.ask().await;
    stopped(&mut commit, &mut one).await;
    let mut two = stage.successor().await;
    condemned(&stage).await;
    is_fenced(&one, commit).await;
    one.worker().signal(Signal::CONT);
    healed(&stage).await;
    one.see_entries(0).await;
    one.end().await;
    two.end().await;
}
