//! The impure edge of a workflow: what its activities do, and how its secrets are sealed.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::id::WorkflowId;
use crate::machine::{Millis, Workflow};
use crate::record::SealedBlobs;
use crate::transition::Transition;
use crate::trust::Trust;

/// One activity to be performed.
pub struct Call<'a, W: Workflow> {
    /// The workflow.
    pub id: &'a WorkflowId,
    /// What the machine asked for, as it was written down.
    pub activity: &'a W::Activity,
    /// The workflow's sealed blobs, as they stand with the state that asked.
    pub sealed: &'a SealedBlobs,
    /// When it must have ended; after that its outcome is taken for unknown.
    pub deadline: Instant,
    /// Check [`Trust::holds`] immediately before the first byte leaves.
    pub trust: Trust,
    /// The store's time as the activity begins.
    pub now: Millis,
    /// The claim under which it runs; names this very attempt in journals.
    pub claim: &'a str,
}

/// Whether an activity may begin.
#[derive(Debug)]
pub enum Admission {
    /// Now.
    Go,
    /// Now, and it has a place that others wait for.
    Enter(Pass),
    /// Not before then.
    Held {
        /// Milliseconds of the store's clock.
        until: Millis,
    },
}

/// A place that an activity takes up, kept by the turn and given back when it is dropped: after the
/// activity has ended, and as well if it never begins, because its intent was not written.
pub struct Pass {
    _place: Box<dyn Any + Send + Sync>,
}

impl Pass {
    /// Around what holds the place.
    pub fn new(place: impl Any + Send + Sync) -> Self {
        Self {
            _place: Box::new(place),
        }
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pass")
    }
}

/// Sealing failed: this worker lacks a key, perhaps another has it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("sealing for {id}: {why}")]
pub struct SealError {
    /// The workflow.
    pub id: String,
    /// What is missing. Never secret.
    pub why: String,
}

/// What surrounds a machine in this process.
#[async_trait]
pub trait Activities<W: Workflow>: Send + Sync + 'static {
    /// What transitions may know of the deployment.
    fn facts(&self) -> Arc<W::Facts>;

    /// Seals what a transition asked to have sealed, bound to its place. `blobs` are those that the
    /// claim read.
    ///
    /// # Errors
    /// When a key is missing; the turn is given back.
    fn seal(
        &self,
        id: &WorkflowId,
        secret: &W::Secret,
        blobs: &SealedBlobs,
    ) -> Result<String, SealError>;

    /// Whether the activity may begin; asked before it is written down, so that one which may not
    /// leaves no trace of having been under way. `now` is the store's time. It may wait for a place;
    /// after half of the trust window the turn goes on without the activity. While several turns wait
    /// here a worker claims nothing more, whatever kinds there are.
    async fn admit(&self, id: &WorkflowId, activity: &W::Activity, now: Millis) -> Admission {
        let _ = (id, activity, now);
        Admission::Go
    }

    /// Performs it. At least once: after a crash the machine hears of [`ActivityLost`] and may ask again.
    ///
    /// [`ActivityLost`]: crate::machine::Input::ActivityLost
    async fn perform(&self, call: Call<'_, W>) -> W::Outcome;

    /// How long the activity may take, where that is longer than a lease allows: then the lease is
    /// renewed while it runs. `None` for those that fit into one, with [`Limits::activity`] as their
    /// bound.
    ///
    /// [`Limits::activity`]: crate::Limits::activity
    fn takes(&self, activity: &W::Activity) -> Option<Duration> {
        let _ = activity;
        None
    }

    /// The outcome of an activity that was written down and surely not begun.
    fn not_sent(&self, activity: &W::Activity) -> W::Outcome;

    /// The outcome of an activity of which nothing is known: it overran, or it panicked.
    fn unknown(&self, activity: &W::Activity) -> W::Outcome;

    /// What to send as a signal where the commit of this outcome was refused, because somebody else
    /// has taken the workflow meanwhile. `None` for outcomes that may be forgotten. An outcome with
    /// an answer here is committed for as long as it takes.
    fn redeliver(&self, id: &WorkflowId, outcome: &W::Outcome) -> Option<W::Signal> {
        let _ = (id, outcome);
        None
    }

    /// The outcome is safe: in a confirmed commit, or as a confirmed signal.
    async fn settled(&self, id: &WorkflowId, outcome: &W::Outcome) {
        let _ = (id, outcome);
    }

    /// Leaves the one structured record of a transition that was written. An application that has more
    /// to say of it than the engine knows says it here.
    fn record(&self, transition: &Transition<'_, W>) {
        transition.record();
    }
}
