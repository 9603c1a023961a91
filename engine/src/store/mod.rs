//! Where workflows live: the seven operations of the protocol, and the few plain tables beside them.
//!
//! There are two stores. [`MemoryStore`](memory::MemoryStore) is the protocol written down in plain
//! Rust; [`RedisStore`](redis::RedisStore) runs the same protocol as Lua scripts. Both answer what a
//! caller must decide on as values; an error means that the store did not do what it was asked, or
//! that nobody knows whether it did.

pub mod clock;
mod gate;
pub mod memory;
pub mod outbox;
mod protocol;
pub mod redis;

use std::time::Duration;

use async_trait::async_trait;

use crate::id::WorkflowId;
use crate::machine::Millis;
use crate::record::{Envelope, Reading, Record};

pub use self::gate::{Breaker, Enter, Entered, GateBounds, GateState, Said};
use self::outbox::{Drain, Drained, Progress, Settle};
pub use self::protocol::{
    Claim, ClaimMode, Claimed, Commit, Committed, Compared, Creation, Extend, Extended, Heads,
    Look, OutboxEntry, Page, Peek, Place, Reconciled, Requeued, SealedOp, Signal, Signalled,
    Stamped, StreamEntry, Told,
};

/// What went wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No answer, or an answer that says "not now": the same call may succeed later. Whether this
    /// one took effect is not known.
    #[error("the store is away while {doing}: {why}")]
    Away {
        /// What was being done.
        doing: String,
        /// What the store, or the way to it, said.
        why: String,
    },
    /// The store answered what the protocol does not know. Trying again will not help.
    #[error("the store refused {doing}: {why}")]
    Refused {
        /// What was being done.
        doing: String,
        /// What it said.
        why: String,
    },
}

