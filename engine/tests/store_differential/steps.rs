//! What can happen, in terms of what those who do it know.

use std::time::Duration;

use evergreen_engine::store::memory::Set;
use evergreen_engine::store::outbox::Dealt;
use evergreen_engine::store::{Extend, Said, SealedOp};
use proptest::prelude::*;

/// Few, so that most steps concern one that something else is being done to.
pub(crate) const WORKFLOWS: usize = 2;

/// One thing that somebody does. `back` says by which right: of the last claim (0), or of one that
/// many claims before it, which somebody may still hold to be his.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Claim {
        id: usize,
        drive: bool,
        lease_ms: u64,
        spare: bool,
    },
    Commit {
        id: usize,
        back: usize,
        what: Transition,
    },
    /// Claim and commit.
    Turn {
        id: usize,
        what: Transition,
    },
    /// The last commit once more, as after a lost reply.
    CommitAgain {
        id: usize,
    },
    Signal {
        id: usize,
        what: Call,
    },
    Flood {
        id: usize,
        signals: usize,
    },
    Extend {
        id: usize,
        back: usize,
        what: Extend,
    },
    Read {
        id: usize,
        sealed: bool,
    },
    Reconcile {
        id: usize,
    },
    /// All of them at once, and what lies in the index from a rank on.
    CompareAll {
        rank: usize,
    },
    Requeue {
        id: usize,
    },
    /// Holders vanish, one after another.
    Vanish {
        id: usize,
        times: usize,
    },
    BreakIndex {
        id: usize,
        set: Set,
        score: Option<i64>,
    },
    Turnstile {
        holder: &'static str,
    },
    Peek,
    /// A worker stamps that has seen a stamp so far from now, or none.
    Stamp {
        seen: Option<i64>,
        write: bool,
    },
    Time {
        by_ms: i64,
    },
    AtGate(AtGate),
    ByReader(ByReader),
}

/// What is done at the one gate that there is, by somebody at one of a few places.
#[derive(Debug, Clone)]
pub(crate) enum AtGate {
    Enter {
        place: usize,
        life_ms: u64,
        unpaced: bool,
        through_breaker: bool,
    },
    Leave {
        place: usize,
    },
    Tell(Option<Said>),
}

/// What a reader of the outbox does, and what happens to it. Events are named by their number in the stream.
#[derive(Debug, Clone)]
pub(crate) enum ByReader {
    /// There is something to read.
    Publish {
        events: usize,
    },
    /// What is new, or what it has had, after so many.
    Drain {
        reader: &'static str,
        again_after: Option<usize>,
        count: usize,
    },
    Settle {
        reader: &'static str,
        first: usize,
        events: usize,
        how: Dealt,
    },
    Progress {
        reader: &'static str,
    },
}

/// A commit, in terms of what the worker knows.
#[derive(Debug, Clone)]
pub(crate) struct Transition {
    pub(crate) consumed: Consumed,
    pub(crate) strict: bool,
    pub(crate) finish: bool,
    pub(crate) keep: Option<u64>,
    pub(crate) park: bool,
    pub(crate) activity: bool,
    pub(crate) wake: Option<i64>,
    pub(crate) visible: Option<i64>,
    pub(crate) sealed: Vec<SealedOp>,
    pub(crate) events: usize,
    pub(crate) log_max: usize,
    /// Under a number that was never minted for the claim.
    pub(crate) wrong_number: bool,
    /// Worked out from what another commit wrote.
    pub(crate) stale: bool,
    /// What it says of the last signal consumed.
    pub(crate) last: Last,
}

/// How many signals it claims to have consumed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Consumed {
    All,
    Some(usize),
}

/// What a commit says of the last signal that it consumed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Last {
    /// That it is the one which lies there.
    True,
    /// That it is another.
    Lost,
    /// Nothing.
    Untold,
}

