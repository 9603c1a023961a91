//! What is read from a file that was cut short or changed.

use super::super::record::{self, Scan};
use super::super::{Journal, read_dir};
use super::*;

/// Three entries, and where each of their records ends.
fn three() -> (Vec<u8>, [usize; 3]) {
    let mut bytes = Vec::new();
    let ends = [1, 2, 3].map(|generation| {
        record::put(&entry(generation), &mut bytes);
        bytes.len()
    });
    (bytes, ends)
}

fn found(scan: Scan) -> Vec<u64> {
    let mut entries: Vec<_> = scan.entries.into_values().collect();
    entries.sort_by_key(|entry| entry.base_generation);
    generations(&entries)
}

#[test]
fn cut_anywhere_every_whole_record_before_the_cut_survives() {
    let (bytes, ends) = three();
    for cut in 0..bytes.len() {
        let scan = record::scan(&bytes[..cut]);
        assert_eq!((scan.damaged_bytes, scan.unknown), (0, 0), "cut at {cut}");
        // A record whose line end alone is missing is whole.
        let whole = ends.iter().filter(|end| cut + 1 >= **end).count() as u64;
        assert_eq!(found(scan), (1..=whole).collect::<Vec<_>>(), "cut at {cut}");
    }
}

/// Cut all over the last record, opened, and written to again.
#[tokio::test]
async fn a_torn_tail_is_cut_away_and_the_file_is_used_further() {
    let (bytes, ends) = three();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("w.journal");
    for cut in (ends[1]..ends[2] - 1).step_by(17) {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let journal = Journal::open(directory.path(), "w", QUIET).unwrap();
        assert_eq!(generations(&journal.entries()), [1, 2], "cut at {cut}");
        assert_eq!(journal.recovered().torn_bytes, (cut - ends[1]) as u64);
        journal.put(entry(4)).await.unwrap();
        drop(journal);
        let listing = read_dir(directory.path()).unwrap();
        assert_eq!(listing.unreadable, []);
        assert_eq!(listing.entries.len(), 3, "cut at {cut}");
    }
}

#[test]
fn any_changed_byte_costs_one_entry_at_most() {
    let (bytes, ends) = three();
    for at in 0..bytes.len() {
        for mask in [0x01, 0x20, 0x80, bytes[at] ^ b'\n', bytes[at] ^ b'0'] {
            if mask == 0 {
                continue;
            }
            let mut changed = bytes.clone();
            changed[at] ^= mask;
            let scan = record::scan(&changed);
            assert!(
                scan.torn_bytes + scan.damaged_bytes > 0,
                "byte {at} is not missed"
            );
            assert_eq!(scan.unknown, 0);
            let hit = ends.iter().position(|end| at < *end).unwrap() as u64 + 1;
            let others = |generation: &u64| *generation != hit;
            let survivors: Vec<_> = found(scan).into_iter().filter(others).collect();
            let wanted: Vec<_> = (1..=3).filter(others).collect();
            assert_eq!(survivors, wanted, "byte {at} changed by {mask:#x}");
        }
    }
}

#[test]
fn a_removal_that_was_damaged_brings_its_entry_back() {
    let one = entry(1);
    let mut bytes = Vec::new();
    record::put(&one, &mut bytes);
    let put = bytes.len();
    record::gone(one.id, &mut bytes);
    assert_eq!(found(record::scan(&bytes)), [] as [u64; 0]);
    bytes[put + 30] ^= 1;
    assert_eq!(found(record::scan(&bytes)), [1]);
}

#[test]
fn damage_is_reported_by_opening_and_by_listing() {
    let (mut bytes, ends) = three();
    bytes[ends[0] + 40] ^= 1;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("w.journal"), &bytes).unwrap();
    let listing = read_dir(directory.path()).unwrap();
    assert_eq!(listing.entries.len(), 2);
    assert_eq!(listing.unreadable.len(), 1);
    assert_eq!(listing.unreadable[0].file, "w.journal");
    let lost = (ends[1] - ends[0]) as u64;
    assert_eq!(listing.unreadable[0].damaged_bytes, lost);
    let journal = Journal::open(directory.path(), "w", QUIET).unwrap();
    assert_eq!(generations(&journal.entries()), [1, 3]);
    assert_eq!(journal.recovered().damaged_bytes, lost);
}

#[test]
fn noise_is_no_record_and_no_panic() {
    for bytes in [
        &b"\n\n\n"[..],
        b"ffffffff ffffffffffffffff {}\n",
        &[0xff; 100],
        b"evergreen\n",
    ] {
        let scan = record::scan(bytes);
        assert!(scan.entries.is_empty());
        assert_eq!(scan.torn_bytes + scan.damaged_bytes, bytes.len() as u64);
    }
}

/// A record as the first release wrote it; if this fails, journals have become unreadable.
#[test]
fn records_from_before_are_still_read() {
    let scan = record::scan(include_bytes!("records_v1.journal"));
    assert_eq!(
        (scan.unknown, scan.torn_bytes, scan.damaged_bytes),
        (0, 0, 0)
    );
    assert_eq!(scan.stamp, 1_763_700_010_000);
    let entries: Vec<_> = scan.entries.into_values().collect();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].id.to_string(), "00000000000000ee");
    assert_eq!(entries[0].base_generation, 41);
    assert_eq!(entries[0].commit, None);
}
