//! What there is: a store, two workers, a provider, and what only the checker knows.
//!
//! Times are counted from now: a tick brings everything nearer, and what has come stays at 0. So no
//! clock grows, and the states of a configuration are finitely many although nothing bounds time.

/// Ticks from now; 0 has come.
pub(crate) type Ticks = u8;
/// Beyond all that is looked at: does not come nearer.
pub(crate) const FAR: Ticks = u8::MAX;
/// How long a claim holds.
pub(crate) const LEASE: Ticks = 1;
/// How long a rejection is doubted after a new run id. The letter of the protocol is one lease; but for
/// one lease workers spare what is owned, so a takeover would come just too late.
pub(crate) const DOUBT: Ticks = 2 * LEASE;
/// From a success to the next planned refresh, and from a failure to the next try.
pub(crate) const PLAN: Ticks = 1;
/// How long a host that throttles wants to be left alone.
pub(crate) const PAUSE: Ticks = 2;
/// How long a record that is newer than a worker is left to others.
pub(crate) const REST: Ticks = 2;

/// A refresh token: the grant, and which one of those that the provider issued for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Token {
    pub(crate) grant: u8,
    pub(crate) serial: u8,
}

impl Token {
    /// Its place in a set of tokens.
    pub(crate) fn bit(self) -> u32 {
        1 << (self.grant * 8 + self.serial)
    }
}

/// One consent, as the machine knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Grant {
    pub(crate) id: u8,
    pub(crate) epoch: u8,
    pub(crate) generation: u8,
    pub(crate) token: Token,
}

/// What an attempt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    Refresh,
    Retry,
    Probe,
}

/// Why a person must consent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    Revoked,
    RotationLost,
}

/// The states of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Active,
    Scheduled {
        purpose: Purpose,
        at: Ticks,
        not_before: Ticks,
    },
    Refreshing {
        purpose: Purpose,
    },
    ReconnectRequired(Reason),
    Disconnected,
}

/// State and data of the one workflow.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Machine {
    pub(crate) phase: Phase,
    pub(crate) epoch: u8,
    pub(crate) grant: Option<Grant>,
    /// It is not known whether a refresh token was spent.
    pub(crate) unknown: bool,
    /// The one retry at once is used up.
    pub(crate) retried: bool,
    /// The next request is that retry.
    pub(crate) owed: bool,
    /// The set of tokens known to be spent.
    pub(crate) spent: u32,
    /// Pairs kept apart: the generation spent for them, and the token.
    pub(crate) apart: Vec<(u8, Token)>,
    /// When something is to be said that has not been said; `FAR` if nothing.
    pub(crate) word: Ticks,
}

/// What is sent to the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Request {
    pub(crate) grant: u8,
    pub(crate) epoch: u8,
    pub(crate) generation: u8,
    pub(crate) token: Token,
    pub(crate) purpose: Purpose,
    /// The machine knows that this token may have been sent before.
    pub(crate) again: bool,
    /// It is the one retry at once.
    pub(crate) at_once: bool,
}

/// A pair that could not be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Rescued {
    pub(crate) grant: u8,
    pub(crate) epoch: u8,
    pub(crate) base: u8,
    pub(crate) token: Token,
}

/// What waits in an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Signal {
    Connect(u8),
    Disconnect,
    RefreshNow {
        generation: u8,
    },
    Reset,
    Rescued(Rescued),
    /// Only without the rule that a rejection is never delivered again.
    LateRejection(u8),
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    Refreshed(Token),
    Rejected,
    Unavailable,
    Throttled,
    Unknown,
    NotSent,
}

/// Who holds a workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    Worker(u8),
    /// `(given back)`: a lease that nobody holds.
    Nobody,
}

/// The hash of the workflow, without what is only for people.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Record {
    pub(crate) machine: Machine,
    pub(crate) wake_at: Option<Ticks>,
    pub(crate) visible_at: Option<Ticks>,
    pub(crate) fence: u8,
    /// 0 where nobody holds it.
    pub(crate) claim: u8,
    pub(crate) owner: Option<Owner>,
    pub(crate) lease: Ticks,
    pub(crate) commit: u8,
    pub(crate) attempt: u8,
    pub(crate) activity: Option<Request>,
    /// The place in the inbox, counted from 1, of a pre-emptive signal that was not heard; 0 if there is none.
    pub(crate) barrier: u8,
    /// By what the last consent is known that was queued; 0 if none was.
    pub(crate) signal: u8,
    pub(crate) parked: bool,
}

