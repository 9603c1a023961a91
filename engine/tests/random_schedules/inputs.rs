//! What can happen to the credential of the schedules, and what it may know.

use serde::{Deserialize, Serialize};

use crate::ledger::Book;
use crate::rules::Slip;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reason {
    Revoked,
    RotationLost,
}

/// What comes from outside, with a number of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Signal {
    pub(crate) serial: u32,
    pub(crate) what: What,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum What {
    Connect { grant: u64, token: u64 },
    Disconnect,
    RefreshNow { generation: u64 },
    Rescued(Pair),
}

/// What the provider issued, and for the token of which generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pair {
    pub(crate) grant: u64,
    pub(crate) base: u64,
    pub(crate) token: u64,
}

/// The intent: the token of which generation is to be spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Send {
    pub(crate) grant: u64,
    pub(crate) generation: u64,
    pub(crate) token: u64,
    /// It may have been spent already, and this is known.
    pub(crate) again: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Refreshed(Pair),
    /// The provider knows the token no more. `doubt`: the store may have forgotten an intent.
    Rejected {
        doubt: bool,
    },
    Unavailable,
    Unknown,
    NotSent,
}

/// What the machine may know of the test: which rule is left out, and where to say that one is broken.
pub(crate) struct Lab {
    pub(crate) slip: Option<Slip>,
    pub(crate) book: Book,
}
