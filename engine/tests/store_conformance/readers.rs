//! Readers of the outbox: each event is given once, taken again until it is settled, and kept until then.

use std::collections::BTreeSet;
use std::time::Duration;

use evergreen_engine::store::outbox::{
    Dealt, Drain, Drained, GAP, Position, Progress, Settle, Take,
};
use evergreen_engine::store::{Commit, StoreError};

use super::steps::{LEASE, SECOND, commit, event};
use super::support::{BEGIN, World};

const READER: &str = "webhook";
/// In Redis nothing is old by the time that a test dictates: the stream goes by the server's own.
const LONG_AFTER: u64 = 4_102_444_800_000;

fn drain(take: Take) -> Drain {
    Drain {
        partition: 0,
        reader: READER.to_owned(),
        take,
        count: 100,
        at: BEGIN,
        events_max: 1000,
    }
}

fn again(after: Position) -> Take {
    Take::Again { after }
}

const FROM_THE_START: Take = Take::Again {
    after: Position { ms: 0, number: 0 },
};

fn ids(drained: &Drained) -> Vec<&str> {
    let events = drained.events.iter();
    events.map(|event| event.entry.id.as_str()).collect()
}

fn positions(drained: &Drained) -> Vec<Position> {
    let events = drained.events.iter();
    events
        .map(|event| event.position.parse().unwrap())
        .collect()
}

fn settle(reader: &str, positions: &[Position]) -> Settle {
    Settle {
        partition: 0,
        reader: reader.to_owned(),
        positions: positions.to_vec(),
        how: Dealt::Done,
        keep: Duration::ZERO,
    }
}

impl World {
    /// Publishes so many events by one commit of a workflow of its own.
    async fn tell(&self, name: &str, count: usize, events_max: usize) {
        let id = self.created(name).await;
        let record = self.hold(&id, "c").await;
        let events = (0..count).map(|index| event(name, index)).collect();
        let told = Commit {
            events,
            events_max,
            keep: Some(LEASE),
            ..commit(&id, &record, name)
        };
        self.commit(&told).await;
    }

    async fn drain(&self, take: Take) -> Drained {
        self.store.drain(&drain(take)).await.unwrap()
    }

    async fn settle(&self, settle: &Settle) -> u64 {
        self.store.settle(settle).await.unwrap()
    }

