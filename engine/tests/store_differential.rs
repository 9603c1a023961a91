//! The Lua scripts against the protocol in plain Rust: random sequences of everything that two workers
//! and their callers can do, in a small space so that they get in each other's way. Every answer, and
//! after every step everything that is stored, must be the same.
//!
//! A failing run prints its seed; `EVERGREEN_TEST_SEED=… cargo test --test store_differential` runs it
//! again. `EVERGREEN_TEST_CASES` says how many sequences to try.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod support;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use evergreen_engine::id::WorkflowId;
use evergreen_engine::machine::Millis;
use evergreen_engine::record::{Envelope, Record};
use evergreen_engine::store::clock::ManualClock;
use evergreen_engine::store::memory::{Inspection, MemoryStore};
use evergreen_engine::store::redis::{RedisOptions, RedisStore};
use evergreen_engine::store::{
    Claim, ClaimMode, Claimed, Commit, Creation, Extend, OutboxEntry, Reconciled, SealedOp, Signal,
    Store, StoreError, StreamEntry,
};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use redis::aio::MultiplexedConnection;

use self::support::{BEGIN, Server};

const CASES: u32 = 300;
const STEPS: usize = 40;
const WORKFLOWS: usize = 3;
const WORKERS: usize = 2;

/// One thing that somebody does.
#[derive(Debug, Clone)]
enum Step {
    Claim {
        who: usize,
        id: usize,
        drive: bool,
        lease_ms: u64,
    },
    Commit {
        who: usize,
        id: usize,
        what: Transition,
    },
    /// The last commit of this worker once more, as after a lost reply.
    CommitAgain {
        who: usize,
        id: usize,
    },
    Signal {
        id: usize,
        what: Call,
    },
    Flood {
        id: usize,
        signals: usize,
    },
    Extend {
        who: usize,
        id: usize,
        what: Extend,
    },
    Read {
        id: usize,
        sealed: bool,
    },
    Reconcile {
        id: usize,
    },
    BreakIndex {
        id: usize,
        score: Option<i64>,
    },
    Peek,
    Time {
        by_ms: i64,
    },
}