/// A signal, in terms of what its sender knows.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) preemptive: bool,
    pub(crate) create: bool,
    pub(crate) ends_claim: Option<usize>,
    /// By what it is known, if it is sent again.
    pub(crate) once: Option<usize>,
    /// Not queued where the same one waits, as it may: all of these are the same, and some others.
    pub(crate) unless_it_waits: bool,
}

/// What a sequence is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    Workflows,
    Gates,
    Readers,
}

/// Sequences that are about one thing, since these three have little to do with each other.
pub(crate) fn sequence(about: About, most: usize) -> BoxedStrategy<Vec<Step>> {
    let step = match about {
        About::Workflows => step().boxed(),
        About::Gates => prop_oneof![3 => at_gate().prop_map(Step::AtGate), 1 => time()].boxed(),
        About::Readers => by_reader().prop_map(Step::ByReader).boxed(),
    };
    proptest::collection::vec(step, 1..most).boxed()
}

/// All of them, most about what matters most.
pub(crate) fn sequences(most: usize) -> BoxedStrategy<Vec<Step>> {
    prop_oneof![
        10 => sequence(About::Workflows, most),
        1 => sequence(About::Gates, most),
        1 => sequence(About::Readers, most),
    ]
    .boxed()
}

fn turn() -> impl Strategy<Value = Step> {
    (0..WORKFLOWS, transition()).prop_map(|(id, what)| Step::Turn { id, what })
}

fn time() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(15_000_i64),
        0_i64..40_000,
        Just(400_000),
        -3_000_i64..0
    ]
    .prop_map(|by_ms| Step::Time { by_ms })
}

fn at_gate() -> impl Strategy<Value = AtGate> {
    let place = || 0_usize..4;
    let flag = || proptest::bool::weighted(0.2);
    let enter = (place(), 1_u64..40_000, flag(), flag());
    let pause = proptest::option::of((0_u64..90_000).prop_map(Duration::from_millis));
    let said = prop_oneof![
        1 => Just(None),
        2 => Just(Some(Said::Answered)),
        4 => Just(Some(Said::Failed)),
        3 => pause.prop_map(|pause| Some(Said::Throttled { pause })),
    ];
    prop_oneof![
        3 => enter.prop_map(|(place, life_ms, unpaced, through_breaker)| AtGate::Enter {
            place,
            life_ms,
            unpaced,
            through_breaker,
        }),
        1 => place().prop_map(|place| AtGate::Leave { place }),
        2 => said.prop_map(AtGate::Tell),
    ]
}

