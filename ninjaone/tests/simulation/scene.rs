//! What all share that play in one run: the store and its clock, the provider, the truth, the trace.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evergreen_engine::store::memory::{MemoryStore, Snapshot};
use evergreen_engine::testing::BEGIN;
use tokio::sync::Notify;

use super::plan::Plan;
use super::process::Process;
use super::provider::{Provider, Tells};
use super::trace::Trace;
use super::truth::Truth;

/// Digits of the salt of all fingerprints.
pub(crate) const SALT: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

pub(crate) struct Scene {
    pub(crate) seed: u64,
    pub(crate) plan: Plan,
    pub(crate) trace: Trace,
    pub(crate) provider: Provider,
    pub(crate) memory: MemoryStore,
    pub(crate) store_offset_ms: Arc<AtomicI64>,
    truth: Mutex<Truth>,
    /// What the replica has, if there is one that may take over.
    replica: Mutex<Option<(Snapshot, Truth)>>,
    replica_lags: AtomicBool,
    bad: AtomicBool,
    wrong: Mutex<Option<String>>,
    pub(crate) over: Notify,
}

impl Scene {
    pub(crate) fn new(seed: u64, plan: Plan) -> Arc<Self> {
        let trace = Trace::new();
        let offset: Arc<AtomicI64> = Arc::default();
        let (begin, shared) = (tokio::time::Instant::now(), Arc::clone(&offset));
        let clock = Arc::new(move || {
            let passed = u64::try_from(begin.elapsed().as_millis()).expect("a short run");
            (BEGIN + passed).saturating_add_signed(shared.load(Ordering::Relaxed))
        });
        Arc::new(Self {
            seed,
            trace,
            provider: Provider::new(seed, &plan, SALT),
            plan,
            memory: MemoryStore::with_clock_and_partitions(clock, 2),
            store_offset_ms: offset,
            truth: Mutex::default(),
            replica: Mutex::default(),
            replica_lags: AtomicBool::new(false),
            bad: AtomicBool::new(true),
            wrong: Mutex::default(),
            over: Notify::new(),
        })
    }

    /// While things may go wrong.
    pub(crate) fn is_bad(&self) -> bool {
        self.bad.load(Ordering::Relaxed)
    }

    pub(crate) fn calm_down(&self) {
        self.bad.store(false, Ordering::Relaxed);
        self.replica_lags.store(false, Ordering::Relaxed);
    }

    /// The time of the world, which nobody's clock need show.
    pub(crate) fn true_ms(&self) -> u64 {
        BEGIN + self.trace.elapsed_ms()
    }

    pub(crate) fn store_ms(&self) -> u64 {
        let offset = self.store_offset_ms.load(Ordering::Relaxed);
        self.true_ms().saturating_add_signed(offset)
    }

    /// Something that must hold does not.
    pub(crate) fn violated(&self, what: impl Into<String>) {
        let what = what.into();
        self.trace.say("VIOLATION", &what);
        let mut wrong = lock(&self.wrong);
        if wrong.is_none() {
            *wrong = Some(what);
            self.over.notify_one();
        }
    }

    pub(crate) fn wrong(&self) -> Option<String> {
        lock(&self.wrong).clone()
    }

    pub(crate) fn truth(&self) -> MutexGuard<'_, Truth> {
        lock(&self.truth)
    }

    /// Takes in what the truth complains of.
    pub(crate) fn check(&self, complaint: Result<(), String>) {
        if let Err(what) = complaint {
            self.violated(what);
        }
    }

    /// A refresh token leaves a process; answers the number of this sending.
    pub(crate) fn sent(&self, by: &Process, family: usize, place: usize) -> usize {
        let integration = self.provider.family(family).integration;
        let at_ms = self.trace.elapsed_ms();
        let mut truth = self.truth();
        let (number, complaint) = truth.sent(by, &integration, (family, place), at_ms);
        drop(truth);
        self.check(complaint);
        number
    }

    /// A process has read what became of a sending.
    pub(crate) fn learnt(&self, number: usize, tells: Tells) {
        self.truth().learnt(number, tells);
    }

    /// Something was written that the writer asked to be confirmed: whether the replica has it.
    pub(crate) fn replicated(&self) -> bool {
        if self.replica_lags.load(Ordering::Relaxed) {
            return false;
        }
        if self.plan.failovers && self.plan.losses && self.is_bad() {
            *lock(&self.replica) = Some((self.memory.snapshot(), self.truth().clone()));
        }
        true
    }

    /// From now on, or no more, the replica is behind: nothing is confirmed.
    pub(crate) fn replica_lags(&self, lags: bool) {
        self.replica_lags.store(lags, Ordering::Relaxed);
    }

    /// The replica takes over, with all that it has.
    pub(crate) fn fail_over(&self) {
        let replica = lock(&self.replica).clone();
        match replica {
            Some((snapshot, truth)) if self.plan.losses => {
                self.trace
                    .say("store", "fails over and loses what was not confirmed");
                self.truth().taken_over(truth);
                self.memory.fail_over_to(&snapshot);
            }
            _ => {
                self.trace.say("store", "fails over");
                self.memory.fail_over_to(&self.memory.snapshot());
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
