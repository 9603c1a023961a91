//! The machine of a grant and the pure middle of a turn, as `ninjaone/src/lifecycle` and
//! `engine/src/advance.rs` have them, less what is only told to people.

use super::rules::Rules;
use super::state::*;

/// What a turn starts from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Base<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) wake_at: Option<Ticks>,
    pub(crate) visible_at: Option<Ticks>,
}

/// What a turn feeds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Input {
    Lost,
    Signal(Signal),
    Timer,
    Outcome(Outcome),
    Held,
}

/// What surrounds the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Around {
    pub(crate) rules: Rules,
    /// The worker has seen a new run id not long ago.
    pub(crate) doubtful: bool,
    /// Rotations that are planned; after them a refresh lies beyond the horizon.
    pub(crate) rotations: u8,
    /// When a new grant's `EXPIRING` is due; `FAR` for never.
    pub(crate) word: Ticks,
}

/// Where a turn ends.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) machine: Machine,
    pub(crate) wake_at: Option<Ticks>,
    pub(crate) visible_at: Option<Ticks>,
    pub(crate) perform: Option<Request>,
    pub(crate) verdict: bool,
    pub(crate) put: Option<Token>,
    pub(crate) clear: bool,
    /// For the checker: the timer was heard before it had come, or in place of another; a wish was
    /// heard that had been fulfilled.
    pub(crate) early: bool,
    pub(crate) replaced: bool,
    pub(crate) needless: bool,
}

/// Feeds what was lost, the signals, the timer, and what came last.
pub(crate) fn advance(
    base: Base<'_>,
    lost: bool,
    signals: &[Signal],
    timer: bool,
    last: Option<Input>,
    around: &Around,
) -> Run {
    let mut run = Run {
        machine: base.machine.clone(),
        wake_at: base.wake_at,
        visible_at: base.visible_at.filter(|at| *at > 0),
        perform: None,
        verdict: false,
        put: None,
        clear: false,
        early: false,
        replaced: false,
        needless: false,
    };
    let come_before = base.wake_at == Some(0) && run.visible_at.is_none();
    if lost {
        run.feed(Input::Lost, around);
    }
    for signal in signals {
        run.feed(Input::Signal(*signal), around);
    }
    if timer {
        let come_now = run.wake_at == Some(0) && run.visible_at.is_none();
        let come = if !around.rules.due_is_not_wake_at {
            run.wake_at.is_some()
        } else if around.rules.timer_after_signals {
            come_now
        } else {
            come_before
        };
        if come {
            run.early |= base.wake_at != Some(0) && !come_now;
            run.replaced |= come_before && !come_now;
            run.wake_at = None;
            run.feed(Input::Timer, around);
        }
    }
    if let Some(last) = last {
        run.feed(last, around);
        if matches!(last, Input::Held) {
            run.perform = None;
        }
    }
    run
}

impl Run {
    fn feed(&mut self, input: Input, around: &Around) {
        let before = self.machine.phase;
        let timer = self.answer(input, around);
        let moved = self.machine.phase != before;
        if let Some(asked) = timer.perform {
            self.perform = Some(asked);
        } else if moved && around.rules.effects_of_last_state {
            self.perform = None;
        }
        if moved {
            self.verdict = false;
            if around.rules.effects_of_last_state {
                self.wake_at = None;
                self.visible_at = None;
            }
        }
        self.verdict |= matches!(self.machine.phase, Phase::ReconnectRequired(_)) && moved;
        if let Some(at) = timer.wake_at {
            self.wake_at = Some(at);
        }
        if timer.visible_at.is_some() {
            self.visible_at = timer.visible_at;
        }
    }

