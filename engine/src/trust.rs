//! How long a holder may believe in its own lease.
//!
//! ```text
//!  sent          granted                                        trust ends        lease ends
//!   │ ···claim··· │                                                  │                │
//!   ├─────────────┼──────── window = lease − margin ─────────────────┤                │
//!   │             ├──────────────────────── lease ───────────────────┼────────────────┤
//!   │             │  no byte leaves after this ──────────────────────┘     margin     │
//! ```
//!
//! # Who decides
//! The store's clock decides when a lease ends. A holder cannot read that clock at the moment that
//! counts, so it keeps a window of its own that surely ends sooner: it starts *before* the claim is
//! sent (a slow reply must not lengthen it) and is shorter than the lease by a margin (clocks that run
//! at slightly different speeds must not matter).
//!
//! # Two clocks
//! The window ends when the monotonic **or** the wall clock says so. `Instant` stands still while a
//! machine is suspended; the wall clock does not. The wall clock may be stepped; the monotonic is not.
//! A step back of the wall clock therefore ends trust neither early nor late, a step forward ends it
//! early, which costs a turn and never a credential.
//!
//! # What it cannot see
//! A step *forward* of the store's clock ends leases before their time, and no holder hears of it. It is
//! borne like a holder that pauses past its lease: another may begin the same activity meanwhile, is told
//! of the first ([`Input::ActivityLost`](crate::Input::ActivityLost)), and the fence judges both. Let that
//! clock be slewed, not stepped.
//!
//! # What it is for
//! Nothing is sent to the outside world after the window has ended, because by then another worker may
//! hold the workflow. Commits need no such care: the store checks their fence. The intent commit renews
//! the lease, so it starts the window anew, again from before it was sent; so does each renewal while an
//! activity runs that takes longer than a lease.
//!
//! # How you could get this wrong
//! By checking it once, at the start of an activity that then looks up a name, waits for a place in a pool
//! and only then writes: look at [`Trust::holds`] immediately before the first byte. By measuring from when
//! the claim was answered. By taking it for the activity's deadline, which is sooner: what was learnt has
//! to be committed in what is left.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::machine::Millis;
use crate::platform::Platform;
use crate::store::clock::Clock;

/// A holder's trust in its lease. Clones are the same window: when the lease is renewed, all of them
/// see it.
#[derive(Clone)]
pub struct Trust {
    began: Instant,
    clock: Clock,
    anchor: Arc<Mutex<Anchor>>,
    window: Duration,
}

/// When the window began, by two clocks.
#[derive(Clone, Copy)]
pub(crate) struct Anchor {
    monotonic: Instant,
    wall: Millis,
}

impl Trust {
    /// Starts a window; call it before the claim or the renewing commit is sent.
    #[must_use]
    pub fn start(window: Duration, platform: &Platform) -> Self {
        let anchor = Anchor {
            monotonic: Instant::now(),
            wall: platform.now(),
        };
        Self {
            began: anchor.monotonic,
            clock: platform.wall.clone(),
            anchor: Arc::new(Mutex::new(anchor)),
            window,
        }
    }

    /// Both clocks, to be read before what renews the lease is sent.
    pub(crate) fn now(&self) -> Anchor {
        Anchor {
            monotonic: Instant::now(),
            wall: (self.clock)(),
        }
    }

    /// The lease was renewed, by a call that was sent after this anchor was taken: the window begins
    /// anew from there.
    pub(crate) fn renew(&self, from: Anchor) {
        *self.anchor() = from;
    }

    fn anchor(&self) -> MutexGuard<'_, Anchor> {
        self.anchor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is left of it: the lesser by either clock.
    #[must_use]
    pub fn left(&self) -> Duration {
        let anchor = *self.anchor();
        let by_wall = Duration::from_millis((self.clock)().saturating_sub(anchor.wall));
        self.window
            .saturating_sub(anchor.monotonic.elapsed().max(by_wall))
    }

    /// Milliseconds since it first started, by the monotonic clock.
    pub(crate) fn elapsed_ms(&self) -> u128 {
        self.began.elapsed().as_millis()
    }

    /// Whether it still holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.left().is_zero()
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("left", &self.left()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::clock::ManualClock;

    const WINDOW: Duration = Duration::from_secs(13);

    fn by(clock: &ManualClock) -> Platform {
        Platform {
            wall: clock.clock(),
            ..Platform::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn trust_ends_by_the_monotonic_clock() {
        let trust = Trust::start(WINDOW, &by(&ManualClock::at(1_000_000)));
        assert!(trust.holds());
        tokio::time::advance(WINDOW).await;
        assert!(!trust.holds());
    }

    #[test]
    fn trust_ends_by_the_wall_clock_of_a_machine_that_was_suspended() {
        let clock = ManualClock::at(1_000_000);
        let trust = Trust::start(WINDOW, &by(&clock));
        clock.advance(WINDOW / 2);
        assert!(trust.holds());
        clock.advance(WINDOW / 2 + Duration::from_millis(1));
        assert!(!trust.holds());
    }

    #[test]
    fn a_wall_clock_that_steps_back_ends_trust_neither_early_nor_late() {
        let clock = ManualClock::at(1_000_000);
        let trust = Trust::start(WINDOW, &by(&clock));
        clock.set(1);
        assert!(trust.holds());
        assert!(trust.left() <= WINDOW);
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_counts_from_before_it_was_sent_and_for_all_who_look() {
        let trust = Trust::start(WINDOW, &by(&ManualClock::at(1_000_000)));
        let copy = trust.clone();
        tokio::time::advance(Duration::from_secs(5)).await;
        let sent = trust.now();
        tokio::time::advance(Duration::from_secs(3)).await;
        trust.renew(sent);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(copy.holds(), "twelve seconds after it was sent");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!copy.holds());
    }
}
