//! A small machine that shows what it heard, and activities that do as the test says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use evergreen_engine::record::SealedBlobs;
use evergreen_engine::trust::Trust;
use evergreen_engine::{
    Activities, Admission, Call, Context, Input, Millis, Pass, SealError, Step, Workflow,
    WorkflowId, dispatch,
};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use statig::prelude::*;
use tokio::sync::{Notify, Semaphore};

/// A day's work: it begins by a signal or the timer, and may be condemned.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Chore {
    /// Every input it answered, in order.
    pub(crate) heard: Vec<String>,
    #[serde(default)]
    pub(crate) since_two: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Phase {
    Idle {},
    Working { n: u32 },
    Condemned {},
    Stubborn {},
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Signal {
    Begin(u32),
    Note(String),
    Wake(Millis),
    Calm,
    Condemn,
    Keep(String),
    /// Seals anew what is kept, as this.
    Renew(String),
    Late(u32),
    Finish,
    Panic,
    /// Goes to a state that wants work and has no answer to being held back.
    Stubborn,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Work(pub(crate) u32);

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ended {
    Done(u32),
    Failed,
    Unknown,
    NotSent,
    /// Makes the machine panic when it hears of it.
    Absurd(u32),
}

/// What cannot be sealed.
pub(crate) const UNOPENABLE: &str = "unopenable";

#[state_machine(
    initial = "Phase::Idle {}",
    state(custom, name = "Phase"),
    event_identifier = "input"
)]
impl Chore {
    #[state(name = "Idle", superstate = "anywhere")]
    fn idle(&mut self, input: &Input<Chore>, context: &mut Context<'_, Chore>) -> Outcome<Phase> {
        match input {
            Input::TimerFired => self.work(0, context),
            Input::Signal(Signal::Begin(n)) => self.work(*n, context),
            Input::Signal(Signal::Wake(at)) => {
                context.effects.wake_at(*at);
                Handled
            }
            // Late: what it asked for is not wanted any more.
            Input::Outcome(_) => Handled,
            _ => Super,
        }
    }

    #[state(name = "Working", superstate = "anywhere")]
    #[expect(unused_variables)]
    fn working(
        &mut self,
        n: &mut u32,
        input: &Input<Chore>,
        context: &mut Context<'_, Chore>,
    ) -> Outcome<Phase> {
        match input {
            Input::Outcome(Ended::Done(n)) => {
                context
                    .effects
                    .publish("WORKED", serde_json::json!({ "n": n }));
                Transition(Phase::Idle {})
            }
            Input::Outcome(Ended::Failed) => Self::condemn(context),
            Input::Outcome(Ended::Unknown) | Input::ActivityLost(_) => {
                context.effects.wake_at(context.now);
                Transition(Phase::Idle {})
            }
            Input::Outcome(Ended::NotSent) => {
                context.effects.wake_at(context.now + 60_000);
                Transition(Phase::Idle {})
            }
            Input::Held { until } => {
                context.effects.wake_at(*until);
                Transition(Phase::Idle {})
            }
            _ => Super,
        }
    }

    #[state(name = "Condemned", superstate = "anywhere")]
    fn condemned(
        &mut self,
        input: &Input<Chore>,
        context: &mut Context<'_, Chore>,
    ) -> Outcome<Phase> {
        match input {
            Input::Outcome(_) | Input::ActivityLost(_) | Input::TimerFired => Handled,
            Input::Signal(Signal::Wake(at)) => {
                context.effects.wake_at(*at);
                Handled
            }
            _ => Super,
        }
    }

    #[state(name = "Stubborn")]
    fn stubborn(
        &mut self,
        input: &Input<Chore>,
        context: &mut Context<'_, Chore>,
    ) -> Outcome<Phase> {
        let _ = (input, context);
        Super
    }

    #[superstate]
    fn anywhere(
        &mut self,
        input: &Input<Chore>,
        context: &mut Context<'_, Chore>,
    ) -> Outcome<Phase> {
        match input {
            Input::Signal(Signal::Note(_) | Signal::Late(_)) => Handled,
            Input::Signal(Signal::Calm) => Transition(Phase::Idle {}),
            Input::Signal(Signal::Condemn) => Self::condemn(context),
            Input::Signal(Signal::Keep(text)) => {
                context.effects.seal("kept", text.clone());
                Handled
            }
            Input::Signal(Signal::Renew(text)) => {
                context.effects.seal_anew("kept", text.clone());
                Handled
            }
            Input::Signal(Signal::Finish) => {
                context.effects.finish();
                Handled
            }
            Input::Signal(Signal::Stubborn) => {
                context.effects.perform(Work(99));
                Transition(Phase::Stubborn {})
            }
            Input::Signal(Signal::Panic) => panic!("the machine cannot bear this"),
            Input::Outcome(Ended::Absurd(_)) => panic!("the machine cannot bear this outcome"),
            _ => Super,
        }
    }
}

impl Chore {
    fn work(&mut self, n: u32, context: &mut Context<'_, Chore>) -> Outcome<Phase> {
        context.effects.perform(Work(n));
        Transition(Phase::Working { n })
    }

    fn condemn(context: &mut Context<'_, Chore>) -> Outcome<Phase> {
        context.effects.verdict();
        let name = if context.store_in_doubt {
            "CONDEMNED IN DOUBT"
        } else {
            "CONDEMNED"
        };
        context.effects.publish(name, serde_json::Value::Null);
        Transition(Phase::Condemned {})
    }
}

