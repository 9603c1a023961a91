//! Gates, the twin of `enter.lua` and `gate.lua`.

use std::collections::{BTreeMap, HashMap};

use crate::machine::Millis;
use crate::store::clock::millis;
use crate::store::{Breaker, Enter, Entered, GateBounds, GateState, Said};

/// Doublings of a pause that are counted.
const DOUBLINGS_MAX: u32 = 16;

/// All gates that were ever asked. Redis forgets one that nobody has asked for a day; here they go
/// with the process.
#[derive(Clone, Default)]
pub(super) struct Gates(HashMap<String, Gate>);

#[derive(Clone, Default)]
struct Gate {
    paused_until: Millis,
    throttled: u32,
    failed: u32,
    opened: u32,
    open_until: Millis,
    trial: Option<String>,
    next_us: u64,
    places: BTreeMap<String, Millis>,
}

impl Gates {
    pub(super) fn enter(&mut self, now: Millis, ask: &Enter) -> Entered {
        self.0.entry(ask.gate.clone()).or_default().enter(now, ask)
    }

    pub(super) fn leave(&mut self, gate: &str, place: &str) {
        if let Some(gate) = self.0.get_mut(gate) {
            gate.places.remove(place);
        }
    }

    pub(super) fn tell(
        &mut self,
        now: Millis,
        gate: &str,
        said: Option<Said>,
        bounds: &GateBounds,
    ) -> GateState {
        let gate = self.0.entry(gate.to_owned()).or_default();
        if let Some(said) = said {
            gate.hear(now, said, bounds);
        }
        gate.state(now)
    }
}

impl Gate {
    fn enter(&mut self, now: Millis, ask: &Enter) -> Entered {
        let bounds = &ask.bounds;
        if self.places.get(&ask.place).is_some_and(|ends| *ends > now) {
            return Entered::In {
                wait: 0,
                troubled: true,
            };
        }
        if self.paused_until > now {
            return Entered::Paused {
                left: self.paused_until - now,
            };
        }
        let behind_breaker = self.opened > 0 && !ask.through_breaker;
        if behind_breaker {
            if self.open_until > now {
                return Entered::Open {
                    left: self.open_until - now,
                };
            }
            let trial = self.trial.as_ref().and_then(|trial| self.places.get(trial));
            if trial.is_some_and(|ends| *ends > now) {
                return Entered::Open {
                    left: millis(bounds.trial),
                };
            }
        }
        if self.inside(now) >= bounds.at_once {
            return Entered::Full;
        }
        let now_us = now.saturating_mul(1_000);
        let spacing_us = bounds.spacing_us();
        let window_us = spacing_us * u64::from(bounds.at_once);
        let stepped_back = self.next_us > now_us + window_us;
        let next = if stepped_back { 0 } else { self.next_us }.max(now_us);
        let start = if ask.unpaced { now_us } else { next };

        self.places.retain(|_, ends| *ends > now);
        self.places
            .insert(ask.place.clone(), now + millis(ask.life));
        self.next_us = (next + spacing_us).min(now_us + window_us);
        if behind_breaker {
            self.trial = Some(ask.place.clone());
        }
        Entered::In {
            wait: (start - now_us).div_ceil(1_000),
            troubled: self.throttled > 0 || self.failed > 0 || self.opened > 0,
        }
    }

    fn hear(&mut self, now: Millis, said: Said, bounds: &GateBounds) {
        let paused = self.paused_until > now;
        match said {
            Said::Answered => {
                self.failed = 0;
                self.opened = 0;
                self.open_until = 0;
                self.trial = None;
                // What left before the pause began says nothing of it.
                if !paused {
                    self.throttled = 0;
                }
            }
            Said::Failed => {
                self.failed += 1;
                let opens = self.opened == 0 && self.failed >= bounds.opens_after;
                let opens_again = self.opened > 0 && self.open_until <= now;
                if opens || opens_again {
                    let (first, most) = (millis(bounds.open_first), millis(bounds.open_max));
                    self.open_until = now + doubled(first, self.opened, most);
                    self.opened += 1;
                    self.trial = None;
                }
            }
            Said::Throttled { pause: None } if paused => {}
            Said::Throttled { pause } => {
                let (first, most) = (millis(bounds.pause_first), millis(bounds.pause_chosen_max));
                let span = match pause.map(millis) {
                    None => doubled(first, self.throttled, most),
                    Some(asked) if self.throttled > 0 && !paused => {
                        asked.max(doubled(first, self.throttled - 1, most))
                    }
                    Some(asked) => asked,
                };
                if !paused {
                    self.throttled += 1;
                }
                let until = now + span.min(millis(bounds.pause_max));
                self.paused_until = self.paused_until.max(until);
            }
        }
    }

    fn state(&self, now: Millis) -> GateState {
        let breaker = match (self.opened, self.open_until.saturating_sub(now)) {
            (0, _) => Breaker::Closed,
            (_, 0) => Breaker::HalfOpen,
            (_, left) => Breaker::Open { left },
        };
        GateState {
            pause_left: self.paused_until.saturating_sub(now),
            breaker,
            inside: self.inside(now),
            throttled: self.throttled,
            failed: self.failed,
        }
    }

    fn inside(&self, now: Millis) -> u32 {
        let inside = self.places.values().filter(|ends| **ends > now).count();
        u32::try_from(inside).unwrap_or(u32::MAX)
    }
}

fn doubled(first: Millis, times: u32, most: Millis) -> Millis {
    first
        .saturating_mul(1 << times.min(DOUBLINGS_MAX))
        .min(most)
}
