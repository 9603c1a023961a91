//! The protocol, written down in plain Rust.
//!
//! One file an operation, each the twin of the script of the same name; a differential test holds
//! the two together, field by field, over random sequences. Everything lies in one `Space` behind
//! one mutex, which is never held across an await: what Redis gets from running scripts one after
//! another, this store gets from the lock.
//!
//! It is the store of `evergreen dev` and of tests that skip time. Nothing survives the process, so
//! `durable` asks nothing of it and every commit is confirmed.

mod claim;
mod commit;
mod extend;
mod gates;
mod lists;
mod outbox;
mod reconcile;
mod requeue;
mod signal;
mod snapshot;
mod sorted_set;
mod space;
mod tables;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::clock::{self, Clock};
use super::{
    Claim, Claimed, Commit, Committed, Compared, Enter, Entered, Extend, Extended, GateBounds,
    GateState, Peek, Place, Requeued, Said, Signal, Signalled, Store, StoreError, StreamEntry,
    Told, Wakes,
};
use crate::id::WorkflowId;
use crate::limits::PARTITIONS_DEFAULT;
use crate::machine::Millis;
use crate::record::{Reading, Record};

pub use self::lists::Inspection;
pub use self::snapshot::Snapshot;
use self::space::Space;

/// Wake-up messages that one listener may be behind before it loses some.
const WAKES_BEHIND: usize = 1024;

/// The sorted sets of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// What is visible when.
    Due,
    /// What waits for a human.
    Parked,
}

