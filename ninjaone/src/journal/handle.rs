//! What the rest of the program holds of the journal.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::board::{Board, lock};
use super::directory::Directory;
use super::disk::Disk;
use super::log::{Adopted, Log};
use super::service::Service;
use super::writer::Command;
use super::{Entry, EntryId, JournalError, Limits, record};

/// The journal of one worker process: its own file, and what it adopted from dead workers.
///
/// Dropping it writes down what is outstanding and gives the lock back; it may block for a sync.
#[derive(Debug)]
pub struct Journal {
    board: Arc<Mutex<Board>>,
    service: Service,
    recovered: Recovery,
}

/// What was found in files of earlier processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Files of dead workers whose entries were taken over.
    pub adopted: Vec<String>,
    /// Files left where they are, and why: of a newer release, or unreadable.
    pub left: Vec<(String, String)>,
    /// Bytes at the end of files that were no whole record: writes cut short by a crash, of entries
    /// whose `put` never resolved.
    pub torn_bytes: u64,
    /// Other bytes that were no record: damage.
    pub damaged_bytes: u64,
}

impl Journal {
    /// Opens the file of this worker, creates what is missing, and adopts orphans.
    ///
    /// Blocks on the disk. If the disk is full it succeeds all the same, with the entries found and
    /// [`Journal::unhealthy`] saying so, because replaying them needs no room.
    ///
    /// # Errors
    /// If the directory cannot be used at all.
    pub fn open(directory: &Path, worker_id: &str, limits: Limits) -> Result<Self, JournalError> {
        let (disk, bytes) = Directory::open(directory, worker_id)
            .map_err(JournalError::io("opening the journal's directory"))?;
        Self::start(Box::new(disk), &bytes, limits)
    }

    /// Begins over a disk that answers at once, with what was read from the own file: whoever asks is
    /// served on the spot, so that what happens does not depend on when a thread runs.
    ///
    /// # Errors
    /// If the disk fails when it is looked at for orphans.
    pub fn over(disk: Box<dyn Disk>, bytes: &[u8], limits: Limits) -> Result<Self, JournalError> {
        Self::begin(disk, bytes, limits, |log| Ok(Service::here(log)))
    }

    /// Begins with what was read from the own file.
    pub(crate) fn start(
        disk: Box<dyn Disk>,
        bytes: &[u8],
        limits: Limits,
    ) -> Result<Self, JournalError> {
        Self::begin(disk, bytes, limits, |log| {
            Service::thread(log, limits.linger)
                .map_err(JournalError::io("starting the journal's thread"))
        })
    }

    fn begin(
        disk: Box<dyn Disk>,
        bytes: &[u8],
        limits: Limits,
        serve: impl FnOnce(Log) -> Result<Service, JournalError>,
    ) -> Result<Self, JournalError> {
        let scan = record::scan(bytes);
        let (torn_bytes, damaged_bytes) = (scan.torn_bytes, scan.damaged_bytes);
        let mut board = Board::default();
        board.take(scan);
        let board = Arc::new(Mutex::new(board));
        let mut log = Log::new(disk, limits, board.clone());
        let mut recovered = Recovery::from(log.adopt()?);
        recovered.torn_bytes += torn_bytes;
        recovered.damaged_bytes += damaged_bytes;
        // A failure stands on the board, and the thread tries again.
        let _ = log.tidy();
        Ok(Self {
            board,
            service: serve(log)?,
            recovered,
        })
    }

    /// Writes an entry; resolves when it would survive the loss of power.
    ///
    /// A caller that stops waiting leaves it to chance whether the entry is there; it does no harm,
    /// as replaying an entry that is not needed changes nothing.
    ///
    /// # Errors
    /// If the bounds are reached or the disk fails. Then the entry may be lost with the process.
    pub async fn put(&self, entry: Entry) -> Result<EntryId, JournalError> {
        let id = entry.id;
        self.ask(|reply| Command::Put(Box::new(entry), reply))
            .await?;
        Ok(id)
    }

    /// Takes an entry out. It is written down without waiting for a sync, since an entry that comes
    /// back is replayed and found worthless.
    ///
    /// # Errors
    /// If the journal is closed.
    pub async fn remove(&self, id: EntryId) -> Result<(), JournalError> {
        self.ask(|reply| Command::Remove(id, reply)).await
    }

    /// Puts entries in the place of those that have their ids: the same pairs, sealed anew. An entry that
    /// has been removed meanwhile stays removed. What cannot be written stays as it was, and is asked for
    /// again by whoever finds it; the file forgets what was replaced within the linger of the bounds.
    pub fn replace(&self, anew: Vec<Entry>) {
        // A closed journal is sealed anew by whoever opens it next.
        let _ = self.service.ask(Command::Anew(anew));
    }

    /// Remembers the store's stamp, if it is newer than what was seen so far.
    pub fn saw_stamp(&self, stamp: u64) {
        // A closed journal has nothing to remember.
        let _ = self.service.ask(Command::SawStamp(stamp));
    }

    /// The newest stamp ever seen, by this worker or those it adopted; 0 if none was.
    #[must_use]
    pub fn newest_stamp(&self) -> u64 {
        lock(&self.board).stamp
    }

    /// All entries, the oldest first.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let board = lock(&self.board);
        let mut entries: Vec<_> = board.live.values().map(|live| live.entry.clone()).collect();
        drop(board);
        entries.sort_by(|a, b| {
            let order = |entry: &Entry| (entry.written_at_ms, entry.base_generation);
            (order(a), &a.workflow, a.id).cmp(&(order(b), &b.workflow, b.id))
        });
        entries
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.board).live.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The seal keys that entries are sealed with; none of them may leave the ring.
    #[must_use]
    pub fn key_ids(&self) -> BTreeSet<String> {
        let board = lock(&self.board);
        let ids = board.live.values().map(|live| live.entry.sealed.key_id());
        ids.map(str::to_owned).collect()
    }

    /// Why the journal cannot be written, if it cannot; then the worker is not ready.
    #[must_use]
    pub fn unhealthy(&self) -> Option<JournalError> {
        let board = lock(&self.board);
        let full = || JournalError::Full {
            entries: board.live.len(),
            bytes: board.bytes,
        };
        board.fault.clone().or_else(|| board.full.then(full))
    }

    /// What opening found in files of earlier processes.
    #[must_use]
    pub fn recovered(&self) -> &Recovery {
        &self.recovered
    }

    /// Adopts the files of workers that have died since.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub async fn adopt(&self) -> Result<Recovery, JournalError> {
        self.ask(Command::Adopt).await.map(Recovery::from)
    }

    /// Makes durable what is outstanding and ends the journal; later calls answer `Closed`.
    ///
    /// # Errors
    /// If the last writes failed: a removed entry may be found again at the next start.
    pub async fn close(&self) -> Result<(), JournalError> {
        self.ask(Command::Close).await
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, JournalError>>) -> Command,
    ) -> Result<T, JournalError> {
        let (reply, answer) = oneshot::channel();
        self.service.ask(command(reply))?;
        answer.await.unwrap_or(Err(JournalError::Closed))
    }
}

impl From<Adopted> for Recovery {
    fn from(adopted: Adopted) -> Self {
        Self {
            adopted: adopted.files,
            left: adopted.left,
            torn_bytes: adopted.torn_bytes,
            damaged_bytes: adopted.damaged_bytes,
        }
    }
}
