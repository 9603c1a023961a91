//! More than one process: one sends, and another goes on where it stopped.

use std::slice::from_ref;
use std::time::Duration;

use evergreen_engine::store::clock::ManualClock;
use tokio::time::sleep;

use super::*;

#[tokio::test(start_paused = true)]
async fn of_two_processes_one_sends() {
    let (outbox, receiver) = (Outbox::new(), Receiver::new());
    let one = Sender::start("one", outbox.store.clone(), &receiver);
    let two = Sender::start("two", outbox.store.clone(), &receiver);
    sleep(Duration::from_secs(2)).await;
    let mut told = Vec::new();
    for n in 0..200 {
        told.push(outbox.tell(&format!("acme/n{}", n % 7)).await);
        sleep(Duration::from_millis(500)).await;
    }
    sleep(SOON).await;
    let mut taken = receiver.taken(None);
    taken.sort();
    told.sort();
    assert_eq!(taken, told, "each once");
    let counts = [&one, &two].map(|sender| sender.telemetry.webhooks().values().sum::<u64>());
    assert!(counts.contains(&0), "{counts:?}");
    let stands = [&one, &two].map(|sender| sender.telemetry.webhook_stand().is_some());
    assert_eq!(stands.iter().filter(|is| **is).count(), 1);
    one.leaves().await;
    two.leaves().await;
}

#[tokio::test(start_paused = true)]
async fn s63_what_was_sent_and_not_settled_comes_again_under_the_same_id_and_before_later_ones() {
    let (outbox, receiver) = (Outbox::new(), Receiver::new());
    let one = Sender::start("one", outbox.store.clone(), &receiver);
    sleep(Duration::from_secs(2)).await;
    receiver.holds();
    let first = outbox.tell("acme/prod").await;
    let second = outbox.tell("acme/prod").await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(receiver.taken(None), from_ref(&first), "taken, not settled");
    one.dies().await;
    receiver.lets_go();
    let two = Sender::start("two", outbox.store.clone(), &receiver);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(receiver.taken(None), [first.clone(), first, second]);
    assert_eq!(outbox.undelivered().await, 0);
    two.leaves().await;
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_leaves_finishes_what_is_under_way_and_the_next_goes_on_soon() {
    let (outbox, receiver) = (Outbox::new(), Receiver::new());
    let one = Sender::start("one", outbox.store.clone(), &receiver);
    sleep(Duration::from_secs(2)).await;
    receiver.holds();
    let first = outbox.tell("acme/prod").await;
    let second = outbox.tell("acme/prod").await;
    let two = Sender::start("two", outbox.store.clone(), &receiver);
    sleep(Duration::from_secs(2)).await;
    let (gate, began) = (receiver.clone(), Instant::now());
    let (_, ()) = tokio::join!(one.leaves(), async move {
        sleep(Duration::from_secs(3)).await;
        gate.lets_go();
    });
    assert!(began.elapsed() < Duration::from_secs(4));
    assert_eq!(outbox.undelivered().await, 1, "the first is settled");
    // Well before the turnstile would have opened by itself.
    sleep(Duration::from_secs(12)).await;
    assert_eq!(receiver.taken(None), [first, second], "each once");
    two.leaves().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_is_not_waited_for_longer_than_the_part_lasts() {
    let (outbox, receiver) = (Outbox::new(), Receiver::new());
    let one = Sender::start("one", outbox.store.clone(), &receiver);
    sleep(Duration::from_secs(2)).await;
    receiver.holds();
    let id = outbox.tell("acme/prod").await;
    sleep(Duration::from_secs(60)).await;
    assert!(receiver.came().len() > 1, "broken off and tried again");
    assert!(one.telemetry.webhooks()["timeout"] > 0);
    receiver.lets_go();
    sleep(Duration::from_secs(400)).await;
    assert_eq!(receiver.taken(None).last(), Some(&id));
    assert_eq!(outbox.undelivered().await, 0);
    one.leaves().await;
}

#[tokio::test(start_paused = true)]
async fn a_sender_whose_machine_was_suspended_sends_nothing_more() {
    let (outbox, receiver) = (Outbox::new(), Receiver::new());
    let wall = ManualClock::at(BEGIN);
    let platform = Platform {
        wall: wall.clock(),
        ..Platform::default()
    };
    let one = Sender::start_on(platform, "one", outbox.store.clone(), &receiver);
    sleep(Duration::from_secs(2)).await;
    let connected = receiver.is_far();
    let id = outbox.tell("acme/prod").await;
    sleep(Duration::from_secs(2)).await;
    // It wakes with the connection in its hands: its own monotonic clock stood still.
    wall.advance(Duration::from_secs(60));
    connected.notify_waiters();
    sleep(Duration::from_millis(100)).await;
    assert!(receiver.came().is_empty(), "somebody else may be sending");
    connected.notify_one();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(receiver.taken(None), [id], "once it is the sender again");
    one.leaves().await;
}
