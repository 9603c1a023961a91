//! Where workflows live: the six operations of the protocol, and the few plain tables beside them.
//!
//! There are two stores. [`MemoryStore`](memory::MemoryStore) is the protocol written down in plain
//! Rust; [`RedisStore`](redis::RedisStore) runs the same protocol as Lua scripts. Both answer what a
//! caller must decide on as values; an error means that the store did not do what it was asked, or
//! that nobody knows whether it did.

pub mod clock;
pub mod memory;
pub mod redis;

use std::time::Duration;

use async_trait::async_trait;

use crate::id::WorkflowId;
use crate::machine::Millis;
use crate::record::{Envelope, Reading, Record, SealedBlobs};

/// Entries at the head of a partition's `due` set: member and score.
pub type Heads = Vec<(String, Millis)>;

/// Who may claim: a worker only what is due, a caller also what is merely free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimMode {
    /// What is due.
    Due,
    /// What is free, whatever its score.
    Drive,
}

/// What a claim asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The workflow.
    pub id: WorkflowId,
    /// 64 random bits as 16 hex digits, drawn by the claimer.
    pub claim: String,
    /// The claimer's name, for people.
    pub owner: String,
    /// How long to hold it.
    pub lease: Duration,
    /// Due only, or whatever is free.
    pub mode: ClaimMode,
}

/// How a claim was answered. All carry the store's time and the heads of the partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// Ours.
    Claimed {
        /// The record after the claim.
        record: Box<Record>,
        /// Its sealed blobs.
        sealed: SealedBlobs,
        /// Signals that wait, oldest first, as many as are handed out at once.
        inbox: Vec<Envelope>,
    },
    /// Somebody else's.
    Held {
        /// When their lease ends.
        lease_until: Millis,
        /// Who they are.
        owner: String,
    },
    /// Nothing to do yet.
    NotDue,
    /// Its holders keep vanishing; nobody gets it before then.
    Delayed {
        /// When it can be claimed again.
        until: Millis,
    },
    /// It waits for a human.
    Parked {
        /// Why.
        reason: String,
    },
    /// There is no such workflow.
    Unknown,
}

/// A reply with the store's time and the partition's heads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told<T> {
    /// The answer.
    pub answer: T,
    /// The store's time.
    pub now: Millis,
    /// The next due entries of the partition.
    pub heads: Heads,
}

/// One change of the sealed blobs, already sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SealedOp {
    /// Keep this text under the name.
    Put(String, String),
    /// Erase what is under the name.
    Erase(String),
    /// Erase everything.
    Clear,
}

/// An event as it goes to the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Commit id and index.
    pub id: String,
    /// The event's name.
    pub event: String,
    /// By which field it names its subject.
    pub subject_field: String,
    /// The subject.
    pub subject: String,
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// JSON.
    pub payload: String,
}

/// One transition to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The workflow.
    pub id: WorkflowId,
    /// The fence's number.
    pub fence: u64,
    /// The fence's claim id.
    pub claim: String,
    /// 64 random bits as 16 hex digits; the same in every try of this commit.
    pub commit: String,
    /// Write nothing if the inbox is longer than what was consumed.
    pub strict: bool,
    /// Signals consumed.
    pub consumed: usize,
    /// The name of the state.
    pub state: String,
    /// JSON.
    pub data: String,
    /// The version in which both are written.
    pub schema: u32,
    /// The timer.
    pub wake_at: Option<Millis>,
    /// Out of sight until then.
    pub visible_at: Option<Millis>,
    /// The activity that the holder sets out to perform.
    pub activity: Option<String>,
    /// Renew the lease by this; `None` makes it the final commit, which frees the workflow.
    pub keep: Option<Duration>,
    /// Remove the workflow.
    pub finish: bool,
    /// Park it, for this reason.
    pub park: Option<String>,
    /// Changes of the sealed blobs, in order.
    pub sealed: Vec<SealedOp>,
    /// The log's entry; empty for none.
    pub log: String,
    /// Log entries to keep.
    pub log_max: usize,
    /// Events, in order.
    pub events: Vec<OutboxEntry>,
    /// Events that the stream keeps at most.
    pub events_max: usize,
    /// Ask the servers to confirm that it is safe; see [`Committed::Written`].
    pub durable: bool,
}

