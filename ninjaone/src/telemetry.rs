//! What the application counts, beside the engine's counters.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How the whole fleet treats one host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostGauges {
    /// Nothing but failures came back, and at most one request tries at a time.
    pub breaker_open: bool,
    /// It wants to be left alone.
    pub paused: bool,
    /// Token requests under way.
    pub requests: u32,
}

/// Counts and gauges of one process, and what it has read of the fleet.
#[derive(Debug, Default)]
pub struct Telemetry {
    outcomes: Mutex<BTreeMap<&'static str, u64>>,
    hosts: Mutex<BTreeMap<String, HostGauges>>,
    skews: Mutex<BTreeMap<&'static str, f64>>,
}

impl Telemetry {
    /// A token request ended in this way.
    pub fn outcome(&self, word: &'static str) {
        *lock(&self.outcomes).entry(word).or_default() += 1;
    }

    /// How the fleet treats the provider's hosts: all of them, as they stand now.
    pub fn hosts_are(&self, hosts: BTreeMap<String, HostGauges>) {
        *lock(&self.hosts) = hosts;
    }

    /// How far another clock is ahead of ours, in seconds.
    pub fn clock_skew(&self, source: &'static str, seconds: f64) {
        lock(&self.skews).insert(source, seconds);
    }

    /// How token requests ended, by word.
    #[must_use]
    pub fn outcomes(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.outcomes).clone()
    }

    /// How the fleet treats each host that it has spoken to, as it was read last.
    #[must_use]
    pub fn hosts(&self) -> BTreeMap<String, HostGauges> {
        lock(&self.hosts).clone()
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
