//! The twin of `signal.lua`.

use super::space::{Space, Workflow};
use crate::limits::INBOX_MAX;
use crate::machine::Millis;
use crate::record::{Envelope, Record};
use crate::store::{Creation, Signal, Signalled};

pub(super) fn signal(space: &mut Space, now: Millis, ask: &Signal) -> Signalled {
    let member = ask.id.to_string();
    let number = space.number_of(&ask.id);
    let partition = &mut space.partitions[number];
    let found = space.workflows.get(&ask.id);
    let last = found.and_then(|workflow| workflow.record.signal.as_ref());
    if let Some(workflow) = found.filter(|_| ask.preemptive && ask.once.is_some())
        && last == ask.once.as_ref()
    {
        return already(workflow);
    }
    let claim = found.and_then(|workflow| workflow.record.claim.as_ref());
    let ends = ask.ends_claim.is_some() && claim == ask.ends_claim.as_ref();
    if let Some(workflow) = found.filter(|_| ask.unless_it_waits && !ask.preemptive && !ends)
        && workflow.inbox.iter().any(|e| e.payload == ask.payload)
    {
        return already(workflow);
    }
    // A pre-emptive signal is never refused: whoever disconnects must be able to.
    if !ask.preemptive && found.is_some_and(|workflow| workflow.inbox.len() >= INBOX_MAX) {
        return Signalled::Full;
    }
    let workflow = match (found, &ask.create) {
        (None, None) => return Signalled::Unknown,
        (None, Some(creation)) => space
            .workflows
            .entry(ask.id.clone())
            .or_insert_with(|| create(creation)),
        (Some(_), _) => space.workflows.entry(ask.id.clone()).or_default(),
    };

    workflow.inbox.push(Envelope {
        at: now,
        payload: ask.payload.clone(),
    });
    let record = &mut workflow.record;
    if ask.preemptive || ends {
        record.fence += 1;
        record.owner = None;
        record.claim = None;
        record.lease_until = None;
    }
    if ask.preemptive {
        record.parked = None;
        record.attempt = 0;
        record.barrier = true;
        record.ahead = Some(workflow.inbox.len());
        if ask.once.is_some() {
            record.signal.clone_from(&ask.once);
        }
        partition.parked.remove(&member);
    }

    // A signal never shortens a lease, and never wakes what waits for a human.
    let held = record.owner.is_some();
    let v = record.v;
    if !held && record.parked.is_none() {
        partition.due.put(&member, now);
        let number = partition.number;
        space.wake(number, now);
    }
    Signalled::Queued {
        v,
        held,
        already: false,
        confirmed: true,
    }
}

fn already(workflow: &Workflow) -> Signalled {
    Signalled::Queued {
        v: workflow.record.v,
        held: workflow.record.owner.is_some(),
        already: true,
        confirmed: true,
    }
}

fn create(creation: &Creation) -> Workflow {
    Workflow {
        record: Record {
            state: creation.state.clone(),
            data: creation.data.clone(),
            schema: creation.schema,
            ..Record::default()
        },
        ..Workflow::default()
    }
}
