//! Reading a directory from outside: no lock, no change, whatever state the files are in.

use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::{Entry, directory, record};

/// What stands in the journals of a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// All entries, by file and then the oldest first.
    pub entries: Vec<Listed>,
    /// What could not be read.
    pub unreadable: Vec<Unreadable>,
    /// The newest stamp of the store that any of the workers has seen; 0 if none has.
    pub newest_stamp: u64,
}

/// One entry and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The name of the file.
    pub file: String,
    /// The entry; its pair stays sealed.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What of a file could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// The name of the file.
    pub file: String,
    /// Bytes at its end that are no whole record; harmless, a live worker may be writing there.
    pub torn_bytes: u64,
    /// Other bytes that are no record: damage.
    pub damaged_bytes: u64,
    /// Intact records of a newer release.
    pub unknown_records: usize,
    /// Why nothing of it could be read.
    pub error: Option<String>,
}

/// The files of a directory that a live worker holds: it delivers what is in them itself.
///
/// # Errors
/// If the directory cannot be listed, or a file not be opened.
pub fn held_files(path: &Path) -> io::Result<Vec<String>> {
    directory::held_names(path)
}

/// Reads all journals of a directory.
///
/// # Errors
/// If the directory cannot be listed; a file that cannot be read is part of the listing.
pub fn read_dir(path: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    for file in directory::journal_names(path)? {
        let scan = match fs::read(path.join(&file)) {
            Ok(bytes) => record::scan(&bytes),
            // Adopted and deleted while we looked: its entries stand in another file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                listing.unreadable.push(Unreadable {
                    file,
                    error: Some(error.to_string()),
                    ..Unreadable::default()
                });
                continue;
            }
        };
        if scan.torn_bytes + scan.damaged_bytes + scan.unknown as u64 > 0 {
            listing.unreadable.push(Unreadable {
                file: file.clone(),
                torn_bytes: scan.torn_bytes,
                damaged_bytes: scan.damaged_bytes,
                unknown_records: scan.unknown,
                error: None,
            });
        }
        listing.newest_stamp = listing.newest_stamp.max(scan.stamp);
        let mut entries: Vec<_> = scan.entries.into_values().collect();
        entries.sort_by_key(|entry| (entry.written_at_ms, entry.base_generation, entry.id));
        for entry in entries {
            listing.entries.push(Listed {
                file: file.clone(),
                entry,
            });
        }
    }
    Ok(listing)
}
