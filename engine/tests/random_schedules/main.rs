//! The whole protocol under random schedules: the engine's own turns of three workers, the real scripts
//! on a real Redis, a provider whose refresh tokens are good for one use, and a seed that decides who does
//! what next. Whatever a process wants of the store, the provider or its disk waits until the schedule lets
//! it happen; time stands still unless a step moves it. So a seed is a schedule, and runs the same again.
//!
//! What is played here and not the engine's: when a worker looks for work (its poller), and what of the
//! credential's life decides about pairs (`machine.rs`; the real chart has tests of its own).
//!
//! # What must hold
//! After each step, and after everything has been put right and time has passed: (1) a commit is written
//! once, one at a time; (2) none under a stale fence; (3) the index says what the record wants; (4) no
//! timer fires that was replaced or cancelled; (5) none early; (6) what is due is taken within a bound; (7)
//! signals are heard in order and once; (8) no refresh token is sent twice unawares; (9) a pair that was
//! read and kept is in the store or in a journal; (10) no credential outlives its grant. And the customer is
//! told nothing that is not so.
//!
//! # What it would notice
//! Each line leaves a rule out and is a test that the schedules notice it.
//!
//! | rule of PROTOCOL | left out by the test |
//! |---|---|
//! | 1 | `reconcile_overlooks_the_holder` |
//! | 1 | `reconcile_overlooks_what_waits` |
//! | 1 | `a_grant_is_known_by_its_number` |
//! | 2 | `the_fence_is_a_number` |
//! | 2 | `no_fence_is_checked` |
//! | 2 | `a_commit_is_not_idempotent` |
//! | 2 | `a_commit_is_written_onto_any_state` |
//! | 2 | `the_final_commit_keeps_the_claim` |
//! | 3 | `nothing_is_strict` |
//! | 3 | `the_script_knows_no_strictness` |
//! | 3 | `a_lost_signal_is_taken_for_another` |
//! | 4 | `effects_of_any_state_are_performed` |
//! | 5 | `a_pre_emptive_signal_waits` |
//! | 5 | `a_pre_emptive_signal_mints_no_fence` |
//! | 5 | `a_pre_emptive_signal_leaves_no_barrier` |
//! | 5 | `a_signal_sent_again_ends_the_lease_again` |
//! | 5 | `a_signal_shortens_the_lease` |
//! | 5 | `the_commit_overlooks_the_inbox` |
//! | 10 | `trust_is_not_looked_at` |
//! | 14 | `who_has_moved_on_is_refreshed` |
//! | 15 | `no_intent_is_written` |
//! | 15 | `an_intent_is_on_one_server` |
//! | 17 | `a_pair_is_on_one_server` |
//! | 17 | `nothing_is_journalled` |
//! | 17 | `nothing_is_replayed_at_start` |
//! | 17 | `a_fenced_pair_is_forgotten` |
//! | 17 | `a_replay_does_not_end_the_lease` |
//! | 18 | `a_tombstone_adopts` |
//! | 18 | `only_the_next_generation_is_adopted` |
//! | 18 | `nothing_is_kept_apart` |
//! | 20 | `a_restored_store_is_believed` |
//! | 26 | `the_timer_is_taken_for_visibility` |
//! | 26 | `a_claim_takes_the_timer_for_visibility` |
//!
//! # A run that fails
//! prints its seed and the shortest schedule found that shows the same, step by step.
//! `EVERGREEN_TEST_SEED=… EVERGREEN_TEST_CASES=1` runs it again; `EVERGREEN_TEST_CASES` alone says how many
//! schedules to try.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod bench;
mod fleet;
mod grant;
mod hands;
mod inputs;
mod ledger;
mod line;
mod machine;
mod person;
mod rules;
mod settle;
mod steps;
mod store;
#[path = "../support/mod.rs"]
mod support;
mod watch;
mod worker;
mod world;

use self::bench::Bench;
use self::rules::{Mutation, RULES, Slip};
use self::steps::Schedule;
use self::world::World;

/// Schedules that every run tries.
const SCHEDULES: u64 = 2000;
/// Schedules within which a rule that is left out must be noticed.
const WITHIN: u64 = 3000;
/// Shorter schedules tried for one that fails.
const SHORTENINGS: usize = 400;

/// What a schedule broke, and how it went.
struct Broken {
    why: String,
    trace: Vec<String>,
}