/// A commit, in terms of what the worker knows.
#[derive(Debug, Clone)]
struct Transition {
    consumed: usize,
    strict: bool,
    finish: bool,
    keep: Option<u64>,
    park: bool,
    activity: bool,
    wake: Option<i64>,
    visible: Option<i64>,
    sealed: Vec<SealedOp>,
    events: usize,
    log: bool,
    /// Of the claim before the last one, or under somebody else's number.
    stale: Stale,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stale {
    No,
    Number,
    ClaimBefore,
}

/// A signal, in terms of what its sender knows.
#[derive(Debug, Clone)]
struct Call {
    preemptive: bool,
    create: bool,
    ends_claim_of: Option<usize>,
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..WORKERS;
    let id = || 0..WORKFLOWS;
    let lease = prop_oneof![Just(15_000_u64), 1_u64..20_000];
    prop_oneof![
        8 => (who(), id(), any::<bool>(), lease)
            .prop_map(|(who, id, drive, lease_ms)| Step::Claim { who, id, drive, lease_ms }),
        8 => (who(), id(), transition()).prop_map(|(who, id, what)| Step::Commit { who, id, what }),
        1 => (who(), id()).prop_map(|(who, id)| Step::CommitAgain { who, id }),
        6 => (id(), call()).prop_map(|(id, what)| Step::Signal { id, what }),
        1 => (id(), 120_usize..135).prop_map(|(id, signals)| Step::Flood { id, signals }),
        3 => (who(), id(), extend()).prop_map(|(who, id, what)| Step::Extend { who, id, what }),
        1 => (id(), any::<bool>()).prop_map(|(id, sealed)| Step::Read { id, sealed }),
        1 => id().prop_map(|id| Step::Reconcile { id }),
        1 => (id(), proptest::option::of(-20_000_i64..20_000))
            .prop_map(|(id, score)| Step::BreakIndex { id, score }),
        1 => Just(Step::Peek),
        4 => prop_oneof![Just(15_000_i64), 0_i64..40_000, Just(400_000), -3_000_i64..0]
            .prop_map(|by_ms| Step::Time { by_ms }),
    ]
}

fn transition() -> impl Strategy<Value = Transition> {
    let often = |p: f64| proptest::bool::weighted(p);
    let time = || proptest::option::of(-5_000_i64..60_000);
    let blob = ("[ab]", "[0-9]{1,3}");
    let sealed = prop_oneof![
        4 => blob.prop_map(|(name, blob)| SealedOp::Put(name, blob)),
        2 => "[ab]".prop_map(SealedOp::Erase),
        1 => Just(SealedOp::Clear),
    ];
    let stale =
        prop_oneof![8 => Just(Stale::No), 1 => Just(Stale::Number), 1 => Just(Stale::ClaimBefore)];
    (
        (
            0_usize..3,
            often(0.3),
            often(0.07),
            proptest::option::weighted(0.4, 1_u64..20_000),
        ),
        (often(0.1), often(0.4), time(), time()),
        (
            proptest::collection::vec(sealed, 0..4),
            0_usize..3,
            any::<bool>(),
            stale,
        ),
    )
        .prop_map(
            |((consumed, strict, finish, keep), (park, activity, wake, visible), rest)| {
                let (sealed, events, log, stale) = rest;
                Transition {
                    consumed,
                    strict,
                    finish,
                    keep,
                    park,
                    activity,
                    wake,
                    visible,
                    sealed,
                    events,
                    log,
                    stale,
                }
            },
        )
}

fn call() -> impl Strategy<Value = Call> {
    let who = proptest::option::weighted(0.2, 0..WORKERS);
    (proptest::bool::weighted(0.2), any::<bool>(), who).prop_map(
        |(preemptive, create, ends_claim_of)| Call {
            preemptive,
            create,
            ends_claim_of,
        },
    )
}

fn extend() -> impl Strategy<Value = Extend> {
    let span = || (0_u64..20_000).prop_map(Duration::from_millis);
    let rest = prop_oneof![Just(Duration::ZERO), span()];
    prop_oneof![
        span().prop_map(Extend::Renew),
        (rest, any::<bool>()).prop_map(|(rest, counts)| Extend::GiveBack { rest, counts }),
    ]
}

/// What a worker remembers of one workflow: the fences of its claims, and its last commit.
#[derive(Default)]
struct Memory {
    claims: Vec<(u64, String)>,
    last: Option<Commit>,
}

/// The keys of one workflow: record, inbox, sealed blobs, log, and its scores in `due` and `parked`.
type Stored = (
    BTreeMap<String, String>,
    Vec<String>,
    BTreeMap<String, String>,
    Vec<String>,
    Option<Millis>,
    Option<Millis>,
);

/// The two stores under one sequence.
struct Pair {
    model: MemoryStore,
    redis: RedisStore,
    raw: MultiplexedConnection,
    prefix: String,
    clock: ManualClock,
    ids: Vec<WorkflowId>,
    memories: HashMap<(usize, usize), Memory>,
    names: u64,
    /// The index was broken, or the clock stepped back: `reconcile` may find work.
    astray: bool,
}

impl Pair {
    /// A name that nobody has used.
    fn name(&mut self, what: &str) -> String {
        self.names += 1;
        format!("{what}{}", self.names)
    }

    fn at(&self, offset: i64) -> Millis {
        self.clock.now().saturating_add_signed(offset)
    }

