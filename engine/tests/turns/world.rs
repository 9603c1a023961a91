//! An engine over a store that fails on demand, in a time that only the test moves.

use std::sync::Arc;

use evergreen_engine::engine::Driven;
use evergreen_engine::store::clock::Clock;
use evergreen_engine::store::memory::{Inspection, MemoryStore};
use evergreen_engine::store::{Creation, Store};
use evergreen_engine::testing::{FaultyStore, runtime_clock};
use evergreen_engine::{Delivery, Engine, Limits, Millis, WorkflowId};

use crate::machine::{Chore, Phase, Script, Signal};

/// When every test begins.
pub(crate) const BEGIN: Millis = 1_763_700_000_000;

pub(crate) struct World {
    pub(crate) store: FaultyStore,
    pub(crate) memory: MemoryStore,
    pub(crate) script: Arc<Script>,
    pub(crate) engine: Engine,
}

pub(crate) fn engine(
    store: &FaultyStore,
    script: &Arc<Script>,
    limits: Limits,
    owner: &str,
) -> Engine {
    Engine::builder(Arc::new(store.clone()), limits, owner)
        .unwrap()
        .with::<Chore>(Arc::clone(script) as Arc<_>)
        .build()
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Script::default(), Limits::default())
    }

    pub(crate) fn precious() -> Self {
        Self::with(Script::precious(), Limits::default())
    }

    pub(crate) fn with(script: Script, limits: Limits) -> Self {
        Self::at(runtime_clock(BEGIN), script, limits)
    }

    pub(crate) fn at(clock: Clock, script: Script, limits: Limits) -> Self {
        let memory = MemoryStore::with_clock_and_partitions(clock, 2);
        let store = FaultyStore::over(Arc::new(memory.clone()));
        let script = Arc::new(script);
        let engine = engine(&store, &script, limits, "worker-1");
        Self {
            store,
            memory,
            script,
            engine,
        }
    }

    /// Another process over the same store, with activities of its own.
    pub(crate) fn second(&self, script: Script) -> Self {
        let script = Arc::new(script);
        let engine = engine(
            &self.store,
            &script,
            self.engine.limits().clone(),
            "worker-2",
        );
        Self {
            store: self.store.clone(),
            memory: self.memory.clone(),
            script,
            engine,
        }
    }

    pub(crate) async fn now(&self) -> Millis {
        self.store.now().await.unwrap()
    }

    /// Sends a signal; creates the workflow where there is none.
    pub(crate) async fn send(&self, id: &WorkflowId, signal: Signal) {
        let delivery = Delivery {
            create: true,
            ..Delivery::default()
        };
        assert!(
            self.engine
                .signal::<Chore>(id, &signal, delivery)
                .await
                .unwrap()
                .is_queued()
        );
    }

    /// Sends a signal that ends the lease.
    pub(crate) async fn preempt(&self, id: &WorkflowId, signal: Signal) {
        let delivery = Delivery {
            preemptive: true,
            create: true,
            ..Delivery::default()
        };
        assert!(
            self.engine
                .signal::<Chore>(id, &signal, delivery)
                .await
                .unwrap()
                .is_queued()
        );
    }

    pub(crate) async fn drive(&self, id: &WorkflowId) -> Driven {
        self.engine.drive(id).await
    }

    pub(crate) fn inspect(&self, id: &WorkflowId) -> Inspection {
        self.memory.inspect(id)
    }

    pub(crate) async fn machine(&self, id: &WorkflowId) -> (Chore, Phase) {
        let view = self.engine.read::<Chore>(id, false).await.unwrap();
        view.unwrap().machine.unwrap()
    }

    /// What it heard, in order.
    pub(crate) async fn heard(&self, id: &WorkflowId) -> Vec<String> {
        self.machine(id).await.0.heard
    }

    /// The names of all events.
    pub(crate) async fn events(&self) -> Vec<String> {
        let mut names = Vec::new();
        for partition in 0..self.store.partitions() {
            for event in self.store.events(partition, None, 100).await.unwrap() {
                names.push(event.entry.event);
            }
        }
        names
    }

    /// Stores a workflow as some other version of the program might have written it.
    pub(crate) async fn store_raw(&self, id: &WorkflowId, schema: u32, data: &str, signal: &str) {
        assert!(
            self.memory
                .signal(&evergreen_engine::store::Signal {
                    id: id.clone(),
                    payload: signal.to_owned(),
                    preemptive: false,
                    once: None,
                    unless_it_waits: false,
                    ends_claim: None,
                    create: Some(Creation {
                        state: "Idle".to_owned(),
                        data: data.to_owned(),
                        schema,
                    }),
                    durable: false,
                })
                .await
                .unwrap()
                .is_queued()
        );
    }
}

pub(crate) fn id(name: &str) -> WorkflowId {
    WorkflowId::new("chore", name).unwrap()
}

/// What a counter shows.
pub(crate) fn count(counter: &std::sync::atomic::AtomicU64) -> u64 {
    counter.load(std::sync::atomic::Ordering::Relaxed)
}
