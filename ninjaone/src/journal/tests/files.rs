//! The real directory: names, locks, modes, orphans, and the listing from outside.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::super::{Journal, read_dir, record};
use super::*;

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|item| item.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Leaves a file as a worker that died would.
async fn dead_worker(directory: &Path, worker_id: &str, entries: &[Entry]) {
    let journal = Journal::open(directory, worker_id, QUIET).unwrap();
    for entry in entries {
        journal.put(entry.clone()).await.unwrap();
    }
}

#[tokio::test]
async fn entries_and_the_newest_stamp_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (kept, removed) = (entry(1), entry(2));
    let journal = Journal::open(directory.path(), "w", QUIET).unwrap();
    assert_eq!(journal.newest_stamp(), 0);
    journal.put(kept.clone()).await.unwrap();
    let id = journal.put(removed).await.unwrap();
    journal.saw_stamp(900);
    journal.saw_stamp(800);
    journal.remove(id).await.unwrap();
    journal.close().await.unwrap();

    let journal = Journal::open(directory.path(), "w", QUIET).unwrap();
    assert_eq!(journal.entries(), std::slice::from_ref(&kept));
    assert_eq!(journal.newest_stamp(), 900);
    assert_eq!(
        journal.key_ids().into_iter().collect::<Vec<_>>(),
        [kept.sealed.key_id()]
    );
    assert_eq!(names(directory.path()), ["w.journal"]);
}

#[tokio::test]
async fn only_the_owner_may_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("var/journal");
    dead_worker(&path, "w", &[entry(1)]).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join("w.journal")), 0o600);

    // A file that somebody made readable is replaced by one that is not.
    fs::set_permissions(path.join("w.journal"), fs::Permissions::from_mode(0o644)).unwrap();
    let _journal = Journal::open(&path, "w", QUIET).unwrap();
    assert_eq!(mode(&path.join("w.journal")), 0o600);
}

#[tokio::test]
async fn a_namesake_takes_another_name_and_touches_nothing_of_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let first = Journal::open(directory.path(), "w", QUIET).unwrap();
    first.put(entry(1)).await.unwrap();
    let second = Journal::open(directory.path(), "w", QUIET).unwrap();
    assert!(second.is_empty());
    second.put(entry(2)).await.unwrap();
    first.put(entry(3)).await.unwrap();
    assert_eq!(names(directory.path()), ["w-2.journal", "w.journal"]);
    assert_eq!(generations(&first.entries()), [1, 3]);
    assert_eq!(generations(&second.entries()), [2]);
}

#[tokio::test]
async fn the_files_of_the_dead_are_adopted_those_of_the_living_are_not() {
    let directory = tempfile::tempdir().unwrap();
    dead_worker(directory.path(), "dead", &[entry(1), entry(2)]).await;
    fs::write(directory.path().join("dead.journal.fresh"), "half a copy").unwrap();
    let living = Journal::open(directory.path(), "living", QUIET).unwrap();
    // The living one has adopted already; let another die.
    assert_eq!(living.recovered().adopted, ["dead.journal"]);
    dead_worker(directory.path(), "later", &[entry(3)]).await;

    let new = Journal::open(directory.path(), "new", QUIET).unwrap();
    assert_eq!(new.recovered().adopted, ["later.journal"]);
    assert_eq!(generations(&new.entries()), [3]);
    assert_eq!(generations(&living.entries()), [1, 2]);
    assert_eq!(names(directory.path()), ["living.journal", "new.journal"]);
    assert_eq!(new.newest_stamp(), 7);
}

#[tokio::test]
async fn a_worker_adopts_while_it_runs() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path(), "w", QUIET).unwrap();
    journal.put(entry(1)).await.unwrap();
    let other = Journal::open(directory.path(), "other", QUIET).unwrap();
    other.put(entry(2)).await.unwrap();
    assert_eq!(journal.adopt().await.unwrap().adopted, [] as [String; 0]);
    drop(other);
    assert_eq!(journal.adopt().await.unwrap().adopted, ["other.journal"]);
    assert_eq!(generations(&journal.entries()), [1, 2]);
    assert_eq!(names(directory.path()), ["w.journal"]);
    drop(journal);
    let journal = Journal::open(directory.path(), "w", QUIET).unwrap();
    assert_eq!(generations(&journal.entries()), [1, 2]);
}

