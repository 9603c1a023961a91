//! A workflow as a reader sees it.

use crate::load;
use crate::machine::Workflow;
use crate::record::{Reading, Record};

/// A workflow as it was read: the machine, if it can be read, and the record.
pub struct View<W: Workflow> {
    /// Data and state; an explanation where they cannot be read.
    pub machine: Result<(W, W::Phase), String>,
    /// Everything that was read.
    pub reading: Reading,
}

/// Reads the machine out of a record.
///
/// # Errors
/// Why it cannot be read, without its text.
pub fn view<W: Workflow>(record: &Record) -> Result<(W, W::Phase), String> {
    load::machine::<W>(record).map_err(|e| e.to_string())
}
