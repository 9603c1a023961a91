//! What reached the token endpoint, in order, and what it added up to.
//!
//! Raw entries live in a ring; counters per chain are never cut. A **chain** is one grant and all
//! the refresh tokens it went through, named by the UUID that they share.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::wire::Name;

/// What a presented refresh token was at that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presented {
    /// The one that works.
    Current,
    /// Replaced, but still answered within the grace window.
    Grace,
    /// Replaced; dead.
    Spent,
    /// Older than the life of refresh tokens.
    Expired,
    /// Of a grant that was revoked.
    Revoked,
    /// Good, but of another client app.
    Foreign,
    /// Never issued here.
    Unknown,
}

impl Presented {
    /// Whether it had been spent before.
    #[must_use]
    pub fn is_resend(self) -> bool {
        matches!(self, Self::Grace | Self::Spent)
    }
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Not handed over yet: delayed, held or on its way.
    Pending,
    /// Handed to the connection whole.
    Sent,
    /// Handed to the connection whole, and the client closed it without having read it: it died, or
    /// had given up.
    Unread,
    /// A fault ate it, or sent something else in its place.
    Eaten,
    /// The client was gone before it could be sent.
    Abandoned,
}

/// One token request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// Counts from 1, in the order in which requests were carried out.
    pub seq: u64,
    /// When, in milliseconds since 1970 by the simulator's clock.
    pub at_ms: u64,
    /// The path it was sent to.
    pub path: Cow<'static, str>,
    /// The grant asked for; `other` if it is none of the three.
    pub grant_type: Option<Cow<'static, str>>,
    /// The client id it named; `unknown` if there is no such app.
    pub client_id: Option<Name>,
    /// The chain it concerns.
    pub chain: Option<Name>,
    /// First 12 digits of the SHA-256 of the refresh token presented.
    pub fingerprint: Option<String>,
    /// What that refresh token was.
    pub presented: Option<Presented>,
    /// The generation of the refresh token presented.
    pub presented_generation: Option<u64>,
    /// The generation of the chain after this request.
    pub generation: Option<u64>,
    /// Whether the request issued tokens, whatever became of the answer.
    pub issued: bool,
    /// Whether it replaced the refresh token.
    pub rotated: bool,
    /// Until when the access token issued is valid.
    pub access_expires_at_ms: Option<u64>,
    /// The status answered, or that was meant to be; absent if none ever was.
    pub status: Option<u16>,
    /// The fault that applied, by the name of its action.
    pub fault: Option<Cow<'static, str>>,
    /// What became of the answer.
    pub delivery: Delivery,
    /// When it was handed over, eaten or abandoned, on the same clock as `at_ms`.
    #[serde(default)]
    pub settled_at_ms: Option<u64>,
}

/// Counters of one chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Refreshes that issued tokens.
    pub refreshes_succeeded: u64,
    /// Refreshes that did not.
    pub refreshes_refused: u64,
    /// Times a refresh token was presented that had been spent before.
    pub double_sends: u64,
    /// Of these, those made although the answer that spent it, or the answer to an earlier
    /// re-send, had been delivered: nothing excuses them.
    pub double_sends_after_answer: u64,
    /// Answers with tokens that a fault ate.
    pub answers_eaten: u64,
    /// First and last request.
    pub first_at_ms: Option<u64>,
    /// See `first_at_ms`.
    pub last_at_ms: Option<u64>,
    /// The longest time without a valid access token in the client's hands, that is one whose
    /// answer was delivered.
    pub longest_gap_ms: u64,
    /// Until when the client holds a valid access token.
    pub covered_until_ms: u64,
    /// Until when the access token is valid that it began with.
    #[serde(skip)]
    opened_until_ms: u64,
    /// Whether the client has been answered since the last rotation was asked for.
    #[serde(skip)]
    answered: bool,
}

/// Counters of the whole host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Token requests.
    pub requests: u64,
    /// By the status answered; `none` where none was.
    pub by_status: BTreeMap<String, u64>,
    /// By grant asked for.
    pub by_grant_type: BTreeMap<String, u64>,
    /// See [`Tally`], summed up.
    pub refreshes_succeeded: u64,
    /// See [`Tally`].
    pub refreshes_refused: u64,
    /// See [`Tally`].
    pub double_sends: u64,
    /// See [`Tally`].
    pub double_sends_after_answer: u64,
    /// Refresh tokens presented that this host never issued.
    pub unknown_tokens: u64,
    /// Faults applied to token requests.
    pub faults: u64,
    /// Most token requests within one second of the clock.
    pub busiest_second: u64,
    /// Most token requests at work at once.
    pub most_at_once: u64,
    #[serde(skip)]
    second: (u64, u64),
}

pub(super) struct Ledger {
    entries: VecDeque<Entry>,
    kept: usize,
    next_seq: u64,
    totals: Totals,
    chains: HashMap<Name, Tally>,
}

