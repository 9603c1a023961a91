//! The machine as the engine sees it: its name, its types, its words for logs.

use evergreen_engine::{Context, Input, Step, Workflow, WorkflowId, dispatch};

use super::KIND;
use super::data::{Credential, Phase};
use super::inputs::{Outcome as Ended, Refresh, Secret, Signal};
use super::timing::Settings;
use crate::integration::GrantRef;

impl Workflow for Credential {
    const KIND: &'static str = KIND;

    type Phase = Phase;
    type Signal = Signal;
    type Activity = Refresh;
    type Outcome = Ended;
    type Secret = Secret;
    type Facts = Settings;

    fn initial() -> (Self, Phase) {
        (Self::default(), Phase::Disconnected {})
    }

    fn step(
        &mut self,
        phase: &mut Phase,
        input: &Input<Self>,
        context: &mut Context<'_, Self>,
    ) -> Step {
        self.here = phase.clone();
        dispatch::<Self>(phase, self, input, context)
    }

    fn describe(input: &Input<Self>) -> String {
        match input {
            Input::TimerFired => "TimerFired",
            Input::ActivityLost(_) => "ActivityLost",
            Input::Held { .. } => "Held",
            Input::Signal(signal) => match signal {
                Signal::Connect(_) => "Connect",
                Signal::Adopt(_) => "Adopt",
                Signal::Disconnect { .. } => "Disconnect",
                Signal::RefreshNow { .. } => "RefreshNow",
                Signal::Rescued(_) => "Rescued",
                Signal::Reset => "Reset",
                Signal::ConfigurationChanged => "ConfigurationChanged",
                Signal::Reseal => "Reseal",
            },
            Input::Outcome(outcome) => match outcome {
                Ended::Refreshed(_) => "Refreshed",
                Ended::Rejected { .. } => "Rejected",
                Ended::Misconfigured { .. } => "Misconfigured",
                Ended::Throttled { .. } => "Throttled",
                Ended::Unavailable { .. } => "Unavailable",
                Ended::Unknown { .. } => "Unknown",
                Ended::NotSent => "NotSent",
            },
        }
        .to_owned()
    }

    fn subject(id: &WorkflowId) -> (&'static str, String) {
        let name = id.id().parse::<GrantRef>();
        (
            "integration",
            name.map_or_else(|_| id.id().to_owned(), |g| g.integration().to_string()),
        )
    }
}
