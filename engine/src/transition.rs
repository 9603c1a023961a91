//! A transition that is in the store, as whoever keeps a record of it hears of it.

use crate::id::WorkflowId;
use crate::machine::{Effects, Millis, Workflow};

/// A transition that the store has acknowledged. Nothing in it is secret.
pub struct Transition<'a, W: Workflow> {
    /// The workflow.
    pub id: &'a WorkflowId,
    /// The count of transitions, this one included.
    pub v: u64,
    /// The number of the claim under which it was made.
    pub fence: u64,
    /// Claims since the last finished turn, this one included.
    pub attempt: u32,
    /// Data and state before.
    pub before: (&'a W, &'a W::Phase),
    /// Data and state after.
    pub after: (&'a W, &'a W::Phase),
    /// The inputs in words, in their order; those that nobody answered end with a question mark.
    pub heard: &'a [String],
    /// How the activity ended, if that is among what was heard.
    pub outcome: Option<&'a W::Outcome>,
    /// The timer from now on.
    pub wake_at: Option<Millis>,
    /// What the machine asked for.
    pub effects: &'a Effects<W>,
    /// The line that the workflow's log keeps of it, as JSON.
    pub entry: &'a str,
}

impl<W: Workflow> Transition<'_, W> {
    /// The engine's own record of it, for applications that have nothing to add.
    pub fn record(&self) {
        tracing::info!(
            target: "evergreen::transition",
            workflow = %self.id,
            v = self.v,
            fence = self.fence,
            attempt = self.attempt,
            entry = %self.entry,
            "transition"
        );
    }
}