impl Ledger {
    pub(super) fn new(kept: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            kept,
            next_seq: 1,
            totals: Totals::default(),
            chains: HashMap::new(),
        }
    }

    /// A grant exists; its access token, if any, is in the client's hands.
    pub(super) fn open(&mut self, chain: &Name, now: u64, access_expires_at: u64) {
        let tally = self.chains.entry(chain.clone()).or_default();
        // A token issued as expired makes a gap from now on, not from before the grant existed.
        tally.covered_until_ms = access_expires_at.max(now);
        tally.opened_until_ms = tally.covered_until_ms;
        tally.answered = true;
    }

    /// Writes a request down; the number is for [`Ledger::settle`].
    pub(super) fn record(&mut self, mut entry: Entry) -> u64 {
        entry.seq = self.next_seq;
        self.next_seq += 1;
        self.totals.count(&entry);
        if let Some(chain) = &entry.chain {
            let tally = self.chains.entry(chain.clone()).or_default();
            let after_answer = tally.answered;
            tally.count(&entry);
            if is_resend(&entry) && after_answer {
                self.totals.double_sends_after_answer += 1;
            }
        }
        if self.entries.len() == self.kept {
            self.entries.pop_front();
        }
        let seq = entry.seq;
        self.entries.push_back(entry);
        seq
    }

    /// Says what became of the answer, once.
    pub(super) fn settle(&mut self, seq: u64, now: u64, delivery: Delivery) {
        let Some(nth) = self.place(seq, Delivery::Pending) else {
            return;
        };
        let entry = &mut self.entries[nth];
        entry.delivery = delivery;
        entry.settled_at_ms = Some(now);
        let Some(tally) = (entry.chain.as_ref()).and_then(|chain| self.chains.get_mut(chain))
        else {
            return;
        };
        match delivery {
            Delivery::Sent => tally.answered(entry, now),
            Delivery::Eaten if entry.issued => tally.answers_eaten += 1,
            _ => {}
        }
    }

    /// Takes back that an answer has reached its client: it was never read.
    pub(super) fn unread(&mut self, seq: u64) {
        let Some(nth) = self.place(seq, Delivery::Sent) else {
            return;
        };
        self.entries[nth].delivery = Delivery::Unread;
        let Some(chain) = self.entries[nth].chain.clone() else {
            return;
        };
        let of_chain = |entry: &&Entry| entry.chain.as_ref() == Some(&chain);
        let last = self.entries.iter().rev().find(of_chain);
        let is_last = last.is_some_and(|last| last.seq == seq);
        let held = (self.entries.iter().filter(of_chain))
            .filter(|entry| entry.delivery == Delivery::Sent)
            .filter_map(|entry| entry.access_expires_at_ms)
            .max();
        if let Some(tally) = self.chains.get_mut(&chain) {
            // What came after it has been judged already.
            tally.answered &= !is_last;
            tally.covered_until_ms = held.unwrap_or(0).max(tally.opened_until_ms);
        }
    }

    /// Where an entry lies, if it is still kept and this became of its answer.
    fn place(&self, seq: u64, delivery: Delivery) -> Option<usize> {
        let first = self.next_seq - self.entries.len() as u64;
        let nth = usize::try_from(seq.checked_sub(first)?).ok()?;
        let entry = self.entries.get(nth)?;
        (entry.delivery == delivery).then_some(nth)
    }

    pub(super) fn at_work(&mut self, requests: u64) {
        self.totals.most_at_once = self.totals.most_at_once.max(requests);
    }

    pub(super) fn totals(&self) -> &Totals {
        &self.totals
    }

    pub(super) fn tally(&self, chain: &Name) -> Tally {
        self.chains.get(chain).cloned().unwrap_or_default()
    }

    /// Entries after `seq`, oldest first.
    pub(super) fn after(&self, seq: u64) -> impl Iterator<Item = &Entry> {
        let first = self.next_seq - self.entries.len() as u64;
        let skipped = (seq + 1).saturating_sub(first);
        (self.entries.iter()).skip(usize::try_from(skipped).unwrap_or(usize::MAX))
    }

    /// The number of the oldest entry that is still kept.
    pub(super) fn oldest(&self) -> u64 {
        self.next_seq - self.entries.len() as u64
    }
}

fn is_resend(entry: &Entry) -> bool {
    entry.presented.is_some_and(Presented::is_resend)
}

impl Tally {
    fn count(&mut self, entry: &Entry) {
        self.first_at_ms.get_or_insert(entry.at_ms);
        self.last_at_ms = Some(entry.at_ms);
        if entry.presented.is_some() {
            if entry.issued {
                self.refreshes_succeeded += 1;
            } else {
                self.refreshes_refused += 1;
            }
        }
        if is_resend(entry) {
            self.double_sends += 1;
            self.double_sends_after_answer += u64::from(self.answered);
        }
        if entry.rotated {
            self.answered = false;
        }
    }

    fn answered(&mut self, entry: &Entry, now: u64) {
        // A refusal that has nothing to do with the token, such as 503, says nothing about it.
        if entry.issued || (is_resend(entry) && entry.fault.is_none()) {
            self.answered = true;
        }
        if let Some(expires_at) = entry.access_expires_at_ms {
            self.longest_gap_ms = self.longest_gap_ms.max(self.gap_at(now));
            self.covered_until_ms = self.covered_until_ms.max(expires_at);
        }
    }

    /// For how long the client has been without a valid access token.
    pub(super) fn gap_at(&self, now: u64) -> u64 {
        match self.covered_until_ms {
            0 => 0,
            until => now.saturating_sub(until),
        }
    }
}

impl Totals {
    fn count(&mut self, entry: &Entry) {
        self.requests += 1;
        let status = match entry.status {
            Some(status) => status.to_string(),
            None => "none".to_owned(),
        };
        *self.by_status.entry(status).or_default() += 1;
        let grant_type = entry.grant_type.as_deref().unwrap_or("none").to_owned();
        *self.by_grant_type.entry(grant_type).or_default() += 1;
        if entry.presented.is_some() {
            if entry.issued {
                self.refreshes_succeeded += 1;
            } else {
                self.refreshes_refused += 1;
            }
        }
        self.double_sends += u64::from(is_resend(entry));
        self.unknown_tokens += u64::from(entry.presented == Some(Presented::Unknown));
        self.faults += u64::from(entry.fault.is_some());
        let second = entry.at_ms / 1000;
        if self.second.0 != second {
            self.second = (second, 0);
        }
        self.second.1 += 1;
        self.busiest_second = self.busiest_second.max(self.second.1);
    }
}
