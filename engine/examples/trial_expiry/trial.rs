//! The workflow: its states, what can happen to it, and how each state answers.
//!
//! ```text
//!            Begin (creates it)
//!              │
//!              ▼   some days before the end
//!           Running ─────────────────────────▶ Reminding   an e-mail is on its way
//!            ▲   ▲                                │   │
//!     Extend │   │ NotSent, Unknown, Held:        │   │ Sent, Bounced
//!            │   └── the same letter, later ──────┘   │
//!            │                                        ▼
//!            └───────────────────────────────────  Reminded
//!                                                     │ the end
//!                                                     ▼
//!     Convert, from the three above ─▶ Converted   Expired ── kept for a while ──▶ gone
//! ```
//!
//! Nothing here waits, sends or looks at a clock. A state is told what happened, and says where it
//! goes and what it wishes for: to be woken at a time, to have an e-mail sent, to publish an event.

use evergreen_engine::{Context, Input, Millis, Step, Workflow, dispatch};
use serde::{Deserialize, Serialize};
use serde_json::json;
use statig::prelude::*;

/// What all states share. It is stored as JSON: `redis-cli` shows it as it is here.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Trial {
    /// Where the reminder goes.
    pub(crate) email: String,
    /// When the trial ends.
    pub(crate) ends_at: Millis,
    /// Reminders that have been dealt with. The number of the next one is part of its key, so that
    /// the same letter always bears the same key, however often it is sent.
    pub(crate) reminders: u32,
}

/// The states. Their names are stored: a name is never changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// Waits for the day of the reminder.
    Running {},
    /// A reminder is on its way.
    Reminding {},
    /// Waits for the end.
    Reminded {},
    /// A customer now.
    Converted {},
    /// Over.
    Expired {},
}

/// What can come from outside.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Signal {
    /// The trial begins, and lasts so many days.
    Begin {
        /// Where reminders go.
        email: String,
        /// How long it lasts.
        days: u64,
    },
    /// It lasts longer.
    Extend {
        /// By so many days.
        days: u64,
    },
    /// The customer has bought.
    Convert,
}

/// The one thing that this workflow does to the outside world.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SendReminder {
    /// Names this letter for ever: whoever delivers it drops a second one with the same key.
    pub(crate) key: String,
    /// Where it goes.
    pub(crate) to: String,
    /// What it says.
    pub(crate) days_left: u64,
}

/// How sending can end. "Nobody knows" is one of the ways.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ended {
    /// It is in the mailbox.
    Sent,
    /// There is no such mailbox.
    Bounced,
    /// The connection broke: it may have been delivered or not.
    Unknown,
    /// It surely has not left.
    NotSent,
}

/// What the house has agreed upon. A machine knows no configuration but this.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// How long a day is: a demonstration may be in a hurry.
    pub(crate) day: Millis,
    /// How many days before the end to remind.
    pub(crate) remind_days: u64,
    /// How many days a trial is kept after it is over.
    pub(crate) keep_days: u64,
}

type Here<'a> = Context<'a, Trial>;

#[state_machine(
    initial = "Phase::Expired {}",
    state(custom, name = "Phase"),
    event_identifier = "input"
)]
impl Trial {
    #[state(superstate = "under_way")]
    fn running(&mut self, input: &Input<Trial>, context: &mut Here<'_>) -> Outcome<Phase> {
        match input {
            Input::TimerFired => {
                let day = context.facts.day.max(1);
                context.effects.perform(SendReminder {
                    key: format!("{}/reminder/{}", context.id, self.reminders + 1),
                    to: self.email.clone(),
                    days_left: self.ends_at.saturating_sub(context.now).div_ceil(day),
                });
                Transition(Phase::Reminding {})
            }
            _ => Super,
        }
    }

    #[state(superstate = "under_way")]
    fn reminding(&mut self, input: &Input<Trial>, context: &mut Here<'_>) -> Outcome<Phase> {
        match input {
            Input::Outcome(Ended::Sent) => self.dealt_with("TRIAL_REMINDED", context),
            Input::Outcome(Ended::Bounced) => self.dealt_with("TRIAL_REMINDER_BOUNCED", context),
            // The worker that was sending vanished: that is one more way of not knowing. Sending it
            // again does no harm, because the letter bears the same key.
            Input::Outcome(Ended::Unknown | Ended::NotSent) | Input::ActivityLost(_) => {
                context
                    .effects
                    .wake_at(context.now + context.facts.day / 24);
                Transition(Phase::Running {})
            }
            Input::Held { until } => {
                context.effects.wake_at(*until);
                Transition(Phase::Running {})
            }
            _ => Super,
        }
    }

