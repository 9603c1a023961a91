//! After the store has become another run: what is left alone, and what a verdict knows of it.

use std::time::Duration;

use evergreen_engine::engine::Driven;
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

#[tokio::test(start_paused = true)]
async fn a_verdict_knows_of_a_failover_while_the_request_was_under_way() {
    let world = World::new();
    look(&world).await;
    fails_over_and_fails(&world);
    world.send(&id("a"), Signal::Begin(1)).await;
    world.drive(&id("a")).await;
    assert_eq!(world.events().await, ["CONDEMNED IN DOUBT"]);
    // For one lease, and no longer.
    tokio::time::advance(LEASE).await;
    world.script.next_ends(Ended::Failed);
    world.send(&id("b"), Signal::Begin(1)).await;
    world.drive(&id("b")).await;
    let mut told = world.events().await;
    told.sort();
    assert_eq!(told, ["CONDEMNED", "CONDEMNED IN DOUBT"]);
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
        confirmed: true,
    };
    assert_eq!(told.unwrap(), confirmed);
    assert_eq!(world.store.calls(Op::Signal) - before, 3);
    assert_eq!(
        seen.load(std::sync::atomic::Ordering::Relaxed),
        1,
        "shown meanwhile"
    );
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