    async fn progress(&self) -> Progress {
        let mut all = self.store.progress(READER).await.unwrap();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    async fn kept(&self) -> usize {
        self.store.events(0, None, 10_000).await.unwrap().len()
    }
}

both_stores! {
    async fn a_reader_hears_of_what_comes_after_it_joined_and_of_each_once(w) {
        w.tell("before", 2, 1000).await;
        let nobody = w.progress().await;
        assert!(!nobody.joined && nobody.unread == 0 && nobody.oldest.is_none());
        assert_eq!(w.drain(FROM_THE_START).await.through, None, "asking again joins nobody");
        assert!(!w.progress().await.joined);
        let joined = w.drain(Take::New).await;
        assert_eq!((ids(&joined).len(), joined.through, joined.lost), (0, None, 0));
        assert!(w.progress().await.joined);

        w.tell("after", 3, 1000).await;
        let seen = w.progress().await;
        assert_eq!((seen.unread, seen.unsettled, seen.partition), (3, 0, 0));
        let two = w.store.drain(&Drain { count: 2, ..drain(Take::New) }).await.unwrap();
        assert_eq!(ids(&two), ["after-0", "after-1"]);
        assert_eq!(seen.oldest, Some(positions(&two)[0]), "the oldest that it has not had");
        assert_eq!(two.through, positions(&two).last().copied());
        assert_eq!(ids(&w.drain(Take::New).await), ["after-2"]);
        assert_eq!(w.drain(Take::New).await.through, None);
        let seen = w.progress().await;
        assert_eq!((seen.unread, seen.unsettled), (0, 3));
        assert_eq!(seen.oldest, Some(positions(&two)[0]), "the oldest that it has not settled");
    }

    async fn what_was_taken_and_not_settled_is_taken_again_in_order(w) {
        w.drain(Take::New).await;
        w.tell("a", 4, 1000).await;
        let taken = w.drain(Take::New).await;
        let places = positions(&taken);
        assert_eq!(w.settle(&settle(READER, &places[1..2])).await, 1);
        assert_eq!(w.settle(&settle(READER, &places[1..2])).await, 0, "once");
        let rest = w.drain(FROM_THE_START).await;
        assert_eq!(ids(&rest), ["a-0", "a-2", "a-3"]);
        assert_eq!(rest.events[0], taken.events[0], "the same in every word");
        // One of them alone, as one reads it whose turn it is later.
        let one = Drain { count: 1, ..drain(again(places[2].before())) };
        assert_eq!(ids(&w.store.drain(&one).await.unwrap()), ["a-2"]);
        assert_eq!(ids(&w.drain(again(places[2])).await), ["a-3"]);
        assert_eq!(w.drain(again(places[3])).await.through, None);
        w.settle(&settle(READER, &places)).await;
        let seen = w.progress().await;
        assert_eq!((seen.unsettled, seen.oldest), (0, None));
        assert_eq!(w.drain(FROM_THE_START).await.through, None);
    }

    async fn what_is_given_up_is_counted_once(w) {
        w.drain(Take::New).await;
        w.tell("a", 3, 1000).await;
        let places = positions(&w.drain(Take::New).await);
        let given_up = Settle { how: Dealt::Abandoned, ..settle(READER, &places[..2]) };
        assert_eq!(w.settle(&given_up).await, 2);
        assert_eq!(w.settle(&given_up).await, 0);
        w.settle(&settle(READER, &places)).await;
        let seen = w.progress().await;
        assert_eq!((seen.abandoned, seen.unsettled, seen.lost), (2, 0, 0));
    }

    async fn what_is_settled_and_old_leaves_the_stream_and_nothing_else_does(w) {
        w.drain(Take::New).await;
        let slow = |take| Drain { reader: "slow".to_owned(), ..drain(take) };
        w.store.drain(&slow(Take::New)).await.unwrap();
        // More than a node of a stream holds, because Redis trims by whole nodes.
        w.tell("a", 250, 1000).await;
        let mut places = Vec::new();
        for _ in 0..3 {
            places.extend(positions(&w.drain(Take::New).await));
        }
        assert_eq!(places.len(), 250);
        let keep = Settle { keep: 3600 * SECOND, ..settle(READER, &places) };
        assert_eq!(w.settle(&keep).await, 250);
        assert_eq!(w.kept().await, 250, "not old yet");
        w.clock.set(LONG_AFTER);
        w.settle(&settle(READER, &[])).await;
        assert_eq!(w.kept().await, 250, "the slowest reader has had nothing");
        let taken = w.store.drain(&slow(Take::New)).await.unwrap();
        w.settle(&settle(READER, &[])).await;
        assert_eq!(w.kept().await, 250, "nor settled anything");
        let all_but_one = &positions(&taken)[1..];
        w.settle(&settle("slow", all_but_one)).await;
        assert_eq!(w.kept().await, 250, "the oldest that it has not settled");
        for _ in 0..2 {
            let more = w.store.drain(&slow(Take::New)).await.unwrap();
            w.settle(&settle("slow", &positions(&more))).await;
        }
        w.settle(&settle("slow", &positions(&taken)[..1])).await;
        assert!(w.kept().await <= 100, "{}", w.kept().await);
        // What is gone in order is not lost.
        w.tell("b", 1, 1000).await;
        let next = w.drain(Take::New).await;
        assert_eq!((ids(&next), next.lost), (vec!["b-0"], 0));
        assert_eq!(w.progress().await.lost, 0);
    }

    async fn what_the_ceiling_pushed_out_unread_is_counted_and_told(w) {
        w.drain(Take::New).await;
        for name in ["a", "b", "c"] {
            w.tell(name, 150, 100).await;
        }
        let (mut got, mut lost, mut gaps) = (BTreeSet::new(), 0, Vec::new());
        loop {
            let some = w.drain(Take::New).await;
            lost += some.lost;
            if some.through.is_none() {
                break;
            }
            for event in some.events {
                match event.entry.event.as_str() {
                    GAP => gaps.push(event.entry),
                    _ => assert!(got.insert(event.entry.id), "each once"),
                }
            }
        }
        assert!(lost > 0 && got.contains("c-149"));
        assert_eq!(lost + got.len() as u64, 450, "none without a word");
        assert_eq!(w.progress().await.lost, lost);
        assert_eq!(gaps.len(), 1);
        let told = format!(r#"{{"partition":0,"reader":"webhook","lost":{lost},"lostInAll":{lost}}}"#);
        assert_eq!(gaps[0].payload, told);
        let now = w.store.now().await.unwrap();
        assert_eq!(gaps[0].id, format!("gap-webhook-0-{now}-{lost}"));
        assert_eq!((gaps[0].subject.as_str(), gaps[0].at.as_str()), ("", "2025-11-21T04:40:00.123Z"));
    }

    async fn what_the_ceiling_pushed_out_unsettled_is_counted_and_told(w) {
        w.drain(Take::New).await;
        w.tell("a", 2, 1000).await;
        let taken = w.drain(Take::New).await;
        w.settle(&settle(READER, &positions(&taken)[..1])).await;
        w.tell("b", 300, 100).await;
        let one = Drain { count: 1, ..drain(again(positions(&taken)[1].before())) };
        let gone = w.store.drain(&one).await.unwrap();
        assert_eq!((gone.lost, gone.events.len()), (1, 0));
        assert_eq!(gone.through, Some(positions(&taken)[1]));
        assert_eq!(w.drain(FROM_THE_START).await.lost, 0, "counted once");
        let seen = w.progress().await;
        assert_eq!((seen.lost, seen.unsettled), (1, 0));
        let end = w.store.events(0, None, 10_000).await.unwrap().pop().unwrap();
        let id = format!("gap-webhook-0-{}-1", w.store.now().await.unwrap());
        assert_eq!((end.entry.event.as_str(), end.entry.id), (GAP, id));
        assert!(end.entry.payload.contains(r#""lost":1,"lostInAll":1"#));
    }

    async fn a_partition_that_is_not_there_is_refused(w) {
        let elsewhere = Drain { partition: 9, ..drain(Take::New) };
        let error = w.store.drain(&elsewhere).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused { .. }));
        let elsewhere = Settle { partition: 9, ..settle(READER, &[]) };
        assert!(w.store.settle(&elsewhere).await.is_err());
    }
}
