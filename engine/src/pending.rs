//! Which workflows have an outcome that must not be lost and that no store has yet.
//!
//! A gauge says that there is one; whoever looks at a single workflow wants to know whether it is this
//! one, and which process must therefore not be killed. So each process knows its own, and tells the
//! others in its line of the table of workers: only what has lasted for a while, so that a healthy
//! fleet writes nothing more than its heartbeats.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::counters::Counters;
use crate::id::WorkflowId;

/// Workflows that a worker's line names at most.
const TOLD_MAX: usize = 64;

/// The workflows of this process that wait for a store.
#[derive(Debug, Default)]
pub struct Pending(Mutex<BTreeMap<WorkflowId, Held>>);

/// How often a workflow is held, and since when it is.
#[derive(Debug)]
struct Held {
    since: Instant,
    times: usize,
}

/// One workflow that waits, for as long as this lives.
#[derive(Debug)]
pub struct PendingHold {
    id: WorkflowId,
    all: Arc<Pending>,
}

impl Pending {
    /// Marks a workflow.
    #[must_use]
    pub fn hold(self: &Arc<Self>, id: &WorkflowId) -> PendingHold {
        let since = Instant::now();
        let mut all = self.lock();
        all.entry(id.clone())
            .or_insert(Held { since, times: 0 })
            .times += 1;
        PendingHold {
            id: id.clone(),
            all: Arc::clone(self),
        }
    }

    /// Whether a workflow waits in this process.
    #[must_use]
    pub fn contains(&self, id: &WorkflowId) -> bool {
        self.lock().contains_key(id)
    }

    /// Those that have waited for so long, by name, as many as a line names.
    pub(crate) fn lasting(&self, at_least: Duration) -> Vec<String> {
        let all = self.lock();
        all.iter()
            .filter(|(_, held)| held.since.elapsed() >= at_least)
            .take(TOLD_MAX)
            .map(|(id, _)| id.to_string())
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<WorkflowId, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PendingHold {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        if let Some(held) = all.get_mut(&self.id) {
            held.times -= 1;
            if held.times == 0 {
                all.remove(&self.id);
            }
        }
    }
}

/// Shows as long as it lives that something which must not be lost is nowhere but in this process.
pub(crate) struct Precious<'a> {
    counters: &'a Counters,
    _hold: PendingHold,
}

impl<'a> Precious<'a> {
    pub(crate) fn new(counters: &'a Counters, id: &WorkflowId) -> Self {
        counters.persist_pending.fetch_add(1, Ordering::Relaxed);
        Self {
            counters,
            _hold: counters.pending.hold(id),
        }
    }
}

impl Drop for Precious<'_> {
    fn drop(&mut self) {
        self.counters
            .persist_pending
            .fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_workflow_waits_until_nobody_holds_it_and_is_told_when_it_lasts() {
        let all = Arc::new(Pending::default());
        let id = WorkflowId::new("test", "a").unwrap();
        let second = Duration::from_secs(1);
        let first = all.hold(&id);
        let again = all.hold(&id);
        assert!(all.contains(&id));
        assert!(all.lasting(second).is_empty());
        tokio::time::advance(second).await;
        assert_eq!(all.lasting(second), ["test:a"]);
        drop(first);
        assert!(all.contains(&id));
        drop(again);
        assert!(!all.contains(&id) && all.lasting(Duration::ZERO).is_empty());
    }
}
