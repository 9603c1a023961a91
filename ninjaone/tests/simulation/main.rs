//! A fleet on virtual time: real workers, real turns, the real machine and refresher, real token requests
//! up to the HTTP library, a real journal; over one store in memory, with a provider that is strict.

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