/// A store of workflows.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// How many partitions there are.
    fn partitions(&self) -> u16;

    /// Whether a confirmation (see [`Commit::durable`]) says that the write has reached a disk. Where
    /// it does not, what is kept elsewhere until then should be kept for a while longer.
    fn confirms_disks(&self) -> bool {
        true
    }

    /// Takes a workflow. See `engine/scripts/claim.lua`.
    async fn claim(&self, claim: &Claim) -> Result<Told<Claimed>, StoreError>;

    /// Writes a transition. See `engine/scripts/commit.lua`.
    async fn commit(&self, commit: &Commit) -> Result<Told<Committed>, StoreError>;

    /// Queues a signal. See `engine/scripts/signal.lua`.
    async fn signal(&self, signal: &Signal) -> Result<Signalled, StoreError>;

    /// Reads a workflow. See `engine/scripts/read.lua`.
    async fn read(&self, id: &WorkflowId, with_sealed: bool)
    -> Result<Option<Reading>, StoreError>;

    /// The signals that wait for a workflow, oldest first; none where there is no such workflow.
    async fn inbox(&self, id: &WorkflowId) -> Result<Vec<Envelope>, StoreError>;

    /// Renews a lease or gives the workflow back. See `engine/scripts/extend.lua`.
    async fn extend(
        &self,
        id: &WorkflowId,
        fence: u64,
        claim: &str,
        what: Extend,
    ) -> Result<Extended, StoreError>;

    /// Compares entries of the index with their records, and lists what is to be compared next. On
    /// one server that is one round trip. See `engine/scripts/reconcile.lua`.
    async fn compare(&self, ids: &[WorkflowId], then: &[Place]) -> Result<Compared, StoreError>;

    /// Compares one entry of the index with its record.
    async fn reconcile(&self, id: &WorkflowId) -> Result<Reconciled, StoreError> {
        let compared = self.compare(std::slice::from_ref(id), &[]).await?;
        let found = compared.found.first();
        found.copied().ok_or_else(|| StoreError::Refused {
            doing: format!("comparing {id}"),
            why: "the store told nothing of it".to_owned(),
        })
    }

    /// Gives a parked workflow back. See `engine/scripts/requeue.lua`.
    async fn requeue(&self, id: &WorkflowId) -> Result<Requeued, StoreError>;

    /// The heads of these partitions, in one round trip.
    async fn peek(&self, partitions: &[u16]) -> Result<Peek, StoreError>;

    /// The heads of all partitions, and which run of the store tells of them: on one server one round
    /// trip, and then over one connection, so that what is told and who told it belong together.
    async fn look(&self) -> Result<Look, StoreError> {
        // First who answers: if that changes in between, the next look sees it.
        let run = self.run_id().await?;
        let all: Vec<u16> = (0..self.partitions()).collect();
        let peek = self.peek(&all).await?;
        Ok(Look { run, peek })
    }

    /// Members of a partition's `due` set, by rank.
    async fn due_members(
        &self,
        partition: u16,
        from: usize,
        count: usize,
    ) -> Result<Vec<String>, StoreError>;

    /// Workflows of a kind, in no order; a workflow may come twice. `None` begins, and ends.
    async fn walk(
        &self,
        kind: &str,
        cursor: Option<String>,
        count: usize,
    ) -> Result<(Vec<(WorkflowId, Record)>, Option<String>), StoreError>;

    /// The log of a workflow, oldest first.
    async fn log(&self, id: &WorkflowId) -> Result<Vec<String>, StoreError>;

    /// Events of a partition after a position (`None` for the oldest that is kept).
    async fn events(
        &self,
        partition: u16,
        after: Option<&str>,
        count: usize,
    ) -> Result<Vec<StreamEntry>, StoreError>;

    /// The newest position of a partition's stream, to follow from.
    async fn events_end(&self, partition: u16) -> Result<Option<String>, StoreError>;

    /// Gives a reader of the outbox events of a partition. If the answer is lost, what it would have
    /// brought is to be taken again. See [`outbox`] and `engine/scripts/drain.lua`.
    async fn drain(&self, drain: &Drain) -> Result<Drained, StoreError>;

    /// Notes what a reader has dealt with; tells how many of these were news. The same may be said
    /// twice. See `engine/scripts/settle.lua`.
    async fn settle(&self, settle: &Settle) -> Result<u64, StoreError>;

    /// How far a reader has come in every partition, in one round trip to each server. Partitions
    /// whose server is away are left out. See `engine/scripts/reader.lua`.
    async fn progress(&self, reader: &str) -> Result<Vec<Progress>, StoreError>;

    /// Wakes when something became due earlier than the last reply told: partition and time. A
    /// message may be lost.
    async fn wakes(&self) -> Result<Wakes, StoreError>;

    /// Sets a field of a plain table, such as `workers`.
    async fn table_put(&self, table: &str, field: &str, value: &str) -> Result<(), StoreError>;

    /// Reads a field of a plain table.
    async fn table_get(&self, table: &str, field: &str) -> Result<Option<String>, StoreError>;

    /// Reads a whole plain table.
    async fn table_all(&self, table: &str) -> Result<Vec<(String, String)>, StoreError>;

    /// Removes a field of a plain table; tells whether it was there.
    async fn table_remove(&self, table: &str, field: &str) -> Result<bool, StoreError>;

    /// Keeps a value under a name for a time, to be taken once.
    async fn slip_put(&self, name: &str, value: &str, life: Duration) -> Result<(), StoreError>;

    /// Takes it: of all who try, one gets it.
    async fn slip_take(&self, name: &str) -> Result<Option<String>, StoreError>;

    /// Takes a name for a time, if nobody has it; `true` also renews what `holder` has already.
    async fn turnstile(&self, name: &str, holder: &str, life: Duration)
    -> Result<bool, StoreError>;

    /// Takes a place in a gate. See `engine/scripts/enter.lua`.
    async fn gate_enter(&self, ask: &Enter) -> Result<Entered, StoreError>;

    /// Gives a place back. It may have ended already.
    async fn gate_leave(&self, gate: &str, place: &str) -> Result<(), StoreError>;

    /// Tells a gate how it went inside, if anything, and how it stands. See `engine/scripts/gate.lua`.
    async fn gate_tell(
        &self,
        gate: &str,
        said: Option<Said>,
        bounds: &GateBounds,
    ) -> Result<GateState, StoreError>;

    /// Compares the store's stamp with the newest one seen, and writes the next one if `write`. See
    /// `engine/scripts/stamp.lua`.
    async fn stamp(&self, newest_seen: Millis, write: bool) -> Result<Stamped, StoreError>;

    /// The store's time.
    async fn now(&self) -> Result<Millis, StoreError>;

    /// Which run of which server this is: changes with a restart or a failover. Reads a connection's
    /// own answer, so that a change is seen by whoever asks.
    async fn run_id(&self) -> Result<String, StoreError>;
}

/// Wake-up messages: partition and due time.
pub type Wakes = tokio::sync::mpsc::Receiver<(u16, Millis)>;
