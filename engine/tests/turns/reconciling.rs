//! The index is compared with the records, and put right.

use std::time::Duration;

use evergreen_engine::reconciler::{self, Comparison};
use evergreen_engine::store::memory::Set;
use evergreen_engine::testing::{Fault, Op};
use evergreen_engine::worker::Stopped;

use crate::machine::{Script, Signal};
use crate::workers::{Running, in_two_partitions};
use crate::world::{BEGIN, World, count};

#[tokio::test(start_paused = true)]
async fn stopping_does_not_wait_for_a_walk() {
    let world = World::new();
    world.store.before_next(Op::Compare, std::future::pending());
    let running = Running::start(&world);
    while world.store.calls(Op::Compare) == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let before = world.now().await;
    assert_eq!(running.stop().await, Stopped { unfinished: 0 });
    assert_eq!(world.now().await, before);
}

/// What a human asks for is done at once, and in both directions.
#[tokio::test(start_paused = true)]
async fn everything_is_compared_when_asked_for() {
    let world = World::new();
    let (lost, stray) = in_two_partitions();
    world.send(&lost, Signal::Wake(BEGIN + 7_200_000)).await;
    world.drive(&lost).await;
    let memory = &world.memory;
    memory.break_index(&lost, Set::Due, None);
    memory.break_index(&stray, Set::Due, Some(BEGIN + 9_000_000));
    let found = reconciler::compare_all(&world.engine).await.unwrap();
    let wanted = Comparison {
        compared: 1,
        entries: 2,
        repaired: 2,
        unreadable: 0,
    };
    assert_eq!(
        found, wanted,
        "the lost one is an entry once its record was seen"
    );
    assert_eq!(world.inspect(&lost).due, Some(BEGIN + 7_200_000));
    assert_eq!(world.inspect(&stray).due, None);
    assert_eq!(count(&world.engine.counters().repairs), 2);
}

/// A worker that dies in the midst of a walk of all records is waited for no longer than it stays the
/// reconciler.
#[tokio::test(start_paused = true)]
async fn a_walk_that_its_worker_does_not_live_to_end_is_begun_anew_by_another() {
    let world = World::new();
    let (lost, _) = in_two_partitions();
    world.send(&lost, Signal::Wake(BEGIN + 7_200_000)).await;
    world.drive(&lost).await;
    // The first step of the walk is under way when it dies.
    world.store.before_next(Op::Compare, std::future::pending());
    let first = Running::start(&world);
    while world.store.calls(Op::Compare) == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    first.kill();
    world.memory.break_index(&lost, Set::Due, None);
    let second = Running::start(&world.second(Script::default()));
    tokio::time::sleep(Duration::from_secs(90)).await;
    let put_right = Some(BEGIN + 7_200_000);
    assert_eq!(world.inspect(&lost).due, put_right);

    // When it is done, no other walk is begun by whoever comes next.
    second.stop().await;
    world.memory.break_index(&lost, Set::Due, None);
    let third = Running::start(&world);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.inspect(&lost).due, None);
    tokio::time::sleep(Duration::from_secs(1300)).await;
    assert_eq!(world.inspect(&lost).due, put_right);
    third.stop().await;
}

/// One worker looks after the index at a time; when it is gone another does.
#[tokio::test(start_paused = true)]
async fn one_worker_of_a_fleet_is_the_reconciler() {
    let world = World::new();
    let walks = || world.store.calls(Op::Compare);
    let first = Running::start(&world);
    tokio::time::sleep(Duration::from_secs(30)).await;
    let alone = walks();
    let other = world.second(Script::default());
    let second = Running::start(&other);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(walks() - alone <= alone + 1, "{alone}, then {}", walks());
    first.stop().await;
    let (lost, _) = in_two_partitions();
    world.send(&lost, Signal::Wake(BEGIN + 7_200_000)).await;
    world.drive(&lost).await;
    world
        .memory
        .break_index(&lost, Set::Due, Some(BEGIN + 9_000_000));
    tokio::time::sleep(Duration::from_secs(180)).await;
    assert_eq!(world.inspect(&lost).due, Some(BEGIN + 7_200_000));
    second.stop().await;
}

/// One that is cut off from what it is to compare leaves it to another, however well it says that it lives.
#[tokio::test(start_paused = true)]
async fn a_reconciler_whose_steps_are_in_vain_leaves_the_part_to_another() {
    let world = World::new();
    let first = Running::start(&world);
    for _ in 0..20 {
        world.store.next(Op::Compare, Fault::Away);
    }
    tokio::time::sleep(Duration::from_secs(45)).await;
    let asked = world.store.calls(Op::Compare);
    assert!((4..20).contains(&asked), "{asked}");
    world.store.heal();
    let other = world.second(Script::default());
    let second = Running::start(&other);
    let (lost, _) = in_two_partitions();
    world.send(&lost, Signal::Wake(BEGIN + 7_200_000)).await;
    world.drive(&lost).await;
    let wrong = Some(BEGIN + 9_000_000);
    world.memory.break_index(&lost, Set::Due, wrong);
    tokio::time::sleep(Duration::from_secs(75)).await;
    assert_eq!(world.inspect(&lost).due, Some(BEGIN + 7_200_000));
    assert_eq!(count(&other.engine.counters().repairs), 1);
    first.stop().await;
    second.stop().await;
}
