//! How many syncs puts and removals cost.

use std::sync::mpsc;

use futures::future::join_all;
use futures::poll;

use super::super::{Journal, record};
use super::memory::{Gate, Memory, Step};
use super::*;

/// How long a test waits for what must come; a limit for failures, not a pause.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn puts_that_wait_share_one_sync_and_none_resolves_before_it() {
    let (mut disk, state) = Memory::new();
    let (begun, begins) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel();
    disk.gate = Some(Gate {
        begun,
        go_on: goes_on,
    });
    let journal = Journal::start(Box::new(disk), &[], QUIET).unwrap();
    // Dropped before the journal, should the test fail: nobody then waits at the gate.
    let go_on = go_on;
    let at_start = state.lock().unwrap().syncs;

    let mut first = Box::pin(journal.put(entry(0)));
    assert!(poll!(&mut first).is_pending());
    begins.recv_timeout(PATIENCE).unwrap();
    // The disk is busy with the first one; a hundred more arrive.
    let some: Vec<_> = (1..=100).map(entry).collect();
    let mut rest = Box::pin(join_all(some.into_iter().map(|entry| journal.put(entry))));
    assert!(poll!(&mut rest).is_pending());
    assert!(poll!(&mut first).is_pending());
    assert!(journal.is_empty());
    go_on.send(()).unwrap();
    first.await.unwrap();

    begins.recv_timeout(PATIENCE).unwrap();
    assert!(poll!(&mut rest).is_pending());
    go_on.send(()).unwrap();
    assert!(rest.await.iter().all(Result::is_ok));
    assert_eq!(state.lock().unwrap().syncs - at_start, 2);
    assert_eq!(journal.len(), 101);
}

#[test]
fn a_removal_is_written_at_once_and_synced_when_there_is_time() {
    let (disk, state) = Memory::new();
    let (mut log, _) = log(disk, QUIET);
    let one = entry(1);
    log.write(puts(std::slice::from_ref(&one)));
    let before = state.lock().unwrap().syncs;
    log.write(gone(&[one.id]));
    assert_eq!(state.lock().unwrap().syncs, before);
    assert!(
        record::scan(&state.lock().unwrap().bytes())
            .entries
            .is_empty()
    );
    log.tidy().unwrap();
    for bytes in state.lock().unwrap().after_power_loss() {
        assert!(record::scan(&bytes).entries.is_empty());
    }
    assert!(!log.unsettled());
}

#[tokio::test]
async fn closing_makes_removals_durable() {
    let (disk, state) = Memory::new();
    let journal = Journal::start(Box::new(disk), &[], QUIET).unwrap();
    let id = journal.put(entry(1)).await.unwrap();
    journal.remove(id).await.unwrap();
    drop(journal);
    for bytes in state.lock().unwrap().after_power_loss() {
        assert!(record::scan(&bytes).entries.is_empty());
    }
}

#[tokio::test]
async fn an_entry_removed_while_its_put_waits_is_gone() {
    let (disk, state) = Memory::new();
    let (mut log, board) = log(disk, QUIET);
    let one = entry(1);
    let verdicts = log.write(Batch {
        puts: vec![one.clone()],
        gone: vec![one.id],
        ..Batch::default()
    });
    assert!(verdicts[0].is_ok());
    assert!(board.lock().unwrap().live.is_empty());
    log.tidy().unwrap();
    assert!(
        record::scan(&state.lock().unwrap().bytes())
            .entries
            .is_empty()
    );
}

#[test]
fn garbage_is_bounded_while_entries_come_and_go() {
    let (disk, state) = Memory::new();
    let limits = Limits {
        garbage_bytes_max: 4_000,
        ..QUIET
    };
    let (mut log, board) = log(disk, limits);
    let blank = entry(1);
    for _ in 0..200 {
        let one = Entry {
            id: EntryId::random(),
            ..blank.clone()
        };
        let id = one.id;
        assert!(log.write(puts(&[one]))[0].is_ok());
        log.write(gone(&[id]));
        let length = state.lock().unwrap().bytes().len();
        assert!(length < 4_000 + 2_000, "{length} bytes");
    }
    assert_eq!(board.lock().unwrap().bytes, 0);
}

#[tokio::test]
async fn what_may_wait_is_done_after_a_while_by_itself() {
    let (disk, state) = Memory::new();
    let (watcher, steps) = mpsc::channel();
    let limits = Limits {
        linger: Duration::from_millis(1),
        ..QUIET
    };
    let wait_for = |wanted| while steps.recv_timeout(PATIENCE).unwrap() != wanted {};
    let journal = Journal::start(Box::new(disk), &[], limits).unwrap();
    let id = journal.put(entry(1)).await.unwrap();
    state.lock().unwrap().watcher = Some(watcher);

    // The blob of a removed entry leaves the disk.
    journal.remove(id).await.unwrap();
    wait_for(Step::Append);
    wait_for(Step::InstallFresh);

    // A disk that failed is tried again, until it works.
    state.lock().unwrap().failing.insert(Step::Append);
    assert!(journal.put(entry(2)).await.is_err());
    wait_for(Step::Append);
    wait_for(Step::Append);
    state.lock().unwrap().failing.clear();
    wait_for(Step::Sync);
    journal.close().await.unwrap();
    assert!(journal.unhealthy().is_none());
}
