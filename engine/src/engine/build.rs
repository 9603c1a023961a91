//! Putting an engine together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Engine, Inner};
use crate::activities::Activities;
use crate::caution::Caution;
use crate::counters::Counters;
use crate::limits::Limits;
use crate::machine::Workflow;
use crate::news::News;
use crate::platform::Platform;
use crate::queue::Queue;
use crate::store::Store;
use crate::turn::{self, Env, Holding, TurnEnd};

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

/// What all kinds of one engine share.
pub(crate) struct Shared {
    store: Arc<dyn Store>,
    limits: Arc<Limits>,
    counters: Arc<Counters>,
    news: Arc<News>,
    platform: Platform,
    ending: CancellationToken,
    caution: Arc<Caution>,
    queue: Arc<Queue>,
}

type Kind = Box<dyn FnOnce(&Shared) -> Arc<dyn Runner> + Send>;

/// Puts an [`Engine`] together.
pub struct EngineBuilder {
    shared: Shared,
    owner: String,
    kinds: BTreeMap<&'static str, Kind>,
}

impl EngineBuilder {
    pub(crate) fn new(store: Arc<dyn Store>, limits: Limits, owner: String) -> Self {
        let caution = Caution::new(Arc::clone(&store), limits.lease);
        let shared = Shared {
            store,
            caution: Arc::new(caution),
            limits: Arc::new(limits),
            counters: Arc::default(),
            news: Arc::default(),
            platform: Platform::default(),
            ending: CancellationToken::new(),
            queue: Arc::default(),
        };
        Self {
            shared,
            owner,
            kinds: BTreeMap::new(),
        }
    }

    /// Takes the time of day and randomness from here instead of from the operating system.
    #[must_use]
    pub fn on(mut self, platform: Platform) -> Self {
        self.shared.platform = platform;
        self
    }

    /// Adds a kind of workflow with what surrounds it.
    #[must_use]
    pub fn with<W: Workflow>(mut self, activities: Arc<dyn Activities<W>>) -> Self {
        let kind: Kind = Box::new(move |shared| {
            Arc::new(Env {
                store: Arc::clone(&shared.store),
                limits: Arc::clone(&shared.limits),
                counters: Arc::clone(&shared.counters),
                activities,
                news: Arc::clone(&shared.news),
                platform: shared.platform.clone(),
                ending: shared.ending.clone(),
                caution: Arc::clone(&shared.caution),
                queue: Arc::clone(&shared.queue),
            })
        });
        self.kinds.insert(W::KIND, kind);
        self
    }

    /// The engine.
    #[must_use]
    pub fn build(self) -> Engine {
        let shared = self.shared;
        let kinds = self.kinds.into_iter();
        let runners = kinds.map(|(kind, run)| (kind, run(&shared))).collect();
        Engine(Arc::new(Inner {
            store: shared.store,
            limits: shared.limits,
            owner: self.owner,
            counters: shared.counters,
            news: shared.news,
            platform: shared.platform,
            ending: shared.ending,
            runners,
            caution: shared.caution,
            queue: shared.queue,
            turns: TaskTracker::new(),
            told: Mutex::default(),
            drives: Mutex::default(),
        }))
    }
}
