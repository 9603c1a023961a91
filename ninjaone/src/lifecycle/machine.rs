//! The chart of a grant's life, and the answer of each state to each input.
//!
//! ```text
//!                         Connect, Adopt (from every state; a new grant replaces what was before)
//!                            │
//!                            ▼            the timer has come
//!      ┌─────────────▶  Scheduled  ───────────────────────────▶  Refreshing
//!      │                     ▲                                       │
//!      │                     │  Refreshed, Throttled, Unavailable,   │
//!      │                     │  Unknown, NotSent, Held               │
//!      │                     └───────────────────────────────────────┤
//!      │  Reset, Rescued                                             │
//!      ├───────────────  ReconnectRequired  ◀──── Rejected ──────────┤
//!      │  timer, RefreshNow, Reset,                                  │
//!      │  ConfigurationChanged (through Refreshing)                  │
//!      └───────────────  Active(attention)  ◀──── Misconfigured ─────┘
//!
//!   Disconnect, from every state ──▶  Disconnected  ── retention ──▶  gone
//! ```
//!
//! This is the only file that names `statig`. No entry or exit actions: loading a state is not
//! entering it.

use evergreen_engine::{Context, Input};
use statig::prelude::*;

use super::data::{Credential, Phase, Purpose, Source};
use super::inputs::{Outcome as Ended, Signal};
use super::schedule::Attempt;
use super::{Adoption, adoption};
use crate::integration::{GrantKind, GrantRef};
use crate::provider::{Attention, Detail, Reason};
use crate::vault::{Fingerprint, GrantId};

type Answer = Outcome<Phase>;

// Handlers name every field of their state, used or not: the macro's patterns have no `..`.
#[expect(unused_variables)]
#[state_machine(
    initial = "Phase::Disconnected {}",
    state(custom, name = "Phase"),
    event_identifier = "input"
)]
impl Credential {
    #[state(name = "Active", superstate = "any_state")]
    fn active(
        &mut self,
        attention: &mut Attention,
        input: &Input<Credential>,
        context: &mut Context<'_, Credential>,
    ) -> Answer {
        match input {
            Input::TimerFired => self.look_again(*attention, Source::Timer, context),
            Input::Signal(Signal::ConfigurationChanged) => {
                self.look_again(*attention, Source::Configuration, context)
            }
            Input::Signal(Signal::Reset) => {
                self.failures.reprieved = self.failures.dead.is_some();
                self.look_again(*attention, Source::Operator, context)
            }
            Input::Signal(Signal::RefreshNow {
                source,
                grant,
                generation,
            }) if *source != Source::Lazy && !self.has_left_behind(*grant, *generation) => {
                self.look_again(*attention, *source, context)
            }
            Input::Signal(Signal::RefreshNow { .. }) => Handled,
            Input::Signal(Signal::Rescued(rescued)) => or_stay(self.rescued(rescued, context)),
            _ => Super,
        }
    }

    #[state(name = "Scheduled", superstate = "any_state")]
    fn scheduled(
        &mut self,
        purpose: &mut Purpose,
        at: &mut u64,
        source: &mut Source,
        not_before: &mut Option<u64>,
        input: &Input<Credential>,
        context: &mut Context<'_, Credential>,
    ) -> Answer {
        let paused = not_before.filter(|until| *until > context.now);
        match input {
            Input::TimerFired if *at <= context.now => {
                let source = if matches!(source, Source::Lazy | Source::Operator) {
                    *source
                } else {
                    Source::Timer
                };
                let attempt = Attempt {
                    purpose: *purpose,
                    source,
                    exempt: *purpose == Purpose::Probe || self.failures.retry_owed,
                    attention: None,
                };
                or_stay(self.begin(attempt, context))
            }
            Input::TimerFired => {
                self.say_what_is_due(context);
                context
                    .effects
                    .wake_at(self.next_wake(*at, context.now, context.facts));
                Handled
            }
            Input::Signal(Signal::RefreshNow {
                source: who,
                grant: seen,
                generation,
            }) => {
                let moved_on = self.has_left_behind(*seen, *generation);
                // A lazy caller never shortens a back-off; an operator does. Nobody shortens a pause.
                let patient = *who == Source::Lazy && *purpose == Purpose::Retry;
                if moved_on {
                    return Handled;
                }
                if *at <= context.now || paused.is_some() {
                    // It comes as soon as it may. Who asked first is told.
                    if !matches!(source, Source::Lazy | Source::Operator) {
                        *source = *who;
                    }
                    return Handled;
                }
                if patient {
                    return Handled;
                }
                let phase = Phase::Scheduled {
                    purpose: *purpose,
                    at: context.now,
                    source: *who,
                    not_before: None,
                };
                context.effects.wake_at(context.now);
                Transition(phase)
            }
            Input::Signal(Signal::Rescued(rescued)) => or_stay(self.rescued(rescued, context)),
            Input::Signal(Signal::ConfigurationChanged)
                if *purpose == Purpose::Refresh && paused.is_none() =>
            {
                if self.planned_at(context.now, context.facts) == *at {
                    return Handled;
                }
                Transition(self.schedule_planned(Source::Configuration, context))
            }
            Input::Signal(Signal::ConfigurationChanged) => Handled,
            Input::Signal(Signal::Reset) => {
                self.failures.reprieved = self.failures.dead.is_some();
                let at = paused.unwrap_or(context.now);
                context.effects.wake_at(at);
                Transition(Phase::Scheduled {
                    purpose: Purpose::Probe,
                    at,
                    source: Source::Operator,
                    not_before: paused,
                })
            }
            _ => Super,
        }
    }

