//! Credentials that other software left behind, read into candidates for adoption.
//!
//! Reading is all that happens here: no network, no store, and no decision whether a candidate is
//! adopted. Every source is read row by row; a row that cannot be used is [`Refused`] with field
//! and reason, and the rows after it are read all the same. What a row *contained* is never
//! repeated: not in a reason, not in a warning, not in `Debug`.
//!
//! | file | reads |
//! |---|---|
//! | [`alga`] | the tenant secrets that Alga PSA keeps in a directory |
//! | [`tokens_json`] | the `tokens.json` of the NinjaRMM MCP server |
//! | [`jsonl`] | one grant a line, Evergreen's own format |
//! | [`report`] | what became of the rows: JSON, text, exit code |

pub mod alga;
pub(crate) mod aside;
mod candidate;
pub(crate) mod file;
pub mod jsonl;
mod members;
pub mod report;
pub mod tokens_json;
pub(crate) mod when;

use std::io;
use std::path::PathBuf;

pub use candidate::{Candidate, ExpiresAt, Refused, Row, Whose};

/// The token path that works wherever Alga PSA or the MCP server worked: both call it.
pub const LEGACY_TOKEN_PATH: &str = "/oauth/token";

/// The most that one file of secrets, or one line of a stream, may hold.
pub const MAX_BYTES: usize = 64 * 1024;

/// What an import always says first: the one mistake that no check can catch.
pub const TWO_OWNERS: &str = "Two owners of one rotating grant kill it: whatever refreshed these \
     credentials until now must be off before they are imported.";

/// The formats of `evergreen import --format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A directory of Alga PSA's filesystem secrets.
    Alga,
    /// The `tokens.json` of the NinjaRMM MCP server.
    TokensJson,
    /// One JSON object a line.
    Jsonl,
}

/// Why a whole source could not be read. What is wrong with one row is a [`Refused`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system said no.
    #[error("reading {}", path.display())]
    Read {
        /// What was being read.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It is there, but not what the format asks for.
    #[error("{}: {reason}", path.display())]
    Unusable {
        /// What was being read.
        path: PathBuf,
        /// What is wrong with it; never its content.
        reason: String,
    },
    /// A file that does not parse could not be moved out of the way.
    #[error("moving {} aside", path.display())]
    Aside {
        /// The file that does not parse. It is where it was.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}
