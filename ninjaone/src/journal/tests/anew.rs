//! Entries that are sealed anew: the same pairs, another key, and nothing else.

use super::super::{Journal, record};
use super::memory::{Memory, Step};
use super::*;

/// The same entry under another key.
fn anew(entry: &Entry) -> Entry {
    let again = sealed_entry(&ring(), entry.base_generation, "access", "refresh");
    Entry {
        sealed: again.sealed,
        ..entry.clone()
    }
}

fn batch(anew: &[Entry]) -> Batch {
    Batch {
        anew: anew.to_vec(),
        ..Batch::default()
    }
}

#[test]
fn it_takes_the_place_of_the_old_one_also_for_who_reads_the_file() {
    let (disk, state) = Memory::new();
    let (mut log, board) = log(disk, QUIET);
    let (one, two) = (entry(1), entry(2));
    log.write(puts(&[one.clone(), two.clone()]));
    let again = anew(&one);
    log.write(batch(std::slice::from_ref(&again)));
    assert_eq!(board.lock().unwrap().live[&one.id].entry, again);
    let read = || record::scan(&state.lock().unwrap().bytes()).entries;
    assert_eq!(read()[&one.id], again);
    assert_eq!(read()[&two.id], two);
    // A crash now, with or without power, finds one of the two, whole.
    for bytes in state.lock().unwrap().after_power_loss() {
        let found = record::scan(&bytes).entries.remove(&one.id).unwrap();
        assert!(found == again || found == one);
    }
    // The file forgets what was replaced as soon as there is time.
    let old = one.sealed.to_string();
    let holds = || String::from_utf8_lossy(&state.lock().unwrap().bytes()).contains(&old);
    assert!(holds());
    log.tidy().unwrap();
    assert!(!holds());
    assert_eq!(read().len(), 2);
}

#[test]
fn a_file_that_is_replaced_meanwhile_holds_each_entry_once() {
    let (disk, state) = Memory::new();
    let (mut log, _) = log(disk, QUIET);
    let one = entry(1);
    log.write(puts(std::slice::from_ref(&one)));
    // After a failed sync the next write replaces the whole file.
    state.lock().unwrap().failing.insert(Step::Sync);
    assert!(log.write(puts(&[entry(2)]))[0].is_err());
    state.lock().unwrap().failing.clear();
    log.write(batch(&[anew(&one)]));
    let text = String::from_utf8(state.lock().unwrap().bytes()).unwrap();
    assert_eq!(text.matches("\"sealed\"").count(), 1, "{text}");
    assert!(!text.contains(&one.sealed.to_string()));
}

#[test]
fn what_was_removed_meanwhile_does_not_come_back() {
    let (disk, state) = Memory::new();
    let (mut log, board) = log(disk, QUIET);
    let one = entry(1);
    log.write(puts(std::slice::from_ref(&one)));
    log.write(gone(&[one.id]));
    log.write(batch(&[anew(&one)]));
    assert!(board.lock().unwrap().live.is_empty());
    assert!(
        record::scan(&state.lock().unwrap().bytes())
            .entries
            .is_empty()
    );
    // Nor if both come at once.
    let two = entry(2);
    log.write(puts(std::slice::from_ref(&two)));
    log.write(Batch {
        gone: vec![two.id],
        ..batch(&[anew(&two)])
    });
    assert!(board.lock().unwrap().live.is_empty());
}

#[test]
fn a_full_journal_can_be_sealed_anew_and_a_disk_that_fails_leaves_what_was_there() {
    let (disk, state) = Memory::new();
    let limits = Limits {
        entries_max: 1,
        ..QUIET
    };
    let (mut log, board) = log(disk, limits);
    let one = entry(1);
    log.write(puts(std::slice::from_ref(&one)));
    let bytes = board.lock().unwrap().bytes;
    state.lock().unwrap().failing.insert(Step::Append);
    log.write(batch(&[anew(&one)]));
    assert_eq!(board.lock().unwrap().live[&one.id].entry, one);
    state.lock().unwrap().failing.clear();
    let again = anew(&one);
    // A put beside it is refused for want of room, as before.
    let verdicts = log.write(Batch {
        puts: vec![entry(2)],
        ..batch(std::slice::from_ref(&again))
    });
    assert_eq!(verdicts.len(), 1);
    assert!(verdicts[0].is_err());
    assert_eq!(board.lock().unwrap().live[&one.id].entry, again);
    let key_ids = |entry: &Entry| entry.sealed.key_id().len() as u64;
    let grown = key_ids(&again) - key_ids(&one);
    assert_eq!(board.lock().unwrap().bytes, bytes + grown, "counted once");
}

#[tokio::test]
async fn the_handle_tells_the_keys_that_are_left() {
    let (disk, _) = Memory::new();
    let journal = Journal::over(Box::new(disk), &[], QUIET).unwrap();
    let one = entry(1);
    journal.put(one.clone()).await.unwrap();
    let again = anew(&one);
    journal.replace(vec![again.clone()]);
    let ids: Vec<String> = journal.key_ids().into_iter().collect();
    assert_eq!(ids, [again.sealed.key_id()]);
    assert_eq!(journal.entries(), [again]);
}
