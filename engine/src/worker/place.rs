//! One turn in a worker: the place that it takes up, the claim, and what came of it.

use std::sync::atomic::Ordering;

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::counters::Counters;
use crate::engine::{Engine, Taken};
use crate::id::WorkflowId;
use crate::queue::Claiming;
use crate::store::{ClaimMode, Claimed};
use crate::turn::TurnEnd;

/// A place that is free again, and whose it was.
pub(super) struct Left {
    pub(super) member: String,
    pub(super) spared: bool,
}

/// The place that a turn takes up in this worker, given back however the turn ends.
pub(super) struct Place {
    engine: Engine,
    member: String,
    spared: bool,
    /// Until the claim is answered.
    claiming: Option<Claiming>,
    ended: mpsc::UnboundedSender<Left>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    pub(super) fn take(
        engine: &Engine,
        permit: OwnedSemaphorePermit,
        member: String,
        ended: mpsc::UnboundedSender<Left>,
    ) -> Self {
        engine.counters().running.fetch_add(1, Ordering::Relaxed);
        Self {
            engine: engine.clone(),
            member,
            spared: false,
            claiming: Some(engine.queue().claiming()),
            ended,
            _permit: permit,
        }
    }

    pub(super) async fn turn(mut self, id: WorkflowId) {
        let claiming = self.claiming.take();
        self.spared = take(&self.engine, &id, claiming).await == Took::Spared;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.engine
            .counters()
            .running
            .fetch_sub(1, Ordering::Relaxed);
        // The poller may have stopped.
        let _ = self.ended.send(Left {
            member: std::mem::take(&mut self.member),
            spared: self.spared,
        });
    }
}

/// What came of wanting a workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Took {
    /// It was dealt with, or is none of our business now.
    Done,
    /// Another owns it, and its lease has ended by a clock that is not trusted yet.
    Spared,
}

/// Claims one workflow and runs its turn.
pub(crate) async fn one(engine: &Engine, id: &WorkflowId) -> Took {
    take(engine, id, None).await
}

async fn take(engine: &Engine, id: &WorkflowId, claiming: Option<Claiming>) -> Took {
    let told = engine.claim(id, ClaimMode::Due).await;
    drop(claiming);
    let told = match told {
        Ok(told) => told,
        Err(error) => {
            Counters::add(&engine.counters().store_away, 1);
            tracing::debug!(%id, %error, "a claim was not answered");
            return Took::Done;
        }
    };
    let now = told.now;
    engine.news().tell(
        id.partition(engine.store().partitions()),
        told.heads,
        told.now,
    );
    match told.answer {
        Taken::Holding(holding, runner) => match runner.run(*holding).await {
            TurnEnd::Finished { .. } | TurnEnd::Parked { .. } => {}
            TurnEnd::Fenced => tracing::debug!(%id, "somebody else took the workflow"),
            TurnEnd::GivenBack { why } => tracing::debug!(%id, %why, "given back"),
            TurnEnd::StoreAway { why } => {
                tracing::warn!(%id, %why, "a turn was left to whoever comes after its lease");
            }
        },
        Taken::Answer(Claimed::Parked { reason }) => {
            Counters::add(&engine.counters().parked, 1);
            tracing::error!(%id, %reason, "parked: it waits for a human");
        }
        Taken::Answer(Claimed::Delayed { .. }) => {
            tracing::warn!(%id, "its holders keep vanishing; it was delayed");
        }
        Taken::Answer(Claimed::Held { lease_until, .. }) if lease_until <= now => {
            return Took::Spared;
        }
        Taken::Answer(_) => {}
    }
    Took::Done
}
