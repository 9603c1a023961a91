//! A fleet on virtual time: real workers, real turns, the real machine and refresher, real token requests
//! up to the HTTP library, a real journal; over one store in memory, with a provider that is strict.
//!
//! | file | holds |
//! |---|---|
//! | `run.rs` | one run: bad times, peace, the reckoning. Read this first |
//! | `plan.rs`, `dice.rs` | what a seed has in store, and chance drawn from it |
//! | `fleet.rs` | processes that are started, ended, started again, and what befalls them and the store |
//! | `process.rs`, `link.rs` | what a process can do through its network, its disk, its clock; its way to the provider |
//! | `provider.rs` | single use, dead at once, and where each pair is that was issued |
//! | `people.rs` | one person for each integration, doing what people do |
//! | `truth.rs`, `watched.rs` | what must hold, at every call that reaches the store and every token that leaves |
//! | `scene.rs`, `trace.rs` | what all share; what happened, in words |
//!
//! Time stands still until nobody can go on, so minutes take milliseconds, and nothing but the seed
//! decides what happens: ids and jitter come from it through [`evergreen_engine::Platform`], and the rest
//! of a process' randomness (sealing, the ids of grants and of journal entries) decides nothing.
//!
//! # In the end
//! After a while of peace each integration is as a person last wanted it, with the very pair that the
//! provider holds for the live one; journals are empty. Only where the live pair reached no process, or
//! died with its reader before it was written down, may it wait for a person, as `rotation_lost`; or
//! where a person revoked it.
//!
//! # Would it notice?
//! Each guard was taken out by hand, and the first seeds were run; so many of them noticed.
//!
//! | without | the first seed to notice | seeds that did |
//! |---|---|---|
//! | trimming of the inbox in the commit | 0 | 120 of 120 |
//! | a claim's respect for a lease that lasts | 0 | 119 of 120 |
//! | the journal, written before the commit | 0 | 48 of 60 |
//! | `rotation_lost` after an unknown outcome | 1 | 24 of 50 |
//! | the fence | 7 | 16 of 120 |
//! | caution after a failover | 10 | 1 of 50 |
//! | a timer's time (half a second early) | 10 | 6 of 120 |
//! | confirmation of an intent before the request | 13 | 1 of 50 |
//! | comparison of grants in `Rescued` | 14 | 3 of 50 |
//! | the journal's replay | 16 | 8 of 60 |
//! | the answer `already` to a commit sent again | 18 | 16 of 120 |
//! | strict commits | 29 | 4 of 120 |
//! | comparison of generations in `Rescued` | 45 | 1 of 50 |
//!
//! Not noticed in the first fifty, because another guard stands behind it: delivering a fenced pair as a
//! signal (the journal's left-over entries are replayed), the last look before the first byte, that only
//! a confirmed commit settles a pair, the list of spent tokens. Nor is the end of a lease by a pre-emptive
//! signal: without it a disconnect is slower, and as thorough.

mod dice;
mod fleet;
mod link;
mod people;
mod plan;
mod process;
mod provider;
mod run;
mod scene;
mod trace;
mod truth;
mod watched;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use self::run::{Run, run};

/// One seed, to be looked at.
const ONE: &str = "EVERGREEN_SIMULATION_SEED";
/// How many seeds, instead of the usual number.
const MANY: &str = "EVERGREEN_SIMULATION_SEEDS";
const USUAL: u64 = 300;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable}: a whole number is needed")),
    )
}

/// Shows a run that went wrong, and how to see it again.
fn told(run: &Run) -> String {
    let from = run.trace.len().saturating_sub(400);
    let wrong = run.wrong.as_deref().unwrap_or("nothing");
    format!(
        "{}\n\nseed {}: {wrong}\nagain: {ONE}={} cargo test -p evergreen --test simulation",
        run.trace[from..].join("\n"),
        run.seed,
        run.seed,
    )
}

#[test]
fn every_invariant_holds_whatever_befalls_a_fleet() {
    if let Some(seed) = number(ONE) {
        let run = run(seed);
        println!("{}", told(&run));
        assert_eq!(run.wrong, None);
        return;
    }
    let seeds = number(MANY).unwrap_or(USUAL);
    let next = AtomicU64::new(0);
    let failed: Mutex<Vec<Run>> = Mutex::default();
    let (requests, lost) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|threads| {
        let some = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..some {
            threads.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let run = run(seed);
                    requests.fetch_add(run.requests as u64, Ordering::Relaxed);
                    lost.fetch_add(run.lost as u64, Ordering::Relaxed);
                    if run.wrong.is_some() {
                        failed.lock().expect("no panic").push(run);
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().expect("no panic");
    failed.sort_by_key(|run| run.trace.len());
    println!("{seeds} seeds, {requests:?} requests, {lost:?} rotations lost on the way");
    if let Some(shortest) = failed.first() {
        let all: Vec<String> = failed
            .iter()
            .map(|run| format!("{}: {}", run.seed, run.wrong.as_deref().unwrap_or_default()))
            .collect();
        panic!("{}\n\nall that failed:\n{}", told(shortest), all.join("\n"));
    }
}

#[test]
fn a_seed_repeats_exactly() {
    for seed in [1, 2, 3, 5, 8, 13] {
        let (first, second) = (run(seed), run(seed));
        let lines = first.trace.iter().zip(&second.trace);
        for (number, (one, other)) in lines.enumerate() {
            assert_eq!(one, other, "seed {seed}, line {number}");
        }
        assert_eq!(first.hash, second.hash, "seed {seed}");
    }
}