impl Workflow for Chore {
    const KIND: &'static str = "chore";
    const SCHEMA: u32 = 2;

    type Phase = Phase;
    type Signal = Signal;
    type Activity = Work;
    type Outcome = Ended;
    type Secret = String;
    type Facts = ();

    fn initial() -> (Self, Phase) {
        (Self::default(), Phase::Idle {})
    }

    fn step(
        &mut self,
        phase: &mut Phase,
        input: &Input<Self>,
        context: &mut Context<'_, Self>,
    ) -> Step {
        let step = dispatch::<Self>(phase, self, input, context);
        if step != Step::Ignored {
            self.heard.push(Self::describe(input));
        }
        step
    }

    fn describe(input: &Input<Self>) -> String {
        match input {
            Input::TimerFired => "TimerFired".to_owned(),
            Input::ActivityLost(work) => format!("ActivityLost {}", work.0),
            Input::Held { .. } => "Held".to_owned(),
            Input::Signal(Signal::Note(text)) => text.clone(),
            Input::Signal(signal) => format!("{signal:?}"),
            Input::Outcome(outcome) => format!("{outcome:?}"),
        }
    }

    fn upgrade(
        from: u32,
        mut stored: evergreen_engine::machine::Stored,
    ) -> Result<evergreen_engine::machine::Stored, String> {
        if from != 1 {
            return Err(format!("no way from schema {from}"));
        }
        stored.data["since_two"] = "upgraded".into();
        Ok(stored)
    }
}

type Deed = Box<dyn FnOnce(u32) -> BoxFuture<'static, Ended> + Send>;

/// Activities that do what the test has lined up, and `Done` when nothing is.
#[derive(Default)]
pub(crate) struct Script {
    deeds: Mutex<VecDeque<Deed>>,
    performed: Mutex<Vec<u32>>,
    settled: Mutex<Vec<Ended>>,
    held: Mutex<Option<Millis>>,
    trusts: Mutex<Vec<Trust>>,
    /// Places that activities wait for, where there are any.
    pub(crate) places: Option<Arc<Semaphore>>,
    /// How long an activity may take, where that is longer than a lease allows.
    pub(crate) takes: Option<Duration>,
    /// Whether what was done must not be lost.
    pub(crate) precious: bool,
    /// Told whenever an activity begins.
    pub(crate) begun: Notify,
}

impl Script {
    pub(crate) fn precious() -> Self {
        Self {
            precious: true,
            ..Self::default()
        }
    }

    /// What the next activity does.
    pub(crate) fn next<F>(&self, deed: impl FnOnce(u32) -> F + Send + 'static)
    where
        F: Future<Output = Ended> + Send + 'static,
    {
        let deed: Deed = Box::new(move |n| Box::pin(deed(n)));
        self.deeds.lock().unwrap().push_back(deed);
    }

    /// How the next activity ends, at once.
    pub(crate) fn next_ends(&self, ended: Ended) {
        self.next(|_| async { ended });
    }

    /// Nothing may be performed before then.
    pub(crate) fn hold(&self, until: Millis) {
        *self.held.lock().unwrap() = Some(until);
    }

    pub(crate) fn performed(&self) -> Vec<u32> {
        self.performed.lock().unwrap().clone()
    }

    /// Whether the activity that was begun last may still be trusted.
    pub(crate) fn is_trusted(&self) -> bool {
        self.trusts.lock().unwrap().last().unwrap().holds()
    }

    pub(crate) fn settled(&self) -> Vec<Ended> {
        self.settled.lock().unwrap().clone()
    }
}

#[async_trait]
impl Activities<Chore> for Script {
    fn facts(&self) -> Arc<()> {
        Arc::new(())
    }

    fn seal(&self, _: &WorkflowId, secret: &String, _: &SealedBlobs) -> Result<String, SealError> {
        if secret == UNOPENABLE {
            return Err(SealError {
                id: "it".to_owned(),
                why: "no key opens it".to_owned(),
            });
        }
        Ok(format!("sealed {secret}"))
    }

    async fn admit(&self, _: &WorkflowId, _: &Work, _: Millis) -> Admission {
        if let Some(until) = *self.held.lock().unwrap() {
            return Admission::Held { until };
        }
        match self.places.clone() {
            Some(places) => Admission::Enter(Pass::new(places.acquire_owned().await.unwrap())),
            None => Admission::Go,
        }
    }

    fn takes(&self, _: &Work) -> Option<Duration> {
        self.takes
    }

    async fn perform(&self, call: Call<'_, Chore>) -> Ended {
        let n = call.activity.0;
        self.performed.lock().unwrap().push(n);
        self.trusts.lock().unwrap().push(call.trust);
        let deed = self.deeds.lock().unwrap().pop_front();
        self.begun.notify_one();
        match deed {
            Some(deed) => deed(n).await,
            None => Ended::Done(n),
        }
    }

    fn not_sent(&self, _: &Work) -> Ended {
        Ended::NotSent
    }

    fn unknown(&self, _: &Work) -> Ended {
        Ended::Unknown
    }

    fn redeliver(&self, _: &WorkflowId, outcome: &Ended) -> Option<Signal> {
        match outcome {
            Ended::Done(n) | Ended::Absurd(n) if self.precious => Some(Signal::Late(*n)),
            _ => None,
        }
    }

    async fn settled(&self, _: &WorkflowId, outcome: &Ended) {
        self.settled.lock().unwrap().push(outcome.clone());
    }
}