    async fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Claim {
                who,
                id,
                drive,
                lease_ms,
            } => {
                let ask = Claim {
                    id: self.ids[*id].clone(),
                    claim: self.name("claim"),
                    owner: format!("worker-{who}"),
                    lease: Duration::from_millis(*lease_ms),
                    mode: if *drive {
                        ClaimMode::Drive
                    } else {
                        ClaimMode::Due
                    },
                };
                let (a, b) = (self.model.claim(&ask).await, self.redis.claim(&ask).await);
                let (a, b) = (a.unwrap(), b.unwrap());
                prop_assert_eq!(&a, &b);
                if let Claimed::Claimed { record, .. } = a.answer {
                    let memory = self.memories.entry((*who, *id)).or_default();
                    memory.claims.push((record.fence, ask.claim));
                }
            }
            Step::Commit { who, id, what } => {
                if let Some(commit) = self.commit_of(*who, *id, what) {
                    self.memories.entry((*who, *id)).or_default().last = Some(commit.clone());
                    self.commit(&commit).await?;
                }
            }
            Step::CommitAgain { who, id } => {
                let memory = self.memories.get(&(*who, *id));
                if let Some(last) = memory.and_then(|memory| memory.last.clone()) {
                    self.commit(&last).await?;
                }
            }
            Step::Signal { id, what } => {
                let ends = what
                    .ends_claim_of
                    .and_then(|who| self.memories.get(&(who, *id)));
                let ends = ends.and_then(|memory| memory.claims.last());
                let ends_claim = ends.map(|(_, claim)| claim.clone());
                self.signal(*id, what, ends_claim).await?;
            }
            Step::Flood { id, signals } => {
                let what = Call {
                    preemptive: false,
                    create: false,
                    ends_claim_of: None,
                };
                for _ in 0..*signals {
                    self.signal(*id, &what, None).await?;
                }
            }
            Step::Extend { who, id, what } => {
                let memory = self.memories.get(&(*who, *id));
                if let Some((fence, claim)) = memory.and_then(|memory| memory.claims.last()) {
                    let id = &self.ids[*id];
                    let a = self.model.extend(id, *fence, claim, *what).await.unwrap();
                    let b = self.redis.extend(id, *fence, claim, *what).await.unwrap();
                    prop_assert_eq!(a, b);
                }
            }
            Step::Read { id, sealed } => {
                let id = &self.ids[*id];
                let a = self.model.read(id, *sealed).await.unwrap();
                prop_assert_eq!(a, self.redis.read(id, *sealed).await.unwrap());
            }
            Step::Reconcile { id } => {
                self.reconcile(*id).await?;
            }
            Step::BreakIndex { id, score } => {
                self.astray = true;
                let score = score.map(|offset| self.at(offset));
                let due = format!("{}:{{00}}:due", self.prefix);
                self.model.break_index(&self.ids[*id], score);
                support::break_index(&mut self.raw, &due, &self.ids[*id], score).await;
            }
            Step::Peek => {
                let a = self.model.peek(&[0]).await.unwrap();
                prop_assert_eq!(a, self.redis.peek(&[0]).await.unwrap());
                let a = self.model.due_members(0, 1, 2).await.unwrap();
                prop_assert_eq!(a, self.redis.due_members(0, 1, 2).await.unwrap());
            }
            Step::Time { by_ms } => {
                self.astray |= *by_ms < 0;
                self.clock.set(self.at(*by_ms));
            }
        }
        Ok(())
    }

    fn commit_of(&mut self, who: usize, id: usize, what: &Transition) -> Option<Commit> {
        let claims = &self.memories.get(&(who, id))?.claims;
        let (mut fence, mut claim) = claims.last()?.clone();
        match what.stale {
            Stale::No => {}
            Stale::Number => fence += 1,
            Stale::ClaimBefore => claim.clone_from(&claims.get(claims.len().checked_sub(2)?)?.1),
        }
        let commit = self.name("commit");
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
            fence,
            claim,
            strict: what.strict,
            consumed: what.consumed,
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
            log: if what.log {
                format!("{commit} v")
            } else {
                String::new()
            },
            log_max: 2,
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
            (Ok(a), Ok(b)) => prop_assert_eq!(a, b),
            (Err(StoreError::Refused { .. }), Err(StoreError::Refused { .. })) => {}
            (a, b) => prop_assert!(false, "one refused and one did not: {a:?}, {b:?}"),
        }
        Ok(())
    }

    async fn signal(
        &mut self,
        id: usize,
        what: &Call,
        ends_claim: Option<String>,
    ) -> Result<(), TestCaseError> {
        let ask = Signal {
            id: self.ids[id].clone(),
            payload: self.name("{\"signal\": ") + "}",
            preemptive: what.preemptive,
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
        Ok(())
    }

    async fn reconcile(&mut self, id: usize) -> Result<Reconciled, TestCaseError> {
        let a = self.model.reconcile(&self.ids[id]).await.unwrap();
        prop_assert_eq!(a, self.redis.reconcile(&self.ids[id]).await.unwrap());
        Ok(a)
    }

    /// Everything that is stored, key by key, and every entry of the index against its record.
    async fn compare(&mut self) -> Result<(), TestCaseError> {
        let mut ask = redis::pipe();
        let key = |what: &str| format!("{}:{{00}}:{what}", self.prefix);
        for id in &self.ids {
            ask.cmd("HGETALL").arg(key(&format!("wf:{id}")));
            ask.cmd("LRANGE")
                .arg(key(&format!("inbox:{id}")))
                .arg(0)
                .arg(-1);
            ask.cmd("HGETALL").arg(key(&format!("sealed:{id}")));
            ask.cmd("LRANGE")
                .arg(key(&format!("log:{id}")))
                .arg(0)
                .arg(-1);
            ask.cmd("ZSCORE").arg(key("due")).arg(id.to_string());
            ask.cmd("ZSCORE").arg(key("parked")).arg(id.to_string());
        }
        let flat: Vec<redis::Value> = ask.query_async(&mut self.raw).await.unwrap();
        let found = flat.chunks_exact(6).map(|keys| {
            let keys = redis::Value::Array(keys.to_vec());
            redis::from_redis_value::<Stored>(keys).unwrap()
        });
        for (id, (fields, inbox, sealed, log, due, parked)) in self.ids.iter().zip(found) {
            let model = self.model.inspect(id);
            let wanted = model.record.as_ref().map(fields_of).unwrap_or_default();
            prop_assert_eq!(fields, wanted, "the hash of {}", id);
            let inbox: Vec<_> = inbox
                .iter()
                .map(|text| Envelope::parse(text).unwrap())
                .collect();
            let redis = Inspection {
                record: model.record.clone(),
                inbox,
                sealed,
                log,
                due,
                parked,
            };
            prop_assert_eq!(&model, &redis, "{}", id);
            if !self.astray {
                let record = model.record.unwrap_or_default();
                let wanted = record.wanted_score(model.inbox.is_empty(), self.clock.now());
                let ready = wanted == Some(self.clock.now()) && due <= wanted && due.is_some();
                prop_assert!(
                    due == wanted || ready,
                    "{id}: {due:?} instead of {wanted:?}"
                );
                prop_assert_eq!(parked.is_some(), record.parked.is_some());
            }
        }
        Ok(())
    }

    /// What both tell of the whole partition.
    async fn agree(&mut self) -> Result<(), TestCaseError> {
        for id in 0..WORKFLOWS {
            let found = self.reconcile(id).await?;
            prop_assert!(self.astray || found == Reconciled::Right, "{found:?}");
        }
        let entries = |page: Vec<StreamEntry>| -> Vec<OutboxEntry> {
            page.into_iter().map(|event| event.entry).collect()
        };
        let a = entries(self.model.events(0, None, 1000).await.unwrap());
        prop_assert_eq!(a, entries(self.redis.events(0, None, 1000).await.unwrap()));
        Ok(())
    }

    /// Empties the key space between two sequences.
    async fn clear(&mut self) {
        let keys: Vec<String> = redis::cmd("KEYS")
            .arg(format!("{}:{{00}}:*", self.prefix))
            .query_async(&mut self.raw)
            .await
            .unwrap();
        if !keys.is_empty() {
            redis::cmd("DEL")
                .arg(keys)
                .exec_async(&mut self.raw)
                .await
                .unwrap();
        }
    }
}

