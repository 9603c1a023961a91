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

/// Counts and gauges of one process.
#[derive(Debug, Default)]
pub struct Telemetry {
    outcomes: Mutex<BTreeMap<&'static str, u64>>,
    breakers: Mutex<BTreeMap<String, bool>>,
    skews: Mutex<BTreeMap<&'static str, f64>>,
    webhooks: Mutex<BTreeMap<&'static str, u64>>,
    webhooks_stand: Mutex<Option<WebhookStand>>,
}

impl Telemetry {
    /// A token request ended in this way.
    pub fn outcome(&self, word: &'static str) {
        *lock(&self.outcomes).entry(word).or_default() += 1;
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
