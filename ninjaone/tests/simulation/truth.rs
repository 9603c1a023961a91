//! What must hold, checked at every call that reaches the store and at every token that is sent. The
//! numbers are those of the invariants in ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evergreen_engine::store::memory::Inspection;
use evergreen_engine::store::{Claim, Commit};
use serde_json::Value;
use tokio::time::Instant;

use super::process::Process;
use super::provider::Tells;

/// What an integration is to be in the end: the last word of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Connected { family: usize },
    Disconnected,
}

#[derive(Debug, Clone, Default)]
struct Sheet {
    /// The claim that may commit.
    holder: Option<String>,
    /// The store's time at that claim.
    claimed_at: u64,
    /// Times that the holder was told of more signals.
    told_of_signals: u32,
    wanted: Option<Wanted>,
    /// Since when.
    wanted_since: Option<Instant>,
    /// Times that a person asked for one more try of a token that was refused.
    resets: u32,
}

impl Sheet {
    fn want(&mut self, wanted: Wanted) {
        if self.wanted != Some(wanted) {
            self.wanted = Some(wanted);
            self.wanted_since = Some(Instant::now());
        }
    }
}

/// One refresh token on its way to the provider.
#[derive(Debug, Clone)]
pub(crate) struct Sending {
    integration: String,
    token: (usize, usize),
    claim: String,
    at_ms: u64,
    tells: Tells,
    resets: u32,
    /// Whoever sent it has given it up, or has ended.
    over: bool,
    by: u64,
}

/// Longest time that whoever sent a token waits for the answer, ms.
const IN_FLIGHT_MAX: u64 = 10_000;
/// For so long a holder trusts its lease at most, ms.
const LEASE_MS: u64 = 15_000;
/// Shortest time after which it may have given up, ms: `Limits::activity_min`, where its intent took long.
const WAITS: u64 = 4_000;

#[derive(Debug, Clone, Default)]
pub(crate) struct Truth {
    sheets: BTreeMap<String, Sheet>,
    sendings: Vec<Sending>,
    /// Sendings whose answer is in the store.
    settled: BTreeSet<usize>,
    /// By process and integration, the claim whose intent was written last.
    intents: BTreeMap<(u64, String), String>,
    /// When the store's clock was last set by hand, ms.
    clock_set_at: Option<u64>,
}

impl Truth {
    /// A replica has taken over that knows what this says: what a store can forget is forgotten. What
    /// was sent stays sent, and clocks stay as they were set.
    pub(crate) fn taken_over(&mut self, replica: Self) {
        let before = std::mem::replace(&mut self.sheets, replica.sheets);
        for (id, sheet) in &mut self.sheets {
            if before.get(id).is_none_or(|was| was.wanted != sheet.wanted) {
                sheet.wanted_since = Some(Instant::now());
            }
        }
        self.settled = replica.settled;
    }

    pub(crate) fn wanted(&self, integration: &str) -> Option<Wanted> {
        self.sheets.get(integration)?.wanted
    }

    /// Whether what is wanted of an integration has been that for less than so long.
    pub(crate) fn changed_within(&self, integration: &str, age: Duration) -> bool {
        let sheet = self.sheets.get(integration);
        let since = sheet.and_then(|sheet| sheet.wanted_since);
        since.is_some_and(|since| since.elapsed() < age)
    }

    /// 2, 5 and 6: a claim takes what is free and due, nothing else.
    pub(crate) fn claimed(
        &mut self,
        claim: &Claim,
        before: &Inspection,
        now: u64,
    ) -> Result<(), String> {
        let id = claim.id.id();
        let sheet = self.sheets.entry(id.to_owned()).or_default();
        sheet.holder = Some(claim.claim.clone());
        sheet.claimed_at = now;
        sheet.told_of_signals = 0;
        let Some(record) = &before.record else {
            return Err(format!("(2) {id}: claimed, and not there"));
        };
        if record.owner.is_some() && record.lease_until.is_some_and(|end| end > now) {
            return Err(format!(
                "(2) {id}: claimed while {:?} holds it",
                record.owner
            ));
        }
        let idle = record.owner.is_none() && record.activity.is_none() && before.inbox.is_empty();
        let due = record.visible_at.or(record.wake_at);
        let driven = claim.mode == evergreen_engine::store::ClaimMode::Drive;
        if idle && !driven && due.is_none_or(|due| due > now) {
            return Err(format!("(5) {id}: claimed at {now}, due at {due:?}"));
        }
        Ok(())
    }

