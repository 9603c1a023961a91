//! A workflow as the store keeps it.
//!
//! | field | means |
//! |---|---|
//! | `state`, `data`, `schema` | the machine; opaque to the store, readable to people |
//! | `v` | count of transitions; for people and ordering, never for identity |
//! | `wake_at` | the timer: the earliest of all that the state still has to do or say |
//! | `visible_at` | set while the workflow is held back; overrides `wake_at` |
//! | `fence`, `claim` | the number minted by the last claim, and the id that the claimer drew: a commit must match both |
//! | `owner`, `lease_until` | who holds it, until when; absent when free. An owner in brackets is nobody: it keeps all away |
//! | `commit` | id of the last commit: the same one again is answered `already` |
//! | `attempt` | claims since the last finished turn; 2 means that a holder vanished |
//! | `activity` | what the holder has set out to do; absent when nothing is in flight |
//! | `barrier` | 1 from a pre-emptive signal to the commit that consumes it |
//! | `ahead` | with `barrier`: how many signals are to be heard until that one has been, itself included |
//! | `signal` | id of the last pre-emptive signal that had one: the same one again is answered `already` |
//! | `parked` | why it waits for a human; absent when it does not |
//!
//! # Why a pair
//! The fence is a number *and* a claim id, because a number alone can be minted twice: a failover to a
//! replica that had not heard of the last claim counts from the one before it.
//!
//! # The score
//! Its entry in `due` is a copy, and follows from the record: the lease's end if somebody owns it, else now
//! if a signal waits or an activity was lost, else none if it is parked, else `visible_at`, else `wake_at`.
//! [`Record::wanted_score`] says this in Rust, `reconcile.lua` says it in Lua, and the reconciler compares.

use std::collections::BTreeMap;

use crate::machine::Millis;

/// The hash `wf:<kind>:<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The name of the state.
    pub state: String,
    /// JSON; opaque to the store.
    pub data: String,
    /// The version in which state and data are written.
    pub schema: u32,
    /// Count of transitions; for people and ordering, never for identity.
    pub v: u64,
    /// The timer.
    pub wake_at: Option<Millis>,
    /// Set while the workflow is held back; overrides `wake_at` for visibility.
    pub visible_at: Option<Millis>,
    /// The number minted by the last claim.
    pub fence: u64,
    /// The id drawn by the last claimer; absent when free.
    pub claim: Option<String>,
    /// Who holds it; absent when free.
    pub owner: Option<String>,
    /// Until when it is held; absent when free.
    pub lease_until: Option<Millis>,
    /// The id of the last commit.
    pub commit: Option<String>,
    /// Claims since the last final commit.
    pub attempt: u32,
    /// What the holder has set out to do, as JSON; absent when nothing is in flight.
    pub activity: Option<String>,
    /// Set from a pre-emptive signal to the commit that consumes it.
    pub barrier: bool,
    /// With [`Record::barrier`]: how many signals are to be heard until that one has been, itself included.
    pub ahead: Option<usize>,
    /// The id of the last pre-emptive signal that had one.
    pub signal: Option<String>,
    /// Why it waits for a human; absent when it does not.
    pub parked: Option<String>,
}

impl Record {
    /// The place in the inbox, counted from 1, of a pre-emptive signal that has surely not been heard.
    #[must_use]
    pub fn unheard(&self) -> Option<usize> {
        self.ahead.filter(|_| self.barrier)
    }

    /// The score its entry in `due` should have: `None` for no entry. `Some(now)` stands for "any
    /// score that has come".
    #[must_use]
    pub fn wanted_score(&self, inbox_empty: bool, now: Millis) -> Option<Millis> {
        if self.owner.is_some() {
            self.lease_until
        } else if self.parked.is_some() {
            None
        } else if !inbox_empty || self.activity.is_some() {
            Some(now)
        } else {
            self.visible_at.or(self.wake_at)
        }
    }
}

/// Sealed blobs by name.
pub type SealedBlobs = BTreeMap<String, String>;

/// A signal in an inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// When the store took it.
    pub at: Millis,
    /// JSON; opaque to the store.
    pub payload: String,
}

impl Envelope {
    /// Reads the stored form: the time, a blank, the payload.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (at, payload) = text.split_once(' ')?;
        Some(Self {
            at: at.parse().ok()?,
            payload: payload.to_owned(),
        })
    }

    /// The stored form.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{} {}", self.at, self.payload)
    }
}

/// State, blobs and what surrounds them, read in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The store's time.
    pub now: Millis,
    /// The record.
    pub record: Record,
    /// Sealed blobs, where they were asked for.
    pub sealed: SealedBlobs,
    /// How many signals wait.
    pub inbox_len: u64,
    /// The score of its entry in `due`, if there is one.
    pub score: Option<Millis>,
}