/// The hash that a record must be, no field more and none less.
fn fields_of(record: &Record) -> BTreeMap<String, String> {
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let fields = [
        ("state", Some(record.state.clone())),
        ("data", Some(record.data.clone())),
        ("schema", Some(record.schema.to_string())),
        ("v", Some(record.v.to_string())),
        ("wake_at", number(record.wake_at)),
        ("visible_at", number(record.visible_at)),
        ("fence", Some(record.fence.to_string())),
        ("claim", record.claim.clone()),
        ("owner", record.owner.clone()),
        ("lease_until", number(record.lease_until)),
        ("commit", record.commit.clone()),
        ("attempt", Some(record.attempt.to_string())),
        ("activity", record.activity.clone()),
        ("barrier", record.barrier.then(|| "1".to_owned())),
        ("parked", record.parked.clone()),
    ];
    let set = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    set.collect()
}

#[test]
fn the_scripts_do_what_the_protocol_says() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = Server::any();
    let clock = ManualClock::at(BEGIN);
    let options = RedisOptions {
        partitions: Some(1),
        clock: Some(clock.clock()),
        ..server.options()
    };
    let prefix = options.prefix.clone();
    let (redis, raw) = runtime.block_on(async {
        (
            RedisStore::connect(options).await.unwrap(),
            server.raw().await,
        )
    });

    let seed = std::env::var("EVERGREEN_TEST_SEED");
    let seed: u64 = seed.map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    let cases = std::env::var("EVERGREEN_TEST_CASES");
    let config = ProptestConfig {
        cases: cases.map_or(CASES, |text| text.parse().unwrap()),
        failure_persistence: None,
        max_shrink_iters: 4000,
        ..ProptestConfig::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, random);
    let sequences = proptest::collection::vec(step(), 1..STEPS);
    let outcome = runner.run(&sequences, |steps| {
        clock.set(BEGIN);
        let mut pair = Pair {
            model: MemoryStore::with_clock_and_partitions(clock.clock(), 1),
            redis: redis.clone(),
            raw: raw.clone(),
            prefix: prefix.clone(),
            clock: clock.clone(),
            ids: (0..WORKFLOWS)
                .map(|n| WorkflowId::new("test", &format!("w{n}")).unwrap())
                .collect(),
            memories: HashMap::new(),
            names: 0,
            astray: false,
        };
        runtime.block_on(async {
            pair.clear().await;
            for step in &steps {
                pair.take(step).await?;
                pair.compare().await?;
            }
            pair.agree().await?;
            pair.compare().await
        })
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(why, steps)) => {
            panic!(
                "EVERGREEN_TEST_SEED={seed}\n{why}\nthe shortest sequence that shows it: {steps:#?}"
            )
        }
        Err(why) => panic!("EVERGREEN_TEST_SEED={seed}\n{why}"),
    }
}
