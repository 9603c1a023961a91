//! Full, failing, and well again.

use std::error::Error as _;

use super::super::{Journal, JournalError, record};
use super::memory::{Memory, Step};
use super::*;

fn open(limits: Limits) -> (Journal, Arc<Mutex<super::memory::State>>) {
    let (disk, state) = Memory::new();
    let journal = Journal::start(Box::new(disk), &[], limits).unwrap();
    (journal, state)
}

fn in_file(state: &Mutex<super::memory::State>) -> Vec<u64> {
    let scan = record::scan(&state.lock().unwrap().bytes());
    assert_eq!((scan.torn_bytes, scan.damaged_bytes), (0, 0));
    let mut found: Vec<_> = scan.entries.into_values().collect();
    found.sort_by_key(|entry| entry.base_generation);
    generations(&found)
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_ends_with_the_next_write() {
    for step in [Step::Append, Step::Sync] {
        let (journal, state) = open(QUIET);
        journal.put(entry(1)).await.unwrap();
        state.lock().unwrap().failing.insert(step);
        let error = journal.put(entry(2)).await.unwrap_err();
        let source = error.source().unwrap().to_string();
        assert!(source.contains("storage"), "{source}");
        assert!(matches!(journal.unhealthy(), Some(JournalError::Io { .. })));
        assert_eq!(generations(&journal.entries()), [1]);

        state.lock().unwrap().failing.clear();
        journal.put(entry(3)).await.unwrap();
        assert!(journal.unhealthy().is_none());
        assert_eq!(generations(&journal.entries()), [1, 3]);
        assert_eq!(in_file(&state), [1, 3], "{step:?}");
    }
}

#[tokio::test]
async fn a_journal_opens_on_a_full_disk_and_shows_what_it_holds() {
    let (disk, state) = Memory::new();
    let mut bytes = Vec::new();
    record::put(&entry(1), &mut bytes);
    state.lock().unwrap().failing.insert(Step::WriteFresh);
    let journal = Journal::start(Box::new(disk), &bytes, QUIET).unwrap();
    assert_eq!(generations(&journal.entries()), [1]);
    assert!(journal.unhealthy().is_some());
    state.lock().unwrap().failing.clear();
    journal.put(entry(2)).await.unwrap();
    assert!(journal.unhealthy().is_none());
    assert_eq!(in_file(&state), [1, 2]);
}

#[test]
fn a_disk_that_is_back_is_noticed_without_a_put() {
    let (disk, state) = Memory::new();
    let (mut log, _) = log(disk, QUIET);
    log.tidy().unwrap();
    state.lock().unwrap().failing.insert(Step::Append);
    let unstamped = Entry {
        stamp: 0,
        ..entry(1)
    };
    assert!(log.write(puts(&[unstamped]))[0].is_err());
    assert!(log.tidy().is_err());
    assert!(log.faulty() && log.unsettled());
    state.lock().unwrap().failing.clear();
    log.tidy().unwrap();
    assert!(!log.faulty() && !log.unsettled());
}

#[tokio::test]
async fn a_journal_is_well_again_by_itself_once_there_is_room() {
    for step in [Step::Append, Step::Sync] {
        let (disk, state) = Memory::new();
        let limits = Limits {
            linger: Duration::from_millis(1),
            ..QUIET
        };
        let journal = Journal::start(Box::new(disk), &[], limits).unwrap();
        journal.put(entry(1)).await.unwrap();
        // Full for a put and for every way out of it.
        let full = [step, Step::WriteFresh, Step::SyncFresh];
        state.lock().unwrap().failing.extend(full);
        journal.put(entry(2)).await.unwrap_err();
        assert!(journal.unhealthy().is_some());
        state.lock().unwrap().failing.clear();
        let until = std::time::Instant::now() + Duration::from_secs(30);
        while journal.unhealthy().is_some() {
            assert!(std::time::Instant::now() < until, "{step:?}");
            std::thread::yield_now();
        }
        assert_eq!(generations(&journal.entries()), [1]);
        journal.put(entry(3)).await.unwrap();
        journal.close().await.unwrap();
        assert_eq!(in_file(&state), [1, 3], "{step:?}");
    }
}

#[test]
fn where_there_is_no_room_for_a_copy_a_record_may_still_fit() {
    let (disk, state) = Memory::new();
    let limits = Limits {
        garbage_bytes_max: 0,
        ..QUIET
    };
    let (mut log, _) = log(disk, limits);
    let some: Vec<_> = (1..=4).map(entry).collect();
    assert!(log.write(puts(&some[..3])).iter().all(Result::is_ok));
    log.write(gone(&[some[0].id, some[1].id]));
    state.lock().unwrap().failing.insert(Step::WriteFresh);
    assert!(log.write(puts(&some[3..]))[0].is_ok());
    assert_eq!(in_file(&state), [3, 4]);
}

#[test]
fn a_removal_that_could_not_be_written_is_written_later() {
    let (disk, state) = Memory::new();
    let (mut log, board) = log(disk, QUIET);
    let some: Vec<_> = (1..=2).map(entry).collect();
    log.write(puts(&some));
    state.lock().unwrap().failing.insert(Step::Append);
    log.write(gone(&[some[0].id]));
    assert_eq!(board.lock().unwrap().live.len(), 1);
    assert_eq!(in_file(&state), [1, 2]);
    state.lock().unwrap().failing.clear();
    log.write(puts(&[entry(3)]));
    assert_eq!(in_file(&state), [2, 3]);
}

#[tokio::test]
async fn the_bounds_hold_and_room_is_noticed() {
    let (journal, _) = open(Limits {
        entries_max: 2,
        ..QUIET
    });
    let first = journal.put(entry(1)).await.unwrap();
    journal.put(entry(2)).await.unwrap();
    assert!(
        journal.unhealthy().is_none(),
        "full, but nobody was turned away"
    );
    let error = journal.put(entry(3)).await.unwrap_err();
    assert!(
        matches!(error, JournalError::Full { entries: 2, .. }),
        "{error}"
    );
    assert!(matches!(
        journal.unhealthy(),
        Some(JournalError::Full { .. })
    ));
    journal.remove(first).await.unwrap();
    assert!(journal.unhealthy().is_none());
    journal.put(entry(4)).await.unwrap();
    assert_eq!(generations(&journal.entries()), [2, 4]);

    let mut line = Vec::new();
    record::put(&entry(1), &mut line);
    let (journal, _) = open(Limits {
        bytes_max: line.len() as u64 + 10,
        ..QUIET
    });
    journal.put(entry(1)).await.unwrap();
    let error = journal.put(entry(2)).await.unwrap_err();
    assert!(
        matches!(error, JournalError::Full { entries: 1, .. }),
        "{error}"
    );
}

#[test]
fn of_a_batch_only_what_does_not_fit_is_refused() {
    let (disk, state) = Memory::new();
    let (mut log, _) = log(
        disk,
        Limits {
            entries_max: 2,
            ..QUIET
        },
    );
    let some: Vec<_> = (1..=3).map(entry).collect();
    let verdicts = log.write(puts(&some));
    assert_eq!(
        verdicts.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [true, true, false]
    );
    assert_eq!(in_file(&state), [1, 2]);
}

#[tokio::test]
async fn a_closed_journal_says_so() {
    let (journal, _) = open(QUIET);
    let id = journal.put(entry(1)).await.unwrap();
    journal.close().await.unwrap();
    assert!(matches!(
        journal.put(entry(2)).await,
        Err(JournalError::Closed)
    ));
    assert!(matches!(
        journal.remove(id).await,
        Err(JournalError::Closed)
    ));
    assert!(matches!(journal.close().await, Err(JournalError::Closed)));
}
