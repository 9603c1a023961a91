//! The journal's directory: whether it can be written, and what waits in it.

use std::path::Path;

use super::Check;
use crate::journal::{self, held_files};

pub(super) fn journal(directory: &Path, keys: &[String]) -> Vec<Check> {
    let shown = directory.display();
    if !directory.exists() {
        // Whoever starts first makes it; whether that succeeds depends on what is above.
        return vec![Check::warn(
            "journal",
            format!("{shown} is not there yet"),
            "the first worker makes it; run this as the user that workers run as, where they run",
        )];
    }
    let mut told = vec![match writable(directory) {
        Ok(()) => Check::ok("journal", format!("{shown} can be written")),
        Err(error) => Check::fail(
            "journal",
            format!("{shown} cannot be written: {error}"),
            "make it writable for the user that workers run as, or set EVERGREEN_JOURNAL_DIR",
        ),
    }];
    match journal::read_dir(directory) {
        Err(error) => told.push(Check::fail(
            "journal",
            format!("{shown} cannot be read: {error}"),
            "make it readable for the user that workers run as",
        )),
        Ok(listing) => {
            told.extend(waiting(directory, listing.entries.len()));
            let missing: Vec<&str> = listing
                .entries
                .iter()
                .map(|listed| listed.entry.sealed.key_id())
                .filter(|id| !keys.iter().any(|key| key == id))
                .collect();
            if let Some(key) = missing.first() {
                let says = format!(
                    "{} entries are sealed with keys that are not in the ring, such as {key}",
                    missing.len()
                );
                let help = "put that key back behind the current one in EVERGREEN_SEAL_KEYS";
                told.push(Check::fail("journal", says, help));
            }
            let damaged = listing
                .unreadable
                .iter()
                .find(|one| one.error.is_some() || one.damaged_bytes > 0);
            if let Some(one) = damaged {
                let says = format!(
                    "{} is damaged; what can be read of it still counts",
                    one.file
                );
                let help = "look at the disk; evergreen journal list shows what is left";
                told.push(Check::warn("journal", says, help));
            }
        }
    }
    told
}

fn waiting(directory: &Path, entries: usize) -> Option<Check> {
    if entries == 0 {
        return None;
    }
    let says = format!("{entries} rotated pairs wait there for Redis");
    // A live worker has entries for a moment at each refresh.
    let held = held_files(directory).unwrap_or_default();
    Some(if held.is_empty() {
        let help = "no worker uses it: start one on this disk, or run evergreen journal replay";
        Check::warn("journal", says, help)
    } else {
        Check::ok("journal", format!("{says}, and a live worker sees to them"))
    })
}

/// Writes a file of its own and takes it away again.
fn writable(directory: &Path) -> std::io::Result<()> {
    let part: u64 = rand::random();
    let path = directory.join(format!("doctor-{part:016x}.tmp"));
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)?;
    std::fs::remove_file(&path)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::journal::{Journal, Limits};

    #[test]
    fn an_empty_directory_is_ok_and_is_left_empty() {
        let directory = tempfile::tempdir().unwrap();
        let told = journal(directory.path(), &[]);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].result, Verdict::Ok);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        let none = journal(&directory.path().join("no"), &[]);
        assert_eq!(none[0].result, Verdict::Warn);
    }

    #[test]
    fn what_waits_is_a_worry_only_where_nobody_sees_to_it() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(waiting(directory.path(), 0), None);
        let alone = waiting(directory.path(), 2).unwrap();
        assert_eq!(alone.result, Verdict::Warn);
        assert!(alone.help.unwrap().contains("journal replay"));
        let live = Journal::open(directory.path(), "w", Limits::default()).unwrap();
        assert_eq!(waiting(directory.path(), 2).unwrap().result, Verdict::Ok);
        drop(live);
    }

    #[test]
    fn damage_is_told() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("w.journal"), "rubbish\nrubbish\n").unwrap();
        let told = journal(directory.path(), &[]);
        assert!(
            told.iter()
                .any(|check| check.says.contains("w.journal is damaged"))
        );
    }
}
