//! Gates as calls of `enter.lua` and `gate.lua`, and what these answer.

use deadpool_redis::redis::Value;

use super::calls::{Calls, flag};
use super::reply::Reply;
use super::scripts::{Call, ENTER, GATE};
use crate::store::clock::millis;
use crate::store::{Breaker, Enter, Entered, GateBounds, GateState, Said, StoreError};

impl Calls<'_> {
    pub(super) fn enter(&self, ask: &Enter) -> Result<Call, StoreError> {
        let bounds = &ask.bounds;
        Ok(Call::new(
            &ENTER,
            self.keys_of(&ask.gate)?,
            vec![
                self.now(),
                ask.place.clone(),
                bounds.at_once.to_string(),
                bounds.spacing_us().to_string(),
                millis(ask.life).to_string(),
                flag(ask.unpaced),
                flag(ask.through_breaker),
                millis(bounds.trial).to_string(),
            ],
        ))
    }

    pub(super) fn gate(
        &self,
        name: &str,
        said: Option<Said>,
        bounds: &GateBounds,
    ) -> Result<Call, StoreError> {
        let (word, pause) = match said {
            None => ("", None),
            Some(Said::Answered) => ("answered", None),
            Some(Said::Failed) => ("failed", None),
            Some(Said::Throttled { pause }) => ("throttled", pause),
        };
        let pause = pause.map_or_else(String::new, |pause| millis(pause).to_string());
        Ok(Call::new(
            &GATE,
            self.keys_of(name)?,
            vec![
                self.now(),
                word.to_owned(),
                pause,
                millis(bounds.pause_first).to_string(),
                millis(bounds.pause_chosen_max).to_string(),
                millis(bounds.pause_max).to_string(),
                bounds.opens_after.to_string(),
                millis(bounds.open_first).to_string(),
                millis(bounds.open_max).to_string(),
            ],
        ))
    }

    fn keys_of(&self, gate: &str) -> Result<Vec<String>, StoreError> {
        Ok(vec![self.keys.gate(gate)?, self.keys.places(gate)?])
    }
}

pub(super) fn entered(value: Value) -> Result<Entered, StoreError> {
    let mut reply = Reply::new("enter", value)?;
    Ok(match reply.word.as_str() {
        "entered" => Entered::In {
            wait: reply.number()?,
            troubled: reply.number()? == 1,
        },
        "paused" => Entered::Paused {
            left: reply.number()?,
        },
        "open" => Entered::Open {
            left: reply.number()?,
        },
        "full" => Entered::Full,
        _ => return reply.unknown_word(),
    })
}

pub(super) fn state(value: Value) -> Result<GateState, StoreError> {
    let mut reply = Reply::new("gate", value)?;
    if reply.word != "gate" {
        return reply.unknown_word();
    }
    let pause_left = reply.number()?;
    reply.word = reply.next()?;
    let open_left = reply.number()?;
    Ok(GateState {
        pause_left,
        breaker: match reply.word.as_str() {
            "closed" => Breaker::Closed,
            "open" => Breaker::Open { left: open_left },
            "half_open" => Breaker::HalfOpen,
            _ => return reply.unknown_word(),
        },
        inside: count(reply.number()?),
        throttled: count(reply.number()?),
        failed: count(reply.number()?),
    })
}

fn count(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
