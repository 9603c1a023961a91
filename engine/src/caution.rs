//! After the store has become another run, or another server, leases are judged by another clock.
//!
//! A lease's end was computed by the clock of the server that granted it. A replica that takes over,
//! or a machine that comes back, may be ahead of that clock, and would let a second worker in while
//! the first still rightly trusts its window. So for one lease, by this process' own clock, nothing is
//! claimed that another owns; what nobody owns is claimed as ever.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Which run of the store was seen last, and how long to be careful.
#[derive(Debug, Default)]
pub(crate) struct Caution {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    run: Option<String>,
    until: Option<Instant>,
}

impl Caution {
    /// Takes in which run has answered.
    pub(crate) fn saw(&self, run: String, lease: Duration) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.run.as_ref().is_some_and(|known| *known != run) {
            tracing::warn!(%run, "the store is another run; for one lease nothing is taken over");
            seen.until = Some(Instant::now() + lease);
        }
        seen.run = Some(run);
    }

    /// Whether what others own is to be left alone.
    pub(crate) fn advised(&self) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.until.is_some_and(|until| Instant::now() < until)
    }
}
