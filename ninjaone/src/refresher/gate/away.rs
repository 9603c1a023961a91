//! Asking the fleet's gate, and doing without it for a while where it does not answer.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evergreen_engine::store::StoreError;
use tokio::time::{Instant, timeout};

/// How long the fleet's gate may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// How long it is not asked again once it has not answered.
pub(super) const AWAY_FOR: Duration = Duration::from_secs(5);

/// Whether the fleet's gate is being done without.
#[derive(Default)]
pub(super) struct Away(Mutex<Option<Instant>>);

impl Away {
    /// It does not answer, or did not a moment ago.
    pub(super) fn is_now(&self) -> bool {
        self.lock().is_some_and(|until| until > Instant::now())
    }

    /// The answer, if the gate is not away, and answers in time.
    pub(super) async fn unless<T>(
        &self,
        asked: impl Future<Output = Result<T, StoreError>>,
    ) -> Option<T> {
        if self.is_now() {
            return None;
        }
        let why = match timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error @ StoreError::Refused { .. })) => {
                // It is there, and so may be asked again at once.
                tracing::warn!(%error, "the fleet's gate says no; this request goes by this process's own limit");
                return None;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {PATIENCE:?}"),
        };
        tracing::warn!(%why, "the fleet's gate is away; this process goes by a limit of its own");
        *self.lock() = Some(Instant::now() + AWAY_FOR);
        None
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
