//! The smallest workflow that waits, and that does something: what the measurements are made with.

use std::sync::Arc;
use std::time::Duration;

use evergreen_engine::record::SealedBlobs;
use evergreen_engine::{
    Activities, Call, Context, Input, Millis, SealError, Step, Workflow, WorkflowId, dispatch,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use statig::prelude::*;

/// The event of a timer that fired; its payload says when it should have: `at`.
pub const FIRED: &str = "BENCH_FIRED";
/// The event of a signal that was heard; its payload says when it was sent: `at`.
pub const HEARD: &str = "BENCH_HEARD";
/// The event of a workflow whose holder vanished while it was at work.
pub const TAKEN_OVER: &str = "BENCH_TAKEN_OVER";

/// What all its states share: nothing but how often it was at something.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Waiter {
    /// How often its timer has fired, or its work has ended.
    pub done: u64,
}

/// Its states.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Phase {
    /// Waits for its timer, if it has one.
    Waiting {
        /// When the timer is to fire.
        at: Option<Millis>,
    },
    /// Works, for so many milliseconds.
    Working {
        /// How long.
        for_ms: u64,
    },
}

/// What it can be told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Signal {
    /// Wait until then.
    Wait {
        /// By the store's clock.
        until: Millis,
    },
    /// Say that this was heard.
    Ping {
        /// When it was sent, by the store's clock.
        sent_at: Millis,
    },
    /// Work.
    Work {
        /// How long.
        for_ms: u64,
    },
}

/// Its one activity: taking so much time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Take {
    /// Milliseconds.
    pub for_ms: u64,
}

/// How that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// After its time.
    Done,
    /// Nobody knows.
    Unknown,
    /// It never began.
    NotBegun,
}

#[state_machine(
    initial = "Phase::Waiting { at: None }",
    state(custom, name = "Phase"),
    event_identifier = "input"
)]
impl Waiter {
    #[state]
    fn waiting(
        &mut self,
        at: &mut Option<Millis>,
        input: &Input<Waiter>,
        context: &mut Context<'_, Waiter>,
    ) -> Outcome<Phase> {
        match input {
            Input::Signal(Signal::Wait { until }) => {
                *at = Some(*until);
                context.effects.wake_at(*until);
                Handled
            }
            Input::Signal(Signal::Ping { sent_at }) => {
                context.effects.publish(HEARD, json!({ "at": sent_at }));
                Handled
            }
            Input::Signal(Signal::Work { for_ms }) => {
                context.effects.perform(Take { for_ms: *for_ms });
                Transition(Phase::Working { for_ms: *for_ms })
            }
            Input::TimerFired => {
                self.done += 1;
                context.effects.publish(FIRED, json!({ "at": at }));
                Transition(Phase::Waiting { at: None })
            }
            _ => Super,
        }
    }

    #[state]
    fn working(
        &mut self,
        for_ms: &mut u64,
        input: &Input<Waiter>,
        context: &mut Context<'_, Waiter>,
    ) -> Outcome<Phase> {
        match input {
            Input::Outcome(_) => {
                self.done += 1;
                Transition(Phase::Waiting { at: None })
            }
            Input::ActivityLost(_) => {
                context
                    .effects
                    .publish(TAKEN_OVER, json!({ "for_ms": for_ms }));
                Transition(Phase::Waiting { at: None })
            }
            Input::Held { until } => {
                context.effects.wake_at(*until);
                Transition(Phase::Waiting { at: Some(*until) })
            }
            _ => Super,
        }
    }
}

impl Workflow for Waiter {
    const KIND: &'static str = "evergreen.bench";
    type Phase = Phase;
    type Signal = Signal;
    type Activity = Take;
    type Outcome = Ended;
    type Secret = std::convert::Infallible;
    type Facts = ();

    fn initial() -> (Self, Phase) {
        (Self::default(), Phase::Waiting { at: None })
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
            Input::TimerFired => "TimerFired",
            Input::Signal(Signal::Wait { .. }) => "Wait",
            Input::Signal(Signal::Ping { .. }) => "Ping",
            Input::Signal(Signal::Work { .. }) => "Work",
            Input::Outcome(Ended::Done) => "Done",
            Input::Outcome(Ended::Unknown) => "Unknown",
            Input::Outcome(Ended::NotBegun) => "NotBegun",
            Input::ActivityLost(_) => "ActivityLost",
            Input::Held { .. } => "Held",
        }
        .to_owned()
    }
}

