//! The one path by which a caller gets work done: a turn here, or the commit of whoever holds the
//! workflow.

use std::sync::PoisonError;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::time::Instant;

use super::{Engine, Taken};
use crate::backoff::Backoff;
use crate::id::WorkflowId;
use crate::limits;
use crate::machine::Millis;
use crate::record::Reading;
use crate::store::{ClaimMode, Claimed, StoreError};
use crate::turn::TurnEnd;

/// What became of a call of [`Engine::drive`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Driven {
    /// A turn ran here.
    Turned(TurnEnd),
    /// Somebody else held it, and has let go.
    Waited,
    /// Somebody else holds it still; patience ended.
    StillHeld,
    /// Its holders keep vanishing, or it waits for a human.
    Stuck {
        /// Why.
        why: String,
    },
    /// There is no such workflow.
    Unknown,
    /// The store did not answer.
    StoreAway {
        /// What it said.
        why: String,
    },
}

impl From<StoreError> for Driven {
    fn from(error: StoreError) -> Self {
        Self::StoreAway {
            why: error.to_string(),
        }
    }
}

/// A drive that goes on, and whoever waits for it.
pub(super) type Drive = Shared<BoxFuture<'static, Driven>>;

impl Engine {
    /// Runs one turn of a workflow here, or waits for whoever holds it. The turn goes on if the
    /// caller gives up.
    pub async fn drive(&self, id: &WorkflowId) -> Driven {
        let drive = {
            let mut drives = self.0.drives.lock().unwrap_or_else(PoisonError::into_inner);
            drives
                .entry(id.clone())
                .or_insert_with(|| {
                    let (engine, id) = (self.clone(), id.clone());
                    let task = self.0.turns.spawn(async move {
                        // However it ends, whoever comes later begins anew.
                        let this = Driving(engine, id);
                        this.0.drive_alone(&this.1).await
                    });
                    async move {
                        task.await.unwrap_or_else(|error| Driven::Stuck {
                            why: error.to_string(),
                        })
                    }
                    .boxed()
                    .shared()
                })
                .clone()
        };
        drive.await
    }

    /// As [`Engine::drive`], but never joins a turn that somebody here has begun already. For whoever
    /// has just ended that turn's lease with a pre-emptive signal and is not to wait for it.
    pub async fn drive_apart(&self, id: &WorkflowId) -> Driven {
        let (engine, id) = (self.clone(), id.clone());
        let task = self
            .0
            .turns
            .spawn(async move { engine.drive_alone(&id).await });
        task.await.unwrap_or_else(|error| Driven::Stuck {
            why: error.to_string(),
        })
    }

    async fn drive_alone(&self, id: &WorkflowId) -> Driven {
        let until = Instant::now() + limits::DRIVE_PATIENCE;
        loop {
            let told = match self.claim(id, ClaimMode::Drive).await {
                Ok(told) => told,
                Err(error) => return error.into(),
            };
            match told.answer {
                Taken::Holding(holding, runner) => {
                    return Driven::Turned(runner.run(*holding).await);
                }
                Taken::Answer(Claimed::Held { lease_until, owner }) => {
                    let left = until.saturating_duration_since(Instant::now());
                    let rest = Duration::from_millis(lease_until.saturating_sub(told.now));
                    if is_nobody(&owner) && rest > left {
                        return Driven::Stuck {
                            why: nobody_before(lease_until),
                        };
                    }
                    match self.wait_for_holder(id, until).await {
                        // What the holder has not done is done here.
                        // Unless it is to be spared: see `caution.rs`.
                        Waited::LeaseEnded if Instant::now() < until => {
                            tokio::time::sleep(limits::DRIVE_LOOK_FIRST).await;
                        }
                        Waited::LeaseEnded => return Driven::StillHeld,
                        Waited::Enough(driven) => return driven,
                    }
                }
                Taken::Answer(Claimed::Delayed { until }) => {
                    return Driven::Stuck {
                        why: nobody_before(until),
                    };
                }
                Taken::Answer(Claimed::Parked { reason }) => return Driven::Stuck { why: reason },
                Taken::Answer(_) => return Driven::Unknown,
            }
        }
    }

    /// Looks at a workflow until nobody holds it, or somebody else does.
    async fn wait_for_holder(&self, id: &WorkflowId, until: Instant) -> Waited {
        let mut first: Option<Option<String>> = None;
        let mut backoff = Backoff::new(limits::DRIVE_LOOK_FIRST, limits::DRIVE_LOOK_MAX);
        loop {
            match self.0.store.read(id, false).await {
                Ok(None) => return Waited::Enough(Driven::Unknown),
                Ok(Some(Reading { record, now, .. })) => {
                    let first = first.get_or_insert_with(|| record.claim.clone());
                    if record.owner.is_none() || *first != record.claim {
                        return Waited::Enough(Driven::Waited);
                    }
                    if record.lease_until.is_some_and(|end| end <= now) {
                        return Waited::LeaseEnded;
                    }
                }
                Err(error) => return Waited::Enough(error.into()),
            }
            if Instant::now() + backoff.next() > until {
                return Waited::Enough(Driven::StillHeld);
            }
            backoff.pause().await;
        }
    }
}

/// How waiting for a holder ended.
enum Waited {
    /// Its lease has run out, and it has not committed.
    LeaseEnded,
    Enough(Driven),
}

/// A lease that keeps everybody away has an owner in brackets: nobody works behind it.
fn is_nobody(owner: &str) -> bool {
    owner.starts_with('(')
}

fn nobody_before(until: Millis) -> String {
    let until = crate::time::rfc3339(until);
    format!(
        "nobody gets it before {until}: its turns keep failing, its holders vanish, or the store has \
         just become another"
    )
}

/// A drive that goes on: callers that come meanwhile join it.
struct Driving(Engine, WorkflowId);

impl Drop for Driving {
    fn drop(&mut self) {
        let drives = self.0.0.drives.lock();
        let mut drives = drives.unwrap_or_else(PoisonError::into_inner);
        drives.remove(&self.1);
    }
}
