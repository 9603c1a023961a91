//! How each operation becomes keys and arguments, in the order of the script's head.

use super::keys::Keys;
use super::scripts::{CLAIM, COMMIT, Call, EXTEND, READ, RECONCILE, REQUEUE, SIGNAL, STAMP};
use crate::id::WorkflowId;
use crate::limits::{DELAY_AFTER, DELAY_FIRST, DELAY_MAX, HEADS, INBOX_MAX, PARK_AFTER};
use crate::machine::Millis;
use crate::record::Envelope;
use crate::store::clock::millis;
use crate::store::{Claim, ClaimMode, Commit, Extend, SealedOp, Signal, StoreError};

/// Builds calls for one key space at one time.
pub(super) struct Calls<'a> {
    pub(super) keys: &'a Keys,
    /// The time that a test dictates; production leaves it to the server.
    pub(super) now: Option<Millis>,
}

impl Calls<'_> {
    pub(super) fn claim(&self, ask: &Claim) -> Result<Call, StoreError> {
        let (id, keys) = (&ask.id, self.keys);
        let mode = match ask.mode {
            ClaimMode::Due => "due",
            ClaimMode::Drive => "drive",
        };
        Ok(Call::new(
            &CLAIM,
            vec![
                keys.due(self.home(id))?,
                keys.parked(self.home(id))?,
                keys.wf(id),
                keys.inbox(id),
                keys.sealed(id),
            ],
            vec![
                self.now(),
                id.to_string(),
                ask.claim.clone(),
                ask.owner.clone(),
                millis(ask.lease).to_string(),
                mode.to_owned(),
                HEADS.to_string(),
                INBOX_MAX.to_string(),
                DELAY_AFTER.to_string(),
                PARK_AFTER.to_string(),
                millis(DELAY_FIRST).to_string(),
                millis(DELAY_MAX).to_string(),
                u8::from(ask.spare_owned).to_string(),
            ],
        ))
    }

    pub(super) fn commit(&self, ask: &Commit) -> Result<Call, StoreError> {
        let (id, keys) = (&ask.id, self.keys);
        let mut args = vec![
            self.now(),
            id.to_string(),
            ask.fence.to_string(),
            ask.claim.clone(),
            ask.commit.clone(),
            flag(ask.strict),
            ask.consumed.to_string(),
            ask.state.clone(),
            ask.data.clone(),
            ask.schema.to_string(),
            number(ask.wake_at),
            number(ask.visible_at),
            ask.activity.clone().unwrap_or_default(),
            number(ask.keep.map(millis)),
            flag(ask.finish),
            ask.park.clone().unwrap_or_default(),
            HEADS.to_string(),
            ask.log_max.to_string(),
            ask.log.clone(),
            ask.events_max.to_string(),
            keys.wake(),
            self.home(id).to_string(),
            INBOX_MAX.to_string(),
            ask.follows.clone().unwrap_or_default(),
            ask.last_heard
                .as_ref()
                .map_or_else(String::new, Envelope::to_text),
            ask.sealed.len().to_string(),
        ];
        for change in &ask.sealed {
            let (what, field, value) = match change {
                SealedOp::Put(field, value) => ("put", field.as_str(), value.as_str()),
                SealedOp::Erase(field) => ("erase", field.as_str(), ""),
                SealedOp::Clear => ("clear", "", ""),
            };
            args.extend([what, field, value].map(str::to_owned));
        }
        for event in &ask.events {
            args.extend([
                event.id.clone(),
                event.event.clone(),
                event.subject_field.clone(),
                event.subject.clone(),
                event.at.clone(),
                event.payload.clone(),
            ]);
        }
        Ok(Call::new(
            &COMMIT,
            vec![
                keys.due(self.home(id))?,
                keys.parked(self.home(id))?,
                keys.wf(id),
                keys.inbox(id),
                keys.sealed(id),
                keys.log(id),
                keys.events(self.home(id))?,
            ],
            args,
        ))
    }

    pub(super) fn signal(&self, ask: &Signal) -> Result<Call, StoreError> {
        let (id, keys) = (&ask.id, self.keys);
        let create = ask.create.as_ref();
        Ok(Call::new(
            &SIGNAL,
            vec![
                keys.due(self.home(id))?,
                keys.parked(self.home(id))?,
                keys.wf(id),
                keys.inbox(id),
            ],
            vec![
                self.now(),
                id.to_string(),
                ask.payload.clone(),
                flag(ask.preemptive),
                ask.ends_claim.clone().unwrap_or_default(),
                flag(create.is_some()),
                create.map_or_else(String::new, |new| new.state.clone()),
                create.map_or_else(String::new, |new| new.data.clone()),
                create.map_or_else(String::new, |new| new.schema.to_string()),
                INBOX_MAX.to_string(),
                keys.wake(),
                self.home(id).to_string(),
                ask.once.clone().unwrap_or_default(),
                flag(ask.unless_it_waits),
            ],
        ))
    }

    pub(super) fn read(&self, id: &WorkflowId, with_sealed: bool) -> Result<Call, StoreError> {
        let keys = self.keys;
        Ok(Call::new(
            &READ,
            vec![
                keys.due(self.home(id))?,
                keys.wf(id),
                keys.inbox(id),
                keys.sealed(id),
            ],
            vec![self.now(), id.to_string(), flag(with_sealed)],
        ))
    }

    pub(super) fn extend(
        &self,
        id: &WorkflowId,
        fence: u64,
        claim: &str,
        what: Extend,
    ) -> Result<Call, StoreError> {
        let keys = self.keys;
        let (word, span, counts) = match what {
            Extend::Renew(lease) => ("renew", lease, false),
            Extend::GiveBack { rest, counts } => ("give_back", rest, counts),
        };
        Ok(Call::new(
            &EXTEND,
            vec![keys.due(self.home(id))?, keys.wf(id), keys.inbox(id)],
            vec![
                self.now(),
                id.to_string(),
                fence.to_string(),
                claim.to_owned(),
                word.to_owned(),
                millis(span).to_string(),
                flag(counts),
                keys.wake(),
                self.home(id).to_string(),
            ],
        ))
    }

    /// Comparisons of workflows that all live in one partition.
    pub(super) fn reconcile(
        &self,
        partition: u16,
        ids: &[&WorkflowId],
    ) -> Result<Call, StoreError> {
        let mut keys = vec![self.keys.due(partition)?, self.keys.parked(partition)?];
        let mut args = vec![self.now()];
        for id in ids {
            keys.extend([self.keys.wf(id), self.keys.inbox(id)]);
            args.push(id.to_string());
        }
        Ok(Call::new(&RECONCILE, keys, args))
    }

    pub(super) fn requeue(&self, id: &WorkflowId) -> Result<Call, StoreError> {
        let keys = self.keys;
        Ok(Call::new(
            &REQUEUE,
            vec![
                keys.due(self.home(id))?,
                keys.parked(self.home(id))?,
                keys.wf(id),
                keys.inbox(id),
            ],
            vec![
                self.now(),
                id.to_string(),
                keys.wake(),
                self.home(id).to_string(),
            ],
        ))
    }

    pub(super) fn stamp(&self, newest_seen: Millis, write: bool) -> Call {
        Call::new(
            &STAMP,
            vec![self.keys.meta()],
            vec![self.now(), newest_seen.to_string(), flag(write)],
        )
    }

    fn home(&self, id: &WorkflowId) -> u16 {
        id.partition(self.keys.partitions())
    }

    pub(super) fn now(&self) -> String {
        number(self.now)
    }
}

