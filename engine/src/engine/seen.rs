//! What the looks of this process' worker have brought along, for all who would else have to ask.

use std::time::Duration;

use super::Engine;
use crate::limits;
use crate::machine::Millis;
use crate::store::{Look, StoreError};

impl Engine {
    /// Takes in who has answered; after a change nothing is taken over for a while. And what time it is
    /// there: timers and leases go by that, so a machine that thinks otherwise is only told of.
    ///
    /// # Errors
    /// It is the first that this process sees, and the store does not tell of what was before it.
    pub(crate) async fn saw(&self, look: &Look) -> Result<(), StoreError> {
        let (there, here) = (look.peek.now, self.platform().now());
        let apart = i64::try_from(there.abs_diff(here)).unwrap_or(i64::MAX);
        let ahead = if there < here { -apart } else { apart };
        let far = |ms: i64| Duration::from_millis(ms.unsigned_abs()) > limits::SKEW_WARN;
        let before = self.counters().store_is_ahead_by(ahead);
        if far(ahead) && !before.is_some_and(far) {
            tracing::warn!(
                store_ahead_ms = ahead,
                "this machine's clock is not the store's; timers and leases go by the store's"
            );
        }
        self.0.caution.saw(look).await
    }

    /// Which run of the store answers: as this process' worker saw it last, if that is not longer ago
    /// than `age`, else as the store tells now.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn run_id(&self, age: Duration) -> Result<String, StoreError> {
        match self.0.caution.seen_within(age) {
            Some((run, _)) => Ok(run),
            None => self.0.store.run_id().await,
        }
    }

    /// The store's time, by the same rule.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn store_now(&self, age: Duration) -> Result<Millis, StoreError> {
        match self.0.caution.seen_within(age) {
            Some((_, now)) => Ok(now),
            None => self.0.store.now().await,
        }
    }
}
