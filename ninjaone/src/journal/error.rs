//! Why an entry is not in the journal.

use std::io;
use std::sync::Arc;

/// Why an entry is not in the journal. Its pair is still in the caller's memory: it goes on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// The disk failed or is full.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the operating system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The bounds are reached.
    #[error("the journal is full: {entries} entries, {bytes} bytes")]
    Full {
        /// Entries in it.
        entries: usize,
        /// Bytes they take.
        bytes: u64,
    },
    /// The journal was closed, or its thread has died.
    #[error("the journal is closed")]
    Closed,
}

impl JournalError {
    pub(super) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            doing,
            source: Arc::new(source),
        }
    }
}
