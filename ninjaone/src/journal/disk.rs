//! What the journal asks of the disk, one step at a time, so that each step can be failed.

use std::io;

/// One worker's file, and the orphans beside it.
///
/// Replacing the file is four steps, and the order is the safety of it: a fresh copy, its sync, its
/// renaming over the old one, the sync of the directory. After a crash between any two of them one
/// of the two files stands there whole.
pub trait Disk: Send {
    /// Adds to the end of the file.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Returns when everything appended would survive a loss of power.
    fn sync(&mut self) -> io::Result<()>;

    /// Shortens the file to so many bytes, after an append that failed half way.
    fn cut(&mut self, length: u64) -> io::Result<()>;

    /// Writes a fresh copy beside the file.
    fn write_fresh(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Returns when the fresh copy would survive a loss of power.
    fn sync_fresh(&mut self) -> io::Result<()>;

    /// Puts the fresh copy in the place of the file.
    fn install_fresh(&mut self) -> io::Result<()>;

    /// Returns when the names in the directory would survive a loss of power.
    fn sync_directory(&mut self) -> io::Result<()>;

    /// Takes hold of the files that dead workers left, and returns what is in them.
    fn take_orphans(&mut self) -> io::Result<Orphans>;

    /// Deletes the orphans taken, once their entries are safe in the own file.
    fn delete_orphans(&mut self) -> io::Result<()>;
}

/// What dead workers left.
#[derive(Debug, Default)]
pub struct Orphans {
    /// Names and contents of the files that are now ours.
    pub taken: Vec<(String, Vec<u8>)>,
    /// Names of files left where they are, and why.
    pub left: Vec<(String, String)>,
}
