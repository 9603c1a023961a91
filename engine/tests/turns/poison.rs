//! What cannot be done is tried again with delays and then left to a human; nobody else suffers.

use std::time::Duration;

use evergreen_engine::engine::Driven;
use evergreen_engine::limits::{DELAY_AFTER, NEWER_WAIT, PARK_AFTER};
use evergreen_engine::store::{Requeued, Store};
use evergreen_engine::turn::TurnEnd;

use crate::machine::{Ended, Phase, Signal};
use crate::world::{BEGIN, World, count, id};

const UNREADABLE: &str = "{\"phase\":{},\"data\":{\"heard\":\"";
const NOTE: &str = r#"{"schema":2,"signal":{"Note":"hello"}}"#;

/// Drives a workflow again and again, whenever it may be had, until it is parked.
async fn drive_until_parked(world: &World) -> (Vec<Driven>, String) {
    let mut ends = Vec::new();
    for _ in 0..100 {
        match world.drive(&id("a")).await {
            Driven::Turned(TurnEnd::Parked { reason }) => return (ends, reason),
            Driven::Stuck { .. } | Driven::Turned(TurnEnd::GivenBack { .. }) => {}
            other => ends.push(other),
        }
        let due = world.inspect(&id("a")).due.unwrap();
        let rest = due.saturating_sub(world.now().await);
        tokio::time::advance(Duration::from_millis(rest)).await;
    }
    panic!("it is never parked: {ends:?}");
}

