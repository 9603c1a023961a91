//! Rotated pairs on the disk of the worker, from the reply of the provider to the durable commit.
//!
//! A provider that rotates refresh tokens has destroyed the old one by the time its answer is read.
//! Until the new pair is safe in the store it must not exist in memory alone, so it is sealed and
//! written here first. An entry goes when the commit is durable; what is found at start, or when
//! the store turns out to have lost writes, is replayed as `Rescued`.
//!
//! Each host has one directory, each worker process one file in it, `<worker id>.journal`, which it
//! keeps locked. A file whose lock can be had belongs to a worker that died: whoever comes next
//! **adopts** it, that is, takes its entries into its own file and then deletes it.
//!
//! | file | holds |
//! |---|---|
//! | `entry.rs` | one rotated pair, sealed, and what must be known without opening it |
//! | `record.rs` | how entries and their removal are written, and what is read from a damaged file |
//! | `disk.rs` | what is asked of the disk, step by step, so that tests can fail each step |
//! | `directory.rs`, `memory.rs` | the real disk: names, locks, modes, orphans; and one that is none |
//! | `board.rs` | what is alive, for the log to change and everybody to read |
//! | `log.rs` | one worker's file: appending, bounds, compaction, what follows a failed write |
//! | `service.rs` | who serves the log: a thread, or whoever asks |
//! | `writer.rs` | the thread that owns the log and lets concurrent puts share one sync |
//! | `handle.rs` | [`Journal`], what the rest of the program holds |
//! | `under_way.rs` | which entries a turn of this process is about to commit |
//! | `error.rs`, `limits.rs` | why an entry is not in the journal; how much may be |
//! | `listing.rs` | reading a directory from outside without touching it |
//!
//! Promises, each with its test: `put` resolves after the sync and not before; a torn tail or a
//! damaged record costs no other entry; a crash between any two steps of any write, with or without
//! power, loses no entry whose `put` resolved; a disk that fails is an error and a state that ends
//! with the next write that succeeds; no file, error or `Debug` shows a secret.

mod board;
mod directory;
mod disk;
mod entry;
mod error;
mod handle;
mod limits;
mod listing;
mod log;
mod memory;
mod record;
mod service;
mod under_way;
mod writer;

pub use disk::{Disk, Orphans};
pub use entry::{Entry, EntryId};
pub use error::JournalError;
pub use handle::{Journal, Recovery};
pub use limits::Limits;
pub use listing::{Listed, Listing, Unreadable, held_files, read_dir};
pub use memory::MemoryDisk;
pub use under_way::{Carried, UnderWay};

#[cfg(test)]
mod tests;
