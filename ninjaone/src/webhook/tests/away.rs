//! Receivers that are away, refuse, or come back.

use std::time::Duration;

use tokio::time::{advance, sleep};

use super::*;
use crate::webhook::READER;
use crate::webhook::pace::PATIENCE;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_hours(1);

/// A store, a receiver and a sender that has begun.
async fn begun() -> (Outbox, Receiver, Sender) {
    let (outbox, receiver) = (Outbox::new(), Receiver::new());
    let sender = Sender::start("one", outbox.store.clone(), &receiver);
    sleep(Duration::from_secs(2)).await;
    (outbox, receiver, sender)
}

#[tokio::test(start_paused = true)]
async fn s63_a_receiver_away_for_an_hour_gets_each_event_once_and_in_order() {
    let (outbox, receiver, sender) = begun().await;
    receiver.answers(|_| Answer::Unreachable);
    let names: Vec<String> = (0..20).map(|n| format!("acme/n{n}")).collect();
    let mut told: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for _ in 0..6 {
        for name in &names {
            told.entry(name).or_default().push(outbox.tell(name).await);
        }
        sleep(10 * MINUTE).await;
    }
    assert!(receiver.taken(None).is_empty());
    receiver.answers(|_| status(204));
    // The longest wait, and what is behind it.
    sleep(6 * MINUTE).await;
    for (name, ids) in &told {
        assert_eq!(receiver.taken(Some(name)), *ids, "{name}");
    }
    assert_eq!(outbox.undelivered().await, 0);
    assert_eq!(sender.telemetry.webhooks()["delivered"], 120);
    // It was not hammered meanwhile: each integration every few minutes.
    let tries = receiver.came().iter().filter(|one| !one.taken).count();
    assert!(tries < 20 * 30, "{tries}");
    sender.leaves().await;
}

#[tokio::test(start_paused = true)]
async fn s63_a_failing_integration_holds_back_nobody_else() {
    let (outbox, receiver, sender) = begun().await;
    receiver.answers(|name| status(if name == "acme/bad" { 500 } else { 200 }));
    let mut bad = Vec::new();
    for n in 0..50 {
        bad.push(outbox.tell("acme/bad").await);
        outbox.tell(&format!("acme/good{}", n % 5)).await;
    }
    sleep(SOON).await;
    assert_eq!(receiver.taken(None).len(), 50);
    let tried: Vec<Came> = receiver
        .came()
        .into_iter()
        .filter(|one| !one.taken)
        .collect();
    assert!(
        tried.len() > 1 && tried.iter().all(|one| one.id == bad[0]),
        "{tried:?}"
    );
    receiver.answers(|_| status(200));
    sleep(6 * MINUTE).await;
    assert_eq!(receiver.taken(Some("acme/bad")), bad);
    sender.leaves().await;
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_names_a_time_is_left_alone_until_then() {
    let (outbox, receiver, sender) = begun().await;
    receiver.answers(|_| Answer::Status {
        status: 429,
        retry_after: Some(20 * MINUTE),
    });
    outbox.tell("acme/prod").await;
    sleep(SOON).await;
    receiver.answers(|_| status(200));
    sleep(HOUR).await;
    let came = receiver.came();
    assert_eq!(came.len(), 2, "{came:?}");
    assert!(came[1].at - came[0].at >= 20 * MINUTE, "{came:?}");
    sender.leaves().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_taken_for_three_days_is_given_up_counted_and_the_next_one_tried() {
    let (outbox, receiver, sender) = begun().await;
    receiver.answers(|_| status(404));
    let first = outbox.tell("acme/prod").await;
    sleep(10 * MINUTE).await;
    advance(PATIENCE - HOUR).await;
    let second = outbox.tell("acme/prod").await;
    sleep(10 * MINUTE).await;
    let of = |id: &str| receiver.came().iter().filter(|one| one.id == id).count();
    assert!(of(&first) > 8 && of(&second) == 0);
    sleep(2 * HOUR).await;
    let given_up = of(&first);
    assert!(of(&second) > 1, "its turn has come");
    sleep(HOUR).await;
    assert_eq!(of(&first), given_up);
    receiver.answers(|_| status(200));
    sleep(6 * MINUTE).await;
    assert_eq!(receiver.taken(None), [second]);
    let seen = outbox.store.progress(READER).await.unwrap();
    assert_eq!(seen.iter().map(|one| one.abandoned).sum::<u64>(), 1);
    assert_eq!(sender.telemetry.webhooks()["abandoned"], 1);
    let stand = sender.telemetry.webhook_stand().unwrap();
    assert_eq!((stand.abandoned, stand.undelivered), (1, 0));
    sender.leaves().await;
}

#[tokio::test(start_paused = true)]
async fn an_old_event_is_tried_once_at_least() {
    let (outbox, receiver) = (Outbox::new(), Receiver::new());
    let sender = Sender::start("one", outbox.store.clone(), &receiver);
    sleep(Duration::from_secs(2)).await;
    sender.leaves().await;
    let id = outbox.tell("acme/prod").await;
    sleep(2 * PATIENCE).await;
    let sender = Sender::start("two", outbox.store.clone(), &receiver);
    sleep(SOON).await;
    assert_eq!(receiver.taken(None), [id]);
    sender.leaves().await;
}
