//! The scripts, one for one: `claim.lua`, `commit.lua`, `signal.lua`, `extend.lua`, `reconcile.lua`.

use super::machine::Run;
use super::rules::Rules;
use super::state::*;
use super::world::World;

/// A commit.
pub(crate) struct Commit<'a> {
    pub(crate) claim: u8,
    pub(crate) fence: u8,
    pub(crate) id: u8,
    pub(crate) strict: bool,
    pub(crate) heard: &'a [Signal],
    pub(crate) run: &'a Run,
    /// For an intent: the lease is kept.
    pub(crate) activity: Option<Request>,
}

/// How a commit was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Committed {
    Written,
    /// Written before; whether the lease is still the writer's.
    Already(bool),
    Fenced,
    /// Strict, and these came since.
    Signals(Vec<Signal>),
}

impl Store {
    /// The score that its record wants: `record.rs`, in this order.
    pub(crate) fn wanted(&self) -> Option<Ticks> {
        let record = self.record.as_ref()?;
        if record.owner.is_some() {
            Some(record.lease)
        } else if record.parked {
            None
        } else if !self.inbox.is_empty() || record.activity.is_some() {
            Some(0)
        } else {
            record.visible_at.or(record.wake_at)
        }
    }

    /// What the reconciler puts there. Without its rule it looks at the timer alone; with the letter
    /// of the protocol instead of the first deviation, at the inbox before the parking.
    pub(crate) fn reconciled(&self, rules: &Rules) -> Option<Ticks> {
        let record = self.record.as_ref()?;
        if !rules.wanted_score {
            return record.wake_at;
        }
        let pending = !self.inbox.is_empty() || record.activity.is_some();
        if !rules.parked_stays_out && record.owner.is_none() && record.parked && pending {
            return Some(0);
        }
        self.wanted()
    }

    /// Takes the workflow for a worker; `false` where the answer is `held`, `not_due`, `parked` or `unknown`.
    /// `park_after` claims without a finished turn are one too few to park it.
    pub(crate) fn claim(&mut self, worker: u8, spare: bool, id: u8, world: &World) -> bool {
        let (rules, park_after) = (&world.rules, world.config.park_after);
        let Some(record) = &mut self.record else {
            self.due = None;
            return false;
        };
        let somebody = matches!(record.owner, Some(Owner::Worker(_)));
        let held = record.owner.is_some() && (record.lease > 0 || (spare && somebody));
        if held && rules.claim_by_record {
            self.due = Some(record.lease);
            return false;
        }
        if record.parked && record.owner.is_none() {
            self.due = None;
            return false;
        }
        let pending = record.activity.is_some() || !self.inbox.is_empty();
        if record.owner.is_none() && !pending && rules.claim_by_record {
            let wanted = record.visible_at.or(record.wake_at);
            if wanted != Some(0) {
                self.due = wanted;
                return false;
            }
        }
        // Counted no further than where it is judged.
        if park_after < FAR {
            record.attempt = (record.attempt + 1).min(park_after + 1);
        }
        if record.attempt > park_after && rules.park_after_attempts {
            record.owner = None;
            record.claim = 0;
            record.lease = 0;
            record.parked = true;
            if record.barrier > 0 && rules.parked_is_erased {
                self.sealed = None;
            }
            self.due = None;
            return false;
        }
        record.fence += 1;
        record.owner = Some(Owner::Worker(worker));
        record.claim = id;
        record.lease = LEASE;
        self.due = Some(LEASE);
        true
    }

