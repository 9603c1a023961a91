//! What is alive in a journal, for the log to change and everybody to read.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::record::{self, Scan};
use super::{Entry, EntryId, JournalError};

/// The entries that count, and how the last write went.
#[derive(Debug, Default)]
pub(super) struct Board {
    pub(super) live: BTreeMap<EntryId, Live>,
    /// Bytes that the live entries take in the file.
    pub(super) bytes: u64,
    /// The newest stamp seen; 0 if none was.
    pub(super) stamp: u64,
    /// What the last write failed of; nothing if it succeeded.
    pub(super) fault: Option<JournalError>,
    /// A put was refused for want of room, and there is none yet.
    pub(super) full: bool,
}

/// An entry and the bytes it takes in the file.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) entry: Entry,
    bytes: u64,
}

impl Live {
    /// Writes the entry at the end of a buffer.
    pub(super) fn written(entry: Entry, into: &mut Vec<u8>) -> Self {
        let before = into.len();
        record::put(&entry, into);
        let bytes = (into.len() - before) as u64;
        Self { entry, bytes }
    }
}

impl Board {
    pub(super) fn insert(&mut self, live: Live) {
        self.stamp = self.stamp.max(live.entry.stamp);
        self.bytes += live.bytes;
        if let Some(old) = self.live.insert(live.entry.id, live) {
            self.bytes -= old.bytes;
        }
    }

    /// Takes over what was read from a file.
    pub(super) fn take(&mut self, scan: Scan) {
        self.stamp = self.stamp.max(scan.stamp);
        let mut line = Vec::new();
        for entry in scan.entries.into_values() {
            line.clear();
            self.insert(Live::written(entry, &mut line));
        }
    }

    /// Takes an entry out; false if it is not there.
    pub(super) fn remove(&mut self, id: EntryId) -> bool {
        let Some(gone) = self.live.remove(&id) else {
            return false;
        };
        self.bytes -= gone.bytes;
        self.full = false;
        true
    }
}

/// A board whose writer panicked is still a true account of what was written before.
pub(super) fn lock(board: &Mutex<Board>) -> MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}
