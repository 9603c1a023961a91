//! A disk that is none: what it keeps ends with the process.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, Orphans};

/// Keeps a journal's file in memory: for demonstrations, and for fleets that are simulated. Clones
/// share it, so that what one process leaves behind can be opened by the next.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<File>>);

#[derive(Debug, Default)]
struct File {
    bytes: Vec<u8>,
    fresh: Option<Vec<u8>>,
}

impl MemoryDisk {
    /// What is in the file.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.file().bytes.clone()
    }

    fn file(&self) -> MutexGuard<'_, File> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for MemoryDisk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file().bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.file().bytes.truncate(length);
        Ok(())
    }

    fn write_fresh(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file().fresh = Some(bytes.to_vec());
        Ok(())
    }

    fn sync_fresh(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn install_fresh(&mut self) -> io::Result<()> {
        let mut file = self.file();
        let fresh = file.fresh.take();
        file.bytes = fresh.ok_or_else(|| io::Error::other("no fresh copy was written"))?;
        Ok(())
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn take_orphans(&mut self) -> io::Result<Orphans> {
        Ok(Orphans::default())
    }

    fn delete_orphans(&mut self) -> io::Result<()> {
        Ok(())
    }
}
