//! What a seed has in store: how large the fleet is, and which kinds of misfortune happen at all. A run
//! with everything at once hides what one misfortune alone would show, so each seed draws some.

use std::fmt;

use super::dice::Dice;

#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    pub(crate) workers: u64,
    pub(crate) integrations: u64,
    /// Life of an access token, s.
    pub(crate) life_s: u64,
    /// How long things go wrong, s.
    pub(crate) bad_s: u64,
    /// Of a process, at one of its calls.
    pub(crate) crash: f64,
    /// Between a reply that was read and the journal, or behind it.
    pub(crate) crash_at_the_disk: f64,
    /// Of a call: the process stands still for up to forty seconds.
    pub(crate) freeze: f64,
    pub(crate) late: f64,
    pub(crate) away: f64,
    pub(crate) reply_lost: f64,
    pub(crate) unconfirmed: f64,
    pub(crate) full_disk: f64,
    pub(crate) cuts: bool,
    pub(crate) deafness: bool,
    pub(crate) stops: bool,
    pub(crate) store_clock: bool,
    pub(crate) worker_clocks: bool,
    pub(crate) failovers: bool,
    /// Failovers that lose what was not confirmed.
    pub(crate) losses: bool,
    /// Of a token request: that the provider does not do what it should.
    pub(crate) provider: f64,
    pub(crate) storms: bool,
    pub(crate) revocations: bool,
    pub(crate) people: bool,
}

impl Plan {
    pub(crate) fn draw(seed: u64) -> Self {
        let dice = Dice::new(seed, "plan");
        let maybe = |odds: f64, most: f64| {
            let some = dice.chance(odds);
            let part = dice.number(10, 100) as f64 / 100.0;
            if some { most * part } else { 0.0 }
        };
        Self {
            workers: dice.number(3, 4),
            integrations: dice.number(2, 5),
            life_s: *dice.pick(&[30, 45, 60, 120]),
            bad_s: dice.number(90, 240),
            crash: maybe(0.5, 0.004),
            crash_at_the_disk: maybe(0.4, 0.2),
            freeze: maybe(0.4, 0.003),
            late: maybe(0.6, 0.05),
            away: maybe(0.4, 0.05),
            reply_lost: maybe(0.5, 0.05),
            unconfirmed: maybe(0.3, 0.05),
            full_disk: maybe(0.15, 0.5),
            cuts: dice.chance(0.4),
            deafness: dice.chance(0.3),
            stops: dice.chance(0.3),
            store_clock: dice.chance(0.25),
            worker_clocks: dice.chance(0.3),
            failovers: dice.chance(0.35),
            losses: dice.chance(0.5),
            provider: maybe(0.75, 0.5),
            storms: dice.chance(0.3),
            revocations: dice.chance(0.2),
            people: dice.chance(0.7),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
