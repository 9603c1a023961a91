//! Wherever a worker dies, with or without power: no entry is lost whose put had resolved.

use std::collections::HashSet;

use proptest::prelude::*;

use super::super::record;
use super::memory::{Memory, State, Step};
use super::*;

/// What the journal has promised, and what it was ever given.
#[derive(Default)]
struct Promises {
    promised: HashSet<EntryId>,
    given: HashSet<EntryId>,
}

impl Promises {
    fn write(&mut self, log: &mut Log, batch: Batch) {
        let ids: Vec<_> = batch.puts.iter().map(|entry| entry.id).collect();
        self.given.extend(&ids);
        self.promised.retain(|id| !batch.gone.contains(id));
        let verdicts = log.write(batch);
        assert_eq!(verdicts.len(), ids.len());
        for (id, verdict) in ids.into_iter().zip(verdicts) {
            if verdict.is_ok() {
                self.promised.insert(id);
            }
        }
    }

    /// Holds for everything that the next process could find.
    fn hold(&self, state: &State) {
        let mut possible = state.after_power_loss();
        possible.push(state.bytes());
        for bytes in possible {
            let own = record::scan(&bytes);
            let mut found: HashSet<_> = own.entries.into_keys().collect();
            for (_, bytes) in &state.orphans {
                found.extend(record::scan(bytes).entries.into_keys());
            }
            assert!(self.promised.is_subset(&found), "a promised entry is lost");
            assert!(found.is_subset(&self.given), "an entry came from nowhere");
        }
    }
}

fn file_of(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        record::put(entry, &mut bytes);
    }
    bytes
}

/// A life with everything in it: adoption, puts, removals, replacing for garbage, tidying.
fn live(disk: Memory, promises: &mut Promises) {
    let limits = Limits {
        garbage_bytes_max: 0,
        ..QUIET
    };
    let (mut log, _) = log(disk, limits);
    // Adopted entries are promised from the start: their worker had promised them.
    log.adopt().unwrap();
    let _ = log.tidy();
    for round in 0..3 {
        let some: Vec<_> = (round * 6..round * 6 + 6).map(entry).collect();
        promises.write(&mut log, puts(&some[..2]));
        promises.write(&mut log, gone(&[some[0].id]));
        promises.write(&mut log, puts(&some[2..3]));
        let _ = log.tidy();
        let both = Batch {
            puts: some[3..5].to_vec(),
            gone: vec![some[1].id],
            stamp: 9,
            ..Batch::default()
        };
        promises.write(&mut log, both);
        promises.write(&mut log, gone(&[some[2].id, some[3].id]));
        promises.write(&mut log, puts(&some[5..]));
        let _ = log.tidy();
    }
}

#[test]
fn no_step_is_a_bad_one_to_die_after() {
    let mut stop_after = 0;
    loop {
        let (disk, state) = Memory::new();
        let left: Vec<_> = (100..103).map(entry).collect();
        let mut promises = Promises::default();
        promises.promised.extend(left.iter().map(|entry| entry.id));
        promises.given = promises.promised.clone();
        {
            let mut state = state.lock().unwrap();
            state.stop_after = Some(stop_after);
            state.orphans = vec![
                ("one.journal".into(), file_of(&left[..2])),
                ("two.journal".into(), file_of(&left[1..])),
            ];
        }
        live(disk, &mut promises);
        let state = state.lock().unwrap();
        promises.hold(&state);
        if state.steps <= stop_after {
            assert!(state.orphans.is_empty());
            assert!(
                stop_after > 40,
                "{stop_after}: the life was too short to prove anything"
            );
            return;
        }
        stop_after += 1;
    }
}

#[derive(Debug, Clone)]
enum Act {
    Put(u8),
    Remove(prop::sample::Index),
    Tidy,
    Break(usize),
    Mend(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1..4_u8).prop_map(Act::Put),
        3 => any::<prop::sample::Index>().prop_map(Act::Remove),
        2 => Just(Act::Tidy),
        2 => (0..Step::ALL.len()).prop_map(Act::Break),
        3 => (0..Step::ALL.len()).prop_map(Act::Mend),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Steps fail and recover in any order; power may go at any moment; in the end all is well.
    #[test]
    fn whatever_fails_the_promises_hold(
        acts in prop::collection::vec(act(), 1..40),
        garbage_bytes_max in prop_oneof![Just(0_u64), Just(2_000), Just(1 << 20)],
    ) {
        let (disk, state) = Memory::new();
        let (mut log, board) = log(disk, Limits { garbage_bytes_max, ..QUIET });
        let mut promises = Promises::default();
        let blank = entry(0);
        for act in acts {
            match act {
                Act::Put(count) => {
                    let fresh = || Entry { id: EntryId::random(), ..blank.clone() };
                    let some: Vec<_> = (0..count).map(|_| fresh()).collect();
                    promises.write(&mut log, puts(&some));
                }
                Act::Remove(index) => {
                    let ids: Vec<_> = promises.promised.iter().copied().collect();
                    if !ids.is_empty() {
                        promises.write(&mut log, gone(&[*index.get(&ids)]));
                    }
                }
                Act::Tidy => {
                    let _ = log.tidy();
                }
                Act::Break(step) => {
                    state.lock().unwrap().failing.insert(Step::ALL[step]);
                }
                Act::Mend(step) => {
                    state.lock().unwrap().failing.remove(&Step::ALL[step]);
                }
            }
            promises.hold(&state.lock().unwrap());
        }
        state.lock().unwrap().failing.clear();
        log.tidy().unwrap();
        prop_assert!(!log.faulty());
        let found: HashSet<_> = record::scan(&state.lock().unwrap().bytes())
            .entries
            .into_keys()
            .collect();
        prop_assert_eq!(&found, &promises.promised);
        let alive: HashSet<_> = board.lock().unwrap().live.keys().copied().collect();
        prop_assert_eq!(&alive, &promises.promised);
    }
}
