//! What a schedule has seen: the provider's own books, what became of each pair, the trace in words,
//! and the first promise that was broken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use evergreen_engine::Millis;

use crate::machine::{Pair, Send};

/// Shared by all who take part in one schedule.
#[derive(Clone, Default)]
pub(crate) struct Book(Arc<Mutex<Ledger>>);

#[derive(Default)]
pub(crate) struct Ledger {
    /// The one refresh token of each grant that the provider takes.
    pub(crate) current: BTreeMap<u64, u64>,
    /// Grants that the customer has withdrawn at the provider.
    pub(crate) revoked: BTreeSet<u64>,
    /// Whether the provider takes a token again that was the last to be spent.
    pub(crate) grace: bool,
    /// The token of each grant that was spent last.
    last: BTreeMap<u64, u64>,
    /// Grants of which the provider has forgotten a pair that it gave, because of its grace.
    pub(crate) graced: BTreeSet<u64>,
    /// Tokens that were sent by somebody who took them for unspent.
    sent: BTreeSet<u64>,
    /// Pairs that reached a journal.
    pub(crate) kept: BTreeSet<u64>,
    /// Grants that a confirmed `Connect` or `Disconnect` has ended.
    pub(crate) ended: BTreeSet<u64>,
    /// What the customer last was told; `None` while nobody can say.
    pub(crate) expected: Option<Expected>,
    /// How often an old backup was restored or the store emptied: what it knew was gone then.
    pub(crate) forgotten: u32,
    /// Whose process the customer is waiting for.
    pub(crate) deciding: Option<(usize, u32)>,
    /// Until when the provider's host is to be left alone.
    pub(crate) pause_until: Millis,
    numbers: u64,
    serials: u32,
    trace: Vec<String>,
    broken: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    Grant(u64),
    Nothing,
}

impl Book {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap()
    }

    /// Notes a step.
    pub(crate) fn say(&self, words: impl Into<String>) {
        self.lock().trace.push(words.into());
    }

    /// A promise is broken; the first one counts.
    pub(crate) fn broken(&self, why: impl Into<String>) {
        let mut ledger = self.lock();
        let why = why.into();
        ledger.trace.push(format!("BROKEN: {why}"));
        ledger.broken.get_or_insert(why);
    }

    /// The first promise that was broken, with the trace.
    pub(crate) fn verdict(&self) -> Option<(String, Vec<String>)> {
        let ledger = self.lock();
        let why = ledger.broken.clone()?;
        Some((why, ledger.trace.clone()))
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.lock().broken.is_some()
    }

    /// The number of the next signal.
    pub(crate) fn serial(&self) -> u32 {
        let mut ledger = self.lock();
        ledger.serials += 1;
        ledger.serials
    }

    /// The customer consents: a new grant, and its first refresh token.
    pub(crate) fn consent(&self) -> (u64, u64) {
        let mut ledger = self.lock();
        let (grant, token) = (ledger.number(), ledger.number());
        ledger.current.insert(grant, token);
        (grant, token)
    }

    /// A request leaves. No token is sent twice unless one of the two is known to be the retry after an
    /// unknown outcome (8). Their order is open: whose lease a pre-emptive signal has ended may still send
    /// for as long as its trust lasts, after its successor has retried.
    pub(crate) fn depart(&self, send: &Send) {
        let unawares = {
            let mut ledger = self.lock();
            !send.again && !ledger.sent.insert(send.token) && ledger.forgotten == 0
        };
        if unawares {
            self.broken(format!("(8) token {} was sent twice, unawares", send.token));
        }
    }

    /// A request reaches the provider. A token is taken once; `None` is a rejection. A provider with
    /// grace takes the last one again, and then knows only what it gave last.
    pub(crate) fn receive(&self, send: &Send) -> Option<Pair> {
        let mut ledger = self.lock();
        let valid = ledger.takes(send.grant, send.token);
        let last = ledger.last.get(&send.grant) == Some(&send.token);
        let graced = ledger.grace && last && !ledger.revoked.contains(&send.grant);
        if !valid && !graced {
            return None;
        }
        if graced {
            ledger.graced.insert(send.grant);
        }
        let token = ledger.number();
        ledger.current.insert(send.grant, token);
        ledger.last.insert(send.grant, send.token);
        Some(Pair {
            grant: send.grant,
            base: send.generation,
            token,
        })
    }
}

impl Ledger {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Whether the provider would take the token now.
    pub(crate) fn takes(&self, grant: u64, token: u64) -> bool {
        self.current.get(&grant) == Some(&token) && !self.revoked.contains(&grant)
    }

    /// The pair that the provider takes next, if it ever reached a journal or was given by consent.
    pub(crate) fn living(&self, grant: u64) -> Option<u64> {
        let token = *self.current.get(&grant)?;
        (self.kept.contains(&token) && !self.revoked.contains(&grant)).then_some(token)
    }
}