    /// Writes one transition, or nothing.
    pub(crate) fn commit(&mut self, commit: &Commit<'_>, rules: &Rules) -> Committed {
        let Some(record) = &mut self.record else {
            return Committed::Fenced;
        };
        if record.commit == commit.id && rules.idempotent_commit {
            return Committed::Already(record.owner.is_some() && record.claim == commit.claim);
        }
        let number = record.fence == commit.fence;
        let ours = number && (record.claim == commit.claim || !rules.claim_id);
        if rules.fence_checked && (record.owner.is_none() || !ours) {
            return Committed::Fenced;
        }
        let heard = commit.heard.len();
        let last = heard.checked_sub(1).and_then(|last| self.inbox.get(last));
        let there = last == commit.heard.last() || !rules.heard_is_there;
        if (heard > self.inbox.len() || !there) && rules.idempotent_commit {
            // A failover has taken back signals that were heard. The turn is given up.
            return Committed::Fenced;
        }
        if commit.strict && self.inbox.len() > heard {
            return Committed::Signals(self.inbox[heard..].to_vec());
        }
        let Run {
            machine,
            wake_at,
            visible_at,
            put,
            clear,
            ..
        } = commit.run;
        if *clear {
            self.sealed = None;
        }
        if put.is_some() {
            self.sealed = *put;
        }
        let heard = heard.min(self.inbox.len());
        self.inbox.drain(..heard);
        record.machine = machine.clone();
        record.commit = commit.id;
        record.wake_at = *wake_at;
        record.visible_at = *visible_at;
        record.activity = commit.activity;
        record.parked = false;
        record.barrier = record.barrier.saturating_sub(heard as u8);
        if commit.activity.is_some() {
            record.lease = LEASE;
            self.due = Some(LEASE);
            return Committed::Written;
        }
        record.free();
        record.attempt = 0;
        self.due = self.wanted();
        if !rules.commit_sees_inbox
            && let Some(record) = &self.record
        {
            self.due = record.visible_at.or(record.wake_at);
        }
        Committed::Written
    }

    /// Queues a signal; `false` where there is no workflow, and it creates none.
    pub(crate) fn signal(&mut self, signal: Signal, ends_claim: u8, rules: &Rules) -> bool {
        let preemptive = matches!(signal, Signal::Connect(_) | Signal::Disconnect);
        if self.record.is_none() {
            if !matches!(signal, Signal::Connect(_)) {
                return false;
            }
            self.record = Some(Record::new(Machine::new()));
        }
        let Some(record) = &mut self.record else {
            return false;
        };
        if let Signal::Connect(grant) = signal
            && rules.connect_idempotent
            && rules.connect_once
        {
            if record.signal == grant + 1 {
                return true;
            }
            record.signal = grant + 1;
        }
        let ends = ends_claim != 0 && record.claim == ends_claim;
        if (preemptive && rules.preemptive_ends_lease) || ends {
            record.free();
            record.fence += 1;
        }
        self.inbox.push(signal);
        if preemptive {
            record.attempt = 0;
            record.barrier = self.inbox.len() as u8;
            record.parked &= !rules.preemptive_unparks;
        }
        if record.owner.is_none() && !record.parked && rules.signal_makes_due {
            self.due = Some(0);
        }
        true
    }

    /// Gives the workflow back for a while, the attempt not counted.
    pub(crate) fn give_back(&mut self, claim: u8, fence: u8, rules: &Rules) -> bool {
        let Some(record) = &mut self.record else {
            return false;
        };
        if record.claim != claim || record.fence != fence {
            return false;
        }
        record.attempt = record.attempt.saturating_sub(1);
        if rules.given_back_is_leased {
            record.fence += 1;
            record.claim = 0;
            record.owner = Some(Owner::Nobody);
            record.lease = REST;
        } else {
            record.free();
            record.visible_at = Some(REST);
        }
        self.rest = REST;
        self.due = self.wanted();
        true
    }
}

impl Record {
    /// A record that nobody holds.
    pub(crate) fn new(machine: Machine) -> Self {
        Self {
            machine,
            wake_at: None,
            visible_at: None,
            fence: 0,
            claim: 0,
            owner: None,
            lease: 0,
            commit: 0,
            attempt: 0,
            activity: None,
            barrier: 0,
            signal: 0,
            parked: false,
        }
    }

    fn free(&mut self) {
        self.owner = None;
        self.claim = 0;
        self.lease = 0;
    }
}
