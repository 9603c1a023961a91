//! The right to have one request under way, and giving it back.

use std::sync::Arc;

use evergreen_engine::WorkflowId;
use evergreen_engine::store::Store;
use futures::FutureExt;
use tokio::runtime::Handle;

use super::Host;

/// Which limit a place counts against.
#[derive(Clone)]
pub(super) enum Side {
    /// The fleet's.
    Fleet(Arc<dyn Store>),
    /// This process's own, while the fleet's does not answer.
    Own(Arc<dyn Store>),
}

/// The right to have one request under way. Given back when it is dropped; where that is not heard, it
/// ends with the lease that it was taken under.
pub(crate) struct Slot {
    host: Arc<Host>,
    pub(super) place: String,
    side: Option<Side>,
    /// Who has it, if that was told.
    who: Option<String>,
}

impl Slot {
    pub(super) fn new(host: &Arc<Host>, place: String, side: Side) -> Self {
        Self {
            host: Arc::clone(host),
            place,
            side: Some(side),
            who: None,
        }
    }

    /// Tells who has it, so that it can be asked later whether a pause has begun since.
    pub(crate) fn taken_by(mut self, id: &WorkflowId) -> Self {
        let id = id.to_string();
        self.host.enters(&id, self.host.pauses());
        self.who = Some(id);
        self
    }

    /// There was no place, so there is none to be given back.
    pub(super) fn was_refused(mut self) {
        self.side = None;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(who) = &self.who {
            self.host.leaves(who);
        }
        let Some(side) = self.side.take() else { return };
        let (host, place) = (Arc::clone(&self.host), std::mem::take(&mut self.place));
        match side {
            Side::Own(own) => {
                // The memory answers at once.
                let _ = own.gate_leave(&host.name, &place).now_or_never();
            }
            Side::Fleet(fleet) => {
                // Outside a runtime, and where the store does not hear it, the place ends by itself.
                let Ok(runtime) = Handle::try_current() else {
                    return;
                };
                runtime.spawn(async move {
                    if let Err(error) = fleet.gate_leave(&host.name, &place).await {
                        tracing::debug!(host = %host.name, %error, "a place was not given back; it ends by itself");
                    }
                });
            }
        }
    }
}