    fn answer(&mut self, input: Input, around: &Around) -> Wishes {
        match (self.machine.phase, input) {
            (_, Input::Signal(Signal::Connect(grant))) => self.connect(grant, around),
            (Phase::Disconnected, Input::Signal(Signal::Rescued(pair)))
                if !around.rules.rescued_not_when_disconnected =>
            {
                self.adopt(pair, around)
            }
            (Phase::Disconnected, _) => Wishes::default(),
            (_, Input::Signal(Signal::Disconnect)) => self.disconnect(),
            (_, Input::Signal(Signal::Rescued(pair))) => self.rescued(pair, around),
            (_, Input::Signal(Signal::LateRejection(grant))) => self.late_rejection(grant, around),
            (Phase::Active, Input::Signal(Signal::RefreshNow { .. })) => self.begin(Purpose::Probe),
            (Phase::Scheduled { purpose, at: 0, .. }, Input::Timer) => self.begin(purpose),
            (Phase::Scheduled { at, .. }, Input::Timer) => {
                if self.machine.word == 0 {
                    self.machine.word = FAR;
                }
                Wishes::at(at.min(self.machine.word))
            }
            (
                Phase::Scheduled {
                    purpose,
                    at,
                    not_before,
                },
                Input::Signal(Signal::RefreshNow { generation }),
            ) => self.refresh_now(purpose, at, not_before, generation, around),
            (Phase::Scheduled { not_before, .. }, Input::Signal(Signal::Reset)) => {
                self.schedule(Purpose::Probe, not_before, not_before)
            }
            (Phase::ReconnectRequired(_), Input::Signal(Signal::Reset)) => {
                self.schedule(Purpose::Probe, 0, 0)
            }
            (Phase::ReconnectRequired(_), Input::Signal(Signal::RefreshNow { .. }))
                if !around.rules.reset_is_marked =>
            {
                self.schedule(Purpose::Retry, 0, 0)
            }
            (Phase::Refreshing { .. }, Input::Lost) => self.unknown(around),
            (Phase::Refreshing { purpose }, Input::Held) => self.schedule(purpose, 0, 0),
            (Phase::Refreshing { purpose }, Input::Outcome(outcome)) => {
                self.outcome(purpose, outcome, around)
            }
            _ => Wishes::default(),
        }
    }

    fn outcome(&mut self, purpose: Purpose, outcome: Outcome, around: &Around) -> Wishes {
        let owed = self.machine.owed;
        self.machine.owed = false;
        match outcome {
            Outcome::Refreshed(token) => {
                if let Some(grant) = &mut self.machine.grant {
                    self.machine.spent |= grant.token.bit();
                    self.machine.spent &= !token.bit();
                    grant.generation += 1;
                    grant.token = token;
                }
                self.put = Some(token);
                self.healed();
                self.planned(around)
            }
            Outcome::Rejected => self.rejected(around),
            Outcome::Unavailable => self.schedule(Purpose::Retry, PLAN, 0),
            Outcome::Throttled if around.rules.pause_in_state => {
                self.schedule(Purpose::Retry, PAUSE, PAUSE)
            }
            Outcome::Throttled => {
                let mut wishes = self.schedule(Purpose::Retry, 0, 0);
                wishes.visible_at = Some(PAUSE);
                wishes
            }
            Outcome::Unknown => self.unknown(around),
            Outcome::NotSent => {
                self.machine.owed = owed;
                self.schedule(purpose, PLAN, 0)
            }
        }
    }

    fn begin(&mut self, purpose: Purpose) -> Wishes {
        let Some(grant) = self.machine.grant else {
            return Wishes::default();
        };
        self.machine.phase = Phase::Refreshing { purpose };
        Wishes {
            perform: Some(Request {
                grant: grant.id,
                epoch: grant.epoch,
                generation: grant.generation,
                token: grant.token,
                purpose,
                again: self.machine.unknown,
                at_once: self.machine.owed,
            }),
            ..Wishes::default()
        }
    }