/// How a commit was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// It is written.
    Written {
        /// The count of transitions now.
        v: u64,
        /// It was written before, by an earlier try of this very commit.
        already: bool,
        /// Whether the lease is still the committer's (of interest after `already`).
        ours: bool,
        /// Whether the servers confirmed as [`Commit::durable`] asked; `true` where nothing was asked.
        confirmed: bool,
    },
    /// Somebody else has claimed since, or nobody holds it. Nothing was written.
    Fenced {
        /// The count of transitions.
        v: u64,
    },
    /// Strict, and these signals came meanwhile. Nothing was written.
    Signals {
        /// The signals after those consumed.
        rest: Vec<Envelope>,
    },
    /// There is no such workflow.
    Unknown,
}

/// A signal to be queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// The workflow.
    pub id: WorkflowId,
    /// JSON.
    pub payload: String,
    /// End whatever lease there is, at once.
    pub preemptive: bool,
    /// End the lease that was taken with this claim id, if it is still the workflow's.
    pub ends_claim: Option<String>,
    /// Create the workflow, if there is none, in this state.
    pub create: Option<Creation>,
    /// Ask the servers to confirm that it is safe.
    pub durable: bool,
}

/// What a new workflow starts as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creation {
    /// The name of the state.
    pub state: String,
    /// JSON.
    pub data: String,
    /// The version in which both are written.
    pub schema: u32,
}

/// How a signal was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signalled {
    /// It waits in the inbox.
    Queued {
        /// The count of transitions before it.
        v: u64,
        /// Somebody holds the workflow; their commit makes it due at once.
        held: bool,
        /// Whether the servers confirmed as [`Signal::durable`] asked; `true` where nothing was asked.
        confirmed: bool,
    },
    /// There is no such workflow.
    Unknown,
    /// The inbox holds as many as it may.
    Full,
}

/// What a holder does with its lease besides committing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extend {
    /// Hold it for this long from now.
    Renew(Duration),
    /// Give it back.
    GiveBack {
        /// Nobody may have it for so long.
        rest: Duration,
        /// Whether this claim counts as an attempt.
        counts: bool,
    },
}

/// How [`Extend`] was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extended {
    /// Held until then.
    Renewed {
        /// When the lease ends.
        lease_until: Millis,
    },
    /// Free.
    GivenBack,
    /// Not ours any more.
    Fenced,
}

/// What a comparison of the index with a record found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reconciled {
    /// They agree.
    Right,
    /// There was no entry.
    Missing,
    /// There should have been no entry.
    Stray,
    /// The score was wrong.
    Score,
    /// The set of parked workflows was wrong.
    Parked,
}

/// A partition's `due` set from its head: for workers that have nothing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peek {
    /// The store's time.
    pub now: Millis,
    /// For each partition asked for, its heads.
    pub partitions: Vec<(u16, Heads)>,
}

/// An event as it comes from the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEntry {
    /// Its place in the stream, to go on from.
    pub position: String,
    /// What it says.
    pub entry: OutboxEntry,
}

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

    /// Renews a lease or gives the workflow back. See `engine/scripts/extend.lua`.
    async fn extend(
        &self,
        id: &WorkflowId,
        fence: u64,
        claim: &str,
        what: Extend,
    ) -> Result<Extended, StoreError>;

    /// Compares one entry of the index with its record. See `engine/scripts/reconcile.lua`.
    async fn reconcile(&self, id: &WorkflowId) -> Result<Reconciled, StoreError>;

    /// The heads of these partitions, in one round trip.
    async fn peek(&self, partitions: &[u16]) -> Result<Peek, StoreError>;

    /// Members of a partition's `due` set, by rank: for the reconciler.
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

    /// The store's time.
    async fn now(&self) -> Result<Millis, StoreError>;

    /// Which run of which server this is: changes with a restart or a failover. Reads a connection's
    /// own answer, so that a change is seen by whoever asks.
    async fn run_id(&self) -> Result<String, StoreError>;
}

/// Wake-up messages: partition and due time.
pub type Wakes = tokio::sync::mpsc::Receiver<(u16, Millis)>;
