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
//! # What it is for
//! Nothing is sent to the outside world after the window has ended, because by then another worker may
//! hold the workflow. Commits need no such care: the store checks their fence. The intent commit renews
//! the lease, so it starts the window anew, again from before it was sent.
//!
//! # How you could get this wrong
//! By checking it once, at the start of an activity that then looks up a name, waits for a place in a pool
//! and only then writes: look at [`Trust::holds`] immediately before the first byte. By measuring from when
//! the claim was answered. By taking it for the activity's deadline, which is sooner: what was learnt has
//! to be committed in what is left.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A holder's trust in its lease.
#[derive(Debug, Clone, Copy)]
pub struct Trust {
    monotonic: Instant,
    wall: SystemTime,
    window: Duration,
}

impl Trust {
    /// Starts a window; call it before the claim or the renewing commit is sent.
    #[must_use]
    pub fn start(window: Duration) -> Self {
        Self {
            monotonic: Instant::now(),
            wall: SystemTime::now(),
            window,
        }
    }

    /// What is left of it: the lesser by either clock.
    #[must_use]
    pub fn left(&self) -> Duration {
        let by_wall = SystemTime::now()
            .duration_since(self.wall)
            .unwrap_or_default();
        self.window
            .saturating_sub(self.monotonic.elapsed().max(by_wall))
    }

    /// Milliseconds since it started, by the monotonic clock.
    pub(crate) fn elapsed_ms(&self) -> u128 {
        self.monotonic.elapsed().as_millis()
    }

    /// Whether it still holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.left().is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn trust_ends_by_the_monotonic_clock() {
        let trust = Trust::start(Duration::from_secs(13));
        assert!(trust.holds());
        tokio::time::advance(Duration::from_secs(13)).await;
        assert!(!trust.holds());
    }

    #[test]
    fn trust_ends_by_the_wall_clock_of_a_machine_that_was_suspended() {
        let mut trust = Trust::start(Duration::from_secs(13));
        trust.wall -= Duration::from_secs(14);
        assert!(!trust.holds());
    }
}
