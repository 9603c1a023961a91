//! The Lua scripts against the protocol in plain Rust: random sequences of everything that two workers
//! and their callers can do, in a small space so that they get in each other's way. Every answer, and
//! after every step everything that is stored, must be the same.
//!
//! A failing run prints its seed and the shortest sequence that shows it; `EVERGREEN_TEST_SEED=… cargo
//! test --test store_differential` runs it again. `EVERGREEN_TEST_CASES` says how many sequences to try.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod beside;
mod mutants;
mod pair;
mod steps;
mod stored;
#[path = "../support/mod.rs"]
mod support;
mod words;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use evergreen_engine::id::WorkflowId;
use evergreen_engine::store::clock::ManualClock;
use evergreen_engine::store::memory::MemoryStore;
use evergreen_engine::store::redis::{RedisOptions, RedisStore};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};
use redis::aio::MultiplexedConnection;
use tokio::runtime::Runtime;

use self::pair::{Memory, Pair, Seen};
use self::steps::Step;
use self::support::{BEGIN, Place, Server};

const CASES: u32 = 2000;
/// Sequences where it is the way to the server that differs, and not what it does.
const CASES_ELSEWHERE: u32 = 40;
const STEPS: usize = 60;
/// Shorter sequences tried for one that fails.
const SHRINKS: u32 = 4000;

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
    let runtime = Runtime::new().unwrap();
    let place = runtime.block_on(place());
    let raw = runtime.block_on(place.raw("{00}"));
    let bench = Bench::over(runtime, place.options(), raw);
    let seed = std::env::var("EVERGREEN_TEST_SEED");
    let seed: u64 = seed.map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    let cases = std::env::var("EVERGREEN_TEST_CASES");
    let cases = cases.map_or(default_cases, |text| text.parse().unwrap());
    match bench.compare(steps::sequences(STEPS), seed, cases, SHRINKS) {
        Ok(seen) => {
            println!("{seen:?}");
            let unheard = words::unheard(&seen);
            assert!(
                cases < CASES || unheard.is_empty(),
                "never answered {unheard:?}: the steps do not lead everywhere any more"
            );
        }
        Err((why, steps)) => panic!(
            "EVERGREEN_TEST_SEED={seed}\n{why}\nthe shortest sequence that shows it: {steps:#?}"
        ),
    }
}

/// A key space on a server, used for one sequence after another.
struct Bench {
    runtime: Runtime,
    redis: RedisStore,
    raw: MultiplexedConnection,
    prefix: String,
    clock: ManualClock,
    /// How many there were: each takes a turnstile and a gate of its own.
    sequences: Cell<u64>,
}

impl Bench {
    /// A fresh key space; the store reaches the servers as the options say.
    fn over(runtime: Runtime, options: RedisOptions, raw: MultiplexedConnection) -> Self {
        let clock = ManualClock::at(BEGIN);
        let options = RedisOptions {
            partitions: Some(1),
            clock: Some(clock.clock()),
            ..options
        };
        let prefix = options.prefix.clone();
        let redis = runtime.block_on(RedisStore::connect(options)).unwrap();
        Self {
            runtime,
            redis,
            raw,
            prefix,
            clock,
            sequences: Cell::new(0),
        }
    }

    /// Tries so many sequences; answers with what was heard, or with what is wrong and the shortest
    /// sequence that shows it.
    fn compare(
        &self,
        sequences: BoxedStrategy<Vec<Step>>,
        seed: u64,
        cases: u32,
        shrinks: u32,
    ) -> Result<Seen, (String, Vec<Step>)> {
        let config = ProptestConfig {
            cases,
            failure_persistence: None,
            max_shrink_iters: shrinks,
            ..ProptestConfig::default()
        };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner = TestRunner::new_with_rng(config, random);
        let seen = Rc::new(RefCell::new(Seen::new()));
        let outcome = runner.run(&sequences, |steps| {
            let mut pair = self.pair(Rc::clone(&seen));
            self.runtime.block_on(async {
                pair.clear().await;
                for step in &steps {
                    pair.take(step).await?;
                    pair.compare().await?;
                }
                pair.agree().await
            })
        });
        match outcome {
            Ok(()) => Ok(seen.take()),
            Err(TestError::Fail(why, steps)) => Err((why.to_string(), steps)),
            Err(why) => panic!("EVERGREEN_TEST_SEED={seed}\n{why}"),
        }
    }

    /// The two stores, both empty.
    fn pair(&self, seen: Rc<RefCell<Seen>>) -> Pair {
        self.clock.set(BEGIN);
        self.sequences.update(|number| number + 1);
        Pair {
            model: MemoryStore::with_clock_and_partitions(self.clock.clock(), 1),
            redis: self.redis.clone(),
            raw: self.raw.clone(),
            prefix: self.prefix.clone(),
            clock: self.clock.clone(),
            ids: (0..steps::WORKFLOWS)
                .map(|n| WorkflowId::new("test", &format!("w{n}")).unwrap())
                .collect(),
            memories: (0..steps::WORKFLOWS).map(|_| Memory::default()).collect(),
            names: 0,
            turnstile: format!("turnstile:{}", self.sequences.get()),
            gate: format!("gate-{}", self.sequences.get()),
            astray: false,
            seen,
        }
    }
}
