//! Whether a `tokens.json` must be rewritten: pure, from what was written, what is there, and what
//! there is now.

use secrecy::{ExposeSecret, SecretString};

use crate::handoff::Handed;
use crate::handoff::tokens_json::OnDisk;
use crate::integration::GrantKind;

/// Why the file was rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Nothing was written before.
    First,
    /// There is a newer token.
    Refreshed,
    /// The file does not hold what was written: its consumer saved something else.
    Overwritten,
}

/// What was written last.
#[derive(Debug, Clone)]
pub struct Mark {
    pub(super) grant: GrantKind,
    generation: u64,
    access_token: SecretString,
}

impl Mark {
    /// The mark of a token that was just written.
    #[must_use]
    pub fn of(handed: &Handed) -> Self {
        Self {
            grant: handed.grant,
            generation: handed.generation,
            access_token: handed.access_token.clone(),
        }
    }

    fn is_of(&self, handed: &Handed) -> bool {
        self.grant == handed.grant
            && self.generation == handed.generation
            && self.access_token.expose_secret() == handed.access_token.expose_secret()
    }

    /// Whether the file no longer holds what was written.
    #[must_use]
    pub fn is_disturbed(&self, disk: &OnDisk) -> bool {
        match disk {
            OnDisk::NoFile | OnDisk::Damaged => true,
            OnDisk::Slot {
                access_token,
                valid,
            } => !valid || access_token.expose_secret() != self.access_token.expose_secret(),
        }
    }
}

/// Whether to rewrite the file, and why: from what was written last, what is there, and the token
/// as it is now.
#[must_use]
pub fn decide(last: Option<&Mark>, disk: &OnDisk, handed: &Handed) -> Option<Why> {
    match last {
        None => Some(Why::First),
        Some(mark) if !mark.is_of(handed) => Some(Why::Refreshed),
        Some(mark) if mark.is_disturbed(disk) => Some(Why::Overwritten),
        Some(_) => None,
    }
}
