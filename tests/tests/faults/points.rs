//! A worker is killed at each point of a turn, and of what else it says to Redis; another takes over;
//! its machine comes back with what was on the disk. The points are places on the wire and on the disk,
//! so the program knows nothing of them.

use std::collections::BTreeSet;

use evergreen_tests::Signal;
use evergreen_tests::proxy::{Side, Step, Trap};
use ninjaone::simulator::{Rotation, SimulatorOptions, When};

use crate::checks::{condemned, healed, healthy, looked, refreshed};
use crate::machine::Machine;
use crate::stage::Stage;

/// Where a point is, seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A request to Redis or its answer is held, and never arrives.
    Redis(Step, Side),
    /// An answer of Redis was read.
    Read(Step),
    /// A request to the provider or its answer is held, and never arrives.
    Provider(Side),
    /// The provider has the request, and has carried it out or not.
    Request(When),
    /// So many bytes of the journal's entry are on the disk.
    Journal(u64),
}

/// What comes of a death there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comes {
    /// The next holder begins anew, as if nothing had been.
    Fresh,
    /// The next holder hears that an activity was lost, and retries; nothing had been spent.
    Retried,
    /// What the provider issued is lost, and the verdict says so.
    Lost,
    /// The same verdict, until the machine with the journal comes back.
    Rescued,
    /// It was done.
    Done,
}

