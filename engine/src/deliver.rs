//! Delivering a signal that must not be lost: sent again until the store has it and its servers confirm.
//! While it waits there, no other copy is queued, however long the servers take.

use crate::backoff::Backoff;
use crate::counters::Counters;
use crate::id::WorkflowId;
use crate::load;
use crate::machine::Workflow;
use crate::store::{Signal, Signalled, Store, StoreError};

/// Delivers until it is confirmed. A full inbox and a store that is away are waited for, however long
/// that takes; a copy too many does no harm, a lost one does.
///
/// Answers [`Signalled::Queued`], confirmed, or [`Signalled::Unknown`].
///
/// # Errors
/// Only [`StoreError::Refused`]: trying again would not help.
pub(crate) async fn deliver<W: Workflow>(
    store: &dyn Store,
    counters: &Counters,
    id: &WorkflowId,
    signal: &W::Signal,
) -> Result<Signalled, StoreError> {
    let payload = load::signal_payload::<W>(signal).map_err(|why| StoreError::Refused {
        doing: format!("signalling {id}"),
        why: why.to_string(),
    })?;
    let signal = Signal {
        id: id.clone(),
        payload,
        preemptive: false,
        once: None,
        unless_it_waits: true,
        ends_claim: None,
        create: None,
        durable: true,
    };
    let mut backoff = Backoff::of_calls();
    loop {
        match store.signal(&signal).await {
            Ok(
                told @ (Signalled::Queued {
                    confirmed: true, ..
                }
                | Signalled::Unknown),
            ) => return Ok(told),
            Ok(Signalled::Queued { .. } | Signalled::Full) => {}
            Err(StoreError::Away { doing, why }) => {
                Counters::add(&counters.store_away, 1);
                tracing::debug!(id = %signal.id, %doing, %why, "a signal is sent again");
            }
            Err(error @ StoreError::Refused { .. }) => return Err(error),
        }
        backoff.pause().await;
    }
}
