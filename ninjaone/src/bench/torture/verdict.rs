//! The end of a run: what the simulator's ledger says is compared with what the store says. Pure, so that
//! each of its judgements can be tried.
//!
//! | what must hold | by |
//! |---|---|
//! | a grant is lost only if the reply with its last rotation never reached a process, and is then reported as `rotation_lost` | [`Facts::lost`] |
//! | nobody else is asked to reconnect: not in the end, and not for a moment, unless the reply was lost or on its way then | the same, and [`Facts::condemned`] |
//! | a refresh token is sent again only after an outcome that the fleet cannot have known, or that spent nothing | [`Facts::sent_again`] |
//! | what people ended is not used any more, and is in the store no more | [`Facts::resurrected`] |
//! | everybody else is well: refreshed once more after all that, with what the store had | [`Facts::ended`] |
//!
//! # What "never reached a process" means
//! The reply was eaten by a scripted fault, or the client had died, or had read on for as long as it does, before
//! it was sent, or the system reset the connection because the client died with the reply unread in its socket (`simulator/connection.rs`). A reply
//! that was read by a process that was dead before it can have written it down ([`super::diary::SLACK_MS`]) has reached
//! nobody who could keep it either; these are counted apart.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::diary::{Cause, Diary, SLACK_MS};
use super::memory::{Consent, Lost};
use crate::simulator::{Delivery, Entry, Presented};

/// For how long a client that lives reads on, ms, the deadline of its request left aside.
const READ_ON_MS: u64 = crate::provider::READ_ON.as_secs() * 1_000;
/// The status with which the host refuses a refresh token that is dead.
const DEAD: u16 = 400;

/// How an integration stands in the store in the end.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Its state.
    pub state: String,
    /// Why a person must consent again, or put something right.
    pub reason: Option<String>,
    /// What a person must put right, or why it is parked.
    pub trouble: Option<String>,
    /// Whether credentials of it are in the store.
    pub sealed: bool,
    /// The chain of the consent that it lives by, as people know it; `None` if they have disconnected it.
    pub chain: Option<String>,
}

/// Everything that is compared.
pub(super) struct Facts<'a> {
    /// The ledger, in its order.
    pub entries: &'a [Entry],
    /// All consents.
    pub consents: &'a [Consent],
    /// Verdicts that people acted on.
    pub lost: &'a [Lost],
    /// All integrations in the end, by name.
    pub seen: &'a BTreeMap<String, Seen>,
    /// What was done.
    pub diary: &'a Diary,
    /// The lease, in ms: for so long may be under way what was ended.
    pub lease_ms: u64,
    /// The last entry before everything was mended.
    pub mended: u64,
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which promise is broken.
    pub broken: Promise,
    /// Whose.
    pub integration: String,
    /// What was seen.
    pub what: String,
}

/// What a run holds a fleet to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Promise {
    /// Nobody is asked to reconnect whose grant is not lost.
    FalseReconnectRequired,
    /// A lost grant is reported as `rotation_lost`.
    Unreported,
    /// A refresh token is sent again only where that is permitted.
    SentTwice,
    /// What was ended is not used any more, and is in the store no more.
    Resurrected,
    /// Everybody else is well.
    NotWell,
    /// Processes end when they are told to, and not otherwise.
    Process,
}

/// Lost grants, by how the reply was lost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LostGrants {
    /// The simulator was told to rotate and not to answer.
    pub reply_eaten: u64,
    /// The client had gone before it could be answered.
    pub client_gone: u64,
    /// The client died with the reply unread in its socket.
    pub reply_unread: u64,
    /// The reply was read by a process that was dead before it can have written it down.
    pub died_with_reply: u64,
}

/// Refresh tokens that were sent again, by what permitted it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SentAgain {
    /// The answer before said nothing of the token: throttled, away, broken.
    pub nothing_said: u64,
    /// The request before had not been answered yet, or never was.
    pub unanswered: u64,
    /// The answer before did not reach the store, because of this.
    pub broken_off: BTreeMap<Cause, u64>,
}

/// What the comparison came to.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Lost grants, all of them reported as `rotation_lost` where there is no violation.
    pub lost: LostGrants,
    /// See [`SentAgain`].
    pub again: SentAgain,
    /// Requests of consents that people had ended, which were under way at that time.
    pub under_way: u64,
    /// What must not be.
    pub violations: Vec<Violation>,
}

