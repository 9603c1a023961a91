//! The handle of the engine: signals, reading, and the one path by which a caller gets work done.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::activities::Activities;
use crate::caution::Caution;
use crate::counters::Counters;
use crate::id::WorkflowId;
use crate::limits::{self, Limits, LimitsError};
use crate::load;
use crate::machine::{Millis, Workflow};
use crate::news::News;
use crate::record::{Reading, Record};
use crate::store::{
    Claim, ClaimMode, Claimed, Creation, Signal, Signalled, Store, StoreError, Told,
};
use crate::trust::Trust;
use crate::turn::{self, Env, Holding, TurnEnd};
use crate::writing::random_id;

/// Runs turns of one kind. This is where type parameters end.
#[async_trait]
pub(crate) trait Runner: Send + Sync {
    async fn run(&self, holding: Holding) -> TurnEnd;
}

#[async_trait]
impl<W: Workflow> Runner for Env<W> {
    async fn run(&self, holding: Holding) -> TurnEnd {
        turn::run(self, holding).await
    }
}

/// Puts an [`Engine`] together.
pub struct EngineBuilder {
    store: Arc<dyn Store>,
    limits: Arc<Limits>,
    owner: String,
    counters: Arc<Counters>,
    news: Arc<News>,
    runners: BTreeMap<&'static str, Arc<dyn Runner>>,
}

impl EngineBuilder {
    pub(crate) fn new(store: Arc<dyn Store>, limits: Limits, owner: String) -> Self {
        Self {
            store,
            limits: Arc::new(limits),
            owner,
            counters: Arc::default(),
            news: Arc::default(),
            runners: BTreeMap::new(),
        }
    }

    /// Adds a kind of workflow with what surrounds it.
    #[must_use]
    pub fn with<W: Workflow>(mut self, activities: Arc<dyn Activities<W>>) -> Self {
        let env = Env {
            store: Arc::clone(&self.store),
            limits: Arc::clone(&self.limits),
            counters: Arc::clone(&self.counters),
            activities,
            news: Arc::clone(&self.news),
        };
        self.runners.insert(W::KIND, Arc::new(env));
        self
    }

    /// The engine.
    #[must_use]
    pub fn build(self) -> Engine {
        Engine(Arc::new(Inner {
            store: self.store,
            limits: self.limits,
            owner: self.owner,
            counters: self.counters,
            news: self.news,
            runners: self.runners,
            caution: Caution::default(),
            turns: TaskTracker::new(),
            drives: Mutex::default(),
        }))
    }
}

/// Workflows of all kinds over one store, in one process. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

type Drive = Shared<BoxFuture<'static, Driven>>;

struct Inner {
    store: Arc<dyn Store>,
    limits: Arc<Limits>,
    owner: String,
    counters: Arc<Counters>,
    news: Arc<News>,
    runners: BTreeMap<&'static str, Arc<dyn Runner>>,
    caution: Caution,
    turns: TaskTracker,
    /// Callers in this process that drive the same workflow are one.
    drives: Mutex<HashMap<WorkflowId, Drive>>,
}

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
    format!("its turns keep failing, or its holders vanish; nobody gets it before {until}")
}

/// A drive that goes on: callers that come meanwhile join it.
struct Driving(Engine, WorkflowId);

impl Drop for Driving {
    fn drop(&mut self) {
        let drives = self.0.0.drives.lock();
        let mut drives = drives.unwrap_or_else(std::sync::PoisonError::into_inner);
        drives.remove(&self.1);
    }
}

/// How a signal is to be delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivery {
    /// End whatever lease there is, at once.
    pub preemptive: bool,
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
    /// When the store does not answer, or refuses.
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
                ends_claim: delivery.ends_claim,
                create,
                durable: delivery.durable,
            })
            .await
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

    /// Runs one turn of a workflow here, or waits for whoever holds it. The turn goes on if the
    /// caller gives up.
    pub async fn drive(&self, id: &WorkflowId) -> Driven {
        let drive = {
            let mut drives = self
                .0
                .drives
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
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
        let mut pause = limits::DRIVE_LOOK_FIRST;
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
            if Instant::now() + pause > until {
                return Waited::Enough(Driven::StillHeld);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(limits::DRIVE_LOOK_MAX);
        }
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
        let claim = Claim {
            id: id.clone(),
            claim: random_id(),
            owner: self.0.owner.clone(),
            lease: limits.lease,
            mode,
            spare_owned: self.0.caution.advised(),
        };
        let trust = Trust::start(limits.lease - limits.margin());
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
                Taken::Holding(Box::new(holding), runner)
            }
            answer => Taken::Answer(answer),
        };
        Ok(Told {
            answer,
            now: told.now,
            heads: told.heads,
        })
    }

    /// Asks which run of the store answers; after a change nothing is taken over for a while.
    pub(crate) async fn look_who_answers(&self) {
        match self.0.store.run_id().await {
            Ok(run) => self.0.caution.saw(run, self.0.limits.lease),
            Err(error) => tracing::debug!(%error, "the store's run is not known"),
        }
    }

    /// Whether what others own is left alone for now.
    pub(crate) fn is_cautious(&self) -> bool {
        self.0.caution.advised()
    }

    pub(crate) fn news(&self) -> &News {
        &self.0.news
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

/// A workflow as it was read: the machine, if it can be read, and the record.
pub struct View<W: Workflow> {
    /// Data and state; an explanation where they cannot be read.
    pub machine: Result<(W, W::Phase), String>,
    /// Everything that was read.
    pub reading: Reading,
}

/// Reads the machine out of a record.
///
/// # Errors
/// Why it cannot be read, without its text.
pub fn view<W: Workflow>(record: &Record) -> Result<(W, W::Phase), String> {
    load::machine::<W>(record).map_err(|e| e.to_string())
}
