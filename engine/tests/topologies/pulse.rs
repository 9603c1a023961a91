//! A workflow that beats until it is told that it is enough; and the ledger of what was done in the
//! world.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use evergreen_engine::record::SealedBlobs;
use evergreen_engine::{
    Activities, Call, Context, Input, Millis, SealError, Step, Workflow, WorkflowId, dispatch,
};
use serde::{Deserialize, Serialize};
use statig::prelude::*;

/// Between two beats, ms.
const REST: Millis = 150;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Pulse {
    /// Beats that are known to have been done.
    pub(crate) beats: u32,
    /// The next beat is the last.
    enough: bool,
    /// When the next was planned.
    planned: Millis,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Phase {
    Resting {},
    Beating {
        again: bool,
    },
    /// Nobody knows whether the last beat was done.
    Doubtful {},
    Finished {},
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Signal {
    Begin,
    Enough,
    /// A beat that was done by one who had lost the workflow meanwhile.
    Late(u32),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Beat {
    n: u32,
    /// It may have been done before.
    again: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Ended {
    Done(u32),
    Unknown,
    NotSent,
}

#[state_machine(
    initial = "Phase::Resting {}",
    state(custom, name = "Phase"),
    event_identifier = "input"
)]
impl Pulse {
    #[state(name = "Resting", superstate = "always")]
    fn resting(
        &mut self,
        input: &Input<Pulse>,
        context: &mut Context<'_, Pulse>,
    ) -> Outcome<Phase> {
        match input {
            Input::Signal(Signal::Begin) => self.rest(context),
            Input::TimerFired => self.beat(false, context),
            _ => Super,
        }
    }

    #[state(name = "Beating", superstate = "always")]
    fn beating(
        &mut self,
        again: &mut bool,
        input: &Input<Pulse>,
        context: &mut Context<'_, Pulse>,
    ) -> Outcome<Phase> {
        match input {
            Input::Outcome(Ended::Done(n)) | Input::Signal(Signal::Late(n)) => {
                self.done(*n, context)
            }
            Input::Outcome(Ended::Unknown) | Input::ActivityLost(_) => {
                context.effects.wake_at(context.now);
                Transition(Phase::Doubtful {})
            }
            // Not begun: as if it had not been asked for.
            Input::Outcome(Ended::NotSent) | Input::Held { .. } => {
                context.effects.wake_at(context.now);
                self.planned = context.now;
                if *again {
                    Transition(Phase::Doubtful {})
                } else {
                    Transition(Phase::Resting {})
                }
            }
            _ => Super,
        }
    }

    #[state(name = "Doubtful", superstate = "always")]
    fn doubtful(
        &mut self,
        input: &Input<Pulse>,
        context: &mut Context<'_, Pulse>,
    ) -> Outcome<Phase> {
        match input {
            Input::Outcome(Ended::Done(n)) | Input::Signal(Signal::Late(n)) => {
                self.done(*n, context)
            }
            Input::TimerFired => self.beat(true, context),
            _ => Super,
        }
    }

    #[state(name = "Finished")]
    fn finished(
        &mut self,
        input: &Input<Pulse>,
        context: &mut Context<'_, Pulse>,
    ) -> Outcome<Phase> {
        let _ = (input, context);
        Handled
    }

    #[superstate]
    fn always(&mut self, input: &Input<Pulse>, context: &mut Context<'_, Pulse>) -> Outcome<Phase> {
        let _ = context;
        self.enough |= matches!(input, Input::Signal(Signal::Enough));
        Handled
    }
}

impl Pulse {
    fn beat(&mut self, again: bool, context: &mut Context<'_, Pulse>) -> Outcome<Phase> {
        if context.now < self.planned {
            let early = serde_json::json!({ "planned": self.planned, "now": context.now });
            context.effects.publish("EARLY", early);
        }
        let n = self.beats + 1;
        context.effects.perform(Beat { n, again });
        Transition(Phase::Beating { again })
    }

    fn done(&mut self, n: u32, context: &mut Context<'_, Pulse>) -> Outcome<Phase> {
        if n != self.beats + 1 {
            return Handled;
        }
        self.beats = n;
        context
            .effects
            .publish("BEAT", serde_json::json!({ "n": n }));
        if self.enough {
            return Transition(Phase::Finished {});
        }
        self.rest(context)
    }

    fn rest(&mut self, context: &mut Context<'_, Pulse>) -> Outcome<Phase> {
        self.planned = context.now + REST;
        context.effects.wake_at(self.planned);
        Transition(Phase::Resting {})
    }
}

impl Workflow for Pulse {
    const KIND: &'static str = "pulse";
    const SCHEMA: u32 = 1;

    type Phase = Phase;
    type Signal = Signal;
    type Activity = Beat;
    type Outcome = Ended;
    type Secret = String;
    type Facts = ();

    fn initial() -> (Self, Phase) {
        (Self::default(), Phase::Resting {})
    }

    fn step(
        &mut self,
        phase: &mut Phase,
        input: &Input<Self>,
        context: &mut Context<'_, Self>,
    ) -> Step {
        dispatch::<Self>(phase, self, input, context)
    }

    fn describe(input: &Input<Self>) -> String {
        match input {
            Input::TimerFired => "TimerFired".to_owned(),
            Input::ActivityLost(beat) => format!("ActivityLost {beat:?}"),
            Input::Held { .. } => "Held".to_owned(),
            Input::Signal(signal) => format!("{signal:?}"),
            Input::Outcome(outcome) => format!("{outcome:?}"),
        }
    }
}

/// What was done in the world, in the order in which it was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deed {
    /// A beat that nobody has tried before, as far as its holder knows.
    Done(WorkflowId, u32),
    /// One that somebody may have done before.
    DoneAgain(WorkflowId, u32),
    /// The store has confirmed it.
    Settled(WorkflowId, u32),
}

/// Shared by all workers.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<Vec<Deed>>);

impl Ledger {
    pub(crate) fn deeds(&self) -> Vec<Deed> {
        self.0.lock().unwrap().clone()
    }

    fn write(&self, deed: Deed) {
        self.0.lock().unwrap().push(deed);
    }
}

#[async_trait]
impl Activities<Pulse> for Ledger {
    fn facts(&self) -> Arc<()> {
        Arc::new(())
    }

    fn seal(&self, _: &WorkflowId, secret: &String, _: &SealedBlobs) -> Result<String, SealError> {
        Ok(secret.clone())
    }

    async fn perform(&self, call: Call<'_, Pulse>) -> Ended {
        if !call.trust.holds() {
            return Ended::NotSent;
        }
        let (id, n) = (call.id.clone(), call.activity.n);
        self.write(if call.activity.again {
            Deed::DoneAgain(id, n)
        } else {
            Deed::Done(id, n)
        });
        Ended::Done(n)
    }

    fn not_sent(&self, _: &Beat) -> Ended {
        Ended::NotSent
    }

    fn unknown(&self, _: &Beat) -> Ended {
        Ended::Unknown
    }

    fn redeliver(&self, _: &WorkflowId, outcome: &Ended) -> Option<Signal> {
        match outcome {
            Ended::Done(n) => Some(Signal::Late(*n)),
            Ended::Unknown | Ended::NotSent => None,
        }
    }

    async fn settled(&self, id: &WorkflowId, outcome: &Ended) {
        if let Ended::Done(n) = outcome {
            self.write(Deed::Settled(id.clone(), *n));
        }
    }
}
