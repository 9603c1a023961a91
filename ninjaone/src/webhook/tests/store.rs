//! A store that is away, loses answers, or had no room.

use std::slice::from_ref;
use std::time::Duration;

use evergreen_engine::testing::{Fault, FaultyStore, Op};
use tokio::time::sleep;

use super::*;

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_costs_no_event_and_sends_none_twice() {
    let (outbox, receiver) = (Outbox::new(), Receiver::new());
    let store = FaultyStore::over(outbox.store.clone());
    let sender = Sender::start("one", Arc::new(store.clone()), &receiver);
    sleep(Duration::from_secs(2)).await;
    let mut told = vec![outbox.tell("acme/prod").await];
    store.next(Op::Drain, Fault::ReplyLost);
    sleep(Duration::from_secs(5)).await;
    store.next(Op::Settle, Fault::ReplyLost);
    told.push(outbox.tell("acme/prod").await);
    store.next(Op::Drain, Fault::ReplyLost);
    store.next(Op::Progress, Fault::Away);
    sleep(SOON).await;
    told.push(outbox.tell("acme/prod").await);
    sleep(SOON).await;
    assert_eq!(receiver.taken(None), told);
    assert_eq!(outbox.undelivered().await, 0);
    sender.leaves().await;
}

#[tokio::test(start_paused = true)]
async fn the_next_event_waits_until_the_last_one_is_noted() {
    let (outbox, receiver) = (Outbox::new(), Receiver::new());
    let store = FaultyStore::over(outbox.store.clone());
    let sender = Sender::start("one", Arc::new(store.clone()), &receiver);
    sleep(Duration::from_secs(2)).await;
    for _ in 0..5 {
        store.next(Op::Settle, Fault::Away);
    }
    let first = outbox.tell("acme/prod").await;
    let second = outbox.tell("acme/prod").await;
    sleep(Duration::from_secs(4)).await;
    assert_eq!(receiver.taken(None), from_ref(&first));
    sleep(SOON).await;
    assert_eq!(receiver.taken(None), [first, second], "each once");
    sender.leaves().await;
}

#[tokio::test(start_paused = true)]
async fn who_cannot_say_that_he_is_the_sender_stops_before_another_may_begin() {
    let (outbox, receiver) = (Outbox::new(), Receiver::new());
    let store = FaultyStore::over(outbox.store.clone());
    let one = Sender::start("one", Arc::new(store.clone()), &receiver);
    sleep(Duration::from_secs(2)).await;
    // It reads and settles, but nobody confirms its part.
    for _ in 0..100 {
        store.next(Op::Turnstile, Fault::Away);
    }
    let two = Sender::start("two", outbox.store.clone(), &receiver);
    let mut sent_by_one = 0;
    for _ in 0..60 {
        outbox.tell("acme/prod").await;
        sleep(Duration::from_secs(1)).await;
        let now = one.telemetry.webhooks().values().sum::<u64>();
        let other = two.telemetry.webhooks().values().sum::<u64>();
        assert!(other == 0 || now == sent_by_one, "one at a time");
        sent_by_one = now;
    }
    sleep(SOON).await;
    assert!(two.telemetry.webhooks()["delivered"] > 0);
    assert_eq!(receiver.taken(None).len(), 60, "each once");
    one.dies().await;
    two.leaves().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_outbox_had_no_room_for_is_told_as_a_gap() {
    let (outbox, receiver) = (Outbox::new(), Receiver::new());
    let sender = Sender::start("one", outbox.store.clone(), &receiver);
    sleep(Duration::from_secs(2)).await;
    receiver.answers(|name| status(if name == "acme/bad" { 500 } else { 200 }));
    let told = outbox.tell_many("acme/bad", 3, 1_000_000).await;
    sleep(Duration::from_secs(3)).await;
    // All three are given out; two are pushed out of the stream, and one that nobody has read.
    let more = outbox.tell_many("acme/bad", 4, 3).await;
    receiver.answers(|_| status(200));
    sleep(400 * Duration::from_secs(1)).await;
    let mut expected = told.clone();
    expected.extend(more[1..].to_vec());
    assert_eq!(
        receiver.taken(Some("acme/bad")),
        expected,
        "those in memory still come"
    );
    assert_eq!(receiver.taken(Some("")).len(), 1, "the gap, once");
    let stand = sender.telemetry.webhook_stand().unwrap();
    assert_eq!((stand.lost, stand.undelivered), (1, 0));
    sender.leaves().await;
}
