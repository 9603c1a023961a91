//! The two stores side by side: does what a step says to both, and compares the answers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use evergreen_engine::id::WorkflowId;
use evergreen_engine::machine::Millis;
use evergreen_engine::record::Envelope;
use evergreen_engine::store::clock::ManualClock;
use evergreen_engine::store::memory::{MemoryStore, Set};
use evergreen_engine::store::redis::RedisStore;
use evergreen_engine::store::{
    Claim, ClaimMode, Claimed, Commit, Creation, OutboxEntry, Place, Reconciled, Signal, Store,
    StoreError,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use redis::aio::MultiplexedConnection;

use crate::steps::{Call, Consumed, Last, Step, Transition};
use crate::support;
use crate::words;

/// What the workers remember of one workflow: the fences of their claims, and the last commit.
#[derive(Default)]
pub(crate) struct Memory {
    claims: Vec<(u64, String)>,
    last: Option<Commit>,
}

impl Memory {
    fn claim(&self, back: usize) -> Option<&(u64, String)> {
        self.claims.iter().rev().nth(back)
    }
}

/// How often each script gave each of its words, over all sequences.
pub(crate) type Seen = BTreeMap<(&'static str, &'static str), u64>;

/// The two stores under one sequence.
pub(crate) struct Pair {
    pub(crate) model: MemoryStore,
    pub(crate) redis: RedisStore,
    pub(crate) raw: MultiplexedConnection,
    pub(crate) prefix: String,
    pub(crate) clock: ManualClock,
    pub(crate) ids: Vec<WorkflowId>,
    pub(crate) memories: Vec<Memory>,
    pub(crate) names: u64,
    /// The name that is taken for a time.
    pub(crate) turnstile: String,
    /// The gate that everybody goes to.
    pub(crate) gate: String,
    /// The index was broken, or the clock stepped back: `reconcile` may find work.
    pub(crate) astray: bool,
    /// What has been answered so far.
    pub(crate) seen: Rc<RefCell<Seen>>,
}

impl Pair {
    /// Counts an answer as the script's head words it.
    pub(crate) fn note(&self, script: &'static str, word: &'static str) {
        *self.seen.borrow_mut().entry((script, word)).or_default() += 1;
    }

    /// A name that nobody has used.
    fn name(&mut self, what: &str) -> String {
        self.names += 1;
        format!("{what}{}", self.names)
    }

    fn at(&self, offset: i64) -> Millis {
        self.clock.now().saturating_add_signed(offset)
    }

    pub(crate) async fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Claim {
                id,
                drive,
                lease_ms,
                spare,
            } => self.claim(*id, *drive, *lease_ms, *spare).await?,
            Step::Commit { id, back, what } => self.transit(*id, *back, what).await?,
            Step::Turn { id, what } => {
                self.claim(*id, true, 15_000, false).await?;
                self.transit(*id, 0, what).await?;
            }
            Step::CommitAgain { id } => {
                if let Some(last) = self.memories[*id].last.clone() {
                    self.commit(&last).await?;
                }
            }
            Step::Signal { id, what } => {
                let ended = what
                    .ends_claim
                    .and_then(|back| self.memories[*id].claim(back));
                let ends_claim = ended.map(|(_, claim)| claim.clone());
                self.signal(*id, what, ends_claim).await?;
            }
            Step::Flood { id, signals } => {
                let what = Call {
                    preemptive: false,
                    create: true,
                    ends_claim: None,
                    once: None,
                    unless_it_waits: false,
                };
                for _ in 0..*signals {
                    self.signal(*id, &what, None).await?;
                }
            }
            Step::Extend { id, back, what } => {
                if let Some((fence, claim)) = self.memories[*id].claim(*back) {
                    let id = &self.ids[*id];
                    let a = self.model.extend(id, *fence, claim, *what).await.unwrap();
                    let b = self.redis.extend(id, *fence, claim, *what).await.unwrap();
                    prop_assert_eq!(a, b);
                    self.note("extend", words::extended(a));
                }
            }
            Step::Read { id, sealed } => {
                let id = &self.ids[*id];
                let a = self.model.read(id, *sealed).await.unwrap();
                self.note("read", if a.is_some() { "found" } else { "unknown" });
                prop_assert_eq!(a, self.redis.read(id, *sealed).await.unwrap());
            }
            Step::Reconcile { id } => {
                self.reconcile(*id).await?;
            }
            Step::CompareAll { rank } => self.compare_all(*rank).await?,
            Step::Requeue { id } => {
                let id = &self.ids[*id];
                let a = self.model.requeue(id).await.unwrap();
                prop_assert_eq!(a, self.redis.requeue(id).await.unwrap());
                self.note("requeue", words::requeued(a));
            }
            Step::Vanish { id, times } => {
                for _ in 0..*times {
                    self.claim(*id, true, 1000, false).await?;
                    let record = self.model.inspect(&self.ids[*id]).record;
                    if let Some(until) = record.and_then(|record| record.lease_until) {
                        self.clock.set(until.max(self.clock.now()));
                    }
                }
            }
            Step::BreakIndex { id, set, score } => {
                let score = score.map(|offset| self.at(offset));
                self.break_index(*id, *set, score).await;
            }
            Step::Turnstile { holder } => {
                // Long enough never to end: each store judges the end by a clock of its own.
                let (name, life) = (&self.turnstile, Duration::from_secs(1 << 32));
                let a = self.model.turnstile(name, holder, life).await.unwrap();
                let b = self.redis.turnstile(name, holder, life).await.unwrap();
                prop_assert_eq!(a, b);
                self.note("turnstile", if a { "passed" } else { "closed" });
            }
            Step::Peek => {
                let a = self.model.peek(&[0]).await.unwrap();
                prop_assert_eq!(a, self.redis.peek(&[0]).await.unwrap());
            }
            Step::Stamp { seen, write } => {
                let newest = seen.map_or(0, |offset| self.at(offset));
                let a = self.model.stamp(newest, *write).await.unwrap();
                prop_assert_eq!(a, self.redis.stamp(newest, *write).await.unwrap());
                self.note("stamp", if a.older { "older" } else { "stamped" });
            }
            Step::Time { by_ms } => {
                self.astray |= *by_ms < 0;
                self.clock.set(self.at(*by_ms));
            }
            Step::AtGate(what) => self.at_gate(what).await?,
            Step::ByReader(what) => self.by_reader(what).await?,
        }
        Ok(())
    }

    pub(crate) async fn claim(
        &mut self,
        id: usize,
        drive: bool,
        lease_ms: u64,
        spare: bool,
    ) -> Result<(), TestCaseError> {
        let ask = Claim {
            id: self.ids[id].clone(),
            claim: self.name("claim"),
            owner: format!("worker-{}", self.names % 2),
            lease: Duration::from_millis(lease_ms),
            mode: if drive {
                ClaimMode::Drive
            } else {
                ClaimMode::Due
            },
            spare_owned: spare,
        };
        let a = self.model.claim(&ask).await.unwrap();
        prop_assert_eq!(&a, &self.redis.claim(&ask).await.unwrap());
        self.note("claim", words::claimed(&a.answer));
        if let Claimed::Claimed { record, .. } = a.answer {
            self.memories[id].claims.push((record.fence, ask.claim));
        }
        Ok(())
    }

    pub(crate) async fn transit(
        &mut self,
        id: usize,
        back: usize,
        what: &Transition,
    ) -> Result<(), TestCaseError> {
        let Some(commit) = self.commit_of(id, back, what) else {
            return Ok(());
        };
        self.memories[id].last = Some(commit.clone());
        self.commit(&commit).await
    }

    fn commit_of(&mut self, id: usize, back: usize, what: &Transition) -> Option<Commit> {
        let (fence, claim) = self.memories[id].claim(back)?.clone();
        let commit = self.name("commit");
        let inbox = self.model.inspect(&self.ids[id]).inbox;
        let consumed = match what.consumed {
            Consumed::All => inbox.len(),
            Consumed::Some(signals) => signals,
        };
        let last = consumed.checked_sub(1).and_then(|last| inbox.get(last));
        let last_heard = match what.last {
            Last::True => last.cloned(),
            Last::Lost => Some(Envelope {
                at: self.clock.now(),
                payload: commit.clone(),
            }),
            Last::Untold => None,
        };
        let event = |index| OutboxEntry {
            id: format!("{commit}-{index}"),
            event: "HAPPENED".to_owned(),
            subject_field: "workflow".to_owned(),
            subject: format!("w{id}"),
            at: self.clock.now().to_string(),
            payload: "{\"a\": []}".to_owned(),
        };
        Some(Commit {
            id: self.ids[id].clone(),
            fence: fence + u64::from(what.wrong_number),
            claim,
            follows: if what.stale {
                Some(commit.clone())
            } else {
                let record = self.model.inspect(&self.ids[id]).record;
                record.and_then(|record| record.commit)
            },
            strict: what.strict,
            consumed,
            last_heard,
            state: format!("State{}", what.events),
            data: format!("{{\"commit\":\"{commit}\",\"n\":12345678901234567}}"),
            schema: 7,
            wake_at: what.wake.map(|offset| self.at(offset)),
            visible_at: what.visible.map(|offset| self.at(offset)),
            activity: what.activity.then(|| "\"call\"".to_owned()),
            keep: what.keep.map(Duration::from_millis),
            finish: what.finish,
            park: what.park.then(|| "wants a human".to_owned()),
            sealed: what.sealed.clone(),
            log: format!("{commit} v"),
            log_max: what.log_max,
            events: (0..what.events).map(event).collect(),
            events_max: 100_000,
            durable: false,
            commit,
        })
    }

    async fn commit(&mut self, commit: &Commit) -> Result<(), TestCaseError> {
        let a = self.model.commit(commit).await;
        let b = self.redis.commit(commit).await;
        match (a, b) {
            (Ok(a), Ok(b)) => {
                prop_assert_eq!(&a, &b);
                self.note("commit", words::committed(&a.answer));
            }
            (Err(StoreError::Refused { .. }), Err(StoreError::Refused { .. })) => {
                self.note("commit", "invalid");
            }
            (a, b) => prop_assert!(false, "one refused and one did not: {a:?}, {b:?}"),
        }
        Ok(())
    }

    pub(crate) async fn signal(
        &mut self,
        id: usize,
        what: &Call,
        ends_claim: Option<String>,
    ) -> Result<(), TestCaseError> {
        let ask = Signal {
            id: self.ids[id].clone(),
            payload: if what.unless_it_waits || what.once == Some(0) {
                "{\"signal\": \"the same\"}".to_owned()
            } else {
                self.name("{\"signal\": ") + "}"
            },
            preemptive: what.preemptive,
            once: what.once.map(|once| format!("once{once}")),
            unless_it_waits: what.unless_it_waits,
            ends_claim,
            create: what.create.then(|| Creation {
                state: "New".to_owned(),
                data: "{}".to_owned(),
                schema: 1,
            }),
            durable: false,
        };
        let a = self.model.signal(&ask).await.unwrap();
        prop_assert_eq!(a, self.redis.signal(&ask).await.unwrap());
        self.note("signal", words::signalled(a));
        Ok(())
    }

    pub(crate) async fn break_index(&mut self, id: usize, set: Set, score: Option<Millis>) {
        self.astray = true;
        let id = &self.ids[id];
        self.model.break_index(id, set, score);
        support::break_index(&mut self.raw, &self.prefix, id, set, score).await;
    }

    async fn compare_all(&mut self, rank: usize) -> Result<(), TestCaseError> {
        let (partition, count) = (0, 2);
        let then = [Place::Index {
            partition,
            rank,
            count,
        }];
        let a = self.model.compare(&self.ids, &then).await.unwrap();
        let b = self.redis.compare(&self.ids, &then).await.unwrap();
        prop_assert_eq!(&a, &b);
        for what in &a.found {
            let (word, what) = words::reconciled(*what);
            self.note("reconcile", word);
            self.note("reconcile", what);
        }
        Ok(())
    }

    pub(crate) async fn reconcile(&mut self, id: usize) -> Result<Reconciled, TestCaseError> {
        let a = self.model.reconcile(&self.ids[id]).await.unwrap();
        prop_assert_eq!(a, self.redis.reconcile(&self.ids[id]).await.unwrap());
        let (word, what) = words::reconciled(a);
        self.note("reconcile", word);
        self.note("reconcile", what);
        Ok(a)
    }
}
