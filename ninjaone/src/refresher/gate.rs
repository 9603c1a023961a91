//! Being polite to a host: so many requests at once, so many a second, none while it wants to be
//! left alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evergreen_engine::Millis;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

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
    _permit: Option<OwnedSemaphorePermit>,
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

    /// Waits for a place among the requests to a host, as long as the caller does. `exempt` from the
    /// pace, not from the number: the one retry after an unknown outcome, the one try of a pair that was
    /// kept apart.
    pub(super) async fn enter(&self, host: &str, exempt: bool) -> Slot {
        let slots = Arc::clone(&self.lock().entry(host.to_owned()).or_default().slots);
        // Nobody closes it.
        let permit = slots.acquire_owned().await.ok();
        if !exempt {
            let start = {
                let mut hosts = self.lock();
                let host = hosts.entry(host.to_owned()).or_default();
                let start = host.next_start.max(Instant::now());
                host.next_start = start + SPACING;
                start
            };
            sleep_until(start).await;
        }
        Slot { _permit: permit }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const HOST: &str = "https://eu.ninjarmm.com";

    #[tokio::test(start_paused = true)]
    async fn eight_at_once_and_fifty_a_second() {
        let gate = Gate::default();
        let began = Instant::now();
        let mut slots = Vec::new();
        for _ in 0..AT_ONCE {
            slots.push(gate.enter(HOST, false).await);
        }
        assert_eq!(began.elapsed(), SPACING * 7);
        let second = Duration::from_secs(1);
        let full = timeout(second, gate.enter(HOST, true)).await;
        assert!(full.is_err(), "nobody is exempt from the number");
        slots.pop();
        let free = timeout(SPACING * 3, gate.enter(HOST, false)).await;
        assert!(free.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_retry_is_exempt_from_the_pace() {
        let gate = Gate::default();
        let began = Instant::now();
        let _first = gate.enter(HOST, false).await;
        let _retry = gate.enter(HOST, true).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
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