    #[state(superstate = "under_way")]
    fn reminded(&mut self, input: &Input<Trial>, context: &mut Here<'_>) -> Outcome<Phase> {
        match input {
            Input::TimerFired => {
                context.effects.publish("TRIAL_EXPIRED", json!({}));
                Self::over(Phase::Expired {}, context)
            }
            _ => Super,
        }
    }

    /// What every trial that is not over answers in the same way.
    #[superstate]
    fn under_way(&mut self, input: &Input<Trial>, context: &mut Here<'_>) -> Outcome<Phase> {
        match input {
            Input::Signal(Signal::Extend { days }) => {
                self.ends_at += days * context.facts.day;
                context
                    .effects
                    .publish("TRIAL_EXTENDED", json!({ "days": days }));
                self.run(context)
            }
            Input::Signal(Signal::Convert) => {
                context.effects.publish("TRIAL_CONVERTED", json!({}));
                Self::over(Phase::Converted {}, context)
            }
            // Asked for twice, begun once.
            Input::Signal(Signal::Begin { .. }) => Handled,
            // A letter that was on its way when the trial was extended.
            Input::Outcome(_) | Input::ActivityLost(_) => Handled,
            _ => Super,
        }
    }

    #[state(superstate = "settled")]
    fn converted(input: &Input<Trial>) -> Outcome<Phase> {
        let _ = input;
        Super
    }

    #[state(superstate = "settled")]
    fn expired(&mut self, input: &Input<Trial>, context: &mut Here<'_>) -> Outcome<Phase> {
        match input {
            // Where every trial comes from, too: `initial` is a trial that is over.
            Input::Signal(Signal::Begin { email, days }) => {
                self.email.clone_from(email);
                self.ends_at = context.now + days * context.facts.day;
                context
                    .effects
                    .publish("TRIAL_BEGUN", json!({ "days": days }));
                self.run(context)
            }
            _ => Super,
        }
    }

    /// What every trial that is over answers in the same way.
    #[superstate]
    fn settled(&mut self, input: &Input<Trial>, context: &mut Here<'_>) -> Outcome<Phase> {
        match input {
            Input::TimerFired => {
                context.effects.finish();
                Handled
            }
            // Late: nothing of it is wanted any more.
            Input::Signal(_) | Input::Outcome(_) | Input::ActivityLost(_) => Handled,
            Input::Held { .. } => Super,
        }
    }
}

impl Trial {
    /// Waits for the day of the reminder.
    fn run(&mut self, context: &mut Here<'_>) -> Outcome<Phase> {
        let before = context.facts.remind_days * context.facts.day;
        context.effects.wake_at(self.ends_at.saturating_sub(before));
        Transition(Phase::Running {})
    }

    fn dealt_with(&mut self, event: &str, context: &mut Here<'_>) -> Outcome<Phase> {
        self.reminders += 1;
        context
            .effects
            .publish(event, json!({ "reminder": self.reminders }));
        context.effects.wake_at(self.ends_at);
        Transition(Phase::Reminded {})
    }

    fn over(phase: Phase, context: &mut Here<'_>) -> Outcome<Phase> {
        let kept = context.facts.keep_days * context.facts.day;
        context.effects.wake_at(context.now + kept);
        Transition(phase)
    }
}

impl Workflow for Trial {
    const KIND: &'static str = "trial";

    type Phase = Phase;
    type Signal = Signal;
    type Activity = SendReminder;
    type Outcome = Ended;
    // This workflow has nothing to hide.
    type Secret = std::convert::Infallible;
    type Facts = Terms;

    fn initial() -> (Self, Phase) {
        (Self::default(), Phase::Expired {})
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
            Input::ActivityLost(_) => "ActivityLost".to_owned(),
            Input::Held { .. } => "Held".to_owned(),
            Input::Outcome(ended) => format!("{ended:?}"),
            Input::Signal(Signal::Begin { .. }) => "Begin".to_owned(),
            Input::Signal(Signal::Extend { .. }) => "Extend".to_owned(),
            Input::Signal(Signal::Convert) => "Convert".to_owned(),
        }
    }
}
