//! What people remember: which consents they gave and ended, and which verdicts they acted on.

use std::collections::BTreeMap;

use super::now_ms;
use crate::service::StatusView;

/// How long a verdict must have stood before somebody consents anew: by then every pair that could still
/// heal it has come, from a late answer (60 s) or a journal.
const STOOD_MS: u64 = 80_000;

/// One consent, and when it ended.
#[derive(Debug, Clone)]
pub(super) struct Consent {
    /// Whose.
    pub integration: String,
    /// The chain of its refresh tokens in the ledger.
    pub chain: String,
    /// When it was confirmed that it is over: from then on nothing of it may be used.
    pub ended: Option<u64>,
}

/// A verdict that somebody acted on by consenting anew.
#[derive(Debug, Clone)]
pub(super) struct Lost {
    /// Whose.
    pub integration: String,
    /// The chain of the consent that it was about.
    pub chain: String,
    /// The reason that was told.
    pub reason: Option<String>,
}

/// How an integration stands for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// By this consent.
    Connected(usize),
    /// By nothing: people have ended it.
    Disconnected,
    /// Somebody is at it.
    Busy,
}

/// What people know.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// How each stands.
    pub standings: BTreeMap<String, Standing>,
    /// All consents, in the order in which they were given.
    pub consents: Vec<Consent>,
    /// Verdicts that stood, and were followed by a new consent.
    pub lost: Vec<Lost>,
    /// Verdicts that are told at the moment, since when.
    told: BTreeMap<String, u64>,
    /// Verdicts that were taken back by a pair that came later.
    pub healed: u64,
    /// Wishes that were carried out, by what they were.
    pub done: BTreeMap<&'static str, u64>,
    /// Wishes that never were.
    pub undone: Vec<String>,
}

impl Memory {
    /// One of those that are as wanted, so that nobody else takes it meanwhile.
    pub(super) fn take(&mut self, who: u64, connected: bool) -> Option<String> {
        let wanted = |standing: &Standing| match standing {
            Standing::Connected(_) => connected,
            Standing::Disconnected => !connected,
            Standing::Busy => false,
        };
        let fit = self
            .standings
            .iter()
            .filter(|(_, standing)| wanted(standing));
        let fit: Vec<String> = fit.map(|(name, _)| name.clone()).collect();
        let nth = usize::try_from(who % (fit.len() as u64).max(1)).unwrap_or(0);
        let name = fit.into_iter().nth(nth)?;
        self.standings.insert(name.clone(), Standing::Busy);
        self.told.remove(&name);
        Some(name)
    }

    /// All consents of an integration are over.
    pub(super) fn ended(&mut self, name: &str) {
        let now = now_ms();
        for consent in self.consents.iter_mut().filter(|c| c.integration == name) {
            consent.ended.get_or_insert(now);
        }
    }

    /// All but one are.
    pub(super) fn ended_but(&mut self, name: &str, kept: usize) {
        let now = now_ms();
        let all = self.consents.iter_mut().enumerate();
        for (_, consent) in all.filter(|(nth, c)| c.integration == name && *nth != kept) {
            consent.ended.get_or_insert(now);
        }
    }

    /// The consent that an integration lives by; `None` for one that was disconnected, or that somebody is at.
    #[must_use]
    pub(super) fn consent_of(&self, name: &str) -> Option<&Consent> {
        match self.standings.get(name)? {
            Standing::Connected(consent) => self.consents.get(*consent),
            Standing::Disconnected | Standing::Busy => None,
        }
    }

    /// The names of all integrations.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.standings.keys().map(String::as_str)
    }

    /// Takes in verdicts. Those that have stood for long enough are given up; somebody is at them now.
    pub(super) fn notice(&mut self, all: &[StatusView], now: u64) -> Vec<String> {
        let mut given_up = Vec::new();
        for status in all {
            let name = &status.integration;
            let Some(Standing::Connected(consent)) = self.standings.get(name).cloned() else {
                self.told.remove(name);
                continue;
            };
            if status.state != "ReconnectRequired" {
                self.healed += u64::from(self.told.remove(name).is_some());
                continue;
            }
            let since = *self.told.entry(name.clone()).or_insert(now);
            if since + STOOD_MS <= now
                && let Some(of) = self.consents.get(consent)
            {
                self.told.remove(name);
                self.lost.push(Lost {
                    integration: name.clone(),
                    chain: of.chain.clone(),
                    reason: status.reason.clone(),
                });
                self.standings.insert(name.clone(), Standing::Busy);
                given_up.push(name.clone());
            }
        }
        given_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Memory {
        let mut memory = Memory::default();
        for (nth, name) in ["a/x", "b/x"].into_iter().enumerate() {
            memory.consents.push(Consent {
                integration: name.to_owned(),
                chain: format!("chain of {name}"),
                ended: None,
            });
            memory
                .standings
                .insert(name.to_owned(), Standing::Connected(nth));
        }
        memory
    }

    fn told(name: &str, state: &str) -> StatusView {
        serde_json::from_value(serde_json::json!({
            "integration": name, "tenant": "", "grant": "user", "state": state,
            "reason": "rotation_lost", "recovery": "none", "epoch": 1, "generation": 0,
            "access_token_valid": true, "expiry_assumed": false, "consecutive_failures": 0,
            "persist_pending": false, "quarantined": 0, "v": 1,
        }))
        .unwrap()
    }

    #[test]
    fn nobody_takes_what_another_is_at() {
        let mut memory = memory();
        assert_eq!(memory.take(7, false), None, "all are connected");
        assert_eq!(memory.take(1, true), Some("b/x".to_owned()));
        assert_eq!(memory.take(1, true), Some("a/x".to_owned()));
        assert_eq!(memory.take(1, true), None);
        memory
            .standings
            .insert("a/x".to_owned(), Standing::Disconnected);
        assert!(memory.consent_of("a/x").is_none());
        assert_eq!(memory.take(9, false), Some("a/x".to_owned()));
    }

    #[test]
    fn a_new_consent_ends_all_that_were_before_it() {
        let mut memory = memory();
        for nth in 0..2 {
            memory.consents.push(Consent {
                chain: format!("try {nth}"),
                ..memory.consents[0].clone()
            });
        }
        memory.ended_but("a/x", 3);
        let ended: Vec<bool> = memory.consents.iter().map(|c| c.ended.is_some()).collect();
        assert_eq!(ended, [true, false, true, false]);
        memory.ended("a/x");
        assert!(memory.consents[3].ended.is_some() && memory.consents[1].ended.is_none());
    }

    #[test]
    fn a_verdict_is_acted_on_when_it_has_stood_and_is_healed_when_it_is_taken_back() {
        let mut memory = memory();
        let all = [
            told("a/x", "ReconnectRequired"),
            told("b/x", "ReconnectRequired"),
        ];
        assert!(memory.notice(&all, 1_000).is_empty());
        let all = [told("a/x", "Scheduled"), told("b/x", "ReconnectRequired")];
        assert!(memory.notice(&all, 1_000 + STOOD_MS - 1).is_empty());
        assert_eq!(memory.healed, 1);
        let given_up = memory.notice(&all, 1_000 + STOOD_MS);
        assert_eq!(given_up, ["b/x"]);
        assert_eq!(memory.lost[0].chain, "chain of b/x");
        assert_eq!(memory.lost[0].reason.as_deref(), Some("rotation_lost"));
        assert!(
            memory.notice(&all, 9_000_000).is_empty(),
            "somebody is at it"
        );
    }
}
