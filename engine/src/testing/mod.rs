//! For tests of workflows: days pass in milliseconds, and what is replaced is the outside world only.
//!
//! | | is |
//! |---|---|
//! | [`Sandbox`] | an engine over a store in memory, with a clock that only the test moves |
//! | [`Scripted`] | activities that end as the test says, and write down what was asked of them |
//! | [`FaultyStore`] | a store over any other that fails, loses replies, is late: by script or by a seed |
//! | [`runtime_clock`] | a store's clock that goes with tokio's, for tests with real workers on paused time |
//!
//! # A trial of thirty days
//! Time does not jump: [`Sandbox::skip`] stops at every timer on the way and runs the turn that is due
//! then, so a workflow hears everything in the order, and at the time, in which it would have heard it.
//!
//! ```
//! # use std::convert::Infallible;
//! # use evergreen_engine::{Context, Input, Step, Workflow, dispatch};
//! # use serde::{Deserialize, Serialize};
//! # use statig::prelude::*;
//! # #[derive(Clone, Default, Serialize, Deserialize)]
//! # struct Trial { reminded: bool }
//! # #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
//! # enum Phase { Running {}, Reminding {}, Expired {} }
//! # #[derive(Clone, Serialize, Deserialize)]
//! # enum Signal { Begin }
//! # #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
//! # struct Remind { key: String }
//! # #[derive(Clone, Debug)]
//! # enum Ended { Sent, Unknown, NotSent }
//! # const DAY: u64 = 24 * 60 * 60 * 1000;
//! # #[state_machine(initial = "Phase::Running {}", state(custom, name = "Phase"), event_identifier = "input")]
//! # impl Trial {
//! #     #[state]
//! #     fn running(&mut self, input: &Input<Trial>, context: &mut Context<'_, Trial>) -> Outcome<Phase> {
//! #         match input {
//! #             Input::Signal(Signal::Begin) => { context.effects.wake_at(context.now + 23 * DAY); Handled }
//! #             Input::TimerFired if self.reminded => Transition(Phase::Expired {}),
//! #             Input::TimerFired => {
//! #                 context.effects.perform(Remind { key: format!("{}/reminder", context.id) });
//! #                 Transition(Phase::Reminding {})
//! #             }
//! #             _ => Super,
//! #         }
//! #     }
//! #     #[state]
//! #     fn reminding(&mut self, input: &Input<Trial>, context: &mut Context<'_, Trial>) -> Outcome<Phase> {
//! #         match input {
//! #             Input::Outcome(Ended::Sent) => { self.reminded = true; context.effects.wake_at(context.now + 7 * DAY); }
//! #             Input::Held { until } => context.effects.wake_at(*until),
//! #             Input::Outcome(_) | Input::ActivityLost(_) => context.effects.wake_at(context.now + 60_000),
//! #             _ => return Super,
//! #         }
//! #         Transition(Phase::Running {})
//! #     }
//! #     #[state]
//! #     fn expired(&mut self, input: &Input<Trial>, context: &mut Context<'_, Trial>) -> Outcome<Phase> {
//! #         let _ = (input, context);
//! #         Handled
//! #     }
//! # }
//! # impl Workflow for Trial {
//! #     const KIND: &'static str = "trial";
//! #     type Phase = Phase;
//! #     type Signal = Signal;
//! #     type Activity = Remind;
//! #     type Outcome = Ended;
//! #     type Secret = Infallible;
//! #     type Facts = ();
//! #     fn initial() -> (Self, Phase) { (Self::default(), Phase::Running {}) }
//! #     fn step(&mut self, phase: &mut Phase, input: &Input<Self>, context: &mut Context<'_, Self>) -> Step {
//! #         dispatch::<Self>(phase, self, input, context)
//! #     }
//! #     fn describe(input: &Input<Self>) -> String {
//! #         match input { Input::TimerFired => "TimerFired".into(), _ => "other".into() }
//! #     }
//! # }
//! # fn main() { tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(test()) }
//! # async fn test() {
//! use std::sync::Arc;
//! use std::time::Duration;
//! use evergreen_engine::testing::{Endings, Fault, Op, Sandbox, Scripted};
//! use evergreen_engine::{Delivery, WorkflowId};
//!
//! let endings = Endings { unknown: Ended::Unknown, not_sent: Ended::NotSent };
//! let letters = Arc::new(Scripted::<Trial>::new((), endings).always(|_| Ended::Sent));
//! let sandbox = Sandbox::new(|engine| engine.with::<Trial>(letters.clone()));
//! let id = WorkflowId::new("trial", "ada").unwrap();
//! sandbox.engine().signal::<Trial>(&id, &Signal::Begin, Delivery::creating()).await.unwrap();
//!
//! // The first letter: nobody learns whether it arrived. And once a reply of the store is lost.
//! letters.then(Ended::Unknown);
//! sandbox.faults().next(Op::Commit, Fault::ReplyLost);
//! let days = |n| Duration::from_millis(n * DAY);
//! sandbox.skip(days(31)).await;
//!
//! // It was sent twice, a minute apart, with one key, and the trial is over.
//! let sent = letters.performed();
//! assert_eq!(sent.len(), 2);
//! assert_eq!(sent[0].activity, sent[1].activity);
//! assert_eq!(sent[1].at - sent[0].at, 60_000);
//! let view = sandbox.engine().read::<Trial>(&id, false).await.unwrap().unwrap();
//! assert_eq!(view.machine.unwrap().1, Phase::Expired {});
//! # }
//! ```
//!
//! The workflow is the one of `examples/trial_expiry`, shortened; `tests/trial_tested.rs` tests that one
//! whole, with a store that is away, a worker that dies and a host that wants to be left alone.
//!
//! # In which time
//! The sandbox's clock is the store's, and the workflows'. What the engine itself waits for, such as the
//! pause before a commit is sent again, is tokio's time: let tests begin with
//! `#[tokio::test(start_paused = true)]` (tokio's feature `test-util`), and none of it is waited for.

mod faulty;
mod sandbox;
mod scripted;

use tokio::time::Instant;

pub use self::faulty::{Fault, FaultyStore, Odds, Op, Weather, seeded};
pub use self::sandbox::{BEGIN, Sandbox};
pub use self::scripted::{Endings, Performed, Scripted};
use crate::machine::Millis;
use crate::store::clock::{Clock, millis};

/// A store's clock that shows `begin` now and goes with tokio's: where that is paused, a fleet of real
/// workers runs through days without anybody waiting.
#[must_use]
pub fn runtime_clock(begin: Millis) -> Clock {
    let start = Instant::now();
    std::sync::Arc::new(move || begin.saturating_add(millis(start.elapsed())))
}
