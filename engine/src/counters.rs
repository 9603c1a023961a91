//! What a process counts. Whoever embeds the engine shows them as metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::pending::Pending;

/// Counts since the process started; gauges as they stand.
#[derive(Debug, Default)]
pub struct Counters {
    /// Turns that ended with a commit.
    pub turns: AtomicU64,
    /// Commits that were refused because somebody else had taken the workflow.
    pub fenced: AtomicU64,
    /// Claims that found a vanished holder.
    pub takeovers: AtomicU64,
    /// Inputs that no state had an answer for.
    pub ignored: AtomicU64,
    /// Entries of the index that the reconciler put right. Must stay 0.
    pub repairs: AtomicU64,
    /// Workflows parked by this process.
    pub parked: AtomicU64,
    /// Outcomes delivered as signals because their commit was fenced.
    pub redelivered: AtomicU64,
    /// Calls that the store did not answer.
    pub store_away: AtomicU64,
    /// Outcomes and signals that must not be lost and of which the store has not been heard yet.
    pub persist_pending: AtomicI64,
    /// The workflows that these are about, and others that the application adds.
    pub pending: Arc<Pending>,
    /// Turns that run now.
    pub running: AtomicI64,
    lateness_ms: Mutex<BTreeMap<u64, u64>>,
    lateness: Mutex<(u64, u64)>,
    store_ahead_ms: Mutex<Option<i64>>,
}

/// Upper bounds of the lateness histogram, in milliseconds.
pub const LATENESS_BOUNDS_MS: [u64; 12] = [
    1,
    5,
    10,
    25,
    50,
    100,
    250,
    500,
    1_000,
    5_000,
    30_000,
    u64::MAX,
];

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    /// Records how long after its time a timer was heard.
    pub(crate) fn fired_late_by(&self, ms: u64) {
        let bound = LATENESS_BOUNDS_MS
            .iter()
            .copied()
            .find(|b| ms <= *b)
            .unwrap_or(u64::MAX);
        *lock(&self.lateness_ms).entry(bound).or_default() += 1;
        let mut sum = lock(&self.lateness);
        sum.0 += ms;
        sum.1 += 1;
    }

    /// Notes by how many ms the store's clock is ahead of this machine's; answers what was noted before.
    pub(crate) fn store_is_ahead_by(&self, ms: i64) -> Option<i64> {
        lock(&self.store_ahead_ms).replace(ms)
    }

    /// By how many ms the store's clock was ahead of this machine's when the worker of this process last
    /// looked; `None` before it has.
    #[must_use]
    pub fn store_ahead_ms(&self) -> Option<i64> {
        *lock(&self.store_ahead_ms)
    }

    /// The lateness histogram: for each upper bound in ms how many timers were at most so late and
    /// later than the bound before; then the sum in ms and the count.
    #[must_use]
    pub fn lateness(&self) -> (BTreeMap<u64, u64>, u64, u64) {
        let (sum, count) = *lock(&self.lateness);
        (lock(&self.lateness_ms).clone(), sum, count)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