/// Compares.
#[must_use]
pub(super) fn judge(facts: &Facts<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    let chains = facts.by_chain();
    for lost in facts.lost {
        let (name, reason) = (&lost.integration, lost.reason.as_deref());
        facts.lost(name, &lost.chain, reason, &chains, &mut verdict);
    }
    if facts.entries.iter().any(|entry| entry.rotated) && !facts.diary.knows_senders() {
        let what = "no worker's log tells who sends what, so nothing can be attributed";
        verdict.broken(Promise::Process, "", what.to_owned());
    }
    facts.condemned(&mut verdict);
    facts.sent_again(&mut verdict);
    facts.resurrected(&chains, &mut verdict);
    facts.ended(&chains, &mut verdict);
    verdict
}

type Chains<'a> = HashMap<&'a str, Vec<&'a Entry>>;

impl<'a> Facts<'a> {
    fn by_chain(&self) -> Chains<'a> {
        let mut chains = Chains::new();
        for entry in self.entries {
            if let Some(chain) = &entry.chain {
                chains.entry(chain.as_str()).or_default().push(entry);
            }
        }
        chains
    }

    /// Whose chain it is.
    fn owner(&self, entry: &Entry) -> &'a str {
        let of = |chain: &str| self.consents.iter().find(|consent| consent.chain == chain);
        let consent = entry.chain.as_ref().and_then(|chain| of(chain.as_str()));
        consent.map_or("", |consent| &consent.integration)
    }

    /// A grant of which the fleet says that it is lost.
    fn lost(
        &self,
        name: &str,
        chain: &str,
        reason: Option<&str>,
        chains: &Chains<'_>,
        verdict: &mut Verdict,
    ) {
        let entries = chains.get(chain).map_or(&[][..], Vec::as_slice);
        let rotation = entries.iter().rev().find(|entry| entry.rotated);
        let count = &mut verdict.lost;
        let excused = match rotation {
            None => None,
            Some(last) => match last.delivery {
                Delivery::Eaten => Some(&mut count.reply_eaten),
                Delivery::Pending => Some(&mut count.client_gone),
                Delivery::Abandoned => {
                    let gone = last.settled_at_ms.unwrap_or(last.at_ms);
                    let sender = self.diary.sender(name, last.at_ms);
                    let died = self.diary.died_between(sender, last.at_ms, gone);
                    (died || gone >= last.at_ms + READ_ON_MS).then_some(&mut count.client_gone)
                }
                Delivery::Unread => Some(&mut count.reply_unread),
                Delivery::Sent => {
                    let read = last.settled_at_ms.unwrap_or(last.at_ms);
                    let sender = self.diary.sender(name, last.at_ms);
                    let died = self.diary.died_with(sender, read);
                    died.then_some(&mut count.died_with_reply)
                }
            },
        };
        match excused {
            Some(count) => *count += 1,
            None => {
                let what = match rotation {
                    Some(last) => format!(
                        "it is told to reconnect ({}), although the reply to request {} of chain {chain} {}",
                        reason.unwrap_or("no reason"),
                        last.seq,
                        match last.delivery {
                            Delivery::Abandoned =>
                                "could have been read: its client hung up without being dead",
                            _ => "was read",
                        }
                    ),
                    None => format!(
                        "it is told to reconnect, although nothing of chain {chain} was ever spent"
                    ),
                };
                verdict.broken(Promise::FalseReconnectRequired, name, what);
                return;
            }
        }
        if reason != Some("rotation_lost") {
            let what = format!(
                "its reply was lost, and it is told {}",
                reason.unwrap_or("no reason")
            );
            verdict.broken(Promise::Unreported, name, what);
        }
    }

    /// Whoever was asked to reconnect, if only until a late pair healed it: at that moment the reply to the
    /// last rotation was not there yet, or something had kept it from being known.
    fn condemned(&self, verdict: &mut Verdict) {
        for (name, at) in self.diary.verdicts() {
            let mine = |chain: &str| {
                let mut of = self.consents.iter().filter(|c| c.integration == name);
                of.any(|consent| consent.chain == chain)
            };
            let mut before = self.entries.iter().rev().filter(|entry| {
                let chain = entry.chain.as_ref();
                entry.at_ms <= at
                    && entry.rotated
                    && chain.is_some_and(|chain| mine(chain.as_str()))
            });
            let Some(last) = before.next() else { continue };
            let there = last.settled_at_ms.filter(|there| *there <= at);
            let Some(read) = there.filter(|_| last.delivery == Delivery::Sent) else {
                continue;
            };
            let sender = self.diary.sender(name, last.at_ms);
            if self.diary.broke_off(sender, read, at).is_none() {
                let what = format!(
                    "it was asked to reconnect {} ms after the reply to request {} had been read, and nothing had \
                     befallen its reader",
                    at - read,
                    last.seq
                );
                verdict.broken(Promise::FalseReconnectRequired, name, what);
            }
        }
    }

    /// Every refresh token that came more than once.
    fn sent_again(&self, verdict: &mut Verdict) {
        let mut last: HashMap<&str, &Entry> = HashMap::new();
        for entry in self.entries {
            let Some(token) = entry.fingerprint.as_deref() else {
                continue;
            };
            if entry.presented == Some(Presented::Unknown) {
                let what = format!(
                    "request {} sent a refresh token that nobody issued",
                    entry.seq
                );
                verdict.broken(Promise::NotWell, self.owner(entry), what);
            }
            if let Some(before) = last.insert(token, entry) {
                self.again(before, entry, verdict);
            }
        }
    }

    fn again(&self, before: &Entry, entry: &Entry, verdict: &mut Verdict) {
        let resend = before.presented.is_some_and(Presented::is_resend);
        // What a fault answered in the host's place says nothing of the token.
        let definite = before.issued || resend && before.status == Some(DEAD);
        let known_at = before
            .settled_at_ms
            .filter(|_| before.delivery == Delivery::Sent);
        if !definite {
            verdict.again.nothing_said += 1;
            return;
        }
        // A rejection that comes when its deadline is over is nobody's; only a pair is delivered all the same.
        let in_time = |at: u64| before.issued || at - before.at_ms <= self.lease_ms;
        // Two clocks of one machine, read one after the other.
        let Some(sent) = known_at.filter(|at| *at <= entry.at_ms && in_time(*at)) else {
            verdict.again.unanswered += 1;
            return;
        };
        let name = self.owner(entry);
        let sender = self.diary.sender(name, before.at_ms);
        match self.diary.broke_off(sender, sent, entry.at_ms) {
            Some(cause) => *verdict.again.broken_off.entry(cause).or_default() += 1,
            None => {
                let what = format!(
                    "request {} of chain {} sent the refresh token of request {} again, {} ms after that was answered",
                    entry.seq,
                    entry.chain.as_ref().map_or("", |chain| chain.as_str()),
                    before.seq,
                    entry.at_ms - sent
                );
                verdict.broken(Promise::SentTwice, name, what);
            }
        }
    }

    /// What people had ended.
    fn resurrected(&self, chains: &Chains<'_>, verdict: &mut Verdict) {
        for consent in self.consents {
            let Some(ended) = consent.ended else { continue };
            let used = chains.get(consent.chain.as_str()).into_iter().flatten();
            for entry in used.filter(|entry| entry.at_ms > ended) {
                // It had been written down that it would be sent, and then it is, or it is not.
                if entry.at_ms <= ended + self.lease_ms + SLACK_MS {
                    verdict.under_way += 1;
                    continue;
                }
                let what = format!(
                    "chain {} was used {} ms after it was over",
                    consent.chain,
                    entry.at_ms - ended
                );
                verdict.broken(Promise::Resurrected, &consent.integration, what);
            }
        }
    }

    /// How everybody stands.
    fn ended(&self, chains: &Chains<'_>, verdict: &mut Verdict) {
        for (name, seen) in self.seen {
            let Some(chain) = &seen.chain else {
                if seen.state != "Disconnected" || seen.sealed {
                    let what = format!(
                        "people have disconnected it, and it is {}{}",
                        seen.state,
                        if seen.sealed {
                            " and has credentials"
                        } else {
                            ""
                        }
                    );
                    verdict.broken(Promise::Resurrected, name, what);
                }
                continue;
            };
            if let Some(trouble) = &seen.trouble {
                let what = format!("it is {}: {trouble}", seen.state);
                verdict.broken(Promise::NotWell, name, what);
                continue;
            }
            match seen.state.as_str() {
                "ReconnectRequired" => {
                    self.lost(name, chain, seen.reason.as_deref(), chains, verdict);
                }
                "Scheduled" => {
                    let used = chains.get(chain.as_str()).into_iter().flatten();
                    let good = |entry: &&&Entry| {
                        entry.seq > self.mended && entry.issued && entry.delivery == Delivery::Sent
                    };
                    if used.rev().find(good).is_none() {
                        let what =
                            format!("chain {chain} was not refreshed when all was well again");
                        verdict.broken(Promise::NotWell, name, what);
                    }
                }
                state => {
                    let what = format!("it is {state} when all was well again");
                    verdict.broken(Promise::NotWell, name, what);
                }
            }
        }
    }
}

impl Verdict {
    /// Something must not be.
    pub(super) fn broken(&mut self, broken: Promise, integration: &str, what: String) {
        self.violations.push(Violation {
            broken,
            integration: integration.to_owned(),
            what,
        });
    }
}

#[cfg(test)]
mod tests;