macro_rules! points {
    ($($(#[$says:meta])* $point:ident = $place:expr => $comes:ident: fn $test:ident();)*) => {
        /// Every point at which a worker is killed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Point {
            $($(#[$says])* $point,)*
        }

        /// All of them: what is not in here does not exist, and has no test.
        const POINTS: &[Point] = &[$(Point::$point),*];

        impl Point {
            fn place(self) -> Place {
                match self {
                    $(Self::$point => $place,)*
                }
            }

            fn comes(self) -> Comes {
                match self {
                    $(Self::$point => Comes::$comes,)*
                }
            }
        }

        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                killed_at(Point::$point).await;
            }
        )*
    };
}

points! {
    /// The claim has left and has not reached Redis.
    ClaimAsked = Place::Redis(Step::Claim, Side::Asked) => Fresh:
    fn killed_before_the_claim_reaches_redis();
    /// The claim is written, its answer not read.
    ClaimAnswered = Place::Redis(Step::Claim, Side::Answered) => Fresh:
    fn killed_before_the_claim_is_answered();
    /// A place at the host's gate has been asked for, which has not reached Redis.
    EnterAsked = Place::Redis(Step::Enter, Side::Asked) => Fresh:
    fn killed_before_the_gate_is_asked();
    /// A place at the host's gate is taken, the answer not read.
    EnterAnswered = Place::Redis(Step::Enter, Side::Answered) => Fresh:
    fn killed_with_a_place_that_it_does_not_know_of();
    /// The claim's answer was read, the intent has not reached Redis.
    IntentAsked = Place::Redis(Step::Intent, Side::Asked) => Fresh:
    fn killed_with_a_claim_before_the_intent();
    /// The intent is written, its answer not read.
    IntentAnswered = Place::Redis(Step::Intent, Side::Answered) => Retried:
    fn s20_killed_before_the_intent_is_answered();
    /// The intent is known to be written, the request has not reached the provider.
    RequestAsked = Place::Provider(Side::Asked) => Retried:
    fn s20_killed_between_the_intent_and_the_request();
    /// The provider has the request and has not carried it out.
    RequestArrived = Place::Request(When::Before) => Retried:
    fn s20_killed_before_the_provider_rotates();
    /// The provider has rotated and not answered.
    RequestCarriedOut = Place::Request(When::After) => Lost:
    fn s21_killed_after_the_provider_rotated();
    /// The provider's answer is on its way.
    AnswerOnItsWay = Place::Provider(Side::Answered) => Lost:
    fn s21_killed_before_the_answer_arrives();
    /// The answer was read, nothing of it is on the disk.
    AnswerRead = Place::Journal(0) => Lost:
    fn s21_killed_before_the_journal();
    /// Half of the entry is on the disk.
    JournalTorn = Place::Journal(40) => Lost:
    fn s21_killed_in_the_middle_of_the_journals_entry();
    /// The entry is on the disk, the final commit has not reached Redis.
    CommitAsked = Place::Redis(Step::Commit, Side::Asked) => Rescued:
    fn s22_killed_between_the_journal_and_the_commit();
    /// The final commit is written, its answer not read.
    CommitAnswered = Place::Redis(Step::Commit, Side::Answered) => Done:
    fn s02_killed_before_the_commit_is_answered();
    /// The final commit's answer was read.
    CommitRead = Place::Read(Step::Commit) => Done:
    fn s02_killed_right_after_the_commit();
    /// A replay's signal has not reached Redis.
    SignalAsked = Place::Redis(Step::Signal, Side::Asked) => Done:
    fn killed_before_a_replays_signal_reaches_redis();
    /// A replay's signal is queued, its answer not read.
    SignalAnswered = Place::Redis(Step::Signal, Side::Answered) => Done:
    fn killed_before_a_replays_signal_is_answered();
    /// A workflow is being given back, which has not reached Redis.
    ExtendAsked = Place::Redis(Step::Extend, Side::Asked) => Fresh:
    fn killed_before_giving_back_reaches_redis();
    /// A workflow is given back, the answer not read.
    ExtendAnswered = Place::Redis(Step::Extend, Side::Answered) => Fresh:
    fn killed_before_giving_back_is_answered();
    /// The reconciler's comparison has not reached Redis.
    ReconcileAsked = Place::Redis(Step::Reconcile, Side::Asked) => Fresh:
    fn killed_before_a_comparison_reaches_redis();
    /// The reconciler's comparison has been made, the answer not read.
    ReconcileAnswered = Place::Redis(Step::Reconcile, Side::Answered) => Fresh:
    fn killed_before_a_comparison_is_answered();
}

async fn killed_at(point: Point) {
    let stage = Stage::new().await;
    let mut one = stage.machine("one").await;
    fall(point, &stage, &mut one).await;
    let (two, healed_by_one) = match point.comes() {
        // What the machine itself left is put right by itself alone.
        Comes::Done => (None, true),
        Comes::Fresh | Comes::Retried | Comes::Lost => (Some(stage.successor().await), false),
        Comes::Rescued => (Some(stage.successor().await), true),
    };
    match point.comes() {
        Comes::Fresh | Comes::Retried => {
            refreshed(&stage, 1).await;
            let log: Vec<String> = {
                let key = stage.key("log").await;
                stage.redis.cli(&["LRANGE", &key, "0", "-1"]).await
            };
            let lost = log.iter().any(|line| line.contains("ActivityLost"));
            assert_eq!(lost, point.comes() == Comes::Retried, "{log:#?}");
        }
        Comes::Lost | Comes::Rescued => condemned(&stage).await,
        Comes::Done => {}
    }
    if point != Point::CommitRead {
        assert_eq!(
            one.entries(),
            usize::from(healed_by_one),
            "what the machine left"
        );
    }
    let before = one.proxy.passed().len();
    one.start().await;
    match point.comes() {
        Comes::Fresh | Comes::Retried | Comes::Done => {
            refreshed(&stage, 1).await;
        }
        Comes::Lost => {
            looked(&one, before).await;
            condemned(&stage).await;
        }
        Comes::Rescued => healed(&stage).await,
    }
    one.see_entries(0).await;
    one.end().await;
    if let Some(mut two) = two {
        two.end().await;
    }
}

/// Brings a worker to a point, and kills it there.
async fn fall(point: Point, stage: &Stage, one: &mut Machine) {
    match (point.place(), point) {
        (Place::Redis(step @ Step::Signal, side), _) => {
            Box::pin(fall(Point::CommitAsked, stage, one)).await;
            let trap = one.proxy.trap(step, side);
            one.start().await;
            fall_into(trap, one).await;
        }
        (Place::Redis(step @ Step::Extend, side), _) => {
            one.start().await;
            let trap = one.proxy.trap(step, side);
            // What a newer release wrote is given back to be taken by one.
            let generation = stage.status().await.generation;
            let key = stage.key("wf").await;
            let schema: String = stage.field("schema").await;
            let _: u64 = stage.redis.cli(&["HSET", &key, "schema", "99"]).await;
            stage.ask_for(generation).await;
            fall_into(trap, one).await;
            let _: u64 = stage.redis.cli(&["HSET", &key, "schema", &schema]).await;
        }
        (Place::Redis(step @ Step::Reconcile, side), _) => {
            if side == Side::Answered {
                let (due, id) = (stage.due().await, stage.id().to_string());
                let removed: u64 = stage.redis.cli(&["ZREM", &due, &id]).await;
                assert_eq!(removed, 1);
            }
            // It compares as soon as it is there.
            let trap = one.proxy.trap(step, side);
            one.start().await;
            fall_into(trap, one).await;
            stage.is_at_rest().await;
            stage.ask().await;
        }
        (Place::Redis(step, side), _) => {
            one.start().await;
            let trap = one.proxy.trap(step, side);
            stage.ask().await;
            fall_into(trap, one).await;
        }
        (Place::Provider(side), _) => {
            one.start().await;
            let trap = stage.provider.trap_any(side, |_| true);
            stage.ask().await;
            fall_into(trap, one).await;
        }
        (Place::Request(when), _) => {
            one.start().await;
            let hold = stage.hold(when);
            stage.ask().await;
            stage.held(hold).await;
            one.kill();
        }
        (Place::Journal(bytes), _) => {
            one.start().await;
            one.die_writing_the_journal(bytes);
            stage.ask().await;
            one.died_writing().await;
            let listing = ninjaone::journal::read_dir(one.disk()).unwrap();
            let torn: u64 = listing.unreadable.iter().map(|file| file.torn_bytes).sum();
            assert_eq!(torn, bytes);
        }
        (Place::Read(step), _) => {
            one.start().await;
            stage.ask().await;
            one.proxy
                .see("the answer", |passed| {
                    passed.side == Side::Answered && passed.call.step == step
                })
                .await;
            one.kill();
        }
    }
}

/// Kills a worker whose frame is held; that is gone with it.
async fn fall_into(mut trap: Trap, one: &mut Machine) {
    trap.caught().await;
    one.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn s21_a_provider_with_a_grace_window_heals_a_death_after_the_rotation() {
    let rotation = Rotation::Grace {
        window: std::time::Duration::from_secs(60),
    };
    let simulator = SimulatorOptions {
        rotation,
        ..SimulatorOptions::default()
    };
    let stage = Stage::of(1, simulator).await;
    let mut one = stage.machine("one").await;
    fall(Point::RequestCarriedOut, &stage, &mut one).await;
    let mut two = stage.successor().await;
    let status = stage
        .see("health", |s| s.generation == 1 && s.owner.is_none())
        .await;
    assert_eq!((status.reason, status.unknown_since), (None, None));
    assert_eq!(stage.presented(), [2]);
    stage.serves_a_good_token().await;
    two.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s22_a_machine_that_comes_back_first_adopts_its_pair_and_nothing_is_sent() {
    let stage = Stage::new().await;
    let mut one = stage.machine("one").await;
    fall(Point::CommitAsked, &stage, &mut one).await;
    assert_eq!(one.entries(), 1);
    one.start().await;
    refreshed(&stage, 1).await;
    one.see_entries(0).await;
    one.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s22_another_worker_on_the_same_disk_takes_over_what_a_dead_one_left() {
    let stage = Stage::new().await;
    let mut one = stage.machine("one").await;
    one.start().await;
    // It is there all the time, but for a moment in which it must not be the one that refreshes.
    let mut neighbour = stage.working("one").await;
    neighbour.worker().signal(Signal::STOP);
    let commit = one.proxy.trap(Step::Commit, Side::Asked);
    stage.ask().await;
    fall_into(commit, &mut one).await;
    assert_eq!((neighbour.entries(), neighbour.disk()), (1, one.disk()));
    neighbour.worker().signal(Signal::CONT);
    healthy(&stage).await;
    neighbour.see_entries(0).await;
    neighbour.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_a_turn_has_its_points() {
    let stage = Stage::new().await;
    let mut one = stage.working("one").await;
    stage.ask().await;
    refreshed(&stage, 1).await;
    let passed = one.proxy.passed();
    one.end().await;
    // Reading, asking for a name, stamping, and the outbox's readers change nothing that a turn rests
    // on; and the gate hears of an answer beside the turn.
    let aside = [
        Step::Other,
        Step::Read,
        Step::Turnstile,
        Step::Stamp,
        Step::Outbox,
        Step::Gate,
    ];
    let steps: BTreeSet<_> = passed
        .iter()
        .filter(|passed| !aside.contains(&passed.call.step))
        .map(|passed| (passed.call.step, passed.side))
        .collect();
    assert!(
        steps.len() >= 6,
        "claim, intent and commit, both ways: {steps:?}"
    );
    for (step, side) in steps {
        let point = POINTS
            .iter()
            .find(|point| point.place() == Place::Redis(step, side));
        assert!(
            point.is_some(),
            "no worker is killed where {step:?} is {side:?}"
        );
    }
    for side in [Side::Asked, Side::Answered] {
        assert!(
            POINTS
                .iter()
                .any(|point| point.place() == Place::Provider(side)),
            "{side:?}"
        );
    }
    for when in [When::Before, When::After] {
        assert!(
            POINTS
                .iter()
                .any(|point| point.place() == Place::Request(when)),
            "{when:?}"
        );
    }
    assert!(
        POINTS
            .iter()
            .any(|point| matches!(point.place(), Place::Journal(_)))
    );
}
