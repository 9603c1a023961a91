//! Comparing many at once, and one by one where one of them is refused.

use crate::engine::Engine;
use crate::id::WorkflowId;
use crate::store::{Compared, Page, Place, Reconciled, StoreError};

/// Compares some, and lists places.
pub(super) async fn compare(
    engine: &Engine,
    ids: &[WorkflowId],
    places: &[Place],
) -> Result<Compared, StoreError> {
    match engine.store().compare(ids, places).await {
        Err(StoreError::Refused { .. }) => one_by_one(engine, ids, places).await,
        answer => answer,
    }
}

/// Somebody has put something of another type where something of ours belongs. What is refused is
/// passed over, so that it keeps nobody from looking at the rest.
async fn one_by_one(
    engine: &Engine,
    ids: &[WorkflowId],
    places: &[Place],
) -> Result<Compared, StoreError> {
    let store = engine.store();
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        found.push(match store.reconcile(id).await {
            Err(StoreError::Refused { .. }) => Reconciled::Unreadable,
            answer => answer?,
        });
    }
    let mut pages = Vec::with_capacity(places.len());
    for place in places {
        let listed = store.compare(&[], std::slice::from_ref(place)).await;
        pages.extend(match listed {
            Err(error @ StoreError::Refused { .. }) => {
                tracing::warn!(?place, %error, "the reconciler passes over a part of the key space");
                let (members, next) = (Vec::new(), None);
                vec![Page {
                    members,
                    next,
                    of: 0,
                }]
            }
            answer => answer?.pages,
        });
    }
    Ok(Compared { found, pages })
}