    fn refresh_now(
        &mut self,
        purpose: Purpose,
        at: Ticks,
        not_before: Ticks,
        generation: u8,
        around: &Around,
    ) -> Wishes {
        let moved_on = (self.machine.grant).is_some_and(|grant| grant.generation > generation);
        if moved_on && around.rules.refresh_generation {
            return Wishes::default();
        }
        if at == 0 || (not_before > 0 && around.rules.pause_kept) {
            return Wishes::default();
        }
        self.needless |= moved_on;
        self.schedule(purpose, 0, 0)
    }

    fn unknown(&mut self, around: &Around) -> Wishes {
        self.machine.owed = false;
        self.machine.unknown = true;
        if self.machine.retried && around.rules.one_retry {
            return self.schedule(Purpose::Retry, PLAN, 0);
        }
        self.machine.retried = true;
        self.machine.owed = true;
        self.schedule(Purpose::Retry, 0, 0)
    }

    fn rejected(&mut self, around: &Around) -> Wishes {
        if let (Some((_, token)), Some(grant)) = (self.machine.apart.pop(), &mut self.machine.grant)
        {
            self.machine.spent |= grant.token.bit();
            self.machine.spent &= !token.bit();
            grant.generation += 1;
            grant.token = token;
            self.put = Some(token);
            return self.schedule(Purpose::Probe, 0, 0);
        }
        let doubtful = around.doubtful && around.rules.caution_in_verdicts;
        let unknown = self.machine.unknown && around.rules.rotation_lost;
        let reason = if unknown || doubtful {
            Reason::RotationLost
        } else {
            Reason::Revoked
        };
        self.machine.phase = Phase::ReconnectRequired(reason);
        Wishes::default()
    }

    fn late_rejection(&mut self, grant: u8, around: &Around) -> Wishes {
        let ours = self.machine.grant.is_some_and(|stored| stored.id == grant);
        if !ours || matches!(self.machine.phase, Phase::ReconnectRequired(_)) {
            return Wishes::default();
        }
        self.rejected(around)
    }

    fn connect(&mut self, id: u8, around: &Around) -> Wishes {
        let stored = self.machine.grant;
        if around.rules.connect_idempotent && stored.is_some_and(|grant| grant.id == id) {
            return Wishes::default();
        }
        let epoch = self.machine.epoch + 1;
        let token = Token {
            grant: id,
            serial: 0,
        };
        self.machine = Machine {
            grant: Some(Grant {
                id,
                epoch,
                generation: 0,
                token,
            }),
            epoch,
            word: around.word,
            ..Machine::new()
        };
        self.clear = true;
        self.put = Some(token);
        self.planned(around)
    }

    fn disconnect(&mut self) -> Wishes {
        self.machine = Machine {
            epoch: self.machine.epoch,
            ..Machine::new()
        };
        self.clear = true;
        self.put = None;
        Wishes::at(FAR)
    }

    pub(super) fn healed(&mut self) {
        self.machine.unknown = false;
        self.machine.retried = false;
        self.machine.owed = false;
        self.machine.word = FAR;
    }

    pub(super) fn planned(&mut self, around: &Around) -> Wishes {
        let serial = self.machine.grant.map_or(0, |grant| grant.token.serial);
        let at = if serial < around.rotations { PLAN } else { FAR };
        self.schedule(Purpose::Refresh, at, 0)
    }

    fn schedule(&mut self, purpose: Purpose, at: Ticks, not_before: Ticks) -> Wishes {
        self.machine.phase = Phase::Scheduled {
            purpose,
            at,
            not_before,
        };
        Wishes::at(at.min(self.machine.word))
    }
}

impl Machine {
    /// The machine of a workflow that has just been created.
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Disconnected,
            epoch: 0,
            grant: None,
            unknown: false,
            retried: false,
            owed: false,
            spent: 0,
            apart: Vec::new(),
            word: FAR,
        }
    }
}

/// What one answer of the machine asks for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wishes {
    wake_at: Option<Ticks>,
    visible_at: Option<Ticks>,
    perform: Option<Request>,
}

impl Wishes {
    fn at(at: Ticks) -> Self {
        Self {
            wake_at: Some(at),
            ..Self::default()
        }
    }
}
