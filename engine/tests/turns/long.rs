//! Activities that take longer than a lease.

use std::time::Duration;

use evergreen_engine::Limits;
use evergreen_engine::engine::Driven;
use evergreen_engine::testing::{Fault, Op};
use evergreen_engine::turn::TurnEnd;

use crate::machine::{Ended, Script, Signal};
use crate::world::{World, id};

/// A world in which activities may take ten minutes.
fn patient() -> World {
    let mut script = Script::default();
    script.takes = Some(Duration::from_secs(600));
    World::with(script, Limits::default())
}

/// Begins an activity that takes so long, in a task of its own.
async fn begin(world: &World, seconds: u64) -> tokio::task::JoinHandle<Driven> {
    world.script.next(move |n| async move {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Ended::Done(n)
    });
    world.send(&id("a"), Signal::Begin(1)).await;
    let engine = world.engine.clone();
    let driven = tokio::spawn(async move { engine.drive(&id("a")).await });
    world.script.begun.notified().await;
    driven
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_renewed_while_a_long_activity_runs_and_trust_follows() {
    let world = patient();
    let driven = begin(&world, 120).await;
    let other = world.second(Script::default());
    for _ in 0..11 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(world.script.is_trusted());
        let held = world.inspect(&id("a")).record.unwrap().lease_until.unwrap();
        assert!(
            held > world.now().await + 5_000,
            "it never comes near its end"
        );
    }
    assert_eq!(other.drive(&id("a")).await, Driven::Waited);
    assert_eq!(other.script.performed(), [] as [u32; 0]);
    let finished = Driven::Turned(TurnEnd::Finished { v: 2 });
    assert_eq!(driven.await.unwrap(), finished);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_without_an_answer_is_tried_again() {
    let world = patient();
    let driven = begin(&world, 60).await;
    for _ in 0..4 {
        world.store.next(Op::Extend, Fault::Away);
    }
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert!(world.script.is_trusted());
    let finished = Driven::Turned(TurnEnd::Finished { v: 2 });
    assert_eq!(driven.await.unwrap(), finished);
}

#[tokio::test(start_paused = true)]
async fn trust_ends_where_the_lease_was_ended() {
    let world = patient();
    let driven = begin(&world, 120).await;
    world.preempt(&id("a"), Signal::Calm).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(!world.script.is_trusted());
    assert_eq!(driven.await.unwrap(), Driven::Turned(TurnEnd::Fenced));
}

#[tokio::test(start_paused = true)]
async fn a_long_activity_has_an_end_too() {
    let world = patient();
    let driven = begin(&world, 10_000).await;
    let finished = Driven::Turned(TurnEnd::Finished { v: 2 });
    assert_eq!(driven.await.unwrap(), finished);
    assert_eq!(world.heard(&id("a")).await, ["Begin(1)", "Unknown"]);
}
