//! Replies past their deadline: read on, and what they bring delivered.

use evergreen_engine::store::Signalled;
use evergreen_engine::{Engine, WeakEngine, WorkflowId};

use super::Refresher;
use super::perform::{Answered, judge};
use super::said::When;
use super::sealing::rescued;
use crate::lifecycle::{Credential, Issued, Outcome, Signal};
use crate::provider::Reply;

/// Goes on reading after the deadline: a pair that still comes is journalled and delivered.
pub(super) fn read_on(
    refresher: &Refresher,
    answered: Answered,
    reply: tokio::task::JoinHandle<Option<Reply>>,
) {
    let Some(engine) = refresher.engine.get().and_then(WeakEngine::upgrade) else {
        return;
    };
    let worker = refresher.clone();
    engine.turns().clone().spawn(async move {
        let Ok(Some(reply)) = reply.await else { return };
        let id = answered.id.clone();
        let outcome = judge(&worker, answered, reply, When::Late).await;
        if let Outcome::Refreshed(issued) = outcome {
            tracing::warn!(workflow = %id, "a pair came after the deadline; it is delivered");
            deliver(&worker, &engine, &id, &issued).await;
        }
    });
}

/// Delivers a pair whose turn has given up waiting for what became of it: its disk was slow, or the process
/// ends.
pub(super) fn deliver_left(refresher: &Refresher, id: &WorkflowId, outcome: Outcome) {
    let Outcome::Refreshed(issued) = outcome else {
        return;
    };
    let Some(engine) = refresher.engine.get().and_then(WeakEngine::upgrade) else {
        return;
    };
    let (worker, id) = (refresher.clone(), id.clone());
    engine.turns().clone().spawn(async move {
        tracing::warn!(workflow = %id, "a pair was kept safe after its turn had ended; it is delivered");
        deliver(&worker, &engine, &id, &issued).await;
    });
}

async fn deliver(worker: &Refresher, engine: &Engine, id: &WorkflowId, issued: &Issued) {
    let signal = Signal::Rescued(rescued(&worker.ring, id, issued));
    match engine.deliver::<Credential>(id, &signal).await {
        Ok(Signalled::Queued { .. }) => {}
        // It stays in the journal, for a replay.
        Ok(Signalled::Unknown | Signalled::Full) => return,
        Err(error) => {
            tracing::error!(workflow = %id, %error, "a pair that came late waits in the journal");
            return;
        }
    }
    if let Some(entry) = &issued.entry {
        worker
            .keeper
            .settled(entry.id(), worker.confirms_disks())
            .await;
    }
}
