//! A credential in small: a grant whose refresh token is rotated at every use. Its chart decides as
//! the real one does wherever the protocol says how: grants, generations, rescued pairs, verdicts.

use evergreen_engine::{Context, Input, Millis, Step, Workflow, dispatch};
use serde::{Deserialize, Serialize};
use statig::prelude::*;

pub(crate) use crate::inputs::{Ended, Lab, Pair, Reason, Send, Signal, What};
use crate::rules::Slip;

type Answer = Outcome<Phase>;

/// From a success to the next refresh.
pub(crate) const INTERVAL: Millis = 6_000;
/// How long a tombstone stays.
pub(crate) const RETENTION: Millis = 40_000;
/// After an intent that was not acknowledged.
const NOT_SENT_PAUSE: Millis = 1_000;
/// The longest pause between two tries.
const BACK_OFF_MAX: Millis = 20_000;
/// Pairs kept apart at most.
const QUARANTINE_MAX: usize = 4;
/// Spent tokens remembered.
const SPENT_MAX: usize = 16;

/// The one sealed slot that holds the current pair.
pub(crate) const PAIR: &str = "pair";

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Credential {
    pub(crate) grant: Option<u64>,
    pub(crate) generation: u64,
    pub(crate) token: Option<u64>,
    spent: Vec<u64>,
    quarantine: Vec<(u64, u64)>,
    /// A token of this grant may have been spent by a request of which nothing is known.
    unknown: bool,
    /// The token of that request: sending it again is known to be sending it again.
    tried: Option<u64>,
    failures: u32,
    /// The timer as the machine asked for it, and what holds it back.
    timer: Option<Millis>,
    held: Option<Millis>,
    /// The numbers of the signals consumed, in their order.
    pub(crate) heard: Vec<u32>,
    /// What a state before this one asked for, where a slip makes the turn remember it.
    #[serde(skip)]
    wanted: Option<Send>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Phase {
    Empty {},
    Scheduled { at: Millis },
    Refreshing {},
    ReconnectRequired { reason: Reason },
    Disconnected {},
}

type Ctx<'a> = Context<'a, Credential>;

#[expect(unused_variables)]
#[state_machine(
    initial = "Phase::Empty {}",
    state(custom, name = "Phase"),
    event_identifier = "input"
)]
impl Credential {
    #[state(name = "Empty", superstate = "anywhere")]
    fn empty(&mut self, input: &Input<Credential>, context: &mut Ctx<'_>) -> Answer {
        Super
    }

    #[state(name = "Scheduled", superstate = "anywhere")]
    fn scheduled(
        &mut self,
        at: &mut Millis,
        input: &Input<Credential>,
        context: &mut Ctx<'_>,
    ) -> Answer {
        match input {
            Input::TimerFired => self.begin(context),
            Input::Signal(Signal {
                what: What::RefreshNow { generation },
                ..
            }) => {
                let moved_on = *generation < self.generation;
                if moved_on && context.facts.slip != Some(Slip::MovedOnIsRefreshed) {
                    return Handled;
                }
                if self.held.is_some_and(|until| until > context.now) {
                    return Handled;
                }
                *at = context.now;
                context.effects.wake_at(context.now);
                Handled
            }
            _ => Super,
        }
    }

    #[state(name = "Refreshing", superstate = "anywhere")]
    fn refreshing(&mut self, input: &Input<Credential>, context: &mut Ctx<'_>) -> Answer {
        match input {
            Input::Outcome(Ended::Refreshed(pair)) => Transition(self.adopt(*pair, context)),
            Input::Outcome(Ended::Rejected { doubt }) => Transition(self.rejected(*doubt, context)),
            Input::Outcome(Ended::Unknown) => {
                let first = self.may_be_spent();
                let pause = if first { 0 } else { self.back_off() };
                Transition(Self::later(pause, context))
            }
            // The one retry, at once.
            Input::ActivityLost(_) if self.may_be_spent() => self.begin(context),
            Input::ActivityLost(_) => {
                let pause = self.back_off();
                Transition(Self::later(pause, context))
            }
            Input::Outcome(Ended::NotSent) => Transition(Self::later(NOT_SENT_PAUSE, context)),
            Input::Outcome(Ended::Unavailable) => {
                let pause = self.back_off();
                Transition(Self::later(pause, context))
            }
            Input::Held { until } => {
                let phase = Self::later(0, context);
                context.effects.hold_until(*until);
                Transition(phase)
            }
            _ => Super,
        }
    }

