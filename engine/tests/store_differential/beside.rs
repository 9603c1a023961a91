//! What has nothing to do with the turns of a workflow: gates, and readers of the outbox.

use std::time::Duration;

use evergreen_engine::store::outbox::{Drain, Position, Progress, Settle, Take};
use evergreen_engine::store::{Enter, GateBounds, OutboxEntry, Store, StreamEntry};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::pair::Pair;
use crate::steps::{AtGate, ByReader, Call, Consumed, Last, Transition};
use crate::support::BEGIN;
use crate::words;

/// Small, so that all of them are reached.
const BOUNDS: GateBounds = GateBounds {
    at_once: 2,
    a_second: 2,
    pause_first: Duration::from_secs(5),
    pause_chosen_max: Duration::from_secs(30),
    pause_max: Duration::from_secs(60),
    opens_after: 2,
    open_first: Duration::from_secs(4),
    open_max: Duration::from_secs(30),
    trial: Duration::from_secs(3),
};
/// Nothing leaves the stream: how much would is Redis's to say, in whole blocks.
const FOR_EVER: Duration = Duration::from_secs(1 << 40);
const EVENTS_MAX: usize = 100_000;

fn events_of(page: Vec<StreamEntry>) -> Vec<OutboxEntry> {
    page.into_iter().map(|event| event.entry).collect()
}

/// Where the two streams have the same event; each store numbers by a clock of its own.
struct Places {
    model: Vec<Position>,
    redis: Vec<Position>,
}

impl Places {
    /// So many of each, after the first ones.
    fn some(&self, first: usize, count: usize) -> [Vec<Position>; 2] {
        [&self.model, &self.redis].map(|all| all.iter().skip(first).take(count).copied().collect())
    }

    /// The last of the first so many; the beginning, where there are none.
    fn after(&self, events: usize) -> [Position; 2] {
        [&self.model, &self.redis].map(|all| {
            let last = events.min(all.len()).checked_sub(1);
            last.map_or_else(Position::default, |last| all[last])
        })
    }

    /// Which event lies at each of these two, counted.
    fn numbers(&self, model: Option<Position>, redis: Option<Position>) -> [Option<usize>; 2] {
        let number = |all: &[Position], at: Option<Position>| {
            at.map(|at| all.iter().position(|place| *place == at).unwrap())
        };
        [number(&self.model, model), number(&self.redis, redis)]
    }
}

/// A transition that does nothing but tell of so many events.
fn telling(events: usize) -> Transition {
    Transition {
        consumed: Consumed::All,
        strict: false,
        finish: false,
        keep: None,
        park: false,
        activity: false,
        wake: None,
        visible: None,
        sealed: Vec::new(),
        events,
        log_max: 1,
        wrong_number: false,
        stale: false,
        last: Last::True,
    }
}

impl Pair {
    pub(crate) async fn at_gate(&mut self, what: &AtGate) -> Result<(), TestCaseError> {
        let mut said = None;
        match what {
            AtGate::Enter {
                place,
                life_ms,
                unpaced,
                through_breaker,
            } => {
                let ask = Enter {
                    gate: self.gate.clone(),
                    place: format!("place{place}"),
                    life: Duration::from_millis(*life_ms),
                    unpaced: *unpaced,
                    through_breaker: *through_breaker,
                    bounds: BOUNDS,
                };
                let a = self.model.gate_enter(&ask).await.unwrap();
                prop_assert_eq!(a, self.redis.gate_enter(&ask).await.unwrap());
                self.note("enter", words::entered(a));
            }
            AtGate::Leave { place } => {
                let place = format!("place{place}");
                self.model.gate_leave(&self.gate, &place).await.unwrap();
                self.redis.gate_leave(&self.gate, &place).await.unwrap();
            }
            AtGate::Tell(told) => said = *told,
        }
        // How it stands afterwards is asked in any case.
        let a = self.model.gate_tell(&self.gate, said, &BOUNDS).await;
        let b = self.redis.gate_tell(&self.gate, said, &BOUNDS).await;
        prop_assert_eq!(a.unwrap(), b.unwrap());
        self.note("gate", "gate");
        Ok(())
    }

    pub(crate) async fn by_reader(&mut self, what: &ByReader) -> Result<(), TestCaseError> {
        let places = self.places().await?;
        match what {
            ByReader::Publish { events } => {
                let begin = Call {
                    preemptive: true,
                    create: true,
                    ends_claim: None,
                    once: None,
                    unless_it_waits: false,
                };
                self.signal(0, &begin, None).await?;
                self.claim(0, true, 15_000, false).await?;
                self.transit(0, 0, &telling(*events)).await?;
            }
            ByReader::Drain {
                reader,
                again_after,
                count,
            } => {
                let after = again_after.map(|events| places.after(events));
                let drain = |store: usize| Drain {
                    partition: 0,
                    reader: (*reader).to_owned(),
                    take: after.map_or(Take::New, |after| Take::Again {
                        after: after[store],
                    }),
                    count: *count,
                    at: BEGIN,
                    events_max: EVENTS_MAX,
                };
                let a = self.model.drain(&drain(0)).await.unwrap();
                let b = self.redis.drain(&drain(1)).await.unwrap();
                prop_assert_eq!(events_of(a.events), events_of(b.events));
                prop_assert_eq!(a.lost, b.lost);
                let [a, b] = places.numbers(a.through, b.through);
                prop_assert_eq!(a, b);
                self.note("drain", "drained");
            }
            ByReader::Settle {
                reader,
                first,
                events,
                how,
            } => {
                let [in_model, in_redis] = places.some(*first, *events);
                let settle = |positions| Settle {
                    partition: 0,
                    reader: (*reader).to_owned(),
                    positions,
                    how: *how,
                    keep: FOR_EVER,
                };
                let a = self.model.settle(&settle(in_model)).await.unwrap();
                prop_assert_eq!(a, self.redis.settle(&settle(in_redis)).await.unwrap());
                self.note("settle", "settled");
            }
            ByReader::Progress { reader } => {
                let mut a = self.model.progress(reader).await.unwrap();
                let mut b = self.redis.progress(reader).await.unwrap();
                prop_assert_eq!((a.len(), b.len()), (1, 1));
                let oldest = |all: &mut Vec<Progress>| all[0].oldest.take();
                let [at, there] = places.numbers(oldest(&mut a), oldest(&mut b));
                prop_assert_eq!(at, there);
                prop_assert_eq!(&a, &b);
                self.note("reader", if a[0].joined { "reader" } else { "nobody" });
            }
        }
        Ok(())
    }

    async fn places(&self) -> Result<Places, TestCaseError> {
        let all = |page: Vec<StreamEntry>| -> Vec<Position> {
            let places = page.into_iter().map(|event| event.position.parse());
            places.collect::<Result<_, _>>().unwrap()
        };
        let model = all(self.model.events(0, None, 1000).await.unwrap());
        let redis = all(self.redis.events(0, None, 1000).await.unwrap());
        prop_assert_eq!(model.len(), redis.len());
        Ok(Places { model, redis })
    }
}
