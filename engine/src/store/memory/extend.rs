//! The twin of `extend.lua`.

use super::space::Space;
use crate::id::WorkflowId;
use crate::machine::Millis;
use crate::store::clock::millis;
use crate::store::{Extend, Extended};

/// The owner of a lease that keeps everybody away from a workflow that was given back for later.
const GIVEN_BACK: &str = "(given back)";

pub(super) fn extend(
    space: &mut Space,
    now: Millis,
    id: &WorkflowId,
    fence: u64,
    claim: &str,
    what: Extend,
) -> Extended {
    let member = id.to_string();
    let (found, partition) = space.find(id);
    let Some(workflow) = found else {
        return Extended::Fenced;
    };
    let record = &mut workflow.record;
    let holds = record.owner.is_some() && record.claim.as_deref() == Some(claim);
    if !holds || record.fence != fence {
        return Extended::Fenced;
    }

    let (rest, counts) = match what {
        Extend::Renew(lease) => {
            let lease_until = now + millis(lease);
            record.lease_until = Some(lease_until);
            partition.due.put(&member, lease_until);
            return Extended::Renewed { lease_until };
        }
        Extend::GiveBack { rest, counts } => (millis(rest), counts),
    };
    if !counts {
        record.attempt = record.attempt.saturating_sub(1);
    }
    record.claim = None;
    if rest > 0 {
        // A lease that nobody holds: also a waiting signal or a lost activity does not make the
        // workflow visible.
        let until = now + rest;
        record.fence += 1;
        record.owner = Some(GIVEN_BACK.to_owned());
        record.lease_until = Some(until);
        partition.due.put(&member, until);
        return Extended::GivenBack;
    }
    record.owner = None;
    record.lease_until = None;
    let wanted = record.wanted_score(workflow.inbox.is_empty(), now);
    partition.due.set(&member, wanted);
    if let Some(at) = wanted.filter(|_| partition.due.is_first(&member)) {
        let number = partition.number;
        space.wake(number, at);
    }
    Extended::GivenBack
}
