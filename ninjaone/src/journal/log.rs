//! One worker's file: appending, bounds, compaction, and what follows a failed write.
//!
//! The file is only ever appended to. A put is durable when its batch has been synced; a removal is
//! written but not waited for, since an entry that comes back is replayed and found worthless.
//! When too much of the file is garbage it is replaced by a fresh copy of what is alive.
//!
//! After a failed append the file is cut back to its last whole record, so that disk space coming
//! back is all that recovery needs. After a failed sync nobody knows what is on the disk (the kernel
//! may have dropped the pages and forgotten the error), so the next write replaces the whole file.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::board::{Board, Live, lock};
use super::disk::Disk;
use super::record;
use super::{Entry, EntryId, JournalError, Limits};

/// What is written at once, behind one sync.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) puts: Vec<Entry>,
    pub(super) gone: Vec<EntryId>,
    /// Entries that are sealed anew: each takes the place of the one of its id, if that is still there.
    pub(super) anew: Vec<Entry>,
    pub(super) stamp: u64,
}

/// The file and what is known about it.
pub(super) struct Log {
    disk: Box<dyn Disk>,
    limits: Limits,
    board: Arc<Mutex<Board>>,
    /// Bytes up to the end of the last whole record.
    length: u64,
    /// The newest stamp that stands in the file.
    stamp_written: u64,
    /// Removed, but not yet written down as removed.
    owed: Vec<EntryId>,
    /// Something was appended that no sync has covered.
    unsynced: bool,
    /// A removed entry's blob lies in the file.
    spent_blobs: bool,
    /// What is in the file is not known, or not all there: the next write replaces it.
    replace: bool,
    /// Orphans are held, to be deleted as soon as the own file holds their entries.
    orphans_held: bool,
}

impl Log {
    /// Begins with what was read from the file. It is replaced by a clean one with the first write.
    pub(super) fn new(disk: Box<dyn Disk>, limits: Limits, board: Arc<Mutex<Board>>) -> Self {
        Self {
            disk,
            limits,
            board,
            length: 0,
            stamp_written: 0,
            owed: Vec::new(),
            unsynced: false,
            spent_blobs: false,
            replace: true,
            orphans_held: false,
        }
    }

    /// Writes a batch; returns what became of each put, in order.
    pub(super) fn write(&mut self, batch: Batch) -> Vec<Result<(), JournalError>> {
        self.remove(&batch.gone);
        let mut verdicts = Vec::with_capacity(batch.puts.len());
        let mut accepted = Vec::new();
        let mut lines = Vec::new();
        {
            let mut board = lock(&self.board);
            board.stamp = board.stamp.max(batch.stamp);
            // No bound refuses these: what they replace goes with them.
            for entry in batch.anew {
                if board.live.contains_key(&entry.id) {
                    accepted.push(Live::written(entry, &mut lines));
                    self.spent_blobs = true;
                }
            }
            let (renewed, renewed_bytes) = (accepted.len(), lines.len());
            for entry in batch.puts {
                let before = lines.len();
                let bytes = board.bytes + (before - renewed_bytes) as u64;
                let entries = board.live.len() + accepted.len() - renewed;
                let live = Live::written(entry, &mut lines);
                if entries >= self.limits.entries_max
                    || board.bytes + (lines.len() - renewed_bytes) as u64 > self.limits.bytes_max
                {
                    lines.truncate(before);
                    board.full = true;
                    verdicts.push(Err(JournalError::Full { entries, bytes }));
                } else {
                    board.stamp = board.stamp.max(live.entry.stamp);
                    accepted.push(live);
                    verdicts.push(Ok(()));
                }
            }
        }
        if let Err(error) = self.store(accepted, &lines) {
            for verdict in verdicts.iter_mut().filter(|verdict| verdict.is_ok()) {
                *verdict = Err(error.clone());
            }
        }
        // An entry may be removed in the very batch that puts it, if its caller gave up waiting.
        self.remove(&batch.gone);
        verdicts
    }

    /// Does what may wait: syncs and repeats what failed, erases removed blobs, deletes orphans.
    pub(super) fn tidy(&mut self) -> Result<(), JournalError> {
        let worth_erasing = {
            let board = lock(&self.board);
            // A large file is not copied for a small blob; it waits until there are more of them.
            self.spent_blobs
                && board.bytes <= self.limits.garbage_bytes_max.max(self.garbage(&board))
        };
        if self.replace || worth_erasing {
            self.attempt(|log| log.replace_file(&[], &BTreeSet::new()))?;
        } else if self.unsettled() {
            self.attempt(|log| {
                log.append(&[])?;
                log.sync()
            })?;
        }
        if self.orphans_held {
            // What cannot be deleted stays locked, and is tried again with the next adoption. It is
            // no fault of the journal: its entries are in the own file, and double ones are one.
            self.orphans_held = false;
            self.disk
                .delete_orphans()
                .map_err(JournalError::io("deleting the files of dead workers"))?;
        }
        Ok(())
    }

    /// Whether the last write failed.
    pub(super) fn faulty(&self) -> bool {
        lock(&self.board).fault.is_some()
    }

