//! The twin of `reconcile.lua`.

use super::lists;
use super::space::Space;
use crate::id::WorkflowId;
use crate::machine::Millis;
use crate::store::{Compared, Place, Reconciled, StoreError};

pub(super) fn compare(
    space: &mut Space,
    now: Millis,
    ids: &[WorkflowId],
    then: &[Place],
) -> Result<Compared, StoreError> {
    let found = ids.iter().map(|id| one(space, now, id)).collect();
    let pages = then.iter().map(|place| lists::page(space, place));
    Ok(Compared {
        found,
        pages: pages.collect::<Result<_, _>>()?,
    })
}

fn one(space: &mut Space, now: Millis, id: &WorkflowId) -> Reconciled {
    let member = id.to_string();
    let (found, partition) = space.find(id);
    let wanted = found
        .as_ref()
        .and_then(|workflow| workflow.record.wanted_score(workflow.inbox.is_empty(), now));
    // For what is ready at once any score that has come is right.
    let ready = found.as_ref().is_some_and(|workflow| {
        let record = &workflow.record;
        let pending = record.activity.is_some() || !workflow.inbox.is_empty();
        record.owner.is_none() && record.parked.is_none() && pending
    });
    let score = partition.due.score(&member);
    let mut what = match (wanted, score) {
        (None, None) => Reconciled::Right,
        (None, Some(_)) => Reconciled::Stray,
        (Some(_), None) => Reconciled::Missing,
        (Some(_), Some(score)) if ready && score <= now => Reconciled::Right,
        (Some(wanted), Some(score)) if wanted == score => Reconciled::Right,
        (Some(_), Some(_)) => Reconciled::Score,
    };
    if what != Reconciled::Right {
        partition.due.set(&member, wanted);
    }

    let parked = found.is_some_and(|workflow| workflow.record.parked.is_some());
    if parked != partition.parked.score(&member).is_some() {
        partition.parked.set(&member, parked.then_some(now));
        if what == Reconciled::Right {
            what = Reconciled::Parked;
        }
    }
    what
}
