//! An engine in a time of its own.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::{Engine, EngineBuilder};
use crate::id::WorkflowId;
use crate::limits::Limits;
use crate::machine::Millis;
use crate::store::clock::{ManualClock, millis};
use crate::store::memory::MemoryStore;
use crate::store::{Store, StoreError};
use crate::worker;

use super::faulty::FaultyStore;

/// When a sandbox begins, unless it is told otherwise: 2026-01-01, nine o'clock in the morning, UTC.
pub const BEGIN: Millis = 1_767_258_000_000;

/// Turns at one point in time after which a workflow is taken for one that never rests.
const RESTLESS: usize = 500;

/// An engine over a [`MemoryStore`], whose clock only the test moves. Time does not jump:
/// [`Sandbox::skip`] stops at every timer on the way and runs the turn that is due then.
pub struct Sandbox {
    engine: Engine,
    store: MemoryStore,
    faults: FaultyStore,
    clock: ManualClock,
}

impl Sandbox {
    /// A sandbox with the default limits that begins at [`BEGIN`]. `build` adds the kinds.
    #[must_use]
    pub fn new(build: impl FnOnce(EngineBuilder) -> EngineBuilder) -> Self {
        Self::beginning_at(BEGIN, build)
    }

    /// A sandbox that begins at a given time.
    #[must_use]
    pub fn beginning_at(now: Millis, build: impl FnOnce(EngineBuilder) -> EngineBuilder) -> Self {
        let clock = ManualClock::at(now);
        let store = MemoryStore::with_clock(clock.clock());
        let faults = FaultyStore::over(Arc::new(store.clone()));
        let shared: Arc<dyn Store> = Arc::new(faults.clone());
        let builder = EngineBuilder::new(shared, Limits::default(), "sandbox".to_owned());
        Self {
            engine: build(builder).build(),
            store,
            faults,
            clock,
        }
    }

    /// The engine: for signals and reading.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The store: for what no operation shows.
    #[must_use]
    pub fn store(&self) -> &MemoryStore {
        &self.store
    }

    /// What is to go wrong between the engine and its store.
    #[must_use]
    pub fn faults(&self) -> &FaultyStore {
        &self.faults
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.clock.now()
    }

    /// Runs the turns that are due now, and those that become due by them; returns how many.
    ///
    /// # Panics
    /// When there is no end to them.
    pub async fn settle(&self) -> usize {
        self.run_until(self.now()).await
    }

    /// Lets time pass, from timer to timer; returns how many turns ran.
    ///
    /// # Panics
    /// When a workflow asks to be woken at once for ever.
    pub async fn skip(&self, by: Duration) -> usize {
        self.run_until(self.now().saturating_add(millis(by))).await
    }

    async fn run_until(&self, end: Millis) -> usize {
        let (mut turns, mut turns_now) = (0, 0);
        while let Some((id, at)) = self.next_due().await.filter(|(_, at)| *at <= end) {
            if at > self.now() {
                self.clock.set(at);
                turns_now = 0;
            }
            worker::one(&self.engine, &id).await;
            turns += 1;
            turns_now += 1;
            assert!(turns_now < RESTLESS, "{id} never rests");
        }
        self.clock.set(end);
        turns
    }

    async fn next_due(&self) -> Option<(WorkflowId, Millis)> {
        let partitions: Vec<u16> = (0..self.store.partitions()).collect();
        let told = sure(self.store.peek(&partitions).await);
        let heads = told.partitions.into_iter().flat_map(|(_, heads)| heads);
        let due =
            heads.filter_map(|(member, at)| Some((WorkflowId::from_member(&member).ok()?, at)));
        due.filter(|(id, _)| self.engine.runs(id.kind()))
            .min_by_key(|(_, at)| *at)
    }
}

/// A store in this process answers.
fn sure<T>(answer: Result<T, StoreError>) -> T {
    match answer {
        Ok(told) => told,
        Err(error) => panic!("{error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_in_the_morning() {
        assert_eq!(crate::time::rfc3339(BEGIN), "2026-01-01T09:00:00.000Z");
    }
}
