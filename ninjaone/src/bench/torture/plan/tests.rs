use super::*;

const LEASE: Duration = Duration::from_secs(6);

fn of(seed: u64, minutes: u64) -> Vec<Planned> {
    plan(seed, Duration::from_mins(minutes), 4, LEASE)
}

/// When a worker is not well, with how long it is watched afterwards.
fn spell(planned: &Planned) -> Option<(usize, Duration, Duration)> {
    let (worker, span) = match planned.what {
        What::Kill { worker, down } => (worker, down),
        What::Stop { worker, span, .. }
        | What::Cut { worker, span }
        | What::DiskFull { worker, span, .. } => (worker, span),
        What::Redis { .. } | What::Provider(_) | What::Person(_) => return None,
    };
    Some((worker, planned.at, planned.at + span))
}

#[test]
fn a_seed_decides_everything() {
    assert_eq!(of(7, 10), of(7, 10));
    assert_ne!(of(7, 10), of(8, 10));
}

#[test]
fn a_minute_has_something_of_everything_that_an_operator_fears() {
    let kinds = |planned: &[Planned]| {
        let has = |like: fn(&What) -> bool| planned.iter().any(|p| like(&p.what));
        [
            has(|w| matches!(w, What::Kill { .. })),
            has(|w| matches!(w, What::Stop { .. })),
            has(|w| matches!(w, What::Cut { .. })),
            has(|w| matches!(w, What::DiskFull { .. })),
            has(|w| matches!(w, What::Redis { .. })),
            has(|w| matches!(w, What::Provider(_))),
            has(|w| matches!(w, What::Person(_))),
        ]
    };
    for seed in 0..50 {
        assert_eq!(kinds(&of(seed, 10)), [true; 7], "{seed}");
        let few = kinds(&of(seed, 1)).iter().filter(|has| **has).count();
        assert!(few >= 5, "{seed}: {few}");
    }
}

#[test]
fn nothing_outlasts_the_run_and_one_worker_is_always_well() {
    for seed in 0..200 {
        let all = of(seed, 3);
        let spells: Vec<_> = all.iter().filter_map(spell).collect();
        for (worker, from, to) in &spells {
            assert!(*to <= Duration::from_mins(3), "{seed}");
            let others = spells
                .iter()
                .filter(|(w, f, t)| w != worker && f <= from && t >= from);
            let unwell: std::collections::BTreeSet<_> = others.map(|(w, ..)| w).collect();
            assert!(unwell.len() < 3, "{seed}: nobody is well at {from:?}");
        }
    }
}

#[test]
fn nobody_dies_while_a_disk_is_full() {
    for seed in 0..200 {
        let all = of(seed, 3);
        for full in &all {
            let What::DiskFull { worker, span, .. } = full.what else {
                continue;
            };
            let over = full.at + span + AFTER_FULL;
            let meanwhile = all.iter().filter(|p| p.at > full.at && p.at < over);
            for other in meanwhile {
                assert!(!matches!(other.what, What::Redis { .. }), "{seed}");
                if let Some((hit, ..)) = spell(other) {
                    assert_ne!(hit, worker, "{seed}");
                }
            }
        }
    }
}