    /// Whether [`Log::tidy`] has anything to do.
    pub(super) fn unsettled(&self) -> bool {
        self.unsynced
            || self.spent_blobs
            || self.replace
            || self.orphans_held
            || !self.owed.is_empty()
            || self.faulty()
    }

    /// Takes over what dead workers left. Their files go when [`Log::tidy`] has made this durable.
    pub(super) fn adopt(&mut self) -> Result<Adopted, JournalError> {
        let orphans = self
            .disk
            .take_orphans()
            .map_err(JournalError::io("looking for the files of dead workers"))?;
        let mut adopted = Adopted {
            left: orphans.left,
            ..Adopted::default()
        };
        let mut board = lock(&self.board);
        for (name, bytes) in orphans.taken {
            let scan = record::scan(&bytes);
            adopted.torn_bytes += scan.torn_bytes;
            adopted.damaged_bytes += scan.damaged_bytes;
            adopted.files.push(name);
            board.take(scan);
            self.replace = true;
        }
        self.orphans_held = true;
        Ok(adopted)
    }

    /// Bytes in the file that no live entry takes.
    fn garbage(&self, board: &Board) -> u64 {
        self.length.saturating_sub(board.bytes)
    }

    fn remove(&mut self, ids: &[EntryId]) {
        let mut board = lock(&self.board);
        let gone = ids.iter().copied().filter(|id| board.remove(*id));
        self.owed.extend(gone);
    }

    /// Makes the accepted puts durable, and writes the rest down along the way.
    fn store(&mut self, accepted: Vec<Live>, lines: &[u8]) -> Result<(), JournalError> {
        let durable = !accepted.is_empty();
        let written: BTreeSet<EntryId> = accepted.iter().map(|live| live.entry.id).collect();
        let overgrown = {
            let board = lock(&self.board);
            self.garbage(&board) > self.limits.garbage_bytes_max.max(board.bytes)
        };
        self.attempt(|log| {
            if log.replace || overgrown {
                let outcome = log.replace_file(lines, &written);
                // Where there is no room for a copy there may still be some for a record.
                if outcome.is_ok() || log.replace {
                    return outcome;
                }
            }
            log.append(lines)?;
            if durable { log.sync() } else { Ok(()) }
        })?;
        let mut board = lock(&self.board);
        accepted.into_iter().for_each(|live| board.insert(live));
        Ok(())
    }

    /// Keeps the outcome where readiness can see it.
    fn attempt(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let outcome = write(self);
        lock(&self.board).fault = outcome.as_ref().err().cloned();
        outcome
    }

    fn append(&mut self, puts: &[u8]) -> Result<(), JournalError> {
        let stamp = lock(&self.board).stamp;
        let mut bytes = Vec::new();
        for id in &self.owed {
            record::gone(*id, &mut bytes);
        }
        // After a fault something must be written, or nobody would learn that the disk is back.
        if stamp > self.stamp_written || self.faulty() {
            record::stamp(stamp, &mut bytes);
        }
        bytes.extend_from_slice(puts);
        if bytes.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.disk.append(&bytes) {
            // What is half written would hide what follows it from an older reader; and if it cannot
            // be cut away, a clean file is the way out.
            self.replace |= self.disk.cut(self.length).is_err();
            return Err(JournalError::io("appending to the journal")(error));
        }
        self.length += bytes.len() as u64;
        self.unsynced = true;
        self.stamp_written = stamp;
        self.spent_blobs |= !self.owed.is_empty();
        self.owed.clear();
        Ok(())
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        if !self.unsynced {
            return Ok(());
        }
        self.disk.sync().map_err(|error| {
            self.replace = true;
            JournalError::io("syncing the journal")(error)
        })?;
        self.unsynced = false;
        Ok(())
    }

    /// Puts a fresh file with what is alive, and these lines, in the place of the old one. `written` are
    /// the entries of the lines: what is alive under the same id is what they replace.
    fn replace_file(
        &mut self,
        puts: &[u8],
        written: &BTreeSet<EntryId>,
    ) -> Result<(), JournalError> {
        let mut bytes = Vec::new();
        let stamp = {
            let board = lock(&self.board);
            record::stamp(board.stamp, &mut bytes);
            let kept = board.live.values().map(|live| &live.entry);
            for entry in kept.filter(|entry| !written.contains(&entry.id)) {
                record::put(entry, &mut bytes);
            }
            board.stamp
        };
        bytes.extend_from_slice(puts);
        self.disk
            .write_fresh(&bytes)
            .and_then(|()| self.disk.sync_fresh())
            .and_then(|()| self.disk.install_fresh())
            .map_err(JournalError::io("writing a fresh journal"))?;
        // From here on appends go to the new file, whether or not the directory knows it yet.
        self.length = bytes.len() as u64;
        self.replace = true;
        self.disk
            .sync_directory()
            .map_err(JournalError::io("syncing the directory of the journal"))?;
        self.replace = false;
        self.unsynced = false;
        self.spent_blobs = false;
        self.stamp_written = stamp;
        self.owed.clear();
        Ok(())
    }
}

/// What became of the files of dead workers.
#[derive(Debug, Default)]
pub(super) struct Adopted {
    pub(super) files: Vec<String>,
    pub(super) left: Vec<(String, String)>,
    pub(super) torn_bytes: u64,
    pub(super) damaged_bytes: u64,
}