    #[state(name = "Refreshing", superstate = "any_state")]
    #[expect(clippy::too_many_arguments)]
    fn refreshing(
        &mut self,
        generation: &mut u64,
        fingerprint: &mut Option<Fingerprint>,
        started_at: &mut u64,
        source: &mut Source,
        purpose: &mut Purpose,
        attention: &mut Option<Attention>,
        input: &Input<Credential>,
        context: &mut Context<'_, Credential>,
    ) -> Answer {
        let harmless = fingerprint.is_none();
        match input {
            Input::Outcome(Ended::NotSent) => {
                Transition(self.not_sent(*purpose, *attention, context))
            }
            Input::Outcome(ended) => {
                self.attempted(*started_at);
                Transition(match ended {
                    // A pair of another generation cannot come here, since the lease is held; if it
                    // did, what is stored would go on.
                    Ended::Refreshed(issued) => match self.issued(issued, *source, context) {
                        Some(phase) => phase,
                        None => self.schedule_planned(*source, context),
                    },
                    Ended::Rejected { reason, detail } => {
                        if !harmless && self.may_have_been_spent(context) {
                            self.failures.unknown_since.get_or_insert(*started_at);
                        }
                        self.rejected(*reason, detail, context)
                    }
                    Ended::Misconfigured { attention, detail } => {
                        self.failed(detail);
                        self.misconfigured(*attention, context)
                    }
                    Ended::Throttled { until, detail } => self.throttled(*until, detail, context),
                    Ended::Unavailable {
                        detail,
                        sent,
                        tls,
                        unclassified,
                    } => {
                        if !sent {
                            self.permit_again();
                        }
                        self.unavailable(detail, *tls, *unclassified, context)
                    }
                    Ended::Unknown { detail } => {
                        self.unknown(detail, *started_at, harmless, context)
                    }
                    Ended::NotSent => self.not_sent(*purpose, *attention, context),
                })
            }
            Input::ActivityLost(_) => {
                self.attempted(*started_at);
                let detail = Detail {
                    description: Some("the worker vanished while the request was under way".into()),
                    ..Detail::default()
                };
                Transition(self.unknown(&detail, *started_at, harmless, context))
            }
            Input::Held { until } => {
                let phase = match *attention {
                    Some(attention) => {
                        let turn = self.turn_behind_a_pause(*until, context.now, context.facts);
                        context.effects.wake_at(context.now);
                        context.effects.hold_until(turn);
                        Phase::Active { attention }
                    }
                    None => self.wait_behind_a_pause(*purpose, *until, *source, context),
                };
                Transition(phase)
            }
            Input::Signal(Signal::Rescued(rescued)) => or_stay(self.rescued(rescued, context)),
            // The request under way is what was asked for.
            Input::Signal(
                Signal::RefreshNow { .. } | Signal::Reset | Signal::ConfigurationChanged,
            ) => Handled,
            _ => Super,
        }
    }