    /// 1, 2, 4, 5, 7 and 10: what an accepted commit may be.
    pub(crate) fn committed(
        &mut self,
        by: u64,
        commit: &Commit,
        (v, now_ms): (u64, u64),
        before: &Inspection,
        after: &Inspection,
        family: impl Fn(&str) -> Option<usize>,
    ) -> Result<(), String> {
        let id = commit.id.id();
        let sheet = self.sheets.entry(id.to_owned()).or_default();
        let record = before
            .record
            .as_ref()
            .ok_or(format!("(1) {id}: committed, not there"))?;
        if sheet.holder.as_ref() != Some(&commit.claim) {
            return Err(format!(
                "(2) {id}: {} committed, {:?} holds it",
                commit.claim, sheet.holder
            ));
        }
        if v != record.v + 1 {
            return Err(format!("(1) {id}: v {} became {v}", record.v));
        }
        let unheard = before.inbox.len() - commit.consumed.min(before.inbox.len());
        if !commit.finish && after.inbox.len() != unheard {
            let (had, consumed, left) = (before.inbox.len(), commit.consumed, after.inbox.len());
            return Err(format!(
                "(7) {id}: of {had} signals {consumed} heard, {left} left"
            ));
        }
        // Going back to a verdict that was told before condemns nobody anew.
        let mut told = commit.events.iter().map(|event| event.event.as_str());
        let condemns = told.any(|event| event == "INTEGRATION_RECONNECT_REQUIRED");
        if unheard > 0 && (commit.keep.is_some() || condemns && sheet.told_of_signals < 3) {
            let what = if condemns { "a verdict" } else { "an intent" };
            return Err(format!(
                "(8) {id}: {what} over {unheard} signals that nobody heard"
            ));
        }
        let log: Value = serde_json::from_str(&commit.log).unwrap_or_default();
        let on: Vec<&str> = log["on"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if on.first() == Some(&"TimerFired")
            && record.wake_at.is_none_or(|at| at > sheet.claimed_at)
        {
            let (at, claimed) = (record.wake_at, sheet.claimed_at);
            return Err(format!(
                "(4, 5) {id}: a timer set to {at:?} was heard at {claimed}"
            ));
        }
        let consent = |data: &str| {
            let data: Value = serde_json::from_str(data).unwrap_or_default();
            family(data["data"]["grant"]["refresh_token"].as_str()?)
        };
        let (had, has) = (consent(&record.data), consent(&commit.data));
        if has.is_some() && had != has {
            if !on.contains(&"Connect") && !on.contains(&"Adopt") {
                return Err(format!("(10) {id}: its consent became {has:?} by {on:?}"));
            }
            if let (Some(family), false) = (has, on.contains(&"Connect")) {
                sheet.want(Wanted::Connected { family });
            }
        }
        let still_in_flight = record.activity.is_some() && commit.keep.is_none();
        if commit.keep.is_some() {
            self.intents
                .insert((by, id.to_owned()), commit.claim.clone());
            return Ok(());
        }
        sheet.holder = None;
        for sending in &mut self.sendings {
            sending.over |= sending.claim == commit.claim;
        }
        if still_in_flight {
            // Whoever stood still until past its deadline finds the answer beside it, and has given up
            // already; it is read on, and comes as a signal.
            let gave_up = |sent: &Sending| on.contains(&"Unknown") && sent.at_ms + WAITS <= now_ms;
            let sendings = self.sendings.iter().enumerate();
            let answered = sendings.filter(|(_, sent)| {
                sent.claim == commit.claim && sent.tells != Tells::Nothing && !gave_up(sent)
            });
            self.settled.extend(answered.map(|(number, _)| number));
        }
        let gone = matches!(sheet.wanted, Some(Wanted::Disconnected))
            && before.inbox.len() == commit.consumed;
        if gone && !after.sealed.is_empty() {
            return Err(format!(
                "(10) {id}: credentials are left after its disconnect"
            ));
        }
        Ok(())
    }

    /// A holder was told of more signals instead of its commit being written.
    pub(crate) fn told_of_signals(&mut self, commit: &Commit) {
        let sheet = self.sheets.entry(commit.id.id().to_owned()).or_default();
        sheet.told_of_signals += 1;
    }

    /// A signal has reached the store. `family` finds the family of a fingerprint.
    pub(crate) fn signalled(
        &mut self,
        id: &str,
        payload: &str,
        ended_lease: bool,
        family: impl Fn(&str) -> Option<usize>,
    ) {
        let sheet = self.sheets.entry(id.to_owned()).or_default();
        if ended_lease {
            sheet.holder = None;
        }
        let payload: Value = serde_json::from_str(payload).unwrap_or_default();
        let signal = &payload["signal"];
        if signal.as_str() == Some("Reset") {
            sheet.resets += 1;
        }
        if signal.get("Disconnect").is_some() {
            sheet.want(Wanted::Disconnected);
        }
        if let Some(print) = signal["Connect"]["refresh_token"].as_str()
            && let Some(family) = family(print)
        {
            sheet.want(Wanted::Connected { family });
        }
    }

    /// The lease has ended otherwise.
    pub(crate) fn given_back(&mut self, id: &str) {
        self.sheets.entry(id.to_owned()).or_default().holder = None;
    }

    /// 8: nothing is sent whose answer is in the store, and once by each claim.
    pub(crate) fn sent(
        &mut self,
        process: &Process,
        integration: &str,
        token: (usize, usize),
        at_ms: u64,
    ) -> (usize, Result<(), String>) {
        let (by, number) = (process.number, self.sendings.len());
        let claim = self.intents.get(&(by, integration.to_owned())).cloned();
        let resets = self.sheets.get(integration).map_or(0, |sheet| sheet.resets);
        let sending = Sending {
            integration: integration.to_owned(),
            token,
            claim: claim.clone().unwrap_or_default(),
            at_ms,
            tells: Tells::Nothing,
            resets,
            over: false,
            by,
        };
        let told = self.may_be_sent(&sending);
        self.sendings.push(sending);
        (
            number,
            claim
                .ok_or(format!("(8) {integration}: sent without an intent"))
                .and(told),
        )
    }

    fn may_be_sent(&self, new: &Sending) -> Result<(), String> {
        let Sending {
            integration,
            token: (family, place),
            ..
        } = new;
        for (number, old) in self.sendings.iter().enumerate() {
            if old.token != new.token {
                continue;
            }
            let again = format!("(8) {integration}: {family}.{place} is sent again");
            if old.claim == new.claim {
                return Err(format!("{again} in one turn"));
            }
            if self.clock_set_at.is_none() && !old.over && old.at_ms + IN_FLIGHT_MAX > new.at_ms {
                let (since, by) = (old.at_ms, old.by);
                return Err(format!(
                    "(2) {again} while {by} waits for its answer since {since}"
                ));
            }
            // A person may ask for one more try of what was refused.
            // Whoever trusted a lease when the clock was set may be another's second.
            let trusted = self
                .clock_set_at
                .is_some_and(|at| new.at_ms <= at + LEASE_MS);
            if self.settled.contains(&number) && old.resets == new.resets && !trusted {
                return Err(format!(
                    "{again}, although the store knows that it is {:?} since {}",
                    old.tells, old.at_ms
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn learnt(&mut self, number: usize, tells: Tells) {
        self.sendings[number].tells = tells;
        self.sendings[number].over = true;
    }

    /// A process has ended, and waits for nothing any more.
    pub(crate) fn ended(&mut self, process: u64) {
        let its = self
            .sendings
            .iter_mut()
            .filter(|sending| sending.by == process);
        its.for_each(|sending| sending.over = true);
    }

    /// The store's clock was set by hand: leases may have ended early, and nobody is to blame.
    pub(crate) fn clock_was_set(&mut self, now_ms: u64) {
        self.clock_set_at = Some(now_ms);
    }

    /// Whether that has happened. What was due by the clock before may not be by the one after.
    pub(crate) fn clock_is_odd(&self) -> bool {
        self.clock_set_at.is_some()
    }

    /// How often anything was sent.
    pub(crate) fn sent_in_all(&self) -> usize {
        self.sendings.len()
    }
}
