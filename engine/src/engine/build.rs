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

/// Puts an [`Engine`] together.
pub struct EngineBuilder {
    store: Arc<dyn Store>,
    limits: Arc<Limits>,
    owner: String,
    counters: Arc<Counters>,
    news: Arc<News>,
    ending: CancellationToken,
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
            ending: CancellationToken::new(),
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
            ending: self.ending.clone(),
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
            ending: self.ending,
            runners: self.runners,
            caution: Caution::default(),
            turns: TaskTracker::new(),
            drives: Mutex::default(),
        }))
    }
}