pub(super) fn flag(is: bool) -> String {
    if is { "1" } else { "0" }.to_owned()
}

/// A number, or nothing where there is none.
fn number(value: Option<u64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::{Claim, Commit, Enter, GateBounds, Signal};

    /// In a cluster a script whose keys lie in different slots is refused.
    #[test]
    fn every_call_has_its_keys_in_one_slot() {
        let keys = Keys::new("evergreen", 64);
        let calls = Calls {
            keys: &keys,
            now: None,
        };
        let id = WorkflowId::new("ninjaone.credential", "acme/prod@user").unwrap();
        let claim = Claim {
            id: id.clone(),
            claim: "c".to_owned(),
            owner: "w".to_owned(),
            lease: Duration::from_secs(15),
            mode: ClaimMode::Due,
            spare_owned: false,
        };
        let signal = Signal {
            id: id.clone(),
            payload: "{}".to_owned(),
            preemptive: false,
            once: None,
            unless_it_waits: false,
            ends_claim: None,
            create: None,
            durable: false,
        };
        let commit = Commit {
            id: id.clone(),
            fence: 1,
            claim: "c".to_owned(),
            commit: "d".to_owned(),
            follows: None,
            strict: false,
            consumed: 0,
            last_heard: None,
            state: String::new(),
            data: String::new(),
            schema: 1,
            wake_at: None,
            visible_at: None,
            activity: None,
            keep: None,
            finish: false,
            park: None,
            sealed: Vec::new(),
            log: String::new(),
            log_max: 0,
            events: Vec::new(),
            events_max: 1,
            durable: false,
        };
        let enter = Enter {
            gate: "eu.ninjarmm.com".to_owned(),
            place: "p".to_owned(),
            life: Duration::from_secs(15),
            unpaced: false,
            through_breaker: false,
            bounds: GateBounds::default(),
        };
        let renew = Extend::Renew(Duration::from_secs(15));
        for call in [
            calls.claim(&claim),
            calls.signal(&signal),
            calls.commit(&commit),
            calls.read(&id, true),
            calls.extend(&id, 1, "c", renew),
            calls.reconcile(id.partition(calls.keys.partitions()), &[&id]),
            calls.requeue(&id),
            calls.enter(&enter),
            calls.gate("eu.ninjarmm.com", None, &enter.bounds),
        ] {
            let call = call.unwrap();
            assert!(call.is_of_one_slot(), "{}", call.script.name);
        }
    }
}
