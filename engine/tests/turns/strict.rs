//! Nothing is performed, and nobody condemned, on a state that a waiting signal would have changed.

use evergreen_engine::engine::Driven;

use crate::machine::{Ended, Phase, Signal};
use crate::world::{World, id};
use evergreen_engine::testing::Op;
use evergreen_engine::turn::TurnEnd;

/// Just before the next commit, this signal comes.
fn signal_before_next_commit(world: &World, signal: Signal) {
    signals_before_next_commit(world, vec![signal]);
}

/// Just before the next commit, these signals come.
fn signals_before_next_commit(world: &World, signals: Vec<Signal>) {
    let engine = world.engine.clone();
    world.store.before_next(Op::Commit, async move {
        for signal in signals {
            assert!(
                engine
                    .signal::<crate::machine::Chore>(&id("a"), &signal, Default::default())
                    .await
                    .unwrap()
                    .is_queued()
            );
        }
    });
}

#[tokio::test(start_paused = true)]
async fn an_intent_hears_a_signal_that_came_meanwhile() {
    let (world, id) = (World::new(), id("a"));
    world.send(&id, Signal::Begin(1)).await;
    signal_before_next_commit(&world, Signal::Note("meanwhile".into()));
    world.drive(&id).await;
    assert_eq!(world.heard(&id).await, ["Begin(1)", "meanwhile", "Done(1)"]);
    assert_eq!(world.script.performed(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_came_meanwhile_can_call_the_activity_off() {
    let (world, id) = (World::new(), id("a"));
    world.send(&id, Signal::Begin(1)).await;
    signal_before_next_commit(&world, Signal::Calm);
    world.drive(&id).await;
    assert_eq!(world.script.performed(), [] as [u32; 0]);
    assert_eq!(world.machine(&id).await.1, Phase::Idle {});
}

#[tokio::test(start_paused = true)]
async fn where_signals_keep_coming_nothing_is_performed_and_all_are_heard() {
    let (world, id) = (World::new(), id("a"));
    world.send(&id, Signal::Begin(1)).await;
    for n in 1..=3 {
        signal_before_next_commit(&world, Signal::Note(format!("again {n}")));
    }
    world.drive(&id).await;
    assert_eq!(world.script.performed(), [] as [u32; 0]);
    let heard = ["Begin(1)", "again 1", "again 2", "again 3", "Held"];
    assert_eq!(world.heard(&id).await, heard);
    assert_eq!(world.store.calls(Op::Commit), 4);
    // It is not forgotten: the machine asked to be woken, and the next turn is quiet.
    world.drive(&id).await;
    assert_eq!(world.script.performed(), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_verdict_is_reached_anew_after_a_signal_and_leaves_no_trace_of_the_first() {
    let (world, id) = (World::new(), id("a"));
    world.script.next_ends(Ended::Failed);
    world.send(&id, Signal::Begin(1)).await;
    world.store.next_goes_well(Op::Commit);
    signal_before_next_commit(&world, Signal::Calm);
    let driven = world.drive(&id).await;
    assert!(matches!(driven, Driven::Turned(_)), "{driven:?}");
    assert_eq!(world.heard(&id).await, ["Begin(1)", "Calm", "Failed"]);
    assert_eq!(world.machine(&id).await.1, Phase::Idle {});
    assert_eq!(world.events().await, [] as [&str; 0]);
    let log = world.inspect(&id).log;
    assert!(
        !log.iter().any(|line| line.contains("Condemned")),
        "{log:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_verdict_without_an_activity_is_strict_too() {
    let (world, id) = (World::new(), id("a"));
    world.send(&id, Signal::Condemn).await;
    signal_before_next_commit(&world, Signal::Calm);
    world.drive(&id).await;
    assert_eq!(world.heard(&id).await, ["Condemn", "Calm"]);
    assert_eq!(world.machine(&id).await.1, Phase::Idle {});
}

#[tokio::test(start_paused = true)]
async fn a_verdict_that_nothing_speaks_against_is_published_once() {
    let (world, id) = (World::new(), id("a"));
    world.script.next_ends(Ended::Failed);
    world.send(&id, Signal::Begin(1)).await;
    world.drive(&id).await;
    assert_eq!(world.machine(&id).await.1, Phase::Condemned {});
    assert_eq!(world.events().await, ["CONDEMNED"]);
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_came_meanwhile_is_heard_before_the_workflow_ends() {
    let (world, id) = (World::new(), id("a"));
    world.send(&id, Signal::Finish).await;
    signal_before_next_commit(&world, Signal::Begin(1));
    world.drive(&id).await;
    assert_eq!(
        world.script.performed(),
        [1],
        "the last state does not want to end"
    );
    assert!(world.inspect(&id).record.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_verdict_is_never_written_over_a_signal_that_was_not_heard() {
    let (world, id) = (World::new(), id("a"));
    world.script.next_ends(Ended::Failed);
    world.send(&id, Signal::Begin(1)).await;
    world.store.next_goes_well(Op::Commit);
    let notes: Vec<_> = (0..20).map(|n| format!("again {n}")).collect();
    for note in &notes {
        signal_before_next_commit(&world, Signal::Note(note.clone()));
    }
    signal_before_next_commit(&world, Signal::Calm);
    world.drive(&id).await;
    let heard = world.heard(&id).await;
    assert_eq!(heard[1..21], notes);
    assert_eq!(heard[21..], ["Calm", "Failed"]);
    assert_eq!(world.machine(&id).await.1, Phase::Idle {});
    assert_eq!(world.events().await, [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_verdict_without_an_activity_waits_for_the_last_signal_too() {
    let (world, id) = (World::new(), id("a"));
    world.send(&id, Signal::Condemn).await;
    for n in 0..20 {
        signal_before_next_commit(&world, Signal::Note(format!("again {n}")));
    }
    signal_before_next_commit(&world, Signal::Calm);
    world.drive(&id).await;
    assert_eq!(world.machine(&id).await.1, Phase::Idle {});
    assert_eq!(world.inspect(&id).inbox, []);
}

/// A failover keeps the claim and loses a signal that the holder was told of since; another comes in its
/// place. Signals are not consumed by their count.
#[tokio::test(start_paused = true)]
async fn a_signal_that_a_failover_has_lost_is_not_taken_for_another() {
    let (world, id) = (World::new(), id("a"));
    world.send(&id, Signal::Begin(1)).await;
    let replica = std::sync::Arc::new(std::sync::OnceLock::new());
    let (engine, memory) = (world.engine.clone(), world.memory.clone());
    let copy = replica.clone();
    world.store.before_next(Op::Commit, async move {
        copy.set(memory.snapshot()).ok().unwrap();
        note(&engine, "lost").await;
    });
    let (engine, memory) = (world.engine.clone(), world.memory.clone());
    world.store.before_next(Op::Commit, async move {
        memory.fail_over_to(replica.get().unwrap());
        note(&engine, "instead").await;
    });
    let driven = world.drive(&id).await;
    assert_eq!(driven, Driven::Turned(TurnEnd::Fenced), "and no poison");
    assert_eq!(world.script.performed(), [] as [u32; 0]);
    let left = world.inspect(&id);
    assert_eq!(left.inbox.len(), 2);
    for _ in 0..3 {
        tokio::time::advance(world.engine.limits().lease).await;
        world.drive(&id).await;
    }
    assert_eq!(world.heard(&id).await, ["Begin(1)", "instead", "Done(1)"]);
}

async fn note(engine: &evergreen_engine::Engine, text: &str) {
    let (id, signal) = (id("a"), Signal::Note(text.to_owned()));
    let told = engine.signal::<crate::machine::Chore>(&id, &signal, Default::default());
    assert!(told.await.unwrap().is_queued());
}

#[tokio::test(start_paused = true)]
async fn an_outcome_meets_only_the_intent_that_it_belongs_to() {
    let (world, id) = (World::new(), id("a"));
    world.script.next_ends(Ended::Failed);
    world.send(&id, Signal::Begin(1)).await;
    world.store.next_goes_well(Op::Commit);
    // What was begun is called off, and something else is begun in its place.
    signals_before_next_commit(&world, vec![Signal::Calm, Signal::Begin(2)]);
    world.drive(&id).await;
    let heard = ["Begin(1)", "Calm", "Begin(2)", "Held"];
    assert_eq!(world.heard(&id).await, heard);
    assert_eq!(world.machine(&id).await.1, Phase::Idle {});
    assert_eq!(world.events().await, [] as [&str; 0]);
    world.drive(&id).await;
    assert_eq!(world.script.performed(), [1, 0], "in a turn of its own");
}

#[tokio::test(start_paused = true)]
async fn a_precious_outcome_that_nobody_answers_comes_back_as_a_signal() {
    let (world, id) = (World::precious(), id("a"));
    world.send(&id, Signal::Stubborn).await;
    world.drive(&id).await;
    assert_eq!(world.script.settled(), [Ended::Done(99)]);
    let redelivered = &world.engine.counters().redelivered;
    assert_eq!(crate::world::count(redelivered), 1);
    let left = world.inspect(&id);
    assert_eq!(left.inbox.len(), 1, "it waits for a state that answers");
    assert_eq!(left.record.unwrap().activity, None);
}
