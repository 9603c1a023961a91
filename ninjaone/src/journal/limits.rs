//! How much a journal may hold, and how long what may wait does wait.

use std::time::Duration;

/// The bounds of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries at once.
    pub entries_max: usize,
    /// Bytes that the entries take in the file.
    pub bytes_max: u64,
    /// Bytes of removed entries that may lie in the file, or as many as the entries themselves take
    /// if that is more.
    pub garbage_bytes_max: u64,
    /// How long a removal may wait for its sync, a removed blob for its erasure, and a disk that
    /// failed for the next attempt.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries_max: 10_000,
            bytes_max: 64 << 20,
            garbage_bytes_max: 1 << 20,
            linger: Duration::from_secs(1),
        }
    }
}