    #[state(name = "ReconnectRequired", superstate = "any_state")]
    fn reconnect_required(
        &mut self,
        reason: &mut Reason,
        input: &Input<Credential>,
        context: &mut Context<'_, Credential>,
    ) -> Answer {
        match input {
            Input::Signal(Signal::Rescued(rescued)) => {
                // What is kept apart has no verdict to come before any more: its one try is now.
                let adopted = self.rescued(rescued, context);
                or_stay(adopted.or_else(|| self.release_quarantined(context)))
            }
            Input::Signal(Signal::Reset) if self.grant.is_some() => {
                self.failures.reprieved = true;
                Transition(self.schedule(Purpose::Probe, context.now, Source::Operator, context))
            }
            // Nothing is sent after a verdict, whoever asks.
            Input::Signal(
                Signal::RefreshNow { .. } | Signal::Reset | Signal::ConfigurationChanged,
            ) => Handled,
            _ => Super,
        }
    }

    #[state(name = "Disconnected", superstate = "any_state")]
    fn disconnected(
        &mut self,
        input: &Input<Credential>,
        context: &mut Context<'_, Credential>,
    ) -> Answer {
        match input {
            Input::TimerFired => {
                context.effects.finish();
                Handled
            }
            // A record that could not be read begins anew here: a disconnect is a disconnect all the
            // same, so that nothing is adopted over it later.
            Input::Signal(Signal::Disconnect { reason }) if self.epoch == 0 => {
                Transition(self.disconnect(reason, context))
            }
            Input::Signal(Signal::Rescued(_)) => {
                context.effects.note("rescued", "dropped: disconnected");
                Handled
            }
            // Late results and late wishes change nothing.
            Input::Outcome(_)
            | Input::ActivityLost(_)
            | Input::Held { .. }
            | Input::Signal(
                Signal::Disconnect { .. }
                | Signal::RefreshNow { .. }
                | Signal::Reset
                | Signal::ConfigurationChanged,
            ) => Handled,
            Input::Signal(Signal::Connect(_) | Signal::Adopt(_) | Signal::Reseal) => Super,
        }
    }

    /// What every state answers in the same way.
    #[superstate]
    fn any_state(
        &mut self,
        input: &Input<Credential>,
        context: &mut Context<'_, Credential>,
    ) -> Answer {
        match input {
            Input::Signal(Signal::Connect(new)) => or_stay(self.connect(new, context)),
            Input::Signal(Signal::Adopt(new)) => {
                let verdict = adoption(self, &self.here, new.refresh_token.as_ref());
                if verdict == Adoption::Adopted {
                    return or_stay(self.connect(new, context));
                }
                context
                    .effects
                    .note("refused", format!("{verdict:?}").to_lowercase());
                Handled
            }
            Input::Signal(Signal::Disconnect { reason }) => {
                Transition(self.disconnect(reason, context))
            }
            Input::Signal(Signal::Reseal) => {
                self.reseal(context);
                Handled
            }
            _ => Super,
        }
    }
}

/// A state to go to, or none to go to.
fn or_stay(phase: Option<Phase>) -> Answer {
    phase.map_or(Handled, Transition)
}

impl Credential {
    /// Whether what an asker saw is not what is there now: another grant has taken its place, or it was
    /// rotated since. A number of rotations means nothing without the grant that it counts.
    fn has_left_behind(&self, seen: Option<GrantId>, generation: u64) -> bool {
        self.grant.as_ref().is_some_and(|grant| match seen {
            Some(seen) if seen != grant.id => true,
            _ => grant.generation > generation,
        })
    }

    /// Finds out whether what a person was to put right has been put right.
    fn look_again(
        &mut self,
        attention: Attention,
        source: Source,
        context: &mut Context<'_, Credential>,
    ) -> Answer {
        let grant = context.id.id().parse::<GrantRef>();
        let minted = grant.is_ok_and(|grant| grant.kind() == GrantKind::Client);
        let refreshable = self
            .grant
            .as_ref()
            .is_some_and(|g| g.refresh_token.is_some());
        if minted || refreshable {
            let attempt = Attempt {
                purpose: Purpose::Probe,
                source,
                exempt: source == Source::Operator,
                attention: Some(attention),
            };
            or_stay(self.begin(attempt, context))
        } else {
            Handled
        }
    }
}
