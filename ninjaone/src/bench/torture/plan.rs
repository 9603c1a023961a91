//! What goes wrong, and when: all of it decided by a seed, before anything begins.
//!
//! Two places that one pair needs are never taken away together: while a worker cannot write its journal,
//! neither it nor Redis is killed. Then a pair would be in no place but the memory of a process that dies,
//! and nobody promises anything.

use std::time::Duration;

use super::dice::Dice;

/// Between two faults on average.
const GAP: Duration = Duration::from_millis(1_200);
/// From the beginning to the first fault.
const FIRST: Duration = Duration::from_secs(2);
/// How long after its disk has come back a worker is left alone: what it could not write down must be
/// in the store.
const AFTER_FULL: Duration = Duration::from_secs(3);
/// Between two throttle pages: they do not say how long to stay away, and a fleet that chooses half a minute
/// itself, and longer each time, would spend the run in silence.
const PAGE_GAP: Duration = Duration::from_secs(150);
/// The longest storm: how long whoever asks is answered 429 or 5xx.
const STORM_MAX: Duration = Duration::from_secs(4);
/// The largest file that a worker may write while its disk is full, in bytes. Smaller than a journal
/// with a few entries, so that some records are written by half.
const ROOM_MAX: u64 = 1_500;

/// What is to go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// SIGKILL; started again afterwards.
    Kill {
        /// Which worker.
        worker: usize,
        /// How long nobody takes its place.
        down: Duration,
    },
    /// SIGSTOP.
    Stop {
        /// Which worker.
        worker: usize,
        /// Until SIGCONT.
        span: Duration,
        /// SIGKILL instead of SIGCONT.
        killed: bool,
    },
    /// The way from a worker to Redis is cut.
    Cut {
        /// Which worker.
        worker: usize,
        /// For how long.
        span: Duration,
    },
    /// The disk under a worker's journal is full.
    DiskFull {
        /// Which worker.
        worker: usize,
        /// The largest file that it may still write, in bytes.
        room: u64,
        /// For how long.
        span: Duration,
    },
    /// Redis is killed; started again afterwards.
    Redis {
        /// How long it is away.
        down: Duration,
    },
    /// The provider misbehaves.
    Provider(Weather),
    /// A person does something.
    Person(Wish),
}

/// How the provider misbehaves: with the next so many requests, or with all for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weather {
    /// It rotates and does not answer: the client's timeout, or an end of the connection.
    Eaten {
        /// It does not even end the connection.
        hangs: bool,
        /// How many.
        times: u64,
    },
    /// It rotates and answers when the client's deadline is over.
    Late {
        /// How much later.
        by: Duration,
        /// How many.
        times: u64,
    },
    /// It rotates, and something before it answers 502.
    Gateway {
        /// How many.
        times: u64,
    },
    /// 429, with a `Retry-After` that lies beyond its end.
    Throttled {
        /// For how long.
        span: Duration,
    },
    /// A throttle page with a success status, once.
    Page,
    /// 500, 502, 503 or 504, nothing carried out.
    Broken {
        /// Which.
        status: u16,
        /// For how long.
        span: Duration,
    },
    /// A reset before the request was read.
    Refused {
        /// How many.
        times: u64,
    },
}

/// What a person does. `who` chooses among those that it can be done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// Disconnects one that is connected.
    Disconnect {
        /// Which.
        who: u64,
    },
    /// Connects one that was disconnected.
    Connect {
        /// Which.
        who: u64,
    },
    /// Consents anew for one that is connected.
    Replace {
        /// Which.
        who: u64,
    },
}

/// One fault and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Planned {
    /// Since the beginning.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// Draws everything that goes wrong in a run. Whatever begins also ends before the run does.
#[must_use]
pub(super) fn plan(seed: u64, span: Duration, workers: usize, lease: Duration) -> Vec<Planned> {
    let mut drawing = Drawing {
        dice: Dice::new(seed),
        span,
        lease,
        free_at: vec![Duration::ZERO; workers],
        full_until: Duration::ZERO,
        redis_at: Duration::ZERO,
        page_at: FIRST,
    };
    let mut all = Vec::new();
    let mut at = FIRST;
    while at < span {
        if let Some(what) = drawing.draw(at) {
            all.push(Planned { at, what });
        }
        at += drawing.dice.span(Duration::from_millis(100), GAP * 2);
    }
    all
}

