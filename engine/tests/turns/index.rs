//! What the index holds: what is not for this worker, and what somebody put in the wrong.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use evergreen_engine::WorkflowId;
use evergreen_engine::reconciler::compare_all;
use evergreen_engine::store::memory::Set;
use evergreen_engine::testing::{Fault, Op, Weather};

use crate::machine::Signal;
use crate::workers::{Running, in_two_partitions};
use crate::world::{BEGIN, World, count, id};

#[tokio::test(start_paused = true)]
async fn entries_of_strangers_do_not_hide_what_is_behind_them() {
    let world = World::new();
    let home = id("a").partition(2);
    let strangers = (0..).map(|n| WorkflowId::new("stranger", &format!("s{n}")).unwrap());
    for stranger in strangers.filter(|id| id.partition(2) == home).take(40) {
        world.store_raw(&stranger, 1, "{}", "{}").await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.send(&id("a"), Signal::Begin(1)).await;
    let running = Running::start(&world);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.script.performed(), [1]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_compared_does_not_hold_up_the_others() {
    let world = World::new();
    let mut names = (0..).map(|n| id(&format!("w{n}")));
    let (odd, lost) = (
        names.next().unwrap(),
        names
            .find(|other| other.partition(2) == id("w0").partition(2))
            .unwrap(),
    );
    for id in [&odd, &lost] {
        world.send(id, Signal::Wake(BEGIN + 7_200_000)).await;
        world.drive(id).await;
    }
    // The list is told; the comparison of both is refused, and then that of one of them.
    world.store.next_goes_well(Op::Compare);
    world.store.next(Op::Compare, Fault::Refused);
    world.store.next(Op::Compare, Fault::Refused);
    let compared = compare_all(&world.engine).await.unwrap();
    assert_eq!(
        (compared.compared, compared.repaired, compared.unreadable),
        (1, 0, 1)
    );
    // Of all comparisons every third is refused.
    let asked = AtomicUsize::new(0);
    let refuses: Weather = Box::new(move |op| match op {
        Op::Compare if asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) => {
            Some(Fault::Refused)
        }
        _ => None,
    });
    let _shared = world.store.clone().in_weather(refuses);
    let running = Running::start(&world);
    tokio::time::sleep(Duration::from_secs(30)).await;
    // After the walk at the start: only the steps can find it within the hour.
    let late = Some(BEGIN + 7_300_000);
    world.memory.break_index(&lost, Set::Due, late);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.inspect(&lost).due, Some(BEGIN + 7_200_000));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_and_a_stray_entry_are_put_right_and_counted() {
    let world = World::new();
    let (lost, stray) = in_two_partitions();
    world.send(&lost, Signal::Wake(BEGIN + 7_200_000)).await;
    world.drive(&lost).await;
    world
        .send(&stray, Signal::Note("and no timer".into()))
        .await;
    world.drive(&stray).await;
    world.memory.break_index(&lost, Set::Due, None);
    world
        .memory
        .break_index(&stray, Set::Due, Some(BEGIN + 9_000_000));
    let running = Running::start(&world);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.inspect(&lost).due, Some(BEGIN + 7_200_000));
    assert_eq!(world.inspect(&stray).due, None);
    assert_eq!(count(&world.engine.counters().repairs), 2);
    running.stop().await;
}