/// What surrounds it: time that passes.
#[derive(Debug, Clone, Copy)]
pub struct Time;

#[async_trait::async_trait]
impl Activities<Waiter> for Time {
    fn facts(&self) -> Arc<()> {
        Arc::default()
    }

    fn seal(
        &self,
        _id: &WorkflowId,
        secret: &std::convert::Infallible,
        _blobs: &SealedBlobs,
    ) -> Result<String, SealError> {
        match *secret {}
    }

    async fn perform(&self, call: Call<'_, Waiter>) -> Ended {
        let span = Duration::from_millis(call.activity.for_ms);
        match tokio::time::timeout_at(call.deadline, tokio::time::sleep(span)).await {
            Ok(()) => Ended::Done,
            Err(_) => Ended::Unknown,
        }
    }

    fn not_sent(&self, _activity: &Take) -> Ended {
        Ended::NotBegun
    }

    fn unknown(&self, _activity: &Take) -> Ended {
        Ended::Unknown
    }
}

#[cfg(test)]
mod tests {
    use evergreen_engine::testing::Sandbox;
    use evergreen_engine::{Delivery, Engine};

    use super::*;

    fn id() -> WorkflowId {
        WorkflowId::new(Waiter::KIND, "one").unwrap()
    }

    async fn tell(engine: &Engine, signal: Signal) {
        let delivery = Delivery::creating();
        assert!(
            engine
                .signal::<Waiter>(&id(), &signal, delivery)
                .await
                .unwrap()
                .is_queued()
        );
    }

    async fn told(engine: &Engine) -> Vec<(String, String)> {
        let partition = id().partition(engine.store().partitions());
        let events = engine.store().events(partition, None, 100).await.unwrap();
        let events = events.into_iter().map(|event| event.entry);
        events.map(|entry| (entry.event, entry.payload)).collect()
    }

    #[tokio::test]
    async fn a_timer_and_a_ping_say_when_they_should_have_been_heard() {
        let sandbox = Sandbox::new(|engine| engine.with::<Waiter>(Arc::new(Time)));
        let engine = sandbox.engine();
        let now = engine.store().now().await.unwrap();
        tell(
            engine,
            Signal::Wait {
                until: now + 60_000,
            },
        )
        .await;
        tell(engine, Signal::Ping { sent_at: now }).await;
        sandbox.skip(Duration::from_secs(59)).await;
        let heard = (HEARD.to_owned(), json!({ "at": now }).to_string());
        assert_eq!(told(engine).await, std::slice::from_ref(&heard));
        sandbox.skip(Duration::from_secs(2)).await;
        let fired = (FIRED.to_owned(), json!({ "at": now + 60_000 }).to_string());
        assert_eq!(told(engine).await, [heard, fired]);
    }

    #[tokio::test(start_paused = true)]
    async fn work_ends_after_its_time_and_leaves_no_event() {
        let sandbox = Sandbox::new(|engine| engine.with::<Waiter>(Arc::new(Time)));
        let engine = sandbox.engine();
        tell(engine, Signal::Work { for_ms: 500 }).await;
        sandbox.skip(Duration::from_secs(1)).await;
        let view = engine.read::<Waiter>(&id(), false).await.unwrap().unwrap();
        let (waiter, phase) = view.machine.unwrap();
        assert_eq!(waiter.done, 1);
        assert!(matches!(phase, Phase::Waiting { at: None }));
        assert!(told(engine).await.is_empty());
    }

    #[test]
    fn a_lost_holder_is_told_of() {
        let (mut waiter, _) = <Waiter as Workflow>::initial();
        let mut phase = Phase::Working { for_ms: 9 };
        let (id, facts) = (id(), ());
        let mut context = Context {
            id: &id,
            now: 1,
            random: 0.5,
            store_in_doubt: false,
            facts: &facts,
            effects: evergreen_engine::Effects::default(),
        };
        let lost = Input::ActivityLost(Take { for_ms: 9 });
        assert_eq!(waiter.step(&mut phase, &lost, &mut context), Step::Moved);
        assert!(matches!(phase, Phase::Waiting { at: None }));
        assert_eq!(context.effects.published()[0].name, TAKEN_OVER);
    }
}
