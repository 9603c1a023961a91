//! Scenario 65, as far as the journal goes; and that what is in it opens where it should.

use std::fs;
use std::path::Path;

use super::super::Journal;
use super::*;
use crate::vault::OpenError;

const ACCESS: &str = "CANARY-ACCESS";
const REFRESH: &str = "CANARY-REFRESH";

fn all_bytes(directory: &Path) -> Vec<u8> {
    fs::read_dir(directory)
        .unwrap()
        .flat_map(|item| fs::read(item.unwrap().path()).unwrap())
        .collect()
}

fn shows(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn neither_files_nor_debug_nor_errors_show_a_token() {
    let directory = tempfile::tempdir().unwrap();
    let entry = sealed_entry(&ring(), 1, ACCESS, REFRESH);
    let limits = Limits {
        entries_max: 1,
        ..QUIET
    };
    let journal = Journal::open(directory.path(), "w", limits).unwrap();
    journal.put(entry.clone()).await.unwrap();
    let full = journal.put(entry.clone()).await.unwrap_err();
    let shown = format!(
        "{journal:?} {entry:?} {full} {full:?} {:?}",
        journal.unhealthy()
    );
    let bytes = all_bytes(directory.path());
    assert!(shows(&bytes, WORKFLOW), "the header is for people");
    assert!(!shows(&bytes, "CANARY") && !shown.contains("CANARY"));
    // The sealed blob belongs into the file, and not into logs.
    let blob = entry.sealed.to_string();
    assert!(shows(&bytes, &blob) && !shown.contains(&blob));
}

#[tokio::test]
async fn what_was_put_opens_at_its_place_and_under_its_own_header_only() {
    let directory = tempfile::tempdir().unwrap();
    let ring = ring();
    let journal = Journal::open(directory.path(), "w", QUIET).unwrap();
    for (generation, refresh) in [(1, "R1"), (2, "R2")] {
        let entry = sealed_entry(&ring, generation, "A", refresh);
        journal.put(entry).await.unwrap();
    }
    drop(journal);
    let journal = Journal::open(directory.path(), "w", QUIET).unwrap();
    let [mut one, mut two]: [Entry; 2] = journal.entries().try_into().unwrap();
    let pair = ring.open_pair(&one.place(), &one.sealed).unwrap();
    assert_eq!(pair.refresh_token.unwrap().expose_secret(), "R1");
    std::mem::swap(&mut one.sealed, &mut two.sealed);
    for entry in [one, two] {
        let error = ring.open_pair(&entry.place(), &entry.sealed).unwrap_err();
        assert_eq!(error, OpenError::WrongPlaceOrDamaged);
    }
}

/// Invariant 10: no credential exists after disconnect, not even sealed.
#[tokio::test]
async fn a_removed_blob_leaves_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let (kept, removed) = (entry(1), entry(2));
    let journal = Journal::open(directory.path(), "w", QUIET).unwrap();
    journal.put(kept.clone()).await.unwrap();
    let id = journal.put(removed.clone()).await.unwrap();
    journal.remove(id).await.unwrap();
    journal.close().await.unwrap();
    let bytes = all_bytes(directory.path());
    assert!(shows(&bytes, &kept.sealed.to_string()));
    assert!(!shows(&bytes, &removed.sealed.to_string()));
}
