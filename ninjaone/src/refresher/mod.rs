//! The impure edge of a grant's machine: one token request, what it brings, and how that is kept safe.
//!
//! | file | holds |
//! |---|---|
//! | `perform.rs` | the request: what is opened for it, what its answer means |
//! | `late.rs` | a reply past its deadline: read on, and what it brings delivered |
//! | `said.rs` | what an answer says of its host |
//! | `sealing.rs` | sealing what the machine asks to have sealed |
//! | `keeper.rs` | the journal around a rotated pair, and its replay |
//! | `gate/` | being polite to a host, as a fleet |

mod gate;
mod keeper;
mod late;
mod perform;
pub(crate) mod said;
mod sealing;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use evergreen_engine::{
    Activities, Admission, Call, Pass, SealError, Transition, WeakEngine, WorkflowId,
};
use evergreen_engine::{Millis, record::SealedBlobs};
use tokio::time::Instant;

use crate::lifecycle::{
    self, Credential, NO_PLACE, Outcome, Refresh, Secret, Settings, Signal, TURNED_AWAY_MAX,
};
use crate::provider::{ClientApp, HostPolicy, TokenEndpoint};
use crate::telemetry::Telemetry;
use crate::vault::{FingerprintKey, KeyRing};

pub use self::gate::Gate;
pub(crate) use self::gate::{Admitted, Slot, Wish, host_of};
pub use self::keeper::{Delivered, Keeper, Replay};
pub(crate) use self::sealing::{stored_pair, workflow};

/// What a refresh needs of its process. Cheap to clone.
#[derive(Clone)]
pub struct Refresher(pub(crate) Arc<Parts>);

impl std::ops::Deref for Refresher {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The parts that all clones of a [`Refresher`] share.
pub struct Parts {
    pub(crate) ring: Arc<KeyRing>,
    pub(crate) fingerprints: Arc<FingerprintKey>,
    pub(crate) endpoint: TokenEndpoint,
    pub(crate) policy: HostPolicy,
    pub(crate) client: Option<ClientApp>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) gate: Gate,
    pub(crate) telemetry: Arc<Telemetry>,
    /// When it was noticed that the store is an older one, by its clock; 0 if it was not.
    pub(crate) restored_at: AtomicU64,
    /// Set once the engine is there: late pairs are delivered through it. Weak, since the engine holds
    /// this; else neither would ever end, nor the journal's lock with them.
    pub(crate) engine: OnceLock<WeakEngine>,
}

#[async_trait::async_trait]
impl Activities<Credential> for Refresher {
    fn facts(&self) -> Arc<Settings> {
        match self.restored_at.load(Ordering::Relaxed) {
            0 => Arc::clone(&self.settings),
            at => Arc::new(Settings {
                restored_at: Some(at),
                ..Settings::clone(&self.settings)
            }),
        }
    }

    fn seal(
        &self,
        id: &WorkflowId,
        secret: &Secret,
        blobs: &SealedBlobs,
    ) -> Result<String, SealError> {
        sealing::seal(&self.ring, id, secret, blobs)
    }

    async fn admit(&self, id: &WorkflowId, activity: &Refresh, now: Millis) -> Admission {
        let began = Instant::now();
        let wish = Wish {
            instance_url: &activity.instance_url,
            expires_at: activity.expires_at,
            exempt: activity.exempt,
            connecting: activity.connecting,
            now,
        };
        match self.gate.enter_soon(&wish).await {
            None => Admission::Held { until: NO_PLACE },
            Some(Admitted::Elsewhere(span)) => Admission::Held {
                until: span.clamp(1, TURNED_AWAY_MAX),
            },
            Some(Admitted::In(slot)) => Admission::Enter(Pass::new(slot.taken_by(id))),
            Some(Admitted::Held(left)) => {
                let waited = Millis::try_from(began.elapsed().as_millis()).unwrap_or(0);
                Admission::Held {
                    until: now.saturating_add(waited).saturating_add(left),
                }
            }
        }
    }

    async fn perform(&self, call: Call<'_, Credential>) -> Outcome {
        let outcome = perform::perform(self, &call).await;
        self.telemetry.outcome(outcome.word());
        outcome
    }

    fn not_sent(&self, _activity: &Refresh) -> Outcome {
        Outcome::NotSent
    }

    fn unknown(&self, _activity: &Refresh) -> Outcome {
        Outcome::Unknown {
            detail: perform::words("the request ended without an answer"),
        }
    }

    fn redeliver(&self, id: &WorkflowId, outcome: &Outcome) -> Option<Signal> {
        match outcome {
            // Only what the provider issued; a verdict that came too late is nobody's any more.
            Outcome::Refreshed(issued) => {
                Some(Signal::Rescued(sealing::rescued(&self.ring, id, issued)))
            }
            _ => None,
        }
    }

    async fn settled(&self, _id: &WorkflowId, outcome: &Outcome) {
        if let Outcome::Refreshed(issued) = outcome
            && let Some(entry) = &issued.entry
        {
            self.keeper.settled(entry.id(), self.confirms_disks()).await;
        }
    }

    fn record(&self, transition: &Transition<'_, Credential>) {
        lifecycle::record(transition);
    }
}

impl Refresher {
    fn confirms_disks(&self) -> bool {
        self.engine
            .get()
            .and_then(evergreen_engine::WeakEngine::upgrade)
            .is_some_and(|engine| engine.store().confirms_disks())
    }
}
