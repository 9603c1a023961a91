//! Which inputs a machine hears, in which order, and which of its wishes count.

use std::time::Duration;

use evergreen_engine::time::rfc3339;

use crate::machine::{Ended, Phase, Script, Signal};
use crate::world::{BEGIN, World, id};

/// Leaves a workflow as a holder leaves it that vanished in the midst of its activity.
async fn vanish_in_mid_activity(world: &World, n: u32) {
    let id = id("a");
    world.script.next(|_| std::future::pending());
    world.send(&id, Signal::Begin(n)).await;
    let engine = world.engine.clone();
    let held = id.clone();
    tokio::spawn(async move { engine.drive(&held).await });
    world.script.begun.notified().await;
    // Nobody hears of this holder again.
    let rest = std::future::pending();
    world
        .store
        .before_next(evergreen_engine::testing::Op::Commit, rest);
    tokio::time::advance(Duration::from_secs(20)).await;
    while world.store.calls(evergreen_engine::testing::Op::Commit) < 2 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_activity_comes_first_then_signals_then_the_timer() {
    let (world, id) = (World::new(), id("a"));
    vanish_in_mid_activity(&world, 7).await;
    world.send(&id, Signal::Note("first".into())).await;
    world.send(&id, Signal::Note("second".into())).await;
    let other = world.second(Script::default());
    other.drive(&id).await;
    // The timer is the one that `ActivityLost` asked for.
    assert_eq!(
        other.heard(&id).await,
        [
            "Begin(7)",
            "ActivityLost 7",
            "first",
            "second",
            "TimerFired",
            "Done(0)"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_timer_is_judged_as_it_stands_after_the_signals() {
    let (world, id) = (World::new(), id("a"));
    world.send(&id, Signal::Wake(BEGIN + 1_000)).await;
    world.drive(&id).await;
    tokio::time::advance(Duration::from_secs(2)).await;
    world.send(&id, Signal::Wake(BEGIN + 60_000)).await;
    world.drive(&id).await;
    assert_eq!(world.script.performed(), [] as [u32; 0]);
    assert_eq!(world.inspect(&id).due, Some(BEGIN + 60_000));
    let (_, _, fired) = world.engine.counters().lateness();
    assert_eq!(fired, 0, "what did not fire was not late");
}

#[tokio::test(start_paused = true)]
async fn each_transition_bears_the_time_at_which_it_happened() {
    let (world, id) = (World::new(), id("a"));
    world.script.next(|n| async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ended::Done(n)
    });
    world.send(&id, Signal::Begin(1)).await;
    world.drive(&id).await;
    let log = world.inspect(&id).log;
    let at = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["at"].clone();
    assert_eq!(at(&log[0]), rfc3339(BEGIN));
    assert_eq!(at(&log[1]), rfc3339(BEGIN + 5_000));
}

#[tokio::test(start_paused = true)]
async fn a_timer_that_fired_does_not_fire_again() {
    let (world, id) = (World::new(), id("a"));
    world.send(&id, Signal::Wake(BEGIN + 1_000)).await;
    world.drive(&id).await;
    tokio::time::advance(Duration::from_secs(2)).await;
    world.drive(&id).await;
    world.drive(&id).await;
    assert_eq!(world.script.performed(), [0]);
    assert_eq!(world.inspect(&id).due, None);
    // Also where the machine stays in its state, and says nothing of the timer.
    world.send(&id, Signal::Condemn).await;
    world.send(&id, Signal::Wake(BEGIN + 3_000)).await;
    world.drive(&id).await;
    tokio::time::advance(Duration::from_secs(2)).await;
    world.drive(&id).await;
    assert_eq!(world.inspect(&id).due, None);
    let heard = world.heard(&id).await;
    assert_eq!(
        heard[heard.len() - 2..],
        ["Wake(1763700003000)", "TimerFired"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_performed_is_what_the_last_state_asks_for() {
    let (world, id) = (World::new(), id("a"));
    vanish_in_mid_activity(&world, 7).await;
    // `ActivityLost` asks for a retry at once, and then calm is asked for.
    world.send(&id, Signal::Begin(8)).await;
    world.send(&id, Signal::Calm).await;
    let other = world.second(Script::default());
    other.drive(&id).await;
    assert_eq!(other.script.performed(), [] as [u32; 0]);
    let (_, phase) = other.machine(&id).await;
    assert_eq!(phase, Phase::Idle {});
    assert_eq!(
        other.inspect(&id).due,
        None,
        "no timer of a state that was left"
    );
}

#[tokio::test(start_paused = true)]
async fn one_activity_a_turn() {
    let (world, id) = (World::new(), id("a"));
    world.script.next_ends(Ended::Unknown);
    world.send(&id, Signal::Begin(1)).await;
    world.drive(&id).await;
    assert_eq!(world.script.performed(), [1]);
    assert_eq!(
        world.inspect(&id).due,
        Some(BEGIN),
        "the retry is a turn of its own"
    );
    world.drive(&id).await;
    assert_eq!(world.script.performed(), [1, 0]);
}
