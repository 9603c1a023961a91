//! Gates: how a whole fleet is polite to somebody outside.
//!
//! A gate has a name and knows nothing of what it guards. It lets so many in at once and so many a
//! second, nobody while a pause lasts, and, after so many failures in a row, one at a time until that
//! one has succeeded. Places end by themselves, so nobody has to give back what a process that died
//! held. A gate that nobody has asked for a day is forgotten.
//!
//! It lies in a slot of its own, apart from all workflows. So it is asked before an activity is
//! written down and never in the same script; and a fleet must be able to do without it (see
//! [`Enter::bounds`], which a process can keep by itself).
//!
//! All times here are spans from now, since the clock of the server that has the gate is nobody
//! else's.

use std::time::Duration;

use crate::machine::Millis;

/// What a gate lets through. All processes must ask with the same, or the strictest is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateBounds {
    /// Places.
    pub at_once: u32,
    /// Beginnings a second, evenly spread.
    pub a_second: u32,
    /// The first pause that nobody named the length of; doubles while there is no other answer.
    pub pause_first: Duration,
    /// The longest pause that nobody named the length of.
    pub pause_chosen_max: Duration,
    /// The longest pause, whoever named it.
    pub pause_max: Duration,
    /// Failures in a row that open the breaker.
    pub opens_after: u32,
    /// How long the breaker is open first; doubles while the one that is let through fails.
    pub open_first: Duration,
    /// The longest that the breaker is open before one is let through.
    pub open_max: Duration,
    /// How long the others are sent away while one has been let through.
    pub trial: Duration,
}

impl Default for GateBounds {
    fn default() -> Self {
        Self {
            at_once: 8,
            a_second: 50,
            pause_first: Duration::from_secs(30),
            pause_chosen_max: Duration::from_secs(600),
            pause_max: Duration::from_secs(3_600),
            opens_after: 5,
            open_first: Duration::from_secs(10),
            open_max: Duration::from_secs(120),
            trial: Duration::from_secs(5),
        }
    }
}

impl GateBounds {
    /// Between two beginnings, µs.
    pub(crate) fn spacing_us(&self) -> u64 {
        1_000_000 / u64::from(self.a_second.max(1))
    }
}

/// Wants a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enter {
    /// The gate's name, without braces.
    pub gate: String,
    /// Names the place, to give it back; random.
    pub place: String,
    /// The place ends after this, if it is not given back.
    pub life: Duration,
    /// Does not wait for the pace, though it counts.
    pub unpaced: bool,
    /// Goes in although the breaker is open.
    pub through_breaker: bool,
    /// What the gate lets through.
    pub bounds: GateBounds,
}

/// How a wish to enter was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entered {
    /// There is a place, to be given back.
    In {
        /// Begin after so long, for the sake of the pace; ms.
        wait: Millis,
        /// Something went wrong lately: the gate wants to be told how this one goes, also if it
        /// goes well.
        troubled: bool,
    },
    /// Nobody gets in before a pause is over.
    Paused {
        /// Which is in so many ms.
        left: Millis,
    },
    /// The breaker is open, or the one that was let through is not back yet.
    Open {
        /// Ask again in so many ms.
        left: Millis,
    },
    /// All places are taken.
    Full,
}

/// How it went inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// There was an answer. The breaker closes.
    Answered,
    /// There was none, or one that was none.
    Failed,
    /// It was asked for a pause.
    Throttled {
        /// How long; `None` if that was not said.
        pause: Option<Duration>,
    },
}

/// The breaker of a gate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Breaker {
    /// All get in.
    #[default]
    Closed,
    /// Nobody does.
    Open {
        /// For so many ms more.
        left: Millis,
    },
    /// One does.
    HalfOpen,
}

/// How a gate stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GateState {
    /// For so many ms more nobody gets in; 0 if there is no pause.
    pub pause_left: Millis,
    /// The breaker.
    pub breaker: Breaker,
    /// Places that are taken.
    pub inside: u32,
    /// Pauses in a row.
    pub throttled: u32,
    /// Failures in a row.
    pub failed: u32,
}
