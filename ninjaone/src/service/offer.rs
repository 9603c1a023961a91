//! What comes from outside, and what became of it.

use evergreen_engine::Millis;
use secrecy::SecretString;

use crate::import::{Candidate, ExpiresAt};
use crate::integration::{GrantRef, IntegrationId};
use crate::provider::InstanceUrl;

/// Tokens from outside.
#[derive(Debug, Clone)]
pub struct Offer {
    /// For which grant.
    pub grant: GrantRef,
    /// The access token, if it is known.
    pub access_token: Option<SecretString>,
    /// The refresh token, if there is one.
    pub refresh_token: Option<SecretString>,
    /// When the access token expires; absent if unknown: then it is refreshed at once.
    pub expires_at: Option<Millis>,
    /// The instance, in any of the spellings that people keep.
    pub instance_url: Option<String>,
    /// The client app, where it is not the fleet's.
    pub client_id: Option<String>,
    /// Its secret.
    pub client_secret: Option<SecretString>,
    /// The scopes, where known.
    pub scopes: Option<String>,
    /// They come from software that uses the token path without `/ws`.
    pub legacy_token_path: bool,
}

impl From<Candidate> for Offer {
    fn from(candidate: Candidate) -> Self {
        Self {
            grant: candidate.grant,
            access_token: candidate.access_token,
            refresh_token: candidate.refresh_token,
            expires_at: match candidate.expires_at {
                ExpiresAt::Known(ms) => Millis::try_from(ms).ok(),
                ExpiresAt::Unknown => None,
            },
            instance_url: candidate.instance_url,
            client_id: candidate.client_id,
            client_secret: candidate.client_secret,
            scopes: candidate.scope,
            legacy_token_path: candidate.token_path_hint.is_some(),
        }
    }
}

/// How to adopt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AdoptOptions {
    /// Take the tokens whatever is stored, unless they are spent.
    pub replace: bool,
    /// Tell, and change nothing.
    pub dry_run: bool,
}

/// What became of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adopted {
    /// It is stored.
    Adopted,
    /// It was stored already, or what is stored works.
    Unchanged,
    /// It was not taken.
    Refused {
        /// What is wrong.
        field: &'static str,
        /// Why.
        reason: String,
    },
}

/// A client grant to be made.
#[derive(Debug, Clone)]
pub struct ClientConnect {
    /// For which integration.
    pub integration: IntegrationId,
    /// Where the tenant lives.
    pub instance_url: InstanceUrl,
    /// The client app, where it is not the fleet's.
    pub client_id: Option<String>,
    /// Its secret.
    pub client_secret: Option<SecretString>,
    /// Scopes separated by spaces; all of the app's where absent.
    pub scopes: Option<String>,
}
