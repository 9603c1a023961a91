//! Everything that only looks.

use std::ops::Bound;

use super::space::Space;
use crate::id::WorkflowId;
use crate::limits::HEADS;
use crate::machine::Millis;
use crate::record::{Envelope, Reading, Record, SealedBlobs};
use crate::store::{Page, Peek, Place, StoreError};

/// All that the store holds of one workflow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inspection {
    /// The record, if there is one.
    pub record: Option<Record>,
    /// The whole inbox, oldest first.
    pub inbox: Vec<Envelope>,
    /// The sealed blobs.
    pub sealed: SealedBlobs,
    /// The log, oldest first.
    pub log: Vec<String>,
    /// Its score in `due`.
    pub due: Option<Millis>,
    /// When it was parked, by the set of parked workflows.
    pub parked: Option<Millis>,
}

pub(super) fn inspect(space: &Space, id: &WorkflowId) -> Inspection {
    let partition = &space.partitions[space.number_of(id)];
    let member = id.to_string();
    let workflow = space.workflows.get(id);
    Inspection {
        record: workflow.map(|workflow| workflow.record.clone()),
        inbox: workflow.map_or_else(Vec::new, |workflow| workflow.inbox.clone()),
        sealed: workflow.map_or_else(SealedBlobs::new, |workflow| workflow.sealed.clone()),
        log: workflow.map_or_else(Vec::new, |workflow| workflow.log.clone()),
        due: partition.due.score(&member),
        parked: partition.parked.score(&member),
    }
}

pub(super) fn read(
    space: &Space,
    now: Millis,
    id: &WorkflowId,
    with_sealed: bool,
) -> Option<Reading> {
    let workflow = space.workflows.get(id)?;
    let sealed = with_sealed.then(|| workflow.sealed.clone());
    Some(Reading {
        now,
        record: workflow.record.clone(),
        sealed: sealed.unwrap_or_default(),
        inbox_len: workflow.inbox.len() as u64,
        score: space.partitions[space.number_of(id)]
            .due
            .score(&id.to_string()),
    })
}

pub(super) fn peek(space: &Space, now: Millis, numbers: &[u16]) -> Result<Peek, StoreError> {
    let heads = |number: &u16| {
        let partition = space.partition(*number)?;
        Ok((*number, partition.due.heads(HEADS)))
    };
    Ok(Peek {
        now,
        partitions: numbers.iter().map(heads).collect::<Result<_, _>>()?,
    })
}

pub(super) fn due_members(
    space: &Space,
    partition: u16,
    from: usize,
    count: usize,
) -> Result<Vec<String>, StoreError> {
    Ok(space.partition(partition)?.due.members(from, count))
}

/// What lies at a place of a comparison of everything.
pub(super) fn page(space: &Space, place: &Place) -> Result<Page, StoreError> {
    match place {
        Place::Index {
            partition,
            rank,
            count,
        } => {
            let due = &space.partition(*partition)?.due;
            let members = due.members(*rank, *count);
            let next = (members.len() >= *count).then(|| Place::Index {
                partition: *partition,
                rank: rank + members.len(),
                count: *count,
            });
            let of = due.len() as u64;
            Ok(Page { members, next, of })
        }
        Place::Records {
            kind,
            cursor,
            count,
        } => {
            let (records, next) = walk(space, kind, cursor.as_deref(), *count)?;
            Ok(Page {
                members: records.iter().map(|(id, _)| id.to_string()).collect(),
                next: next.map(|next| Place::Records {
                    kind: kind.clone(),
                    cursor: Some(next),
                    count: *count,
                }),
                of: space.workflows.len() as u64,
            })
        }
    }
}

/// Workflows, and from where to go on.
type Records = (Vec<(WorkflowId, Record)>, Option<String>);

/// The cursor is the id that was walked last.
pub(super) fn walk(
    space: &Space,
    kind: &str,
    cursor: Option<&str>,
    count: usize,
) -> Result<Records, StoreError> {
    let from = match cursor {
        None => Bound::Unbounded,
        Some(last) => {
            let last = WorkflowId::new(kind, last).map_err(|why| StoreError::Refused {
                doing: format!("walking on through {kind}"),
                why: why.to_string(),
            })?;
            Bound::Excluded(last)
        }
    };
    let page: Vec<_> = space
        .workflows
        .range((from, Bound::Unbounded))
        .filter(|(id, _)| id.kind() == kind)
        .take(count.max(1))
        .map(|(id, workflow)| (id.clone(), workflow.record.clone()))
        .collect();
    let full = page.len() >= count.max(1);
    let next = page
        .last()
        .filter(|_| full)
        .map(|(id, _)| id.id().to_owned());
    Ok((page, next))
}

pub(super) fn log(space: &Space, id: &WorkflowId) -> Vec<String> {
    let workflow = space.workflows.get(id);
    workflow.map_or_else(Vec::new, |workflow| workflow.log.clone())
}
