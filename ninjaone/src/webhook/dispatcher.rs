//! How a process becomes the one that sends, and how long it believes that it is.
//!
//! The turnstile is a name in the store that ends by itself. As with a lease, its holder counts from before
//! it asked, by its own clocks, and trusts in it for less time than the store gives; every request ends
//! inside that window. So the next holder never meets a request of the last one, however long that one was
//! stopped.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evergreen_engine::Platform;
use evergreen_engine::store::{Store, StoreError};
use evergreen_engine::trust::Trust;
use tokio_util::sync::CancellationToken;

use super::carrier::{Carrier, Http};
use super::desk::Desk;
use super::{SigningSecrets, WebhookOptions};
use crate::provider::BuildFailed;
use crate::service::App;
use crate::telemetry::Telemetry;

/// The turnstile's name.
const TURNSTILE: &str = "webhooks";
/// How long a sender that has fallen silent keeps the others out.
const PART: Duration = Duration::from_secs(30);
/// What is taken off that by a sender's own clocks, which may run at another speed than the store's.
const MARGIN: Duration = Duration::from_secs(3);
/// How often the sender says that it still is, and the others ask whether they can be.
pub(super) const PART_AGAIN: Duration = Duration::from_secs(10);
/// How long the turnstile stays closed behind a sender that leaves in order.
const LEAVING: Duration = Duration::from_millis(1);

/// Sends webhooks, once it is this process' turn.
pub struct Dispatcher(Arc<Shared>);

/// What all parts of it use.
pub(super) struct Shared {
    pub(super) store: Arc<dyn Store>,
    pub(super) owner: String,
    pub(super) carrier: Arc<dyn Carrier>,
    pub(super) secrets: SigningSecrets,
    pub(super) telemetry: Arc<Telemetry>,
    /// Events that a partition's stream keeps at most.
    pub(super) events_max: usize,
    pub(super) platform: Platform,
}

/// That this process is the sender, for as long as it may believe so.
pub(super) struct Holding(Mutex<Trust>);

impl Holding {
    /// How long it may still believe it.
    pub(super) fn left(&self) -> Duration {
        let trust = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        trust.left()
    }

    pub(super) fn holds(&self) -> bool {
        !self.left().is_zero()
    }
}

impl Dispatcher {
    /// For the events of this app.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub fn new(app: &App, options: WebhookOptions) -> Result<Self, BuildFailed> {
        let carrier = Arc::new(Http::new(options.url)?);
        Ok(Self::with(app, options.secrets, carrier))
    }

    /// The same with another way to the receiver.
    #[must_use]
    pub fn with(app: &App, secrets: SigningSecrets, carrier: Arc<dyn Carrier>) -> Self {
        let engine = app.engine();
        Self(Arc::new(Shared {
            store: Arc::clone(engine.store()),
            owner: app.worker_id().to_owned(),
            carrier,
            secrets,
            telemetry: Arc::clone(app.telemetry()),
            events_max: engine.limits().events,
            platform: Platform::default(),
        }))
    }

    #[cfg(test)]
    pub(super) fn over(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    /// Sends until told to stop; then what is under way ends first, and another process may go on at once.
    pub async fn run(self, stop: CancellationToken) {
        let shared = self.0;
        loop {
            let asking = shared.become_sender();
            let Some(holding) = stop.run_until_cancelled(asking).await else {
                return;
            };
            tracing::info!("this process sends the webhooks of the fleet");
            Desk::new(Arc::clone(&shared), Arc::new(holding))
                .run(&stop)
                .await;
            shared.telemetry.webhooks_stand(None);
            if stop.is_cancelled() {
                shared.leave().await;
                return;
            }
            tracing::info!("another process may send the webhooks from now on");
        }
    }
}

impl Shared {
    /// Asks until this process is the sender.
    async fn become_sender(&self) -> Holding {
        loop {
            match self.pass().await {
                Ok(Some(trust)) => return Holding(Mutex::new(trust)),
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "nobody says who sends the webhooks"),
            }
            // Not all at the same time.
            let early = rand::random::<f64>() * 0.1;
            tokio::time::sleep(PART_AGAIN.mul_f64(1.0 - early)).await;
        }
    }

    /// Says that this process still is the sender; `false` if it is not, or did not believe it for a
    /// moment: what was under way then has stopped, and only who begins anew takes it up again.
    pub(super) async fn renew(&self, holding: &Holding) -> Result<bool, StoreError> {
        let Some(trust) = self.pass().await? else {
            return Ok(false);
        };
        let mut held = holding.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.left().is_zero() {
            return Ok(false);
        }
        *held = trust;
        Ok(true)
    }

    /// The window begins before the question is sent: a slow answer must not lengthen it.
    async fn pass(&self) -> Result<Option<Trust>, StoreError> {
        let trust = Trust::start(PART - MARGIN, &self.platform);
        let passed = self.store.turnstile(TURNSTILE, &self.owner, PART).await?;
        Ok(passed.then_some(trust))
    }

    async fn leave(&self) {
        let left = self.store.turnstile(TURNSTILE, &self.owner, LEAVING).await;
        if let Err(error) = left {
            tracing::debug!(%error, "the next sender has to wait until the turnstile opens by itself");
        }
    }
}
