//! What the application counts, beside the engine's counters.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// From here on a clock that differs is told of, in seconds.
const SKEW_WARN_S: f64 = 30.0;

/// How webhooks stand, as the process that sends them sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WebhookStand {
    /// Events that the receiver has not taken yet.
    pub undelivered: u64,
    /// How old the oldest of them is, in seconds.
    pub oldest_s: u64,
    /// Events that were pushed out of the outbox before the receiver had them, ever.
    pub lost: u64,
    /// Events that were given up, ever.
    pub abandoned: u64,
}

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
    oddities: Mutex<BTreeMap<&'static str, u64>>,
    hosts: Mutex<BTreeMap<String, HostGauges>>,
    skews: Mutex<BTreeMap<&'static str, f64>>,
    webhooks: Mutex<BTreeMap<&'static str, u64>>,
    webhooks_stand: Mutex<Option<WebhookStand>>,
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

    /// How the fleet treats the provider's hosts: all of them, as they stand now.
    pub fn hosts_are(&self, hosts: BTreeMap<String, HostGauges>) {
        *lock(&self.hosts) = hosts;
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

    /// An attempt to deliver a webhook ended in this way.
    pub fn webhook(&self, word: &'static str) {
        *lock(&self.webhooks).entry(word).or_default() += 1;
    }

    /// How webhooks stand; `None` if this process does not send them.
    pub fn webhooks_stand(&self, stand: Option<WebhookStand>) {
        *lock(&self.webhooks_stand) = stand;
    }

    /// How attempts to deliver webhooks ended, by word.
    #[must_use]
    pub fn webhooks(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.webhooks).clone()
    }

    /// How webhooks stand, if this process sends them.
    #[must_use]
    pub fn webhook_stand(&self) -> Option<WebhookStand> {
        *lock(&self.webhooks_stand)
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
