//! What the application counts, beside the engine's counters.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// From here on a clock that differs is told of, in seconds.
const SKEW_WARN_S: f64 = 30.0;

/// Counts and gauges of one process.
#[derive(Debug, Default)]
pub struct Telemetry {
    outcomes: Mutex<BTreeMap<&'static str, u64>>,
    oddities: Mutex<BTreeMap<&'static str, u64>>,
    breakers: Mutex<BTreeMap<String, bool>>,
    skews: Mutex<BTreeMap<&'static str, f64>>,
}

impl Telemetry {
    /// A token request ended in this way.
    pub fn outcome(&self, word: &'static str) {
        *lock(&self.outcomes).entry(word).or_default() += 1;
    }

    /// A success was odd in this way, and was taken all the same.
    pub fn oddity(&self, word: &'static str) {
        *lock(&self.oddities).entry(word).or_default() += 1;
    }

    /// Whether requests to a host are held back.
    pub fn host_breaker(&self, host: &str, open: bool) {
        lock(&self.breakers).insert(host.to_owned(), open);
    }

    /// How far another clock is ahead of ours, in seconds. More than half a minute is told, once until
    /// it is less again.
    pub fn clock_skew(&self, source: &'static str, seconds: f64) {
        let before = lock(&self.skews).insert(source, seconds);
        let far = |seconds: f64| seconds.abs() > SKEW_WARN_S;
        if far(seconds) && !before.is_some_and(far) {
            tracing::warn!(source, seconds, "another clock differs from this machine's");
        }
    }

    /// How token requests ended, by word.
    #[must_use]
    pub fn outcomes(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.outcomes).clone()
    }

    /// How many successes were odd, by word.
    #[must_use]
    pub fn oddities(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.oddities).clone()
    }

    /// For each host that was spoken to, whether requests to it are held back.
    #[must_use]
    pub fn host_breakers(&self) -> BTreeMap<String, bool> {
        lock(&self.breakers).clone()
    }

    /// How far other clocks are ahead of ours, in seconds, by clock.
    #[must_use]
    pub fn clock_skews(&self) -> BTreeMap<&'static str, f64> {
        lock(&self.skews).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
