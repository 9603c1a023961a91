//! Callers that want a turn now: they are one, they may give up, and they wait for others, bounded.

use std::time::Duration;

use evergreen_engine::engine::Driven;
use evergreen_engine::limits::DRIVE_PATIENCE;
use evergreen_engine::turn::TurnEnd;
use evergreen_engine::{Delivery, WorkflowId};
use tokio::sync::oneshot;

use crate::machine::{Chore, Ended, Script, Signal};
use crate::world::{BEGIN, World, id};
use evergreen_engine::testing::Op;

/// A workflow whose activity lasts until the test says how it ended.
async fn working(world: &World) -> oneshot::Sender<Ended> {
    let (end, ended) = oneshot::channel();
    world
        .script
        .next(|_| async { ended.await.unwrap_or(Ended::Unknown) });
    world.send(&id("a"), Signal::Begin(1)).await;
    end
}

#[tokio::test(start_paused = true)]
async fn two_callers_in_one_process_are_one_turn() {
    let world = World::new();
    let end = working(&world).await;
    let (first, second) = (world.engine.clone(), world.engine.clone());
    let first = tokio::spawn(async move { first.drive(&id("a")).await });
    world.script.begun.notified().await;
    let second = tokio::spawn(async move { second.drive(&id("a")).await });
    tokio::task::yield_now().await;
    end.send(Ended::Done(1)).unwrap();
    let finished = Driven::Turned(TurnEnd::Finished { v: 2 });
    assert_eq!(first.await.unwrap(), finished);
    assert_eq!(second.await.unwrap(), finished);
    assert_eq!(world.store.calls(Op::Claim), 1);
    // The next caller is not answered with what has been.
    world.drive(&id("a")).await;
    assert_eq!(world.store.calls(Op::Claim), 2);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_does_not_stop_the_turn() {
    let world = World::new();
    let end = working(&world).await;
    let id = id("a");
    tokio::select! {
        driven = world.drive(&id) => panic!("{driven:?}"),
        () = world.script.begun.notified() => {}
    }
    end.send(Ended::Done(1)).unwrap();
    world.engine.turns().close();
    world.engine.turns().wait().await;
    assert_eq!(world.heard(&id).await, ["Begin(1)", "Done(1)"]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_waits_for_the_commit_of_another_process() {
    let world = World::new();
    let end = working(&world).await;
    let engine = world.engine.clone();
    let holder = tokio::spawn(async move { engine.drive(&id("a")).await });
    world.script.begun.notified().await;
    let other = world.second(Script::default());
    let engine = other.engine.clone();
    let waiter = tokio::spawn(async move { engine.drive(&id("a")).await });
    while other.store.calls(Op::Read) == 0 {
        tokio::task::yield_now().await;
    }
    end.send(Ended::Done(1)).unwrap();
    assert_eq!(waiter.await.unwrap(), Driven::Waited);
    holder.await.unwrap();
    assert_eq!(other.script.performed(), [] as [u32; 0]);
}

#[tokio::test(start_paused = true)]
async fn patience_with_another_process_ends() {
    let world = World::new();
    let holder = world.second(Script::default());
    // A holder that renews its lease for ever.
    claim_in_the_name_of(&holder, Duration::from_secs(300)).await;
    let begin = world.now().await;
    assert_eq!(world.drive(&id("a")).await, Driven::StillHeld);
    let waited = Duration::from_millis(world.now().await - begin);
    assert!(waited <= DRIVE_PATIENCE, "{waited:?}");
    assert!(
        waited >= DRIVE_PATIENCE - Duration::from_secs(1),
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_vanished_holder_left_is_done_by_the_caller_that_waited() {
    let world = World::new();
    let holder = world.second(Script::default());
    claim_in_the_name_of(&holder, Duration::from_secs(5)).await;
    let driven = world.drive(&id("a")).await;
    assert_eq!(driven, Driven::Turned(TurnEnd::Finished { v: 2 }));
    assert_eq!(world.script.performed(), [1]);
    let now = world.now().await;
    assert!(
        (BEGIN + 5_000..BEGIN + 6_000).contains(&now),
        "{}",
        now - BEGIN
    );
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_workflow_that_nobody_may_have() {
    let world = World::new();
    world.send(&id("a"), Signal::Panic).await;
    for _ in 0..4 {
        world.drive(&id("a")).await;
    }
    let begin = world.now().await;
    let driven = world.drive(&id("a")).await;
    assert!(matches!(driven, Driven::Stuck { .. }), "{driven:?}");
    assert_eq!(world.now().await, begin);
}

#[tokio::test(start_paused = true)]
async fn a_caller_is_told_that_there_is_no_such_workflow() {
    let world = World::new();
    assert_eq!(world.drive(&id("nobody")).await, Driven::Unknown);
    let stranger = WorkflowId::new("stranger", "a").unwrap();
    let driven = world.drive(&stranger).await;
    let Driven::StoreAway { why } = driven else {
        panic!("{driven:?}");
    };
    assert!(why.contains("stranger"), "{why}");
}

/// Somebody claims the workflow and is never heard of again.
pub(crate) async fn claim_in_the_name_of(holder: &World, lease: Duration) {
    use evergreen_engine::store::{Claim, ClaimMode, Store};
    holder.send(&id("a"), Signal::Begin(1)).await;
    let claim = Claim {
        id: id("a"),
        claim: "00000000000000ff".to_owned(),
        owner: "somebody".to_owned(),
        lease,
        mode: ClaimMode::Due,
        spare_owned: false,
    };
    holder.memory.claim(&claim).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_speaks_to_another_kind_is_told_and_nothing_is_made() {
    let world = World::new();
    let stranger = WorkflowId::new("stranger", "a").unwrap();
    let signal = Signal::Note("hello".to_owned());
    let sent = world
        .engine
        .signal::<Chore>(&stranger, &signal, Delivery::creating());
    let why = sent.await.unwrap_err().to_string();
    assert!(why.contains("it is a stranger"), "{why}");
    let delivered = world.engine.deliver::<Chore>(&stranger, &signal);
    assert!(delivered.await.is_err());
    assert_eq!(world.inspect(&stranger).record, None);
}