/// A store in this process. Clones share it.
#[derive(Clone)]
pub struct MemoryStore {
    space: Arc<Mutex<Space>>,
    clock: Clock,
    partitions: u16,
    run_id: Arc<str>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store that goes by the wall clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(clock::system())
    }

    /// An empty store that goes by this clock.
    #[must_use]
    pub fn with_clock(clock: Clock) -> Self {
        Self::with_clock_and_partitions(clock, PARTITIONS_DEFAULT)
    }

    /// An empty store with so many partitions; none counts as one.
    #[must_use]
    pub fn with_clock_and_partitions(clock: Clock, partitions: u16) -> Self {
        let partitions = partitions.max(1);
        Self {
            space: Arc::new(Mutex::new(Space::new(partitions))),
            clock,
            partitions,
            run_id: format!("memory-{:016x}", rand::random::<u64>()).into(),
        }
    }

    /// Everything about one workflow, as no operation shows it: for tests.
    #[must_use]
    pub fn inspect(&self, id: &WorkflowId) -> Inspection {
        lists::inspect(&self.lock(), id)
    }

    /// Puts the index in the wrong, so that a test can watch [`Store::reconcile`] put it right.
    pub fn break_index(&self, id: &WorkflowId, set: Set, score: Option<Millis>) {
        let mut space = self.lock();
        let partition = space.home(id);
        let set = match set {
            Set::Due => &mut partition.due,
            Set::Parked => &mut partition.parked,
        };
        set.set(&id.to_string(), score);
    }

    /// A panic elsewhere cannot have left the space half written: nothing here panics between two
    /// writes, so a poisoned lock is taken all the same.
    fn lock(&self) -> MutexGuard<'_, Space> {
        self.space.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The space, and the time: read under the lock, so that later operations see no earlier time.
    fn at_once(&self) -> (MutexGuard<'_, Space>, Millis) {
        let space = self.lock();
        let now = (self.clock)();
        (space, now)
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn partitions(&self) -> u16 {
        self.partitions
    }

    async fn claim(&self, claim: &Claim) -> Result<Told<Claimed>, StoreError> {
        let (mut space, now) = self.at_once();
        Ok(claim::claim(&mut space, now, claim))
    }

    async fn commit(&self, commit: &Commit) -> Result<Told<Committed>, StoreError> {
        let (mut space, now) = self.at_once();
        commit::commit(&mut space, now, commit)
    }

    async fn signal(&self, signal: &Signal) -> Result<Signalled, StoreError> {
        let (mut space, now) = self.at_once();
        Ok(signal::signal(&mut space, now, signal))
    }

    async fn read(
        &self,
        id: &WorkflowId,
        with_sealed: bool,
    ) -> Result<Option<Reading>, StoreError> {
        let (space, now) = self.at_once();
        Ok(lists::read(&space, now, id, with_sealed))
    }

    async fn extend(
        &self,
        id: &WorkflowId,
        fence: u64,
        claim: &str,
        what: Extend,
    ) -> Result<Extended, StoreError> {
        let (mut space, now) = self.at_once();
        Ok(extend::extend(&mut space, now, id, fence, claim, what))
    }

    async fn compare(&self, ids: &[WorkflowId], then: &[Place]) -> Result<Compared, StoreError> {
        let (mut space, now) = self.at_once();
        reconcile::compare(&mut space, now, ids, then)
    }

    async fn requeue(&self, id: &WorkflowId) -> Result<Requeued, StoreError> {
        let (mut space, now) = self.at_once();
        Ok(requeue::requeue(&mut space, now, id))
    }

    async fn peek(&self, partitions: &[u16]) -> Result<Peek, StoreError> {
        let (space, now) = self.at_once();
        lists::peek(&space, now, partitions)
    }

    async fn due_members(
        &self,
        partition: u16,
        from: usize,
        count: usize,
    ) -> Result<Vec<String>, StoreError> {
        lists::due_members(&self.lock(), partition, from, count)
    }

    async fn walk(
        &self,
        kind: &str,
        cursor: Option<String>,
        count: usize,
    ) -> Result<(Vec<(WorkflowId, Record)>, Option<String>), StoreError> {
        lists::walk(&self.lock(), kind, cursor.as_deref(), count)
    }

    async fn log(&self, id: &WorkflowId) -> Result<Vec<String>, StoreError> {
        Ok(lists::log(&self.lock(), id))
    }

    async fn events(
        &self,
        partition: u16,
        after: Option<&str>,
        count: usize,
    ) -> Result<Vec<StreamEntry>, StoreError> {
        self.lock().partition(partition)?.events.after(after, count)
    }

    async fn events_end(&self, partition: u16) -> Result<Option<String>, StoreError> {
        Ok(self.lock().partition(partition)?.events.end())
    }

    async fn wakes(&self) -> Result<Wakes, StoreError> {
        let (sender, wakes) = tokio::sync::mpsc::channel(WAKES_BEHIND);
        self.lock().listeners.push(sender);
        Ok(wakes)
    }

    async fn table_put(&self, table: &str, field: &str, value: &str) -> Result<(), StoreError> {
        self.lock().tables.put(table, field, value);
        Ok(())
    }

    async fn table_get(&self, table: &str, field: &str) -> Result<Option<String>, StoreError> {
        Ok(self.lock().tables.get(table, field))
    }

    async fn table_all(&self, table: &str) -> Result<Vec<(String, String)>, StoreError> {
        Ok(self.lock().tables.all(table))
    }

    async fn table_remove(&self, table: &str, field: &str) -> Result<bool, StoreError> {
        Ok(self.lock().tables.remove(table, field))
    }

    async fn slip_put(&self, name: &str, value: &str, life: Duration) -> Result<(), StoreError> {
        let (mut space, now) = self.at_once();
        space.slips.put(now, name, value, life);
        Ok(())
    }

    async fn slip_take(&self, name: &str) -> Result<Option<String>, StoreError> {
        let (mut space, now) = self.at_once();
        Ok(space.slips.take(now, name))
    }

    async fn turnstile(
        &self,
        name: &str,
        holder: &str,
        life: Duration,
    ) -> Result<bool, StoreError> {
        let (mut space, now) = self.at_once();
        Ok(space.turnstiles.pass(now, name, holder, life))
    }

    async fn gate_enter(&self, ask: &Enter) -> Result<Entered, StoreError> {
        let (mut space, now) = self.at_once();
        Ok(space.gates.enter(now, ask))
    }

    async fn gate_leave(&self, gate: &str, place: &str) -> Result<(), StoreError> {
        self.lock().gates.leave(gate, place);
        Ok(())
    }

    async fn gate_tell(
        &self,
        gate: &str,
        said: Option<Said>,
        bounds: &GateBounds,
    ) -> Result<GateState, StoreError> {
        let (mut space, now) = self.at_once();
        Ok(space.gates.tell(now, gate, said, bounds))
    }

    async fn now(&self) -> Result<Millis, StoreError> {
        Ok((self.clock)())
    }

    async fn run_id(&self) -> Result<String, StoreError> {
        let failovers = self.lock().failovers;
        Ok(format!("{}-{failovers}", self.run_id))
    }
}