/// One history of the store, which a failover may go back to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Store {
    pub(crate) record: Option<Record>,
    pub(crate) inbox: Vec<Signal>,
    pub(crate) sealed: Option<Token>,
    pub(crate) due: Option<Ticks>,
    /// Known to the checker: nobody should have it before.
    pub(crate) rest: Ticks,
    /// Known to the checker: the grant of the last `Connect` that was heard, in this history.
    pub(crate) newest: u8,
    /// Known to the checker: a `Disconnect` was heard, and no `Connect` since.
    pub(crate) disconnected: bool,
    /// Known to the checker: tokens whose request was answered, and the answer committed.
    pub(crate) answered: u32,
}

/// An entry of a worker's journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) pair: Rescued,
    pub(crate) claim: u8,
    pub(crate) kept: Kept,
}

/// Why an entry is in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kept {
    /// A turn of this process carries the pair.
    Carried,
    /// To be delivered.
    LeftOver,
    /// In the store, which cannot say that it is safe there.
    Aging,
}

/// How far a turn has come. Each is a moment at which the process may stop, or die.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// The claim was granted, its reply is under way.
    Asked,
    /// Everything read; the intent, or the final commit, comes next.
    Begun,
    /// The intent is written; the request comes next.
    Intended,
    /// The request is under way to the provider.
    Sent,
    /// The provider has answered; nobody has read it.
    Answered,
    /// The outcome is known, and journalled if it is a pair; the final commit comes next.
    Learnt,
    /// Fenced: the pair is to be delivered as a signal.
    Fenced,
}

/// A turn in a worker's memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Turn {
    pub(crate) stage: Stage,
    pub(crate) claim: u8,
    pub(crate) fence: u8,
    pub(crate) trust: Ticks,
    /// Known to the checker: the lease has ended by the server's clock.
    pub(crate) over: bool,
    pub(crate) machine: Machine,
    pub(crate) wake_at: Option<Ticks>,
    pub(crate) visible_at: Option<Ticks>,
    pub(crate) lost: bool,
    pub(crate) heard: Vec<Signal>,
    /// The id of the commit that was sent and not answered; 0 if none.
    pub(crate) commit: u8,
    pub(crate) request: Option<Request>,
    pub(crate) confirmed: bool,
    pub(crate) outcome: Option<Outcome>,
}

/// A request whose deadline has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Late {
    pub(crate) request: Request,
    pub(crate) claim: u8,
    pub(crate) outcome: Option<Outcome>,
}

/// A process, and its disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Worker {
    pub(crate) up: bool,
    /// It has not yet looked at the run id of the server that answers now.
    pub(crate) unaware: bool,
    /// For so long it takes over from nobody.
    pub(crate) caution: Ticks,
    /// For so long after a new run id it takes no rejection at its word.
    pub(crate) doubt: Ticks,
    pub(crate) turn: Option<Box<Turn>>,
    pub(crate) late: Option<Late>,
    pub(crate) journal: Vec<Entry>,
}

/// The provider: one refresh token of each grant works.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Provider {
    pub(crate) works: [u8; 2],
    pub(crate) issued: [u8; 2],
    pub(crate) revoked: [bool; 2],
}

/// What may still go wrong, or be asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Left {
    pub(crate) crashes: u8,
    pub(crate) lost_replies: u8,
    pub(crate) timeouts: u8,
    pub(crate) failovers: u8,
    pub(crate) emptied: u8,
    pub(crate) consents: u8,
    pub(crate) disconnects: u8,
    pub(crate) refreshes: u8,
    pub(crate) resets: u8,
    pub(crate) reads: u8,
    pub(crate) revocations: u8,
    pub(crate) damages: u8,
    pub(crate) unavailable: u8,
    pub(crate) throttles: u8,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) store: Store,
    /// What a replica had when it stopped hearing; `None` while it hears everything.
    pub(crate) replica: Option<Box<Store>>,
    /// What the store's note of its run tells whoever starts: so long is a rejection to be doubted; `FAR` where
    /// nobody has noticed yet that another server answers.
    pub(crate) noted: Ticks,
    pub(crate) workers: [Worker; 2],
    pub(crate) provider: Provider,
    pub(crate) left: Left,
    /// Promises broken, as a set of [`Promise`](super::promises::Promise).
    pub(crate) broken: u32,
    /// Tokens whose pair a process of ours has read.
    pub(crate) read: u32,
    /// Tokens sent, and tokens sent once more at once.
    pub(crate) sent: u32,
    pub(crate) retried: u32,
    /// Grants that a person has ended or replaced, or that an emptied store has taken along.
    pub(crate) ended: u8,
    /// Grants of which some outcome cannot be known for sure.
    pub(crate) uncertain: u8,
    /// The index was damaged and not yet put right.
    pub(crate) damaged: bool,
    /// Consents so far.
    pub(crate) consents: u8,
}
