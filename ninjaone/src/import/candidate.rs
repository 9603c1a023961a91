//! What one row of a source says about one grant, and what is said of a row that cannot be used.

use std::borrow::Cow;
use std::fmt;

use secrecy::SecretString;

use crate::integration::GrantRef;

/// One row of a source: usable, or refused without stopping the rows after it.
pub type Row = Result<Candidate, Refused>;

/// When the access token ends, as far as the source knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpiresAt {
    /// Milliseconds since the epoch.
    Known(i64),
    /// Not said, or not usable: refresh at once.
    Unknown,
}

/// Credentials of one grant that may be adopted. Whether they are is decided elsewhere.
#[derive(Clone)]
pub struct Candidate {
    /// The line or path it was read from, for messages.
    pub place: String,
    /// Whose credentials these are.
    pub grant: GrantRef,
    /// The access token.
    pub access_token: Option<SecretString>,
    /// The refresh token; never present on a client grant, which is minted anew.
    pub refresh_token: Option<SecretString>,
    /// When the access token ends.
    pub expires_at: ExpiresAt,
    /// The instance as the source spells it. The host policy is applied by whoever adopts.
    pub instance_url: Option<String>,
    /// The client app that the grant was given to, where the source knows it.
    pub client_id: Option<String>,
    /// Its secret; only ever from the same place as `client_id`.
    pub client_secret: Option<SecretString>,
    /// The granted scopes, separated by spaces.
    pub scope: Option<String>,
    /// The token path to try first.
    pub token_path_hint: Option<&'static str>,
    /// What the operator should know although the row is usable. Free of content.
    pub warnings: Vec<String>,
}

// Written by hand: a source may have put a secret into any of its fields.
impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("place", &self.place)
            .field("grant", &self.grant)
            .field("access_token", &self.access_token.is_some())
            .field("refresh_token", &self.refresh_token.is_some())
            .field("expires_at", &self.expires_at)
            .field("instance_url", &self.instance_url.is_some())
            .field("client_id", &self.client_id.is_some())
            .field("client_secret", &self.client_secret.is_some())
            .field("scope", &self.scope.is_some())
            .field("token_path_hint", &self.token_path_hint)
            .field("warnings", &self.warnings)
            .finish()
    }
}

/// A row that cannot be used: where it stood, whose it is where known, which field, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The line or path it was read from, for messages.
    pub place: String,
    /// Whose it is, as far as the row says so in legal names.
    pub whose: Whose,
    /// The field that is wrong.
    pub field: &'static str,
    /// Why. Never the content.
    pub reason: Cow<'static, str>,
}

/// How much of its name a refused row gave away before it was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// All of it.
    Grant(GrantRef),
    /// The tenant only.
    Tenant(String),
    /// Nothing.
    Unknown,
}

impl Whose {
    /// The tenant, where known.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        match self {
            Self::Grant(grant) => Some(grant.integration().tenant()),
            Self::Tenant(tenant) => Some(tenant),
            Self::Unknown => None,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.place, self.field, self.reason)
    }
}

/// A field and what is wrong with it, before anyone knows whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) field: &'static str,
    pub(crate) reason: Cow<'static, str>,
}

impl Fault {
    pub(crate) fn new(field: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            field,
            reason: reason.into(),
        }
    }

    /// The refusal of a row.
    pub(crate) fn of(self, whose: Whose, place: String) -> Refused {
        Refused {
            place,
            whose,
            field: self.field,
            reason: self.reason,
        }
    }
}
