//! The twin of `commit.lua`.

use super::space::{Partition, Space, Workflow};
use crate::limits::INBOX_MAX;
use crate::machine::Millis;
use crate::record::SealedBlobs;
use crate::store::clock::millis;
use crate::store::{Commit, Committed, SealedOp, StoreError, Told};

pub(super) fn commit(
    space: &mut Space,
    now: Millis,
    ask: &Commit,
) -> Result<Told<Committed>, StoreError> {
    let member = ask.id.to_string();
    let (found, partition) = space.find(&ask.id);
    let Some(workflow) = found else {
        return Ok(partition.told(now, Committed::Unknown));
    };
    if let Some(answer) = refusal(workflow, ask)? {
        return Ok(partition.told(now, answer));
    }

    // Writes from here on.
    apply(&mut workflow.sealed, &ask.sealed);
    for event in &ask.events {
        partition.events.append(now, event.clone(), ask.events_max);
    }
    let v = workflow.record.v + 1;
    let written = Committed::Written {
        v,
        already: false,
        ours: ask.keep.is_some() && !ask.finish,
        confirmed: true,
    };
    if ask.finish {
        partition.due.remove(&member);
        partition.parked.remove(&member);
        let answer = partition.told(now, written);
        space.workflows.remove(&ask.id);
        return Ok(answer);
    }

    workflow.inbox.drain(..ask.consumed);
    write(workflow, ask, now, v);
    let wake = index(workflow, partition, ask, now);
    let answer = partition.told(now, written);
    if let Some(at) = wake {
        let number = partition.number;
        space.wake(number, at);
    }
    Ok(answer)
}

/// What speaks against writing: everything is looked at before the first write.
fn refusal(workflow: &Workflow, ask: &Commit) -> Result<Option<Committed>, StoreError> {
    let record = &workflow.record;
    let holds = record.owner.is_some() && record.claim.as_ref() == Some(&ask.claim);
    if record.commit.as_ref() == Some(&ask.commit) {
        return Ok(Some(Committed::Written {
            v: record.v,
            already: true,
            ours: holds,
            confirmed: true,
        }));
    }
    if !holds || record.fence != ask.fence || record.commit != ask.follows {
        return Ok(Some(Committed::Fenced { v: record.v }));
    }
    let last = ask.consumed.checked_sub(1);
    let last = last.and_then(|last| workflow.inbox.get(last));
    if ask.last_heard.is_some() && last != ask.last_heard.as_ref() {
        return Ok(Some(Committed::Fenced { v: record.v }));
    }
    let waiting = workflow.inbox.len();
    let invalid = |why: String| StoreError::Refused {
        doing: format!("committing {}", ask.id),
        why,
    };
    if ask.consumed > waiting {
        return Err(invalid(format!(
            "the commit consumes {} signals of {waiting}",
            ask.consumed
        )));
    }
    if ask.keep.is_some() && ask.park.is_some() {
        return Err(invalid(
            "a workflow that is kept cannot be parked".to_owned(),
        ));
    }
    if (ask.strict || ask.finish) && waiting > ask.consumed {
        let rest = workflow.inbox[ask.consumed..].iter().take(INBOX_MAX);
        return Ok(Some(Committed::Signals {
            rest: rest.cloned().collect(),
        }));
    }
    Ok(None)
}

/// The fields of the record, and the log.
fn write(workflow: &mut Workflow, ask: &Commit, now: Millis, v: u64) {
    let record = &mut workflow.record;
    record.state.clone_from(&ask.state);
    record.data.clone_from(&ask.data);
    record.schema = ask.schema;
    record.v = v;
    record.commit = Some(ask.commit.clone());
    record.wake_at = ask.wake_at;
    record.visible_at = ask.visible_at;
    record.activity.clone_from(&ask.activity);
    record.parked.clone_from(&ask.park);
    // What comes behind a pre-emptive signal does not keep its barrier up.
    let left = record.ahead.map(|ahead| ahead.saturating_sub(ask.consumed));
    if workflow.inbox.is_empty() || left == Some(0) {
        record.barrier = false;
        record.ahead = None;
    } else {
        record.ahead = left;
    }
    if let Some(keep) = ask.keep {
        record.lease_until = Some(now + millis(keep));
    } else {
        record.owner = None;
        record.claim = None;
        record.lease_until = None;
        record.attempt = 0;
    }
    if ask.log_max > 0 && !ask.log.is_empty() {
        workflow.log.push(ask.log.clone());
        let surplus = workflow.log.len().saturating_sub(ask.log_max);
        workflow.log.drain(..surplus);
    }
}

/// The entries in `due` and `parked`; returns the time to tell on the wake channel, if any.
fn index(
    workflow: &Workflow,
    partition: &mut Partition,
    ask: &Commit,
    now: Millis,
) -> Option<Millis> {
    let member = ask.id.to_string();
    let parked_at = ask.park.as_ref().map(|_| now);
    partition.parked.set(&member, parked_at);
    let wanted = workflow.record.wanted_score(workflow.inbox.is_empty(), now);
    partition.due.set(&member, wanted);
    wanted.filter(|_| ask.keep.is_none() && partition.due.is_first(&member))
}

fn apply(blobs: &mut SealedBlobs, changes: &[SealedOp]) {
    for change in changes {
        match change {
            SealedOp::Put(name, blob) => {
                blobs.insert(name.clone(), blob.clone());
            }
            SealedOp::Erase(name) => {
                blobs.remove(name);
            }
            SealedOp::Clear => blobs.clear(),
        }
    }
}
