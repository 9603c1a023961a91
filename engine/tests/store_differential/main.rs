//! The Lua scripts against the protocol in plain Rust: random sequences of everything that two workers
//! and their callers can do, in a small space so that they get in each other's way. Every answer, and
//! after every step everything that is stored, must be the same.
//!
//! A failing run prints its seed; `EVERGREEN_TEST_SEED=… cargo test --test store_differential` runs it
//! again. `EVERGREEN_TEST_CASES` says how many sequences to try.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod pair;
mod steps;
mod stored;
#[path = "../support/mod.rs"]
mod support;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use evergreen_engine::id::WorkflowId;
use evergreen_engine::store::clock::ManualClock;
use evergreen_engine::store::memory::MemoryStore;
use evergreen_engine::store::redis::{RedisOptions, RedisStore};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};

use self::pair::{Memory, Pair};
use self::support::{BEGIN, Place, Server};

const CASES: u32 = 400;
/// Sequences where it is the way to the server that differs, and not what it does.
const CASES_ELSEWHERE: u32 = 40;
const STEPS: usize = 60;
/// Every answer there is. A test that never hears one of them does not test it.
const ANSWERS: [&str; 21] = [
    "Claimed",
    "Held",
    "NotDue",
    "Delayed",
    "Parked",
    "Unknown",
    "Written",
    "Already",
    "Fenced",
    "Signals",
    "Refused",
    "Queued",
    "Full",
    "Renewed",
    "GivenBack",
    "Requeued",
    "NotParked",
    "Right",
    "Missing",
    "Stray",
    "Score",
];

#[test]
fn the_scripts_do_what_the_protocol_says() {
    compare_over(CASES, async || Rc::new(Place::One(Server::any())));
}

#[test]
fn they_do_so_where_sentinels_watch() {
    compare_over(CASES_ELSEWHERE, Place::watched);
}

#[test]
fn they_do_so_in_a_cluster() {
    compare_over(CASES_ELSEWHERE, Place::cluster);
}

fn compare_over(default_cases: u32, place: impl AsyncFnOnce() -> Rc<Place>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let place = runtime.block_on(place());
    let clock = ManualClock::at(BEGIN);
    let options = RedisOptions {
        partitions: Some(1),
        clock: Some(clock.clock()),
        ..place.options()
    };
    let prefix = options.prefix.clone();
    let (redis, raw) = runtime.block_on(async {
        (
            RedisStore::connect(options).await.unwrap(),
            place.raw("{00}").await,
        )
    });

    let seed = std::env::var("EVERGREEN_TEST_SEED");
    let seed: u64 = seed.map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    let cases = std::env::var("EVERGREEN_TEST_CASES");
    let cases = cases.map_or(default_cases, |text| text.parse().unwrap());
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 4000,
        ..ProptestConfig::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, random);
    let seen = Rc::new(RefCell::new(BTreeMap::new()));
    let sequences = proptest::collection::vec(steps::step(), 1..STEPS);
    let outcome = runner.run(&sequences, |steps| {
        clock.set(BEGIN);
        let mut pair = Pair {
            model: MemoryStore::with_clock_and_partitions(clock.clock(), 1),
            redis: redis.clone(),
            raw: raw.clone(),
            prefix: prefix.clone(),
            clock: clock.clone(),
            ids: (0..steps::WORKFLOWS)
                .map(|n| WorkflowId::new("test", &format!("w{n}")).unwrap())
                .collect(),
            memories: (0..steps::WORKFLOWS).map(|_| Memory::default()).collect(),
            names: 0,
            astray: false,
            seen: Rc::clone(&seen),
        };
        runtime.block_on(async {
            pair.clear().await;
            for step in &steps {
                pair.take(step).await?;
                pair.compare().await?;
            }
            pair.agree().await
        })
    });
    match outcome {
        Ok(()) => {
            let seen = seen.borrow();
            println!("{seen:?}");
            let missing = ANSWERS.iter().find(|answer| !seen.contains_key(**answer));
            assert!(
                cases < CASES || missing.is_none(),
                "never answered {missing:?}: the steps do not lead everywhere any more"
            );
        }
        Err(TestError::Fail(why, steps)) => {
            panic!(
                "EVERGREEN_TEST_SEED={seed}\n{why}\nthe shortest sequence that shows it: {steps:#?}"
            )
        }
        Err(why) => panic!("EVERGREEN_TEST_SEED={seed}\n{why}"),
    }
}
