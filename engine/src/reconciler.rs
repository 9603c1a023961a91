//! The record is the truth, the sorted set an index: this compares the two all the time.
//!
//! Both are written by the same scripts, so a difference means that somebody else wrote, that a
//! backup was restored in parts, or that there is a defect. Each repair is counted; the count must
//! stay 0. The index is walked in small steps for ever; the records are walked at the start and once
//! an hour. Per partition one worker does it at a time.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::counters::Counters;
use crate::engine::Engine;
use crate::id::WorkflowId;
use crate::store::{Reconciled, StoreError};

/// Between two steps.
const STEP: Duration = Duration::from_secs(1);
/// Entries compared in a step.
const STEP_ENTRIES: usize = 16;
/// How long a worker may be the one that walks a partition.
const TURN: Duration = Duration::from_secs(10);
/// Between two walks of all records.
const WALK: Duration = Duration::from_secs(3600);
/// After a walk that was cut short.
const WALK_AGAIN: Duration = Duration::from_secs(60);
/// Records asked for at once in a walk.
const WALK_RECORDS: usize = 200;

/// What a comparison of everything found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Workflows compared.
    pub compared: u64,
    /// Entries put right.
    pub repaired: u64,
    /// Workflows that the store refused to compare: their keys hold what they should not.
    pub unreadable: u64,
}

/// Walks until told to stop; then at once, even in the midst of a walk, because each comparison
/// stands for itself.
pub(crate) async fn run(engine: Engine, stop: CancellationToken) {
    stop.run_until_cancelled(walk_for_ever(&engine)).await;
}

async fn walk_for_ever(engine: &Engine) {
    let mut place = (0u16, 0usize);
    let mut walk_at = Instant::now();
    loop {
        tokio::time::sleep(STEP).await;
        if Instant::now() >= walk_at {
            walk_at = Instant::now() + WALK;
            if let Err(error) = walk_in_turn(engine).await {
                tracing::debug!(%error, "the walk of all records was cut short; it begins anew");
                walk_at = Instant::now() + WALK_AGAIN;
            }
        }
        match step(engine, place).await {
            Ok(next) => place = next,
            Err(error) => tracing::debug!(%error, "a step of the reconciler was not answered"),
        }
    }
}

/// Compares a few entries of one partition; answers where to go on.
async fn step(engine: &Engine, place: (u16, usize)) -> Result<(u16, usize), StoreError> {
    let (partition, from) = place;
    let store = engine.store();
    let next = ((partition + 1) % store.partitions(), 0);
    let name = format!("reconciler:{partition}");
    if !store.turnstile(&name, engine.owner(), TURN).await? {
        return Ok(next);
    }
    let members = match store.due_members(partition, from, STEP_ENTRIES).await {
        Err(error @ StoreError::Refused { .. }) => {
            tracing::warn!(partition, %error, "the index of a partition cannot be walked");
            return Ok(next);
        }
        told => told?,
    };
    for member in &members {
        match WorkflowId::from_member(member) {
            Ok(id) => {
                compare(engine, &id).await?;
            }
            Err(error) => tracing::warn!(%member, %error, "an entry of the due set is no workflow"),
        }
    }
    Ok(if members.len() < STEP_ENTRIES {
        next
    } else {
        (partition, from + STEP_ENTRIES)
    })
}

async fn walk_in_turn(engine: &Engine) -> Result<(), StoreError> {
    if engine
        .store()
        .turnstile("reconciler:walk", engine.owner(), WALK / 2)
        .await?
    {
        compare_all(engine).await?;
    }
    Ok(())
}

/// Compares every record of the kinds that this process runs with the index.
///
/// # Errors
/// When the store does not answer.
pub async fn compare_all(engine: &Engine) -> Result<Comparison, StoreError> {
    let mut found = Comparison::default();
    for kind in engine.kinds() {
        let mut cursor = None;
        loop {
            let (some, next) = engine.store().walk(kind, cursor, WALK_RECORDS).await?;
            for (id, _) in some {
                match compare(engine, &id).await? {
                    Some(what) => {
                        found.compared += 1;
                        found.repaired += u64::from(what != Reconciled::Right);
                    }
                    None => found.unreadable += 1,
                }
            }
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
    }
    Ok(found)
}

/// Compares one. What cannot be compared is told and passed over: the others have a right to it.
async fn compare(engine: &Engine, id: &WorkflowId) -> Result<Option<Reconciled>, StoreError> {
    let what = match engine.store().reconcile(id).await {
        Err(error @ StoreError::Refused { .. }) => {
            tracing::warn!(workflow = %id, %error, "a workflow cannot be compared with the index");
            return Ok(None);
        }
        told => told?,
    };
    if what != Reconciled::Right {
        Counters::add(&engine.counters().repairs, 1);
        tracing::warn!(workflow = %id, ?what, "the index was put right");
    }
    Ok(Some(what))
}