/// Runs one schedule.
fn run(bench: &Bench, schedule: &Schedule, slip: Option<Slip>) -> Result<(), Broken> {
    let mut world = World::new(bench, slip, schedule.grace);
    for step in &schedule.steps {
        world.take(*step);
        if world.book().is_broken() {
            break;
        }
    }
    if !world.book().is_broken() {
        settle::settle(&mut world);
    }
    match world.book().verdict() {
        Some((why, trace)) => Err(Broken { why, trace }),
        None => Ok(()),
    }
}

/// Leaves steps out as long as it still breaks.
fn shorten(bench: &Bench, mut long: Schedule, slip: Option<Slip>) -> (Schedule, Broken) {
    let mut broken = run(bench, &long, slip).expect_err("it broke a moment ago");
    let mut tries = SHORTENINGS;
    let mut size = long.steps.len() / 2;
    while size > 0 && tries > 0 {
        let mut from = 0;
        while from < long.steps.len() && tries > 0 {
            tries -= 1;
            let mut fewer = long.clone();
            fewer.steps.drain(from..(from + size).min(long.steps.len()));
            match run(bench, &fewer, slip) {
                Err(still) => (long, broken) = (fewer, still),
                Ok(()) => from += size,
            }
        }
        size /= 2;
    }
    (long, broken)
}

/// The words of a failure.
fn report(seed: u64, schedule: &Schedule, broken: &Broken) -> String {
    let trace = broken.trace.join("\n  ");
    let (why, length) = (&broken.why, schedule.steps.len());
    format!("EVERGREEN_TEST_SEED={seed}\n{why}\nin {length} steps:\n  {trace}")
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

#[test]
fn no_schedule_breaks_a_promise() {
    let bench = Bench::new(false);
    let first = number("EVERGREEN_TEST_SEED").unwrap_or_else(rand::random);
    let schedules = number("EVERGREEN_TEST_CASES").unwrap_or(SCHEDULES);
    for seed in (0..schedules).map(|n| first.wrapping_add(n)) {
        let schedule = steps::schedule(seed);
        if run(&bench, &schedule, None).is_err() {
            let (short, broken) = shorten(&bench, schedule, None);
            panic!("{}\n{short:?}", report(seed, &short, &broken));
        }
    }
}

#[test]
fn a_seed_runs_the_same_again() {
    let bench = Bench::new(false);
    for seed in 1..20 {
        let schedule = steps::schedule(seed);
        let trace = || {
            let mut world = World::new(&bench, None, schedule.grace);
            schedule.steps.iter().for_each(|step| world.take(*step));
            settle::settle(&mut world);
            world.book().broken("nothing: this only ends the trace");
            world.book().verdict().expect("it was just said").1
        };
        assert_eq!(trace(), trace());
    }
}

/// Leaves a rule out; some schedule must notice.
fn must_be_noticed(test: &str) {
    let rule = RULES.iter().find(|rule| rule.test == test);
    let rule = rule.expect("a rule of that name");
    let slip = match rule.mutation {
        Mutation::Slip(slip) => Some(slip),
        Mutation::Lua(..) => None,
    };
    let bench = Bench::new(slip.is_none());
    if let Mutation::Lua(script, from, to) = rule.mutation {
        // The server learns the real scripts first.
        let quiet = steps::schedule(1);
        assert!(
            run(&bench, &quiet, None).is_ok(),
            "with every rule it holds"
        );
        bench.mutilate(script, from, to);
    }
    for seed in 1..=WITHIN {
        let schedule = steps::schedule(seed);
        if run(&bench, &schedule, slip).is_err() {
            let (short, broken) = shorten(&bench, schedule, slip);
            println!("rule {}: {}", rule.number, report(seed, &short, &broken));
            return;
        }
    }
    panic!("rule {} can be left out: {test}", rule.number);
}

#[test]
fn the_table_names_every_rule_that_is_left_out() {
    let text = include_str!("main.rs");
    let lines = text.lines().skip_while(|line| !line.contains("|---|"));
    let table: Vec<String> = lines
        .skip(1)
        .map_while(|line| line.strip_prefix("//! | "))
        .map(|line| {
            line.replace(['`', '|'], "")
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    let rules: Vec<String> = RULES
        .iter()
        .map(|rule| format!("{} {}", rule.number, rule.test))
        .collect();
    assert_eq!(table, rules);
}
