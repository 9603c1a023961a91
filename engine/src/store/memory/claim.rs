//! The twin of `claim.lua`.

use super::space::Space;
use crate::limits::{DELAY_AFTER, DELAY_FIRST, DELAY_MAX, INBOX_MAX, PARK_AFTER};
use crate::machine::Millis;
use crate::store::clock::millis;
use crate::store::{Claim, ClaimMode, Claimed, Told};

/// The owner of a lease that keeps everybody away from a workflow whose holders vanish.
const DELAYED: &str = "(delayed)";

pub(super) fn claim(space: &mut Space, now: Millis, ask: &Claim) -> Told<Claimed> {
    let member = ask.id.to_string();
    let (found, partition) = space.find(&ask.id);
    let Some(workflow) = found else {
        partition.due.remove(&member);
        return partition.told(now, Claimed::Unknown);
    };
    let record = &mut workflow.record;

    if let (Some(owner), Some(lease_until)) = (&record.owner, record.lease_until)
        && (lease_until > now || is_spared(ask, owner))
    {
        let owner = owner.clone();
        partition.due.put(&member, lease_until);
        return partition.told(now, Claimed::Held { lease_until, owner });
    }
    if let (None, Some(reason)) = (&record.owner, &record.parked) {
        let reason = reason.clone();
        partition.due.remove(&member);
        return partition.told(now, Claimed::Parked { reason });
    }

    // The entry in `due` is a copy and may be wrong; the record decides whether it is time.
    let pending = record.activity.is_some() || !workflow.inbox.is_empty();
    if ask.mode == ClaimMode::Due && record.owner.is_none() && !pending {
        let wanted = record.visible_at.or(record.wake_at);
        if wanted.is_none_or(|at| at > now) {
            partition.due.set(&member, wanted);
            return partition.told(now, Claimed::NotDue);
        }
    }

    let attempt = record.attempt + 1;
    if attempt > PARK_AFTER {
        let reason = format!("no turn was finished in {} claims", attempt - 1);
        record.owner = None;
        record.claim = None;
        record.lease_until = None;
        record.parked = Some(reason.clone());
        if record.unheard().is_some() {
            workflow.sealed.clear();
        }
        partition.due.remove(&member);
        partition.parked.put(&member, now);
        return partition.told(now, Claimed::Parked { reason });
    }
    let vanished = record.owner.as_ref().is_some_and(|by| by != DELAYED);
    if attempt > DELAY_AFTER && vanished {
        let until = now + delay(attempt - DELAY_AFTER - 1);
        record.fence += 1;
        record.owner = Some(DELAYED.to_owned());
        record.claim = Some(ask.claim.clone());
        record.lease_until = Some(until);
        partition.due.put(&member, until);
        return partition.told(now, Claimed::Delayed { until });
    }

    let lease_until = now + millis(ask.lease);
    record.fence += 1;
    record.owner = Some(ask.owner.clone());
    record.claim = Some(ask.claim.clone());
    record.lease_until = Some(lease_until);
    record.attempt = attempt;
    partition.due.put(&member, lease_until);
    let claimed = Claimed::Claimed {
        record: Box::new(record.clone()),
        sealed: workflow.sealed.clone(),
        inbox: workflow.inbox.iter().take(INBOX_MAX).cloned().collect(),
    };
    partition.told(now, claimed)
}

/// Whether a lease that has ended is left to its owner: one in brackets has none.
fn is_spared(ask: &Claim, owner: &str) -> bool {
    ask.spare_owned && !owner.starts_with('(')
}

/// The delay after so many delays, ms: doubles each time, up to the longest.
fn delay(before: u32) -> Millis {
    let times = 1_u64.checked_shl(before).unwrap_or(u64::MAX);
    millis(DELAY_FIRST)
        .saturating_mul(times)
        .min(millis(DELAY_MAX))
}
