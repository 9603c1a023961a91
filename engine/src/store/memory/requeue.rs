//! The twin of `requeue.lua`.

use super::space::Space;
use crate::id::WorkflowId;
use crate::machine::Millis;
use crate::store::Requeued;

pub(super) fn requeue(space: &mut Space, now: Millis, id: &WorkflowId) -> Requeued {
    let member = id.to_string();
    let (found, partition) = space.find(id);
    let Some(workflow) = found else {
        return Requeued::Unknown;
    };
    if workflow.record.parked.take().is_none() {
        return Requeued::NotParked;
    }
    workflow.record.attempt = 0;
    partition.parked.remove(&member);
    let wanted = workflow.record.wanted_score(workflow.inbox.is_empty(), now);
    partition.due.set(&member, wanted);
    if let Some(at) = wanted.filter(|_| partition.due.is_first(&member)) {
        let number = partition.number;
        space.wake(number, at);
    }
    Requeued::Requeued
}
