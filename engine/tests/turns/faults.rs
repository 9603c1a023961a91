//! The store goes away, replies are lost, holders vanish.

use std::time::Duration;

use evergreen_engine::Limits;
use evergreen_engine::engine::Driven;
use evergreen_engine::store::clock::ManualClock;
use evergreen_engine::turn::TurnEnd;

use crate::machine::{Ended, Phase, Script, Signal};
use crate::world::{BEGIN, World, count, id};
use evergreen_engine::testing::{Fault, Op};

#[tokio::test(start_paused = true)]
async fn a_commit_whose_reply_was_lost_is_written_once() {
    let (world, id) = (World::new(), id("a"));
    world.send(&id, Signal::Begin(1)).await;
    world.store.next(Op::Commit, Fault::ReplyLost);
    world.store.next(Op::Commit, Fault::Away);
    world.store.next_goes_well(Op::Commit);
    world.store.next(Op::Commit, Fault::ReplyLost);
    let driven = world.drive(&id).await;
    assert_eq!(driven, Driven::Turned(TurnEnd::Finished { v: 2 }));
    assert_eq!(world.script.performed(), [1]);
    assert_eq!(world.events().await, ["WORKED"]);
    assert_eq!(world.inspect(&id).log.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_workflow_whose_reply_was_lost_is_an_end() {
    let (world, id) = (World::new(), id("a"));
    world.send(&id, Signal::Finish).await;
    world.store.next(Op::Commit, Fault::ReplyLost);
    let driven = world.drive(&id).await;
    assert_eq!(driven, Driven::Turned(TurnEnd::Finished { v: 1 }));
    assert!(world.inspect(&id).record.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_reply_was_lost_costs_a_lease_and_no_more() {
    let (world, id) = (World::new(), id("a"));
    world.send(&id, Signal::Begin(1)).await;
    world.store.next(Op::Claim, Fault::ReplyLost);
    assert!(matches!(world.drive(&id).await, Driven::StoreAway { .. }));
    tokio::time::advance(Duration::from_secs(15)).await;
    world.drive(&id).await;
    assert_eq!(world.script.performed(), [1]);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_is_fenced_comes_back_as_a_signal_and_is_settled_only_then() {
    let (world, id) = (World::precious(), id("a"));
    world.send(&id, Signal::Begin(1)).await;
    let engine = world.engine.clone();
    world.script.next(|n| async move {
        let delivery = evergreen_engine::Delivery {
            preemptive: true,
            ..Default::default()
        };
        assert!(
            engine
                .signal::<crate::machine::Chore>(&crate::world::id("a"), &Signal::Calm, delivery)
                .await
                .unwrap()
                .is_queued()
        );
        Ended::Done(n)
    });
    world.store.next_goes_well(Op::Signal);
    world.store.next(Op::Signal, Fault::Away);
    world.store.next(Op::Signal, Fault::Unconfirmed);
    assert_eq!(world.drive(&id).await, Driven::Turned(TurnEnd::Fenced));
    assert_eq!(world.script.settled(), [Ended::Done(1)]);
    assert_eq!(world.store.calls(Op::Signal), 5, "until it was confirmed");
    world.drive(&id).await;
    let heard = world.heard(&id).await;
    assert_eq!(heard[..3], ["Begin(1)", "ActivityLost 1", "Calm"]);
    let late = heard.iter().filter(|heard| *heard == "Late(1)").count();
    assert_eq!(late, 1, "what waits is not queued again: {heard:?}");
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_may_be_forgotten_is_dropped_where_it_is_fenced() {
    let (world, id) = (World::new(), id("a"));
    world.send(&id, Signal::Begin(1)).await;
    let engine = world.engine.clone();
    world.script.next(|n| async move {
        let delivery = evergreen_engine::Delivery {
            preemptive: true,
            ..Default::default()
        };
        assert!(
            engine
                .signal::<crate::machine::Chore>(&crate::world::id("a"), &Signal::Calm, delivery)
                .await
                .unwrap()
                .is_queued()
        );
        Ended::Done(n)
    });
    assert_eq!(world.drive(&id).await, Driven::Turned(TurnEnd::Fenced));
    assert_eq!(world.script.settled(), []);
    assert_eq!(world.inspect(&id).inbox.len(), 1, "only what was sent");
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_must_not_be_lost_waits_for_the_store() {
    let (world, id) = (World::precious(), id("a"));
    world.send(&id, Signal::Begin(1)).await;
    world.store.next_goes_well(Op::Commit);
    // Longer than the lease, and the first to answer has not heard from its replicas.
    for _ in 0..40 {
        world.store.next(Op::Commit, Fault::Away);
    }
    world.store.next(Op::Commit, Fault::Unconfirmed);
    let driven = world.drive(&id).await;
    assert_eq!(driven, Driven::Turned(TurnEnd::Finished { v: 2 }));
    assert_eq!(world.script.settled(), [Ended::Done(1)]);
    assert_eq!(world.store.calls(Op::Commit), 1 + 40 + 1 + 1);
    assert!(world.now().await > BEGIN + 30_000);
    assert_eq!(world.events().await, ["WORKED"]);
}

#[tokio::test(start_paused = true)]
async fn an_intent_without_an_answer_performs_nothing_and_says_so() {
    let (world, id) = (World::new(), id("a"));
    world.send(&id, Signal::Begin(1)).await;
    // Written by the first try; no answer before trust has ended.
    for _ in 0..16 {
        world.store.next(Op::Commit, Fault::ReplyLost);
    }
    let driven = world.drive(&id).await;
    assert_eq!(driven, Driven::Turned(TurnEnd::Finished { v: 2 }));
    assert_eq!(world.script.performed(), [] as [u32; 0]);
    assert_eq!(world.heard(&id).await, ["Begin(1)", "NotSent"]);
}

#[tokio::test(start_paused = true)]
async fn an_intent_that_the_replicas_did_not_confirm_performs_nothing() {
    let (world, id) = (World::new(), id("a"));
    world.send(&id, Signal::Begin(1)).await;
    world.store.next(Op::Commit, Fault::Unconfirmed);
    world.drive(&id).await;
    assert_eq!(world.script.performed(), [] as [u32; 0]);
    assert_eq!(world.heard(&id).await, ["Begin(1)", "NotSent"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stays_away_leaves_the_turn_to_whoever_comes_after_the_lease() {
    let (world, id) = (World::new(), id("a"));
    world.send(&id, Signal::Begin(1)).await;
    for _ in 0..200 {
        world.store.next(Op::Commit, Fault::Away);
    }
    let driven = world.drive(&id).await;
    assert!(
        matches!(driven, Driven::Turned(TurnEnd::StoreAway { .. })),
        "{driven:?}"
    );
    assert_eq!(world.script.performed(), [] as [u32; 0]);
    world.store.heal();
    let other = world.second(Script::default());
    other.drive(&id).await;
    assert_eq!(other.heard(&id).await, ["Begin(1)", "Done(1)"]);
}

/// A process ends between its intent and its outcome: everything that it was doing is gone.
#[test]
fn a_holder_that_dies_after_its_intent_is_noticed_by_the_next_within_its_lease() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
    };
    let clock = ManualClock::at(BEGIN);
    let (world, id) = (
        World::at(clock.clock(), Script::default(), Limits::default()),
        id("a"),
    );
    let process = runtime();
    process.block_on(async {
        world.script.next(|_| std::future::pending());
        world.send(&id, Signal::Begin(1)).await;
        tokio::select! {
            driven = world.drive(&id) => panic!("{driven:?}"),
            () = world.script.begun.notified() => {}
        }
    });
    drop(process);
    let record = world.inspect(&id).record.unwrap();
    assert_eq!(
        record.state, "Working",
        "what it had set out to do is written down"
    );

    let next = world.second(Script::default());
    runtime().block_on(async {
        clock.advance(Limits::default().lease);
        assert_eq!(
            next.drive(&id).await,
            Driven::Turned(TurnEnd::Finished { v: 3 })
        );
        let heard = next.heard(&id).await;
        assert_eq!(
            heard,
            ["Begin(1)", "ActivityLost 1", "TimerFired", "Done(0)"]
        );
        assert_eq!(next.machine(&id).await.1, Phase::Idle {});
    });
    assert_eq!(count(&next.engine.counters().takeovers), 1);
}