/// A worker that died between copying an orphan's entries and deleting the orphan.
#[tokio::test]
async fn an_entry_in_two_files_is_one_entry() {
    let directory = tempfile::tempdir().unwrap();
    let one = entry(1);
    dead_worker(directory.path(), "a", std::slice::from_ref(&one)).await;
    let copy = fs::read(directory.path().join("a.journal")).unwrap();
    fs::write(directory.path().join("b.journal"), copy).unwrap();
    let journal = Journal::open(directory.path(), "c", QUIET).unwrap();
    assert_eq!(journal.recovered().adopted, ["a.journal", "b.journal"]);
    assert_eq!(journal.entries(), [one]);
}

#[tokio::test]
async fn records_of_a_newer_release_are_left_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let newer = newer_record();
    for name in ["w.journal", "other.journal"] {
        fs::write(directory.path().join(name), &newer).unwrap();
    }
    let journal = Journal::open(directory.path(), "w", QUIET).unwrap();
    journal.put(entry(1)).await.unwrap();
    let left: Vec<_> = journal
        .recovered()
        .left
        .iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(left, ["other.journal", "w.journal"]);
    for name in ["w.journal", "other.journal"] {
        assert_eq!(fs::read(directory.path().join(name)).unwrap(), newer);
    }
    let listing = read_dir(directory.path()).unwrap();
    assert_eq!(listing.entries[0].file, "w-2.journal");
    assert_eq!(listing.unreadable.len(), 2);
    assert_eq!(listing.unreadable[0].unknown_records, 1);
}

/// An intact record with a field that this release does not know.
fn newer_record() -> Vec<u8> {
    use sha2::Digest as _;

    let json = r#"{"merged":{"id":"00000000000000ee"}}"#;
    let sum = hex::encode(&sha2::Sha256::digest(json)[..8]);
    format!("{:08x} {sum} {json}\n", json.len()).into_bytes()
}

#[test]
fn worker_ids_become_harmless_file_names() {
    let directory = tempfile::tempdir().unwrap();
    for (id, name) in [
        ("../../etc/passwd", "_._.._etc_passwd.journal"),
        ("host:12/ü", "host_12__.journal"),
        ("", "worker.journal"),
        (&"x".repeat(300), &format!("{}.journal", "x".repeat(100))),
    ] {
        let journal = Journal::open(directory.path(), id, QUIET).unwrap();
        assert_eq!(names(directory.path()), [name.to_owned()], "{id}");
        drop(journal);
    }
}

#[test]
fn a_symbolic_link_is_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = directory.path().join("elsewhere");
    fs::write(&elsewhere, "mine").unwrap();
    let path = directory.path().join("journal");
    fs::create_dir(&path).unwrap();
    std::os::unix::fs::symlink(&elsewhere, path.join("w.journal")).unwrap();
    assert!(Journal::open(&path, "w", QUIET).is_err());
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "mine");
}

#[test]
fn a_directory_that_cannot_be_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Journal::open(&file.join("journal"), "w", QUIET).unwrap_err();
    assert_eq!(error.to_string(), "opening the journal's directory");
    assert!(read_dir(&file.join("journal")).is_err());
}

#[tokio::test]
async fn the_listing_shows_live_and_dead_files_and_changes_neither() {
    let directory = tempfile::tempdir().unwrap();
    let live = Journal::open(directory.path(), "live", QUIET).unwrap();
    live.put(entry(2)).await.unwrap();
    live.put(entry(1)).await.unwrap();
    let mut dead = Vec::new();
    record::put(&entry(3), &mut dead);
    record::stamp(99, &mut dead);
    dead.extend_from_slice(b"0000");
    fs::write(directory.path().join("dead.journal"), &dead).unwrap();
    fs::create_dir(directory.path().join("a.journal")).unwrap();

    let listing = read_dir(directory.path()).unwrap();
    let shown: Vec<_> = listing
        .entries
        .iter()
        .map(|listed| (listed.file.as_str(), listed.entry.base_generation))
        .collect();
    assert_eq!(
        shown,
        [
            ("dead.journal", 3),
            ("live.journal", 1),
            ("live.journal", 2)
        ]
    );
    assert_eq!(listing.newest_stamp, 99);
    assert_eq!(listing.unreadable.len(), 1);
    assert_eq!(listing.unreadable[0].torn_bytes, 4);
    assert_eq!(
        fs::read(directory.path().join("dead.journal")).unwrap(),
        dead
    );
    let json = serde_json::to_value(&listing.entries[0]).unwrap();
    assert_eq!(json["file"], "dead.journal");
    assert_eq!(json["base_generation"], 3);
}
