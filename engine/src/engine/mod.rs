//! The handle of the engine: signals, reading, and the one path by which a caller gets work done.
//!
//! # Signals
//! [`Engine::signal`] queues, and returns when the store has it; the workflow is due from that moment, and
//! some worker hears of it at once. A signal never shortens a lease: the holder's commit sees the inbox and
//! makes the workflow due again. The exception is a pre-emptive one ([`Delivery::preemptive`]), which ends
//! the lease in the same script. What is in flight is not called back; its commit will be fenced.
//!
//! # Getting an answer
//! [`Engine::drive`] runs a turn here, under a claim of its own: the same code as a worker's, and there is
//! no other. If somebody else holds the workflow it waits for their commit, bounded, and does itself what a
//! holder that vanished has left. Callers that drive one workflow in one process are one; so what a caller
//! gets is *a* turn, and whether its own signal was in it, it must read. Look at the state afterwards, and
//! drive again where it is not as wanted.
//!
//! # Reading
//! [`Engine::read`] is one reading of state and sealed blobs together. Two readings would be a torn one.

mod build;
mod drive;
mod inbox;
mod seen;
mod told;
mod view;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, Weak};

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::build::EngineBuilder;
use self::build::Runner;
use self::drive::Drive;
pub use self::drive::Driven;
pub use self::view::{View, view};
use crate::caution::Caution;
use crate::counters::Counters;
use crate::deliver;
use crate::id::WorkflowId;
use crate::limits::{Limits, LimitsError};
use crate::load;
use crate::machine::Workflow;
use crate::news::News;
use crate::pending::Precious;
use crate::platform::Platform;
use crate::queue::Queue;
use crate::store::clock::millis;
use crate::store::{
    Claim, ClaimMode, Claimed, Creation, Extend, Requeued, Signal, Signalled, Store, StoreError,
    Told,
};
use crate::trust::Trust;
use crate::turn::Holding;

/// Workflows of all kinds over one store, in one process. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

/// A handle that does not keep an engine alive: for what the engine itself holds.
#[derive(Clone)]
pub struct WeakEngine(Weak<Inner>);

impl WeakEngine {
    /// The engine, while anybody else holds it.
    #[must_use]
    pub fn upgrade(&self) -> Option<Engine> {
        self.0.upgrade().map(Engine)
    }
}

struct Inner {
    store: Arc<dyn Store>,
    limits: Arc<Limits>,
    owner: String,
    counters: Arc<Counters>,
    news: Arc<News>,
    platform: Platform,
    ending: CancellationToken,
    runners: BTreeMap<&'static str, Arc<dyn Runner>>,
    caution: Arc<Caution>,
    queue: Arc<Queue>,
    turns: TaskTracker,
    /// What the application says of this process, by field.
    told: Mutex<BTreeMap<String, Value>>,
    /// Callers in this process that drive the same workflow are one.
    drives: Mutex<HashMap<WorkflowId, Drive>>,
}

/// How a signal is to be delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivery {
    /// End whatever lease there is, at once.
    pub preemptive: bool,
    /// By what a pre-emptive signal is known when it is sent again because its reply was lost: it then
    /// ends no lease again, and is not queued again. Something that belongs to this one wish.
    pub once: Option<String>,
    /// Create the workflow if there is none.
    pub create: bool,
    /// End the lease that was taken with this claim id.
    pub ends_claim: Option<String>,
    /// Ask the servers to confirm that it is safe.
    pub durable: bool,
}

impl Delivery {
    /// Creates the workflow if there is none.
    #[must_use]
    pub fn creating() -> Self {
        Self {
            create: true,
            ..Self::default()
        }
    }

    /// Ends whatever lease there is, at once.
    #[must_use]
    pub fn preempting() -> Self {
        Self {
            preemptive: true,
            ..Self::default()
        }
    }
}

/// What [`Engine::claim`] led to.
pub(crate) enum Taken {
    Holding(Box<Holding>, Arc<dyn Runner>),
    Answer(Claimed),
}

impl Engine {
    /// Begins an engine over a store. `owner` names this process, for people.
    ///
    /// # Errors
    /// Limits that contradict each other, all of them.
    pub fn builder(
        store: Arc<dyn Store>,
        limits: Limits,
        owner: impl Into<String>,
    ) -> Result<EngineBuilder, Vec<LimitsError>> {
        limits.check()?;
        Ok(EngineBuilder::new(store, limits, owner.into()))
    }

    /// A handle for what the engine itself holds, its activities above all.
    #[must_use]
    pub fn downgrade(&self) -> WeakEngine {
        WeakEngine(Arc::downgrade(&self.0))
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.0.store
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// What this process has counted.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.0.counters
    }

