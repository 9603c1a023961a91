//! After the store has become another run: what is left alone, and what a verdict knows of it.

use std::time::Duration;

use evergreen_engine::Limits;
use evergreen_engine::engine::Driven;
use evergreen_engine::store::clock::ManualClock;
use evergreen_engine::store::{Signalled, Store};
use evergreen_engine::testing::{Fault, Op};

use crate::callers::claim_in_the_name_of;
use crate::machine::{Ended, Script, Signal};
use crate::world::{World, count, id};

const LEASE: Duration = Duration::from_secs(15);

/// An activity during which the store fails over, and which then fails itself.
fn fails_over_and_fails(world: &World) {
    let store = world.store.clone();
    world.script.next(move |_| async move {
        store.fail_over();
        Ended::Failed
    });
}

/// Makes this process know which run of the store answers.
async fn look(world: &World) {
    world.send(&id("other"), Signal::Note("hello".into())).await;
    world.drive(&id("other")).await;
    while world.store.calls(Op::RunId) == 0 {
        tokio::task::yield_now().await;
    }
}

/// Makes it look once more.
async fn look_again(world: &World) {
    let before = world.store.calls(Op::RunId);
    world.send(&id("other"), Signal::Note("again".into())).await;
    world.drive(&id("other")).await;
    while world.store.calls(Op::RunId) == before {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
}

#[tokio::test(start_paused = true)]
async fn a_verdict_knows_of_a_failover_while_the_request_was_under_way() {
    let world = World::new();
    look(&world).await;
    fails_over_and_fails(&world);
    world.send(&id("a"), Signal::Begin(1)).await;
    world.drive(&id("a")).await;
    assert_eq!(world.events().await, ["CONDEMNED IN DOUBT"]);
    // For two leases, because for one of them what a holder has left behind is spared; and no longer.
    tokio::time::advance(2 * LEASE - Duration::from_secs(1)).await;
    assert_eq!(condemns(&world, "b").await, "CONDEMNED IN DOUBT");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(condemns(&world, "c").await, "CONDEMNED");
}

/// What a process says of a workflow whose activity fails.
async fn condemns(world: &World, name: &str) -> String {
    let before = world.events().await;
    world.script.next_ends(Ended::Failed);
    world.send(&id(name), Signal::Begin(1)).await;
    world.drive(&id(name)).await;
    let mut after = world.events().await;
    for told in before {
        let place = after.iter().position(|event| *event == told).unwrap();
        after.remove(place);
    }
    assert_eq!(after.len(), 1, "{after:?}");
    after.remove(0)
}

#[tokio::test(start_paused = true)]
async fn a_process_that_starts_as_ever_doubts_nothing() {
    let world = World::new();
    assert_eq!(condemns(&world, "a").await, "CONDEMNED");
    tokio::time::advance(Duration::from_secs(1)).await;
    let other = world.second(Script::default());
    assert_eq!(condemns(&other, "b").await, "CONDEMNED");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_starts_after_a_failover_knows_of_it() {
    let world = World::new();
    look(&world).await;
    world.store.fail_over();
    // Nobody has noticed it yet.
    let first = world.second(Script::default());
    assert_eq!(condemns(&first, "a").await, "CONDEMNED IN DOUBT");
    // Somebody has: what is left of their doubt is its own, and no more.
    tokio::time::advance(2 * LEASE - Duration::from_secs(1)).await;
    let second = world.second(Script::default());
    assert_eq!(condemns(&second, "b").await, "CONDEMNED IN DOUBT");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(condemns(&second, "c").await, "CONDEMNED");
    let third = world.second(Script::default());
    assert_eq!(condemns(&third, "d").await, "CONDEMNED");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_starts_after_a_failover_takes_nothing_over() {
    let world = World::new();
    look(&world).await;
    claim_in_the_name_of(&world, Duration::from_secs(5)).await;
    tokio::time::advance(Duration::from_secs(5)).await;
    world.store.fail_over();
    let newcomer = world.second(Script::default());
    newcomer.drive(&id("a")).await;
    assert_eq!(newcomer.script.performed(), [] as [u32; 0]);
    tokio::time::advance(LEASE).await;
    newcomer.drive(&id("a")).await;
    assert_eq!(newcomer.script.performed(), [1]);
}

#[tokio::test(start_paused = true)]
async fn where_the_store_does_not_tell_of_the_run_before_nothing_is_taken_over() {
    let world = World::new();
    claim_in_the_name_of(&world, Duration::from_secs(5)).await;
    tokio::time::advance(Duration::from_secs(5)).await;
    let newcomer = world.second(Script::default());
    // Once for the look beside the claim, once for the one that is waited for.
    world.store.next(Op::Table, Fault::Away);
    world.store.next(Op::Table, Fault::Away);
    let driven = newcomer.drive(&id("a")).await;
    assert!(matches!(driven, Driven::StoreAway { .. }), "{driven:?}");
    assert_eq!(newcomer.script.performed(), [] as [u32; 0]);
}

/// A process may be at a workflow twice: as a worker, and for a caller. By the clock of a server that is
/// ahead the lease of its first turn has ended, while that turn rightly trusts it.
#[tokio::test(start_paused = true)]
async fn after_a_failover_a_process_takes_nothing_over_from_itself() {
    let clock = ManualClock::at(crate::world::BEGIN);
    let world = World::at(clock.clock(), Script::default(), Limits::default());
    look(&world).await;
    world.script.next(|_| std::future::pending());
    world.send(&id("a"), Signal::Begin(1)).await;
    let (engine, held) = (world.engine.clone(), id("a"));
    let turn = tokio::spawn(async move { engine.drive(&held).await });
    world.script.begun.notified().await;
    clock.advance(LEASE);
    world.store.fail_over();
    tokio::time::advance(Duration::from_secs(1)).await;
    look_again(&world).await;
    let (engine, held) = (world.engine.clone(), id("a"));
    let other = tokio::spawn(async move { engine.drive_apart(&held).await });
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(world.script.is_trusted());
    assert_eq!(world.script.performed(), [1], "and not once more");
    assert!(!other.is_finished());
    other.abort();
    turn.abort();
}

#[tokio::test(start_paused = true)]
async fn a_verdict_without_an_activity_knows_of_a_failover_too() {
    let world = World::new();
    look(&world).await;
    world.store.fail_over();
    world.send(&id("a"), Signal::Condemn).await;
    world.drive(&id("a")).await;
    assert_eq!(world.events().await, ["CONDEMNED IN DOUBT"]);
}

#[tokio::test(start_paused = true)]
async fn a_verdict_waits_for_a_store_that_does_not_say_who_it_is() {
    let world = World::new();
    look(&world).await;
    fails_over_and_fails(&world);
    for _ in 0..9 {
        world.store.next(Op::RunId, Fault::Away);
    }
    world.send(&id("a"), Signal::Begin(1)).await;
    world.drive(&id("a")).await;
    assert_eq!(world.events().await, ["CONDEMNED IN DOUBT"]);
}

#[tokio::test(start_paused = true)]
async fn a_takeover_by_a_process_that_had_not_noticed_the_failover_is_taken_back() {
    let world = World::new();
    look(&world).await;
    let holder = world.second(Script::default());
    claim_in_the_name_of(&holder, Duration::from_secs(5)).await;
    tokio::time::advance(Duration::from_secs(5)).await;
    world.store.fail_over();
    let driven = world.drive(&id("a")).await;
    assert!(matches!(driven, Driven::Stuck { .. }), "{driven:?}");
    assert_eq!(world.script.performed(), [] as [u32; 0]);
    let record = world.inspect(&id("a")).record.unwrap();
    assert_eq!(record.owner.as_deref(), Some("(given back)"));
    assert_eq!(record.attempt, 1, "it was no attempt");
    tokio::time::advance(LEASE).await;
    world.drive(&id("a")).await;
    assert_eq!(world.script.performed(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_takeover_from_the_run_that_was_known_goes_on() {
    let world = World::new();
    look(&world).await;
    let holder = world.second(Script::default());
    claim_in_the_name_of(&holder, Duration::from_secs(5)).await;
    tokio::time::advance(Duration::from_secs(5)).await;
    world.drive(&id("a")).await;
    assert_eq!(world.script.performed(), [1]);
    assert_eq!(count(&world.engine.counters().takeovers), 1);
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_must_not_be_lost_is_sent_until_it_is_confirmed() {
    let (world, id) = (World::new(), id("a"));
    let signal = Signal::Note("found".into());
    let engine = world.engine.clone();
    let told = engine.deliver::<crate::machine::Chore>(&id, &signal).await;
    assert_eq!(told.unwrap(), Signalled::Unknown);

    world.send(&id, Signal::Note("first".into())).await;
    let before = world.store.calls(Op::Signal);
    world.store.next(Op::Signal, Fault::Away);
    world.store.next(Op::Signal, Fault::Unconfirmed);
    let (pending, seen) = (
        world.engine.clone(),
        std::sync::Arc::new(std::sync::atomic::AtomicI64::new(0)),
    );
    let shown = seen.clone();
    world.store.before_next(Op::Signal, async move {
        let now = pending
            .counters()
            .persist_pending
            .load(std::sync::atomic::Ordering::Relaxed);
        shown.store(now, std::sync::atomic::Ordering::Relaxed);
    });
    let told = engine.deliver::<crate::machine::Chore>(&id, &signal).await;
    let confirmed = Signalled::Queued {
        v: 0,
        held: false,
        already: true,
        confirmed: true,
    };
    assert_eq!(told.unwrap(), confirmed);
    assert_eq!(world.store.calls(Op::Signal) - before, 3);
    assert_eq!(
        seen.load(std::sync::atomic::Ordering::Relaxed),
        1,
        "shown meanwhile"
    );
    assert_eq!(world.inspect(&id).inbox.len(), 2, "no other copy is queued");
    world.store.next(Op::Signal, Fault::Refused);
    let refused = engine.deliver::<crate::machine::Chore>(&id, &signal).await;
    assert!(refused.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_full_inbox_is_waited_for() {
    let (world, id) = (World::new(), id("a"));
    for n in 0..evergreen_engine::limits::INBOX_MAX {
        world.send(&id, Signal::Note(n.to_string())).await;
    }
    let engine = world.engine.clone();
    let target = id.clone();
    let delivery = tokio::spawn(async move {
        let signal = Signal::Note("found".into());
        engine
            .deliver::<crate::machine::Chore>(&target, &signal)
            .await
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!delivery.is_finished());
    world.drive(&id).await;
    assert!(matches!(
        delivery.await.unwrap(),
        Ok(Signalled::Queued { .. })
    ));
    assert_eq!(
        world
            .store
            .read(&id, false)
            .await
            .unwrap()
            .unwrap()
            .inbox_len,
        1
    );
}
