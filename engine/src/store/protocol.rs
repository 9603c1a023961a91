//! What is asked of a store and what it answers, as values. The heads of the scripts in
//! `engine/scripts/` say the same in Redis' words.

use std::time::Duration;

use crate::id::WorkflowId;
use crate::machine::Millis;
use crate::record::{Envelope, Record, SealedBlobs};

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
    /// Leave alone what anybody owns, although its lease has ended by the store's clock.
    pub spare_owned: bool,
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
    /// The id of the commit that this one was worked out from; `None` for the first. Where the record
    /// has another, somebody's write was lost on the way, and this one is fenced.
    pub follows: Option<String>,
    /// Write nothing if the inbox is longer than what was consumed.
    pub strict: bool,
    /// Signals consumed.
    pub consumed: usize,
    /// The last of them, as it was read. Where the inbox has another in its place, signals were lost on
    /// the way and others have come, which nobody has heard: the commit is fenced. `None`: they are known
    /// by their count alone. A turn always tells it.
    pub last_heard: Option<Envelope>,
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
    /// Somebody else has claimed since, or nobody holds it, or the store has lost what this was worked
    /// out from. Nothing was written.
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
    /// By what a pre-emptive signal is known when it is sent again, as after a lost reply: it then ends
    /// no lease again. The store knows the last one of each workflow.
    pub once: Option<String>,
    /// Not where the very same signal, if it is a plain one, waits already. Whoever sends until it is
    /// confirmed sends many times.
    pub unless_it_waits: bool,
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
#[must_use = "only `Queued` means that the signal will be heard"]
pub enum Signalled {
    /// It waits in the inbox.
    Queued {
        /// The count of transitions before it.
        v: u64,
        /// Somebody holds the workflow; their commit makes it due at once.
        held: bool,
        /// It was queued before, by an earlier try of this very signal; a pre-emptive one may have been heard
        /// since.
        already: bool,
        /// Whether the servers confirmed as [`Signal::durable`] asked; `true` where nothing was asked.
        confirmed: bool,
    },
    /// There is no such workflow.
    Unknown,
    /// The inbox holds as many as it may.
    Full,
}

impl Signalled {
    /// Whether it will be heard.
    #[must_use]
    pub fn is_queued(self) -> bool {
        matches!(self, Self::Queued { .. })
    }
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
    /// The record is not one: somebody else wrote it. Nothing was touched.
    Unreadable,
}

/// Where a comparison of everything has arrived, in one of its two directions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// From the index to the records: entries of a partition's `due` set.
    Index {
        /// Which partition.
        partition: u16,
        /// From which rank on.
        rank: usize,
        /// Entries at most.
        count: usize,
    },
    /// From the records to the index, in no order; a workflow may come twice.
    Records {
        /// Of which kind.
        kind: String,
        /// `None` begins.
        cursor: Option<String>,
        /// Keys looked at, about: how many records are among them nobody knows.
        count: usize,
    },
}

/// What lies at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Members of `due`, or those that should be.
    pub members: Vec<String>,
    /// Where to go on; `None` at the end.
    pub next: Option<Place>,
    /// How many there are to be gone through in all, in units of the place's `count`.
    pub of: u64,
}

/// One step of a comparison of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// What each comparison found, in the order of what was asked.
    pub found: Vec<Reconciled>,
    /// What lies at each place asked for.
    pub pages: Vec<Page>,
}

/// What became of a parked workflow that was to be given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requeued {
    /// Its turns are tried again; claims are counted anew.
    Requeued,
    /// It does not wait for a human. Nothing was written.
    NotParked,
    /// There is no such workflow.
    Unknown,
}

/// A partition's `due` set from its head: for workers that have nothing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peek {
    /// The store's time.
    pub now: Millis,
    /// For each partition asked for, its heads.
    pub partitions: Vec<(u16, Heads)>,
}

/// All partitions at once, and who tells of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Which run of which server answered; see [`Store::run_id`](super::Store::run_id).
    pub run: String,
    /// The heads of every partition.
    pub peek: Peek,
}

/// What a store says of its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamped {
    /// The stamp that was found.
    pub stored: Millis,
    /// The next one; written if that was asked for.
    pub stamp: Millis,
    /// When it was noticed that the store is an older one than somebody had worked with.
    pub restored: Option<Millis>,
    /// It was noticed just now.
    pub older: bool,
}

/// An event as it comes from the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEntry {
    /// Its place in the stream, to go on from.
    pub position: String,
    /// What it says.
    pub entry: OutboxEntry,
}