#[tokio::test(start_paused = true)]
async fn data_that_does_not_load_is_tried_again_later_and_then_parked_with_the_reason() {
    let (world, id) = (World::new(), id("a"));
    world.store_raw(&id, 2, UNREADABLE, NOTE).await;
    let first = world.drive(&id).await;
    assert!(
        matches!(first, Driven::Turned(TurnEnd::GivenBack { .. })),
        "{first:?}"
    );
    assert_eq!(world.inspect(&id).due, Some(BEGIN + 5_000));
    let (others, reason) = drive_until_parked(&world).await;
    assert_eq!(others, []);
    assert!(reason.contains("the record cannot be read"), "{reason}");
    let left = world.inspect(&id);
    let record = left.record.unwrap();
    assert_eq!(record.parked, Some(reason));
    assert_eq!(record.data, UNREADABLE, "it is left as it was");
    assert_eq!(left.inbox.len(), 1);
    assert_eq!((left.due, left.parked.is_some()), (None, true));
    assert_eq!(count(&world.engine.counters().parked), 1);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_panics_is_tried_again_later_and_then_parked() {
    let (world, id) = (World::new(), id("a"));
    world.send(&id, Signal::Panic).await;
    let (others, reason) = drive_until_parked(&world).await;
    assert_eq!(others, []);
    assert!(reason.contains("panicked"), "{reason}");
    let record = world.inspect(&id).record.unwrap();
    assert_eq!(record.v, 1, "only the parking was written");
    assert!(world.now().await >= BEGIN + 5_000 * u64::from(PARK_AFTER));
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_fails_behind_its_own_intent_is_parked_as_the_intent_left_it() {
    let (world, id) = (World::new(), id("a"));
    for _ in 0..PARK_AFTER {
        world.script.next_ends(Ended::Absurd(1));
    }
    world.send(&id, Signal::Begin(1)).await;
    let (others, reason) = drive_until_parked(&world).await;
    assert_eq!(others, []);
    assert!(reason.contains("panicked"), "{reason}");
    let record = world.inspect(&id).record.unwrap();
    assert_eq!(record.state, "Working");
    assert!(record.activity.is_some(), "whoever has it next is told");
    assert_eq!(world.engine.requeue(&id).await.unwrap(), Requeued::Requeued);
    world.drive(&id).await;
    let heard = world.heard(&id).await;
    assert_eq!(
        heard[heard.len() - 3..],
        ["ActivityLost 0", "TimerFired", "Done(0)"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_parked_is_given_back_with_a_clean_slate() {
    let (world, id) = (World::new(), id("a"));
    assert_eq!(world.engine.requeue(&id).await.unwrap(), Requeued::Unknown);
    world.store_raw(&id, 2, UNREADABLE, NOTE).await;
    assert_eq!(
        world.engine.requeue(&id).await.unwrap(),
        Requeued::NotParked
    );
    drive_until_parked(&world).await;
    assert_eq!(world.engine.requeue(&id).await.unwrap(), Requeued::Requeued);
    assert_eq!(world.inspect(&id).due, Some(world.now().await));
    // Whoever looked at it did not put it right: it has all its tries again.
    let again = world.drive(&id).await;
    assert!(
        matches!(again, Driven::Turned(TurnEnd::GivenBack { .. })),
        "{again:?}"
    );
    let record = world.inspect(&id).record.unwrap();
    assert_eq!((record.attempt, record.parked), (1, None));
}

#[tokio::test(start_paused = true)]
async fn an_activity_that_panics_has_an_unknown_outcome() {
    let (world, id) = (World::new(), id("a"));
    world
        .script
        .next(|_| async { panic!("the other end was odd") });
    world.send(&id, Signal::Begin(1)).await;
    world.drive(&id).await;
    assert_eq!(world.heard(&id).await, ["Begin(1)", "Unknown"]);
}

#[tokio::test(start_paused = true)]
async fn an_activity_that_does_not_end_has_an_unknown_outcome_within_the_lease() {
    let (world, id) = (World::new(), id("a"));
    world.script.next(|_| std::future::pending());
    world.send(&id, Signal::Begin(1)).await;
    world.drive(&id).await;
    assert_eq!(world.heard(&id).await, ["Begin(1)", "Unknown"]);
    assert!(world.now().await < BEGIN + 15_000);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_the_machine_cannot_bear_is_not_lost() {
    let (world, id) = (World::precious(), id("a"));
    world.script.next_ends(Ended::Absurd(1));
    world.send(&id, Signal::Begin(1)).await;
    let driven = world.drive(&id).await;
    assert!(
        matches!(driven, Driven::Turned(TurnEnd::GivenBack { .. })),
        "{driven:?}"
    );
    assert_eq!(world.script.settled(), [Ended::Absurd(1)]);
    assert_eq!(count_pending(&world), 0);
    tokio::time::advance(Duration::from_secs(5)).await;
    world.drive(&id).await;
    let heard = world.heard(&id).await;
    assert_eq!(heard[..3], ["Begin(1)", "ActivityLost 1", "Late(1)"]);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_whose_commit_the_store_refuses_is_not_lost() {
    let (world, id) = (World::precious(), id("a"));
    world.send(&id, Signal::Begin(1)).await;
    world
        .store
        .next_goes_well(evergreen_engine::testing::Op::Commit);
    world.store.next(
        evergreen_engine::testing::Op::Commit,
        evergreen_engine::testing::Fault::Refused,
    );
    world.drive(&id).await;
    assert_eq!(world.script.settled(), [Ended::Done(1)]);
    assert_eq!(world.inspect(&id).inbox.len(), 1);
}

fn count_pending(world: &World) -> i64 {
    let pending = &world.engine.counters().persist_pending;
    pending.load(std::sync::atomic::Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn a_state_that_wants_an_activity_and_cannot_be_held_back_is_not_left_asleep() {
    let (world, id) = (World::new(), id("a"));
    // Nobody may perform anything now, and `Stubborn` has no answer to that.
    world.script.hold(BEGIN + 60_000);
    world.send(&id, Signal::Stubborn).await;
    let (_, reason) = drive_until_parked(&world).await;
    assert!(reason.contains("Held"), "{reason}");
    assert_eq!(world.script.performed(), [] as [u32; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_newer_is_left_to_a_newer_worker_and_not_counted() {
    let (world, id) = (World::new(), id("a"));
    world.store_raw(&id, 3, "{}", NOTE).await;
    for _ in 0..2 * PARK_AFTER {
        let driven = world.drive(&id).await;
        let Driven::Turned(TurnEnd::GivenBack { why }) = driven else {
            panic!("{driven:?}");
        };
        assert!(why.contains("schema 3"), "{why}");
        tokio::time::advance(NEWER_WAIT).await;
    }
    let left = world.inspect(&id);
    assert_eq!(left.record.unwrap().attempt, 0);
    assert_eq!(left.inbox.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_is_newer_is_left_to_a_newer_worker() {
    let (world, id) = (World::new(), id("a"));
    let newer = r#"{"schema":3,"signal":{"Unheard":"of"}}"#;
    world
        .store_raw(&id, 2, r#"{"phase":{},"data":{"heard":[]}}"#, newer)
        .await;
    let driven = world.drive(&id).await;
    assert!(
        matches!(driven, Driven::Turned(TurnEnd::GivenBack { .. })),
        "{driven:?}"
    );
    assert_eq!(world.inspect(&id).inbox.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_older_is_upgraded_and_written_back_as_new() {
    let (world, id) = (World::new(), id("a"));
    let old = r#"{"phase":{},"data":{"heard":["long ago"]}}"#;
    world.store_raw(&id, 1, old, NOTE).await;
    world.drive(&id).await;
    let (data, _) = world.machine(&id).await;
    assert_eq!(data.heard, ["long ago", "hello"]);
    assert_eq!(data.since_two, "upgraded");
    assert_eq!(world.inspect(&id).record.unwrap().schema, 2);
}

#[tokio::test(start_paused = true)]
async fn a_record_with_no_way_up_is_parked_in_the_end() {
    let (world, id) = (World::new(), id("a"));
    world
        .store_raw(&id, 0, r#"{"phase":{},"data":{"heard":[]}}"#, NOTE)
        .await;
    let (_, reason) = drive_until_parked(&world).await;
    assert!(reason.contains("no way from schema 0"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_pre_emptive_signal_replaces_what_cannot_be_read_and_erases_what_was_sealed() {
    let (world, id) = (World::new(), id("a"));
    world.send(&id, Signal::Keep("old secret".into())).await;
    world.drive(&id).await;
    assert_eq!(world.inspect(&id).sealed["kept"], "sealed old secret");
    world.store.next_claim_reads(UNREADABLE);
    world
        .preempt(&id, Signal::Note("a new beginning".into()))
        .await;
    let driven = world.drive(&id).await;
    assert!(
        matches!(driven, Driven::Turned(TurnEnd::Finished { .. })),
        "{driven:?}"
    );
    assert_eq!(world.heard(&id).await, ["a new beginning"]);
    assert!(world.inspect(&id).sealed.is_empty());
    assert!(!world.inspect(&id).record.unwrap().barrier);
}

/// Drives until a pre-emptive signal was heard, or until it is parked.
async fn drive_until_heard(world: &World, id: &evergreen_engine::WorkflowId) {
    while let Some(record) = world.inspect(id).record
        && record.barrier
        && record.parked.is_none()
    {
        world.drive(id).await;
        tokio::time::advance(evergreen_engine::limits::DELAY_MAX).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pre_emptive_signal_is_heard_whatever_its_turns_fail_of() {
    let (world, id) = (World::new(), id("a"));
    world.send(&id, Signal::Keep("old secret".into())).await;
    world.drive(&id).await;
    world.send(&id, Signal::Panic).await;
    world.preempt(&id, Signal::Note("the end".into())).await;
    world.send(&id, Signal::Note("behind it".into())).await;
    drive_until_heard(&world, &id).await;
    assert_eq!(world.heard(&id).await, ["the end"]);
    let left = world.inspect(&id);
    assert!(left.sealed.is_empty());
    assert_eq!(left.record.unwrap().parked, None);
    assert_eq!(
        left.inbox.len(),
        1,
        "what came behind it has a turn of its own"
    );
    world.drive(&id).await;
    assert_eq!(world.heard(&id).await, ["the end", "behind it"]);
}

#[tokio::test(start_paused = true)]
async fn a_pre_emptive_signal_is_heard_where_every_holder_of_the_state_dies() {
    let (world, id) = (World::new(), id("a"));
    world.send(&id, Signal::Keep("old secret".into())).await;
    world.drive(&id).await;
    world.preempt(&id, Signal::Note("the end".into())).await;
    for n in 0..DELAY_AFTER {
        let claim = evergreen_engine::store::Claim {
            id: id.clone(),
            claim: format!("vanishing-{n}"),
            owner: "somebody".to_owned(),
            lease: world.engine.limits().lease,
            mode: evergreen_engine::store::ClaimMode::Due,
            spare_owned: false,
        };
        world.memory.claim(&claim).await.unwrap();
        tokio::time::advance(claim.lease).await;
    }
    drive_until_heard(&world, &id).await;
    assert_eq!(world.heard(&id).await, ["the end"]);
    assert!(world.inspect(&id).sealed.is_empty());
}

#[tokio::test(start_paused = true)]
async fn where_even_that_fails_nothing_is_left_sealed() {
    let (world, id) = (World::new(), id("a"));
    world.send(&id, Signal::Keep("old secret".into())).await;
    world.drive(&id).await;
    world.preempt(&id, Signal::Panic).await;
    drive_until_heard(&world, &id).await;
    let left = world.inspect(&id);
    let record = left.record.unwrap();
    assert!(record.parked.is_some() && record.barrier);
    assert!(left.sealed.is_empty());
    assert_eq!(left.inbox.len(), 1, "a human can have it heard");
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_cannot_be_read_does_not_stand_in_the_way_of_a_pre_emptive_one() {
    let (world, id) = (World::new(), id("a"));
    let odd = r#"{"schema":2,"signal":{"Unheard":"of"}}"#;
    world
        .store_raw(&id, 2, r#"{"phase":{},"data":{"heard":[]}}"#, odd)
        .await;
    world.drive(&id).await;
    assert_eq!(world.inspect(&id).inbox.len(), 1, "alone it stands");
    world.preempt(&id, Signal::Condemn).await;
    world.drive(&id).await;
    assert_eq!(world.machine(&id).await.1, Phase::Condemned {});
    assert_eq!(world.inspect(&id).inbox, []);
}

#[tokio::test(start_paused = true)]
async fn after_all_that_the_others_still_get_their_turns() {
    let world = World::new();
    world.send(&id("a"), Signal::Panic).await;
    world.drive(&id("a")).await;
    world.send(&id("b"), Signal::Begin(1)).await;
    world.drive(&id("b")).await;
    assert_eq!(world.heard(&id("b")).await, ["Begin(1)", "Done(1)"]);
    // A caller that comes again for the poisoned one is answered, and not with the panic of before.
    let again = world.drive(&id("a")).await;
    assert!(
        matches!(again, Driven::Turned(TurnEnd::GivenBack { .. })),
        "{again:?}"
    );
}