struct Drawing {
    dice: Dice,
    span: Duration,
    lease: Duration,
    /// Until when each worker has enough to do with what befell it.
    free_at: Vec<Duration>,
    /// Until when Redis must not be killed, because somebody's disk is full.
    full_until: Duration,
    /// Until when Redis has enough to do with itself.
    redis_at: Duration,
    /// Before which there is no throttle page.
    page_at: Duration,
}

impl Drawing {
    fn draw(&mut self, at: Duration) -> Option<What> {
        match self.dice.below(30) {
            0..5 => self.kill(at),
            5..9 => self.stop(at),
            9..12 => self.cut(at),
            12..15 => self.disk_full(at),
            15..17 => self.redis(at),
            17..24 => Some(What::Provider(self.weather(at))),
            _ => Some(What::Person(self.wish())),
        }
    }

    /// A worker that is well, while another is, too; from now on it is not. `after` is how long it is
    /// left alone when it is over.
    fn victim(&mut self, at: Duration, span: Duration, after: Duration) -> Option<usize> {
        let well = |free: &Duration| *free <= at;
        let all = self.free_at.iter().enumerate();
        let well: Vec<usize> = all
            .filter(|(_, f)| well(f))
            .map(|(place, _)| place)
            .collect();
        let alone = well.len() < 2 && self.free_at.len() > 1;
        // What has come back has time for what it finds, before everything is mended.
        if alone || well.is_empty() || at + span + after > self.span {
            return None;
        }
        let nth = usize::try_from(self.dice.below(well.len() as u64)).unwrap_or(0);
        let worker = well[nth];
        self.free_at[worker] = at + span + after;
        Some(worker)
    }

    fn kill(&mut self, at: Duration) -> Option<What> {
        let down = self
            .dice
            .span(Duration::from_millis(100), Duration::from_secs(4));
        let worker = self.victim(at, down, Duration::from_secs(1))?;
        Some(What::Kill { worker, down })
    }

    fn stop(&mut self, at: Duration) -> Option<What> {
        let span = self.dice.span(Duration::from_millis(500), self.lease * 3);
        let killed = self.dice.one_in(4);
        let worker = self.victim(at, span, Duration::from_secs(1))?;
        Some(What::Stop {
            worker,
            span,
            killed,
        })
    }

    fn cut(&mut self, at: Duration) -> Option<What> {
        let span = self.dice.span(Duration::from_millis(300), self.lease * 2);
        let worker = self.victim(at, span, Duration::ZERO)?;
        Some(What::Cut { worker, span })
    }

    fn disk_full(&mut self, at: Duration) -> Option<What> {
        if at < self.redis_at {
            return None;
        }
        let span = self
            .dice
            .span(Duration::from_secs(1), Duration::from_secs(8));
        let room = self.dice.below(ROOM_MAX);
        let worker = self.victim(at, span, AFTER_FULL)?;
        self.full_until = self.full_until.max(at + span + AFTER_FULL);
        Some(What::DiskFull { worker, room, span })
    }

    fn redis(&mut self, at: Duration) -> Option<What> {
        let down = self
            .dice
            .span(Duration::from_millis(200), Duration::from_secs(5));
        if at < self.full_until || at < self.redis_at || at + down > self.span {
            return None;
        }
        self.redis_at = at + down + Duration::from_secs(3);
        Some(What::Redis { down })
    }

    fn weather(&mut self, at: Duration) -> Weather {
        let few = self.dice.between(1, 3);
        let span = self.dice.span(Duration::from_millis(500), STORM_MAX);
        match self.dice.below(14) {
            0..2 => Weather::Eaten {
                hangs: true,
                times: few,
            },
            2 => Weather::Eaten {
                hangs: false,
                times: few,
            },
            3..6 => Weather::Late {
                by: self.dice.span(self.lease, self.lease * 3),
                times: few,
            },
            6 => Weather::Gateway { times: 1 },
            9 if at >= self.page_at => {
                self.page_at = at + PAGE_GAP;
                Weather::Page
            }
            7..10 => Weather::Throttled { span },
            10..13 => Weather::Broken {
                status: [500, 502, 503, 504][usize::try_from(few).unwrap_or(0)],
                span,
            },
            _ => Weather::Refused { times: few },
        }
    }

    fn wish(&mut self) -> Wish {
        let (kind, who) = (self.dice.below(5), self.dice.roll());
        match kind {
            0..2 => Wish::Disconnect { who },
            2..4 => Wish::Connect { who },
            _ => Wish::Replace { who },
        }
    }
}

#[cfg(test)]
mod tests;
