//! How often the watch looks at its file and fetches a token.

use std::time::Duration;

use crate::handoff::Handed;

/// How often to look and to fetch. Each is bounded on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    pub(super) check: Duration,
    pub(super) fetch_min: Duration,
    pub(super) fetch_max: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self::every(Duration::from_secs(1))
    }
}

impl Pace {
    /// Looks at the file this often, held within 200 ms and 1 min. Fetches every 1 s to 30 s.
    #[must_use]
    pub fn every(check: Duration) -> Self {
        Self {
            check: check.clamp(Duration::from_millis(200), Duration::from_mins(1)),
            fetch_min: Duration::from_secs(1),
            fetch_max: Duration::from_secs(30),
        }
    }

    /// When to ask again for a token with so much life left.
    pub(super) fn after_success(&self, handed: &Handed) -> Duration {
        let part = Duration::from_secs(handed.expires_in_s) / 20;
        part.clamp(self.fetch_min, self.fetch_max)
    }

    /// When to ask again after so many failures in a row.
    pub(super) fn after_failure(&self, failures: u32) -> Duration {
        let doubled = self
            .fetch_min
            .saturating_mul(1 << failures.saturating_sub(1).min(16));
        doubled.min(self.fetch_max)
    }
}
