//! Tokens from outside: are they better than what is stored?

use super::data::{Credential, Phase};
use crate::vault::Fingerprint;

/// What becomes of tokens from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adoption {
    /// They are taken.
    Adopted,
    /// They are what is stored.
    Unchanged,
    /// Their refresh token is known to be spent.
    Spent,
    /// The integration was disconnected by a person.
    Disconnected,
    /// What is stored works.
    Healthy,
}

/// Judges tokens from outside against what is stored. The machine and whoever asks it before use
/// the same judgement.
#[must_use]
pub fn adoption(
    credential: &Credential,
    phase: &Phase,
    refresh_token: Option<&Fingerprint>,
) -> Adoption {
    let stored = credential
        .grant
        .as_ref()
        .and_then(|grant| grant.refresh_token.as_ref());
    if let Some(token) = refresh_token {
        if stored == Some(token) {
            return Adoption::Unchanged;
        }
        if credential.spent.contains(token) {
            return Adoption::Spent;
        }
    }
    match phase {
        Phase::Disconnected {} if credential.epoch > 0 => Adoption::Disconnected,
        Phase::Disconnected {} => Adoption::Adopted,
        // An access token alone never replaces a grant that can be refreshed.
        _ if refresh_token.is_none() && stored.is_some() => Adoption::Healthy,
        Phase::ReconnectRequired { .. } | Phase::Active { .. } => Adoption::Adopted,
        Phase::Scheduled { .. } | Phase::Refreshing { .. }
            if credential.failures.consecutive > 0 =>
        {
            Adoption::Adopted
        }
        Phase::Scheduled { .. } | Phase::Refreshing { .. } => Adoption::Healthy,
    }
}
