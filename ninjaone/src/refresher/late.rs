//! Replies past their deadline: read on, and what they bring delivered.

use std::time::Duration;

use evergreen_engine::store::{Signalled, StoreError};
use evergreen_engine::{Delivery, WeakEngine};

use super::Refresher;
use super::perform::{Answered, judge};
use super::sealing::rescued;
use crate::lifecycle::{Credential, Outcome, Signal};
use crate::provider::Reply;

/// Between two tries to deliver a pair that came late.
const DELIVERY_PAUSE: Duration = Duration::from_secs(1);

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
        let outcome = judge(&worker, answered, reply).await;
        let Outcome::Refreshed(issued) = outcome else {
            return;
        };
        tracing::warn!(workflow = %id, "a pair came after the deadline; it is delivered");
        let signal = Signal::Rescued(rescued(&worker.ring, &id, &issued));
        let delivery = Delivery {
            durable: true,
            ..Delivery::default()
        };
        loop {
            let told = engine
                .signal::<Credential>(&id, &signal, delivery.clone())
                .await;
            match told {
                Ok(Signalled::Queued {
                    confirmed: true, ..
                }) => break,
                // It stays in the journal, for a replay.
                Ok(Signalled::Unknown) | Err(StoreError::Refused { .. }) => return,
                Ok(Signalled::Queued { .. } | Signalled::Full) | Err(StoreError::Away { .. }) => {}
            }
            tokio::time::sleep(DELIVERY_PAUSE).await;
        }
        if let Some(entry) = &issued.entry {
            worker
                .keeper
                .settled(entry.id(), worker.confirms_disks())
                .await;
        }
    });
}