    #[state(name = "ReconnectRequired", superstate = "anywhere")]
    fn reconnect_required(
        &mut self,
        reason: &mut Reason,
        input: &Input<Credential>,
        context: &mut Ctx<'_>,
    ) -> Answer {
        Super
    }

    #[state(name = "Disconnected", superstate = "anywhere")]
    fn disconnected(&mut self, input: &Input<Credential>, context: &mut Ctx<'_>) -> Answer {
        let adopts = context.facts.slip == Some(Slip::TombstoneAdopts);
        match input {
            Input::TimerFired => {
                context.effects.finish();
                Handled
            }
            Input::Signal(Signal {
                what: What::Rescued(_),
                ..
            }) if !adopts => Handled,
            Input::Outcome(_) => Handled,
            _ => Super,
        }
    }

    #[superstate]
    fn anywhere(&mut self, input: &Input<Credential>, context: &mut Ctx<'_>) -> Answer {
        match input {
            Input::Signal(signal) => match &signal.what {
                What::Connect { grant, token } => self.connect(*grant, *token, context),
                What::Disconnect => {
                    self.forget_grant();
                    context.effects.erase_all();
                    context.effects.wake_at(context.now + RETENTION);
                    Transition(Phase::Disconnected {})
                }
                What::RefreshNow { .. } => Handled,
                What::Rescued(pair) => self.rescued(*pair, context),
            },
            // Late: a signal that came before it has settled the matter.
            Input::Outcome(Ended::Refreshed(pair)) => self.rescued(*pair, context),
            Input::Outcome(_) | Input::ActivityLost(_) => Handled,
            _ => Super,
        }
    }
}

impl Credential {
    fn forget_grant(&mut self) {
        let heard = std::mem::take(&mut self.heard);
        let wanted = self.wanted.take();
        *self = Self {
            heard,
            wanted,
            ..Self::default()
        };
    }

    /// Idempotent by grant id.
    fn connect(&mut self, grant: u64, token: u64, context: &mut Ctx<'_>) -> Answer {
        if self.grant == Some(grant) {
            return Handled;
        }
        self.forget_grant();
        self.grant = Some(grant);
        self.token = Some(token);
        context.effects.erase_all();
        self.keep_pair(context);
        context.effects.publish("CONNECTED", grant.into());
        Transition(Self::later(INTERVAL, context))
    }

    fn begin(&mut self, context: &mut Ctx<'_>) -> Answer {
        let (Some(grant), Some(token)) = (self.grant, self.token) else {
            return Handled;
        };
        context.effects.perform(Send {
            grant,
            generation: self.generation,
            token,
            again: self.tried == Some(token),
        });
        Transition(Phase::Refreshing {})
    }

    /// Nobody knows how the request ended; tells whether that is news.
    fn may_be_spent(&mut self) -> bool {
        self.tried = self.token;
        !std::mem::replace(&mut self.unknown, true)
    }

    fn later(pause: Millis, context: &mut Ctx<'_>) -> Phase {
        let at = context.now + pause;
        context.effects.wake_at(at);
        Phase::Scheduled { at }
    }

    fn back_off(&mut self) -> Millis {
        self.failures += 1;
        (1_000 << self.failures.min(6)).min(BACK_OFF_MAX)
    }

    fn keep_pair(&self, context: &mut Ctx<'_>) {
        if let (Some(grant), Some(token)) = (self.grant, self.token) {
            let text = format!("{grant}/{}/{token}", self.generation);
            context.effects.seal(PAIR, text);
        }
    }

    /// A rotated pair, in time or late, becomes the stored one.
    fn adopt(&mut self, pair: Pair, context: &mut Ctx<'_>) -> Phase {
        self.spend(pair.token);
        self.grant = Some(pair.grant);
        self.generation = pair.base + 1;
        self.unknown = false;
        self.tried = None;
        self.failures = 0;
        self.keep_pair(context);
        context.effects.publish("REFRESHED", self.generation.into());
        let spent = &self.spent;
        self.quarantine.retain(|(token, _)| {
            let known = *token == pair.token || spent.contains(token);
            if known {
                context.effects.erase(apart(*token));
            }
            !known
        });
        Self::later(INTERVAL, context)
    }

    /// The stored token is spent, this one takes its place.
    fn spend(&mut self, token: u64) {
        let old = self.token.replace(token);
        self.spent.extend(old.filter(|old| *old != token));
        self.spent.retain(|spent| *spent != token);
        if self.spent.len() > SPENT_MAX {
            self.spent.remove(0);
        }
    }