fn by_reader() -> impl Strategy<Value = ByReader> {
    let reader = || prop_oneof![Just("one"), Just("two")];
    let how = prop_oneof![Just(Dealt::Done), Just(Dealt::Abandoned)];
    let again_after = proptest::option::weighted(0.3, 0_usize..20);
    prop_oneof![
        3 => (1_usize..4).prop_map(|events| ByReader::Publish { events }),
        4 => (reader(), again_after, 1_usize..5).prop_map(|(reader, again_after, count)| {
            ByReader::Drain { reader, again_after, count }
        }),
        2 => (reader(), 0_usize..20, 0_usize..5, how).prop_map(|(reader, first, events, how)| {
            ByReader::Settle { reader, first, events, how }
        }),
        2 => reader().prop_map(|reader| ByReader::Progress { reader }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let id = || 0..WORKFLOWS;
    let back = || prop_oneof![8 => Just(0_usize), 1 => Just(1), 1 => Just(2)];
    let set = prop_oneof![3 => Just(Set::Due), 1 => Just(Set::Parked)];
    let lease = prop_oneof![Just(15_000_u64), 1_u64..20_000];
    prop_oneof![
        96 => (id(), any::<bool>(), lease, prop::bool::weighted(0.25)).prop_map(
            |(id, drive, lease_ms, spare)| Step::Claim { id, drive, lease_ms, spare }
        ),
        96 => (id(), back(), transition())
            .prop_map(|(id, back, what)| Step::Commit { id, back, what }),
        64 => turn(),
        32 => id().prop_map(|id| Step::CommitAgain { id }),
        112 => (id(), call()).prop_map(|(id, what)| Step::Signal { id, what }),
        1 => (id(), 120_usize..135).prop_map(|(id, signals)| Step::Flood { id, signals }),
        48 => (id(), back(), extend()).prop_map(|(id, back, what)| Step::Extend { id, back, what }),
        12 => (id(), any::<bool>()).prop_map(|(id, sealed)| Step::Read { id, sealed }),
        12 => id().prop_map(|id| Step::Reconcile { id }),
        8 => (0_usize..3).prop_map(|rank| Step::CompareAll { rank }),
        16 => id().prop_map(|id| Step::Requeue { id }),
        12 => (id(), 1_usize..18).prop_map(|(id, times)| Step::Vanish { id, times }),
        16 => (id(), set, proptest::option::of(-20_000_i64..20_000))
            .prop_map(|(id, set, score)| Step::BreakIndex { id, set, score }),
        12 => prop_oneof![Just("worker-0"), Just("worker-1")]
            .prop_map(|holder| Step::Turnstile { holder }),
        12 => Just(Step::Peek),
        12 => (proptest::option::of(-20_000_i64..20_000), any::<bool>())
            .prop_map(|(seen, write)| Step::Stamp { seen, write }),
        64 => time(),
    ]
}

fn transition() -> impl Strategy<Value = Transition> {
    let often = |p: f64| proptest::bool::weighted(p);
    let time = || proptest::option::of(-5_000_i64..60_000);
    let blob = ("[ab]", "[0-9]{1,3}");
    let sealed = prop_oneof![
        4 => blob.prop_map(|(name, blob)| SealedOp::Put(name, blob)),
        2 => "[ab]".prop_map(SealedOp::Erase),
        1 => Just(SealedOp::Clear),
    ];
    let consumed = prop_oneof![
        3 => Just(Consumed::All),
        1 => (0_usize..3).prop_map(Consumed::Some),
    ];
    (
        (
            consumed,
            often(0.3),
            often(0.04),
            proptest::option::weighted(0.4, 1_u64..20_000),
        ),
        (often(0.1), often(0.4), time(), time()),
        (
            proptest::collection::vec(sealed, 0..4),
            0_usize..3,
            0_usize..3,
            often(0.05),
            often(0.05),
            prop_oneof![8 => Just(Last::True), 1 => Just(Last::Lost), 3 => Just(Last::Untold)],
        ),
    )
        .prop_map(
            |((consumed, strict, finish, keep), (park, activity, wake, visible), rest)| {
                let (sealed, events, log_max, wrong_number, stale, last) = rest;
                Transition {
                    consumed,
                    strict,
                    finish,
                    keep,
                    park,
                    activity,
                    wake,
                    visible,
                    sealed,
                    events,
                    log_max,
                    wrong_number,
                    stale,
                    last,
                }
            },
        )
}

fn call() -> impl Strategy<Value = Call> {
    let often = |p: f64| proptest::bool::weighted(p);
    let ends_claim = proptest::option::weighted(0.2, 0_usize..2);
    let once = proptest::option::weighted(0.7, 0_usize..2);
    let said = (often(0.2), often(0.9), ends_claim, once, often(0.3));
    said.prop_map(
        |(preemptive, create, ends_claim, once, unless_it_waits)| Call {
            preemptive,
            create,
            ends_claim,
            once,
            unless_it_waits,
        },
    )
}

fn extend() -> impl Strategy<Value = Extend> {
    let span = || (0_u64..20_000).prop_map(Duration::from_millis);
    let rest = prop_oneof![Just(Duration::ZERO), span()];
    prop_oneof![
        span().prop_map(Extend::Renew),
        (rest, any::<bool>()).prop_map(|(rest, counts)| Extend::GiveBack { rest, counts }),
    ]
}
