//! The network between one worker and Redis is cut while others go on: what is on its way is lost, or
//! arrives late, and after it nothing is there twice.

use evergreen_tests::proxy::{Side, Step};
use ninjaone::simulator::When;

use crate::checks::{condemned, healed, healthy, refreshed};
use crate::machine::Machine;
use crate::stage::Stage;

/// How a network can be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Connections are torn, and no new ones made.
    Torn,
    /// Nothing gets through either way; what is under way arrives when it is over.
    Still,
    /// Nothing gets to Redis; what it says would arrive.
    Deaf,
    /// Redis hears and does everything; nothing of what it answers arrives.
    Dumb,
}

impl Cut {
    fn begin(self, machine: &Machine) {
        match self {
            Self::Torn => machine.proxy.tear(),
            Self::Still => machine.proxy.still(true, true),
            Self::Deaf => machine.proxy.still(true, false),
            Self::Dumb => machine.proxy.still(false, true),
        }
    }
}

/// One machine is cut off while the provider has its request, and hears the answer.
async fn cut_off_with_a_pair(cut: Cut) -> (Stage, Machine) {
    let stage = Stage::new().await;
    let one = stage.working("one").await;
    let hold = stage.hold(When::After);
    stage.ask().await;
    stage.held(hold).await;
    cut.begin(&one);
    stage.simulator.release(hold);
    one.see_entries(1).await;
    (stage, one)
}

/// Others have taken over and judged by what they know; then the network is there again.
async fn outlasting_the_lease(cut: Cut) {
    let (stage, mut one) = cut_off_with_a_pair(cut).await;
    one.see_count("evergreen_persist_pending", |pending| pending == 1)
        .await;
    let mut two = stage.successor().await;
    condemned(&stage).await;
    one.proxy.mend();
    healed(&stage).await;
    one.see_count("evergreen_persist_pending", |pending| pending == 0)
        .await;
    one.see_entries(0).await;
    one.end().await;
    two.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn torn_for_longer_than_the_lease() {
    outlasting_the_lease(Cut::Torn).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn still_for_longer_than_the_lease() {
    outlasting_the_lease(Cut::Still).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deaf_for_longer_than_the_lease() {
    outlasting_the_lease(Cut::Deaf).await;
}

/// What Redis hears it does: the commit is written, and nobody takes over.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_do_not_arrive_leave_the_commit_where_it_is() {
    let stage = Stage::new().await;
    let mut one = stage.working("one").await;
    let mut commit = one.proxy.trap(Step::Commit, Side::Asked);
    stage.ask().await;
    commit.caught().await;
    Cut::Dumb.begin(&one);
    commit.release();
    let mut two = stage.successor().await;
    refreshed(&stage, 1).await;
    one.see_count("evergreen_persist_pending", |pending| pending == 1)
        .await;
    one.proxy.mend();
    one.see_count("evergreen_persist_pending", |pending| pending == 0)
        .await;
    one.see_entries(0).await;
    refreshed(&stage, 1).await;
    one.end().await;
    two.end().await;
}

/// All cuts at once, each shorter than a lease: nobody even notices.
#[tokio::test(flavor = "multi_thread")]
async fn a_short_cut_is_not_noticed() {
    for cut in [Cut::Torn, Cut::Still, Cut::Deaf, Cut::Dumb] {
        let (stage, mut one) = cut_off_with_a_pair(cut).await;
        one.proxy.mend();
        healthy(&stage).await;
        assert_eq!(stage.presented(), [1], "{cut:?}");
        one.see_entries(0).await;
        one.end().await;
    }
}

/// While one is cut off, what is due is done by the others; the one that comes back finds it done.
#[tokio::test(flavor = "multi_thread")]
async fn others_go_on_while_one_is_cut_off() {
    let stage = Stage::new().await;
    let mut one = stage.working("one").await;
    Cut::Still.begin(&one);
    let mut two = stage.successor().await;
    stage.ask().await;
    refreshed(&stage, 1).await;
    one.proxy.mend();
    stage.ask().await;
    refreshed(&stage, 2).await;
    one.end().await;
    two.end().await;
}
