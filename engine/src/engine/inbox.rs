//! What waits for a workflow, for whoever has to know what it is.

use super::Engine;
use crate::id::WorkflowId;
use crate::load;
use crate::machine::Workflow;
use crate::store::StoreError;

impl Engine {
    /// The signals that wait for a workflow, oldest first; an explanation for each that cannot be read.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn waiting<W: Workflow>(
        &self,
        id: &WorkflowId,
    ) -> Result<Vec<Result<W::Signal, String>>, StoreError> {
        let inbox = self.0.store.inbox(id).await?;
        let signals = inbox.iter().map(|envelope| {
            let signal = load::signal::<W>(envelope);
            signal.map_err(|error| error.to_string())
        });
        Ok(signals.collect())
    }
}