    fn rejected(&mut self, doubt: bool, context: &mut Ctx<'_>) -> Phase {
        if let Some((token, _)) = self.quarantine.pop() {
            self.spend(token);
            self.generation += 1;
            self.tried = None;
            self.keep_pair(context);
            context.effects.erase(apart(token));
            return Self::later(0, context);
        }
        let reason = if self.unknown || doubt {
            Reason::RotationLost
        } else {
            Reason::Revoked
        };
        context.effects.verdict();
        context.effects.no_timer();
        context
            .effects
            .publish("RECONNECT_REQUIRED", format!("{reason:?}").into());
        Phase::ReconnectRequired { reason }
    }

    /// In the order of rule 18.
    fn rescued(&mut self, pair: Pair, context: &mut Ctx<'_>) -> Answer {
        let slip = context.facts.slip;
        let same = slip == Some(Slip::GrantsByNumber) || slip == Some(Slip::TombstoneAdopts);
        if self.grant != Some(pair.grant) && !same {
            return Handled;
        }
        if pair.base > self.generation && slip == Some(Slip::OnlyTheNextIsAdopted) {
            return Handled;
        }
        let current = pair.base >= self.generation;
        if current {
            return Transition(self.adopt(pair, context));
        }
        let known = self.token == Some(pair.token) || self.spent.contains(&pair.token);
        let kept = self.keeps_apart(pair.token);
        if known || kept || slip == Some(Slip::NothingIsKeptApart) {
            return Handled;
        }
        let text = format!("{}/{}/{}", pair.grant, pair.base + 1, pair.token);
        context.effects.seal(apart(pair.token), text);
        self.quarantine.push((pair.token, pair.base));
        if self.quarantine.len() > QUARANTINE_MAX {
            let (oldest, _) = self.quarantine.remove(0);
            context.effects.erase(apart(oldest));
        }
        Handled
    }

    pub(crate) fn keeps_apart(&self, token: u64) -> bool {
        self.quarantine.iter().any(|(kept, _)| *kept == token)
    }

    /// Whether the timer that is heard is one that was asked for, and in time.
    fn judge_timer(&self, phase: &Phase, context: &Ctx<'_>) {
        let now = context.now;
        let why = match (self.timer, self.held) {
            (None, _) => "a timer fired that was cancelled or never set".to_owned(),
            (Some(at), _) if at > now => format!("a timer fired {} ms early", at - now),
            (_, Some(until)) if until > now => "a timer fired that was held back".to_owned(),
            _ => return,
        };
        context.facts.book.broken(format!("{why}, in {phase:?}"));
    }
}

/// The slot of a pair kept apart.
fn apart(token: u64) -> String {
    format!("apart-{token}")
}

impl Workflow for Credential {
    const KIND: &'static str = "credential";

    type Phase = Phase;
    type Signal = Signal;
    type Activity = Send;
    type Outcome = Ended;
    type Secret = String;
    type Facts = Lab;

    fn initial() -> (Self, Phase) {
        (Self::default(), Phase::Empty {})
    }

    fn step(
        &mut self,
        phase: &mut Phase,
        input: &Input<Self>,
        context: &mut Context<'_, Self>,
    ) -> Step {
        if let Input::TimerFired = input {
            self.judge_timer(phase, context);
            self.timer = None;
        }
        if let Input::Signal(signal) = input {
            self.heard.push(signal.serial);
        }
        let step = dispatch::<Self>(phase, self, input, context);
        if step == Step::Moved {
            (self.timer, self.held) = (None, None);
        }
        self.timer = context.effects.timer_set().or(self.timer);
        self.held = context.effects.held_until().or(self.held);
        if context.facts.slip == Some(Slip::EffectsOfAnyState) {
            self.wanted = context.effects.performed().copied().or(self.wanted);
            if let (Some(send), Phase::Disconnected {}) = (self.wanted, &phase) {
                context.effects.perform(send);
            }
        }
        step
    }

    fn describe(input: &Input<Self>) -> String {
        match input {
            Input::TimerFired => "TimerFired".to_owned(),
            Input::ActivityLost(_) => "ActivityLost".to_owned(),
            Input::Held { .. } => "Held".to_owned(),
            Input::Signal(signal) => format!("{:?}", signal.what),
            Input::Outcome(outcome) => format!("{outcome:?}"),
        }
    }
}
