//! What a run tells in the end.

use std::collections::BTreeMap;

use serde::Serialize;

use super::verdict::{LostGrants, SentAgain, Violation};
use crate::simulator::{Delivery, Entry};

/// What was done, how often.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Done {
    /// Workers killed (SIGKILL).
    pub workers_killed: u64,
    /// Workers stopped (SIGSTOP), and let go on.
    pub workers_stopped: u64,
    /// Workers killed while they were stopped.
    pub workers_killed_while_stopped: u64,
    /// Workers cut off from Redis.
    pub workers_cut_off: u64,
    /// Workers whose disk was full for a while.
    pub disks_full: u64,
    /// Workers that ended because Redis was away when they started, and were started again.
    pub workers_restarted: u64,
    /// How often Redis was killed, or every connection to it cut.
    pub redis: u64,
    /// Spells of bad weather at the provider, by kind.
    pub weather: BTreeMap<&'static str, u64>,
    /// What people did.
    pub people: BTreeMap<&'static str, u64>,
}

/// The ledger, summed up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// Token requests.
    pub requests: u64,
    /// Those that issued tokens.
    pub refreshed: u64,
    /// Replies by what became of them.
    pub replies: BTreeMap<&'static str, u64>,
    /// Refresh tokens that were sent more than once.
    pub tokens_sent_again: u64,
    /// The longest time that an integration was without a valid access token, in ms.
    pub longest_gap_ms: u64,
}

impl Ledger {
    /// Of these entries.
    #[must_use]
    pub fn of(entries: &[Entry], longest_gap_ms: u64) -> Self {
        let mut replies = BTreeMap::new();
        let mut sent: BTreeMap<&str, u64> = BTreeMap::new();
        for entry in entries {
            *replies.entry(word(entry.delivery)).or_default() += 1;
            if let Some(token) = &entry.fingerprint {
                *sent.entry(token).or_default() += 1;
            }
        }
        Self {
            requests: entries.len() as u64,
            refreshed: entries.iter().filter(|entry| entry.issued).count() as u64,
            replies,
            tokens_sent_again: sent.values().filter(|times| **times > 1).count() as u64,
            longest_gap_ms,
        }
    }
}

fn word(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::Pending => "pending",
        Delivery::Sent => "read",
        Delivery::Unread => "unread",
        Delivery::Eaten => "eaten",
        Delivery::Abandoned => "abandoned",
    }
}

/// A whole run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What decided everything that went wrong.
    pub seed: u64,
    /// For how many minutes things went wrong.
    pub minutes: u64,
    /// Workers.
    pub workers: usize,
    /// Integrations.
    pub integrations: usize,
    /// Life of an access token, in seconds.
    pub lifetime_s: u64,
    /// The workers' lease, in seconds.
    pub lease_s: u64,
    /// The server.
    pub server: String,
    /// `killed` where Redis was the run's own, else `cut_off`: every connection reset at once.
    pub redis: &'static str,
    /// What was done.
    pub done: Done,
    /// The simulator's ledger.
    pub ledger: Ledger,
    /// Lost grants.
    pub lost: LostGrants,
    /// Refresh tokens sent again, by what permitted it.
    pub again: SentAgain,
    /// Verdicts that a pair that came later has healed.
    pub healed: u64,
    /// Requests under way when people ended their consent.
    pub under_way_at_the_end_of_a_consent: u64,
    /// How the integrations stand in the end.
    pub states: BTreeMap<String, u64>,
    /// How long it took until everybody was well again, in ms.
    pub mending_ms: u64,
    /// Warnings and errors of the workers.
    pub complaints: BTreeMap<String, u64>,
    /// What must not be.
    pub violations: Vec<Violation>,
}

impl Report {
    /// Whether every promise was kept.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.violations.is_empty()
    }
}