    /// The name of this process.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.0.owner
    }

    /// Turns that run in this process, to be waited for at shutdown.
    #[must_use]
    pub fn turns(&self) -> &TaskTracker {
        &self.0.turns
    }

    /// Queues a signal.
    ///
    /// # Errors
    /// When the store does not answer, or refuses; and where the workflow is of another kind. That it
    /// is unknown, or has too many signals already, is an answer.
    pub async fn signal<W: Workflow>(
        &self,
        id: &WorkflowId,
        signal: &W::Signal,
        delivery: Delivery,
    ) -> Result<Signalled, StoreError> {
        let refused = |why: String| StoreError::Refused {
            doing: format!("signalling {id}"),
            why,
        };
        load::is_of_kind::<W>(id).map_err(refused)?;
        let create = if delivery.create {
            let (data, phase) = W::initial();
            let (state, data) =
                load::store::<W>(&data, &phase).map_err(|e| refused(e.to_string()))?;
            Some(Creation {
                state,
                data,
                schema: W::SCHEMA,
            })
        } else {
            None
        };
        let payload = load::signal_payload::<W>(signal).map_err(|e| refused(e.to_string()))?;
        self.0
            .store
            .signal(&Signal {
                id: id.clone(),
                payload,
                preemptive: delivery.preemptive,
                once: delivery.once,
                unless_it_waits: false,
                ends_claim: delivery.ends_claim,
                create,
                durable: delivery.durable,
            })
            .await
    }

    /// Delivers a signal that must not be lost: it is sent until the store has it and its servers
    /// confirm, however long that takes. [`Signalled::Unknown`] where there is no such workflow.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn deliver<W: Workflow>(
        &self,
        id: &WorkflowId,
        signal: &W::Signal,
    ) -> Result<Signalled, StoreError> {
        load::is_of_kind::<W>(id).map_err(|why| StoreError::Refused {
            doing: format!("delivering to {id}"),
            why,
        })?;
        let _precious = Precious::new(&self.0.counters, id);
        deliver::deliver::<W>(&*self.0.store, &self.0.counters, id, signal).await
    }

    /// Reads the machine of a workflow, with what surrounds it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn read<W: Workflow>(
        &self,
        id: &WorkflowId,
        with_sealed: bool,
    ) -> Result<Option<View<W>>, StoreError> {
        let Some(reading) = self.0.store.read(id, with_sealed).await? else {
            return Ok(None);
        };
        Ok(Some(View {
            machine: view::<W>(&reading.record),
            reading,
        }))
    }

    /// Gives a workflow back that waits for a human: its turns are tried again, as if none had failed.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn requeue(&self, id: &WorkflowId) -> Result<Requeued, StoreError> {
        let told = self.0.store.requeue(id).await?;
        if told == Requeued::Requeued {
            tracing::info!(workflow = %id, "a parked workflow was given back");
        }
        Ok(told)
    }

    /// Claims a workflow. Trust counts from before the claim is sent.
    pub(crate) async fn claim(
        &self,
        id: &WorkflowId,
        mode: ClaimMode,
    ) -> Result<Told<Taken>, StoreError> {
        let Some(runner) = self.0.runners.get(id.kind()).cloned() else {
            return Err(StoreError::Refused {
                doing: format!("claiming {id}"),
                why: format!("this process does not run the kind {}", id.kind()),
            });
        };
        let limits = &self.0.limits;
        self.look_who_answers();
        let cautious = self.is_cautious();
        let claim = Claim {
            id: id.clone(),
            claim: self.0.platform.id(),
            owner: self.0.owner.clone(),
            lease: limits.lease,
            mode,
            spare_owned: cautious,
        };
        let trust = Trust::start(limits.lease - limits.margin(), &self.0.platform);
        let told = self.0.store.claim(&claim).await?;
        let answer = match told.answer {
            Claimed::Claimed {
                record,
                sealed,
                inbox,
            } => {
                if record.attempt > 1 {
                    Counters::add(&self.0.counters.takeovers, 1);
                }
                let (id, claim, now) = (claim.id, claim.claim, told.now);
                let holding = Holding {
                    id,
                    claim,
                    record: *record,
                    sealed,
                    inbox,
                    now,
                    trust,
                };
                if cautious || holding.record.attempt == 1 || self.took_over(&holding).await? {
                    Taken::Holding(Box::new(holding), runner)
                } else {
                    Taken::Answer(Claimed::Held {
                        lease_until: now + millis(limits.lease),
                        owner: "(given back)".to_owned(),
                    })
                }
            }
            answer => Taken::Answer(answer),
        };
        Ok(Told {
            answer,
            now: told.now,
            heads: told.heads,
        })
    }

    /// Has it found out which run of the store answers; after a change nothing is taken over for a
    /// while. Nobody waits for it.
    pub(crate) fn look_who_answers(&self) {
        self.0.caution.look_aside(self.0.limits.poll_cap / 2);
    }

    /// A claim that took over what another may hold is only good if the store is the run that it was.
    /// Else nobody gets it for a lease, so that whoever held it may go on trusting.
    async fn took_over(&self, holding: &Holding) -> Result<bool, StoreError> {
        self.0.caution.look().await?;
        if !self.is_cautious() {
            return Ok(true);
        }
        let what = Extend::GiveBack {
            rest: self.0.limits.lease,
            counts: false,
        };
        let fence = holding.record.fence;
        let store = &self.0.store;
        store
            .extend(&holding.id, fence, &holding.claim, what)
            .await?;
        Ok(false)
    }

    /// Whether what others own is left alone for now.
    pub(crate) fn is_cautious(&self) -> bool {
        self.0.caution.spares()
    }

    /// This process ends: from now on no activity begins, and those that run are broken off.
    pub(crate) fn break_off(&self) {
        self.0.ending.cancel();
    }

    pub(crate) fn platform(&self) -> &Platform {
        &self.0.platform
    }

    pub(crate) fn news(&self) -> &News {
        &self.0.news
    }

    pub(crate) fn queue(&self) -> &Arc<Queue> {
        &self.0.queue
    }

    /// The kinds that this process runs.
    #[must_use]
    pub fn kinds(&self) -> Vec<&'static str> {
        self.0.runners.keys().copied().collect()
    }

    /// Whether this process runs workflows of a kind.
    pub(crate) fn runs(&self, kind: &str) -> bool {
        self.0.runners.contains_key(kind)
    }
}
