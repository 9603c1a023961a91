//! One rotated pair, sealed, and what must be known about it without opening it.

use serde::{Deserialize, Serialize};

use crate::vault::{GrantId, Place, Sealed, Workflow, written_in_hex};

/// One entry of one journal, drawn at random; written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct EntryId([u8; 8]);

impl EntryId {
    /// Draws a new one.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }
}

written_in_hex!(EntryId, "journal entry id");

/// A pair that the provider has issued and the store may not have yet.
///
/// Everything but `sealed` stands in the file for all to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its id; an entry that two files hold is one entry.
    pub id: EntryId,
    /// The workflow's kind.
    pub kind: String,
    /// The workflow's id.
    pub workflow: String,
    /// The grant that the pair belongs to.
    pub grant: GrantId,
    /// The generation that was spent to get it.
    pub base_generation: u64,
    /// The claim under which it was obtained; if it is still the workflow's, a replay ends that lease.
    pub claim: String,
    /// The commit that was to store it, where that had been drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// When the request that brought it was sent, in milliseconds since 1970.
    pub written_at_ms: u64,
    /// When its access token expires, in milliseconds since 1970, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
    /// Whether the access token may be handed out as a bearer token.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub bearer: bool,
    /// The store's stamp as last seen then; 0 if none was.
    pub stamp: u64,
    /// The pair, sealed for [`Entry::place`].
    pub sealed: Sealed,
}

fn yes() -> bool {
    true
}

impl Entry {
    /// The place that the pair is sealed for.
    #[must_use]
    pub fn place(&self) -> Place<'_> {
        Place::Journal {
            workflow: Workflow {
                kind: &self.kind,
                id: &self.workflow,
            },
            grant: self.grant,
            base_generation: self.base_generation,
        }
    }
}
