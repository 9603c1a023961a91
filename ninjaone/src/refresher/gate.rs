//! Being polite to a host: so many requests at once, so many a second, none while it wants to be
//! left alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evergreen_engine::Millis;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout_at};

/// Requests at once to one host.
const AT_ONCE: usize = 8;
/// Between the beginnings of two requests to one host: fifty a second.
const SPACING: Duration = Duration::from_millis(20);
/// The longest pause, whoever asks for it.
const PAUSE_MAX: Millis = 3_600_000;
/// The longest pause that is chosen without being asked for.
const CHOSEN_PAUSE_MAX: Millis = 600_000;

/// The gates of all hosts, as this process knows them.
#[derive(Default)]
pub struct Gate {
    hosts: Mutex<HashMap<String, Host>>,
}

struct Host {
    slots: Arc<Semaphore>,
    next_start: Instant,
    paused_until: Millis,
    throttled_in_a_row: u32,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            next_start: Instant::now(),
            paused_until: 0,
            throttled_in_a_row: 0,
        }
    }
}

/// The right to have one request under way.
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
}

impl Gate {
    /// Until when a host wants to be left alone, if it does.
    pub(crate) fn paused_until(&self, host: &str, now: Millis) -> Option<Millis> {
        let hosts = self.lock();
        hosts
            .get(host)
            .map(|host| host.paused_until)
            .filter(|until| *until > now)
    }

    /// A host was throttling: leaves it alone, answers until when. `asked` says that the host named
    /// the time; a time of our own choice doubles while the host goes on throttling.
    pub(super) fn pause(&self, host: &str, now: Millis, pause: Duration, asked: bool) -> Millis {
        let mut hosts = self.lock();
        let host = hosts.entry(host.to_owned()).or_default();
        let pause = Millis::try_from(pause.as_millis()).unwrap_or(PAUSE_MAX);
        let pause = if asked {
            pause.min(PAUSE_MAX)
        } else if host.paused_until > now {
            // Requests that left together are throttled together: that is one time, not many.
            return host.paused_until;
        } else {
            let doublings = host.throttled_in_a_row.min(8);
            pause.saturating_mul(1 << doublings).min(CHOSEN_PAUSE_MAX)
        };
        host.throttled_in_a_row = host.throttled_in_a_row.saturating_add(1);
        host.paused_until = host.paused_until.max(now.saturating_add(pause));
        host.paused_until
    }

    /// A host answered as it should.
    pub(super) fn calm(&self, host: &str) {
        if let Some(host) = self.lock().get_mut(host) {
            host.throttled_in_a_row = 0;
        }
    }

    /// Waits for a place among the requests to a host, until then at the latest.
    pub(super) async fn enter(&self, host: &str, until: Instant) -> Option<Slot> {
        let slots = Arc::clone(&self.lock().entry(host.to_owned()).or_default().slots);
        let permit = timeout_at(until, slots.acquire_owned()).await.ok()?.ok()?;
        let start = {
            let mut hosts = self.lock();
            let host = hosts.entry(host.to_owned()).or_default();
            let start = host.next_start.max(Instant::now());
            if start > until {
                return None;
            }
            host.next_start = start + SPACING;
            start
        };
        sleep_until(start).await;
        Some(Slot { _permit: permit })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "https://eu.ninjarmm.com";

    #[tokio::test(start_paused = true)]
    async fn eight_at_once_and_fifty_a_second() {
        let gate = Gate::default();
        let began = Instant::now();
        let patience = began + Duration::from_secs(5);
        let mut slots = Vec::new();
        for _ in 0..AT_ONCE {
            slots.push(gate.enter(HOST, patience).await.unwrap());
        }
        assert_eq!(began.elapsed(), SPACING * 7);
        assert!(gate.enter(HOST, Instant::now() + SPACING).await.is_none());
        slots.pop();
        assert!(
            gate.enter(HOST, Instant::now() + SPACING * 3)
                .await
                .is_some()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_of_our_own_choice_doubles_and_one_that_was_asked_for_does_not() {
        let gate = Gate::default();
        let thirty = Duration::from_secs(30);
        assert_eq!(gate.pause(HOST, 0, thirty, false), 30_000);
        assert_eq!(gate.pause(HOST, 10_000, thirty, false), 30_000, "together");
        assert_eq!(gate.pause(HOST, 30_000, thirty, false), 90_000);
        assert_eq!(gate.paused_until(HOST, 89_999), Some(90_000));
        assert_eq!(gate.paused_until(HOST, 90_000), None);
        gate.calm(HOST);
        assert_eq!(gate.pause(HOST, 90_000, thirty, false), 120_000);
        assert_eq!(
            gate.pause(HOST, 120_000, Duration::from_secs(120), true),
            240_000
        );
    }
}
