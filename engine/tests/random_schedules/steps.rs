//! What can happen in a schedule. A step says who does something; what that is follows from how far
//! they are. So a step that is left out of a schedule leaves the others with their meaning.

use evergreen_engine::Millis;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub(crate) const WORKERS: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A worker does the next of what it is at; one that is at nothing takes what is due; one that is
    /// dead comes back, with its journal.
    Go {
        worker: usize,
        nth: usize,
        fate: Fate,
    },
    /// So many times, without trouble.
    Run {
        worker: usize,
        times: usize,
    },
    Time {
        ms: Millis,
    },
    Crash {
        worker: usize,
    },
    /// A worker stands still for so long.
    Freeze {
        worker: usize,
        ms: Millis,
    },
    /// The next thing that a worker is at happens, and it hears of that so much later.
    Suspend {
        worker: usize,
        ms: Millis,
    },
    /// The customer consents anew, by way of this worker's process.
    Connect {
        worker: usize,
    },
    Disconnect {
        worker: usize,
    },
    /// A caller wants a fresh token; it has seen the generation so many before the present one.
    RefreshNow {
        worker: usize,
        behind: u64,
    },
    /// The customer withdraws the consent at the provider.
    Revoke,
    /// The provider's host wants to be left alone.
    PauseHost {
        ms: Millis,
    },
    Reconcile,
    /// An entry of the index goes, or gets a score that is nobody's.
    BreakIndex {
        score: Option<i64>,
    },
    /// The replica has caught up.
    Replicate,
    /// The replica takes over; its clock is so far off.
    FailOver {
        skew: i64,
    },
    Backup,
    Restore,
    Empty,
}

/// What becomes of a call, or of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Fine,
    /// It never arrives.
    Lost,
    /// It takes effect, and nobody hears of it.
    ReplyLost,
    /// It takes effect, and the replica does not have it; a request is refused.
    Unconfirmed,
}

/// What happens in one run: the steps, and what the provider is like.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    /// The provider takes a token again that was the last to be spent.
    pub(crate) grace: bool,
    pub(crate) steps: Vec<Step>,
}

/// How often what happens, for schedules of several sorts: a little of everything; processes that die
/// and stand still; servers that come and go; people who cannot decide.
const SORTS: [[u32; KINDS]; 4] = [
    [
        520, 120, 180, 20, 10, 20, 12, 12, 30, 3, 10, 14, 10, 15, 15, 6, 6, 4,
    ],
    [
        560, 60, 180, 50, 25, 60, 8, 4, 10, 2, 6, 4, 4, 10, 8, 0, 0, 0,
    ],
    [
        480, 140, 150, 14, 6, 10, 6, 2, 6, 1, 3, 4, 4, 20, 24, 36, 40, 24,
    ],
    [
        520, 100, 150, 10, 10, 20, 60, 60, 60, 6, 20, 6, 4, 10, 10, 0, 0, 4,
    ],
];
/// The sort in which servers come and go.
const SERVERS: usize = 2;
const KINDS: usize = 18;

/// The schedule of a seed.
pub(crate) fn schedule(seed: u64) -> Schedule {
    let mut random = StdRng::seed_from_u64(seed);
    let sort = random.random_range(0..SORTS.len());
    let mut steps = vec![
        Step::Connect { worker: 0 },
        Step::Run {
            worker: 0,
            times: 8,
        },
    ];
    let length = random.random_range(20..130);
    steps.extend((0..length).map(|_| step(&SORTS[sort], &mut random)));
    if sort == SERVERS && random.random_bool(0.5) {
        // Somebody empties the store by mistake, and soon has the backup restored.
        let mut place = random.random_range(2..steps.len());
        for mistake in [Step::Backup, Step::Empty, Step::Restore] {
            steps.insert(place, mistake);
            place = (place + random.random_range(2..9)).min(steps.len());
        }
    }
    Schedule {
        grace: random.random_bool(0.5),
        steps,
    }
}

fn step(sort: &[u32; KINDS], random: &mut StdRng) -> Step {
    let worker = random.random_range(0..WORKERS);
    let mut left = random.random_range(0..sort.iter().sum());
    let kind = sort.iter().position(|often| {
        let here = left < *often;
        left = left.saturating_sub(*often);
        here
    });
    match kind.unwrap_or_default() {
        0 => Step::Go {
            worker,
            nth: random.random_range(0..3),
            fate: fate(random),
        },
        1 => Step::Run {
            worker,
            times: random.random_range(1..6),
        },
        2 => Step::Time {
            ms: [200, 1_000, 3_000, 6_000, 9_000, 16_000, 45_000][random.random_range(0..7)],
        },
        3 => Step::Crash { worker },
        4 => Step::Freeze {
            worker,
            ms: random.random_range(5_000..40_000),
        },
        5 => Step::Suspend {
            worker,
            ms: random.random_range(1_000..20_000),
        },
        6 => Step::Connect { worker },
        7 => Step::Disconnect { worker },
        8 => Step::RefreshNow {
            worker,
            behind: random.random_range(0..2),
        },
        9 => Step::Revoke,
        10 => Step::PauseHost {
            ms: random.random_range(1_000..20_000),
        },
        11 => Step::Reconcile,
        12 => Step::BreakIndex {
            score: random
                .random_bool(0.5)
                .then(|| random.random_range(-20_000..20_000)),
        },
        13 => Step::Replicate,
        14 => Step::FailOver {
            skew: random.random_range(-2_000..2_000),
        },
        15 => Step::Backup,
        16 => Step::Restore,
        _ => Step::Empty,
    }
}

fn fate(random: &mut StdRng) -> Fate {
    match random.random_range(0..100) {
        0..78 => Fate::Fine,
        78..83 => Fate::Lost,
        83..92 => Fate::ReplyLost,
        _ => Fate::Unconfirmed,
    }
}
