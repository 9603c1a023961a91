//! What a workflow is: a `statig` state machine that says what it wants and does nothing itself.
//!
//! ```text
//!   (phase, data) + input + facts  ──step──▶  (phase, data) + effects
//! ```
//!
//! The machine is pure. It has no clock and no randomness: the time and one random number come with
//! the [`Context`], what the deployment is set to comes as [`Workflow::Facts`]. It performs nothing:
//! it asks, through [`Effects`], to be woken, to have an activity performed, to have something sealed
//! or published. The turn does what the *last* state asked for, after the state is safely written.
//!
//! # Why the enum is driven bare
//! This is the only file of the engine that names `statig`. A machine is its shared storage (the
//! type that implements [`Workflow`]) and its enum of states ([`Workflow::Phase`]); the engine drives
//! that enum itself, because the wrapper that `statig` offers runs entry actions again whenever a
//! stored machine is loaded. For the same reason a machine has no entry or exit actions: loading a
//! state is not entering it.
//!
//! # How you could get this wrong
//!
//! | if you | then | what catches it |
//! |---|---|---|
//! | rename a state or a field | what is stored does not load | parked with the reason; keep a stored record as a fixture |
//! | leave a state in which something is under way without an answer to `ActivityLost` or an outcome | it sleeps there for ever | the count of ignored inputs, and the `?` in the log |
//! | ask for an activity in a state without an answer to [`Input::Held`] | it would sleep for ever | the engine: a failed turn, in the end parked |
//! | use a new key for the same letter after an unknown outcome | it arrives twice | nobody: put what names it into the data |
//! | take [`Input::TimerFired`] for "my attempt is due" where the timer has several meanings | you act early | compare the time in the state with [`Context::now`] |
//! | stay (`Handled`) in a state after its timer fired without setting it again | it has no timer | the `wake_at` of the log entry |
//! | raise [`Workflow::SCHEMA`] without [`Workflow::upgrade`] | older records do not load | parked with the reason |
//!
//! Signals and activities are read as they were written, whatever the schema: add fields with a serde
//! default, and do not take any away while an inbox may hold them.

mod effects;

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use statig::Outcome as Answer;
use statig::blocking::{IntoStateMachine, State, StateExt, Superstate};

pub(crate) use self::effects::Timer;
pub use self::effects::{Effects, Event, SealedChange};
use crate::id::WorkflowId;

/// Milliseconds since 1970-01-01 UTC by the store's clock.
pub type Millis = u64;

/// A durable workflow: the data that all its states share, and how it answers each input.
pub trait Workflow: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The stable name under which it is stored, `[a-z0-9.]{1,40}`.
    const KIND: &'static str;
    /// The version of what is stored; raise it with a change that older code cannot read.
    const SCHEMA: u32 = 1;

    /// The states. Serialised as an externally tagged enum: the variant's name is what `redis-cli`
    /// shows as `state`, so give variants names that are never renamed.
    type Phase: Serialize + DeserializeOwned + Clone + Send + Sync + 'static;
    /// What can come from outside.
    type Signal: Serialize + DeserializeOwned + Clone + Send + Sync + 'static;
    /// A call to the outside world that a state may ask for. Written down before it is performed.
    type Activity: Serialize + DeserializeOwned + Clone + Send + Sync + 'static;
    /// How an activity ended.
    type Outcome: Clone + Send + Sync + 'static;
    /// What the machine may ask to have sealed. Never serialised by the engine.
    type Secret: Clone + Send + Sync + 'static;
    /// What a transition may know of the deployment: settings, for example.
    type Facts: Send + Sync + 'static;

    /// Where a workflow begins.
    fn initial() -> (Self, Self::Phase);

    /// Answers one input. Implement it as a call of [`dispatch`].
    fn step(
        &mut self,
        phase: &mut Self::Phase,
        input: &Input<Self>,
        context: &mut Context<'_, Self>,
    ) -> Step;

    /// The word for an input in logs, such as `RefreshNow` or `Refreshed`.
    fn describe(input: &Input<Self>) -> String;

    /// Rewrites what an older version stored. Called when the stored schema is below [`Self::SCHEMA`].
    ///
    /// # Errors
    /// When there is no way from that version.
    fn upgrade(from: u32, stored: Stored) -> Result<Stored, String> {
        let _ = stored;
        Err(format!(
            "no upgrade from schema {from} to {} of {}",
            Self::SCHEMA,
            Self::KIND
        ))
    }

    /// The field and the value by which an event names its workflow.
    fn subject(id: &WorkflowId) -> (&'static str, String) {
        ("workflow", id.id().to_owned())
    }
}

/// State and data as they are stored.
#[derive(Debug, Clone, PartialEq, serde::Deserialize, Serialize)]
pub struct Stored {
    /// The name of the state.
    pub name: String,
    /// What belongs to that state alone.
    pub phase: serde_json::Value,
    /// What all states share.
    pub data: serde_json::Value,
}

/// What can happen to a workflow.
pub enum Input<W: Workflow> {
    /// The time that the machine asked for has come.
    TimerFired,
    /// Something from outside.
    Signal(W::Signal),
    /// How the activity ended.
    Outcome(W::Outcome),
    /// The holder that had set out to perform this activity vanished; whether it was performed is
    /// not known.
    ActivityLost(W::Activity),
    /// The activity may not begin before this time: whoever guards the other end said so.
    Held {
        /// When it may be asked again.
        until: Millis,
    },
}

impl<W: Workflow> Clone for Input<W> {
    fn clone(&self) -> Self {
        match self {
            Self::TimerFired => Self::TimerFired,
            Self::Signal(signal) => Self::Signal(signal.clone()),
            Self::Outcome(outcome) => Self::Outcome(outcome.clone()),
            Self::ActivityLost(activity) => Self::ActivityLost(activity.clone()),
            Self::Held { until } => Self::Held { until: *until },
        }
    }
}

impl<W: Workflow> fmt::Debug for Input<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&W::describe(self))
    }
}

/// How a machine answered an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It went to a state (perhaps the one it was in).
    Moved,
    /// It stayed where it was, perhaps with changed data.
    Stayed,
    /// No state and no superstate had an answer. Counted, and shown in the log.
    Ignored,
}

/// What comes with an input, and where the machine says what it wants.
pub struct Context<'a, W: Workflow> {
    /// The workflow's name.
    pub id: &'a WorkflowId,
    /// The store's time when the turn began.
    pub now: Millis,
    /// Uniform in 0 ≤ x < 1, the same for all inputs of one turn.
    pub random: f64,
    /// What the deployment is set to.
    pub facts: &'a W::Facts,
    /// The store has become another run, or another server, within the last two leases: what was written
    /// last may be lost, so an activity that nobody here knows of may have happened.
    pub store_in_doubt: bool,
    /// What the machine wants.
    pub effects: Effects<W>,
}

/// Drives a `statig` machine's enum through one event, and says how it answered.
pub fn dispatch<M>(
    phase: &mut M::State,
    shared: &mut M,
    event: &M::Event<'_>,
    context: &mut M::Context<'_>,
) -> Step
where
    M: IntoStateMachine,
    M::State: State<M> + 'static,
    for<'b> M::Superstate<'b>: Superstate<M>,
{
    match StateExt::handle(phase, shared, event, context) {
        Answer::Handled => Step::Stayed,
        Answer::Super => Step::Ignored,
        Answer::Transition(next) => {
            *phase = next;
            Step::Moved
        }
    }
}
