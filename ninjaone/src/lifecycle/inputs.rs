//! What can happen to a grant: signals, outcomes, and the one activity.

use std::sync::Arc;

use evergreen_engine::Millis;
use serde::{Deserialize, Serialize};

use super::data::Source;
use crate::journal::Carried;
use crate::provider::{Attention, Detail, Reason, TokenPath};
use crate::vault::{Fingerprint, GrantId, Pair, Sealed};

/// What comes from outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Signal {
    /// A new grant: replaces everything that was before. Pre-emptive.
    Connect(NewGrant),
    /// Tokens from outside, taken if they are better than what there is.
    Adopt(NewGrant),
    /// Erase everything. Pre-emptive.
    Disconnect {
        /// Why, as a word.
        reason: String,
    },
    /// Refresh now, unless the grant or the generation that the asker saw has been left behind.
    RefreshNow {
        /// Who asks.
        source: Source,
        /// Of which grant; absent where the asker saw none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grant: Option<GrantId>,
        /// What the asker saw of it.
        generation: u64,
    },
    /// A rotated pair that could not be committed.
    Rescued(Rescued),
    /// Forget the verdict and try once.
    Reset,
    /// Settings have changed: judge anew what depends on them.
    ConfigurationChanged,
    /// The key that seals is another: seal anew what is sealed with an older one. Changes nothing else.
    Reseal,
}

impl Signal {
    /// What is sealed in it.
    pub fn sealed(&self) -> impl Iterator<Item = &Sealed> {
        let (pair, app) = match self {
            Self::Connect(new) | Self::Adopt(new) => (Some(&new.pair), new.app.as_ref()),
            Self::Rescued(rescued) => (Some(&rescued.pair), None),
            Self::Disconnect { .. }
            | Self::RefreshNow { .. }
            | Self::Reset
            | Self::ConfigurationChanged
            | Self::Reseal => (None, None),
        };
        pair.into_iter().chain(app)
    }
}

impl Signal {
    /// By what a consent is known when it is sent again: by its grant.
    #[must_use]
    pub fn consent(&self) -> Option<String> {
        match self {
            Self::Connect(new) => Some(new.grant.to_string()),
            _ => None,
        }
    }
}

/// A grant from a consent or from outside, its pair sealed for the signal that carries it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewGrant {
    /// Drawn by whoever stores it.
    pub grant: GrantId,
    /// Scheme and host.
    pub instance_url: String,
    /// The client app it was made with.
    pub client_id: String,
    /// The pair, sealed for the signal.
    pub pair: Sealed,
    /// The app's credentials, sealed for the signal, where they are not the fleet's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<Sealed>,
    /// The refresh token's fingerprint; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<Fingerprint>,
    /// When the request that brought it was sent; for tokens from outside, when they were taken.
    pub obtained_at: Millis,
    /// When the access token expires; absent if unknown: then it is refreshed at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Millis>,
    /// The life is our assumption.
    #[serde(default)]
    pub expiry_assumed: bool,
    /// The scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<String>,
    /// Whether the access token may be handed out.
    pub bearer: bool,
    /// Which token path is known to answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_path: Option<TokenPath>,
    /// What led to it.
    pub source: Source,
}

/// A pair that the provider issued and that could not be committed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rescued {
    /// The grant that it belongs to.
    pub grant: GrantId,
    /// The generation that was spent to get it.
    pub base_generation: u64,
    /// The pair, sealed for the signal.
    pub pair: Sealed,
    /// The refresh token's fingerprint; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<Fingerprint>,
    /// When the request that brought it was sent.
    pub obtained_at: Millis,
    /// When the access token expires; absent where no new access token came with the pair. A refresh
    /// token that was saved from an answer that was cut comes like this, so it is not taken for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Millis>,
    /// Whether the access token may be handed out.
    #[serde(default = "yes")]
    pub bearer: bool,
}

fn yes() -> bool {
    true
}

/// The one activity: send one token request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refresh {
    /// The grant.
    pub grant: GrantId,
    /// The generation whose refresh token is spent.
    pub generation: u64,
    /// Scheme and host.
    pub instance_url: String,
    /// The client app.
    pub client_id: String,
    /// Whether the app's own credentials are sealed beside the pair.
    #[serde(default)]
    pub own_app: bool,
    /// When the access token expires, for the order behind a pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Millis>,
    /// Which token path is known to answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_path: Option<TokenPath>,
    /// The scopes to mint with, for a client grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<String>,
    /// The one retry after an unknown outcome, or the one try of a quarantined pair: exempt from
    /// bucket and breaker, not from a pause.
    #[serde(default)]
    pub exempt: bool,
    /// The first token of a grant that somebody connects: it goes through an open breaker.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub connecting: bool,
}

/// How a refresh ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// With a pair.
    Refreshed(Box<Issued>),
    /// The provider says that the grant is dead.
    Rejected {
        /// Why, as far as one answer tells.
        reason: Reason,
        /// What may be shown.
        detail: Detail,
    },
    /// The provider does not accept the app or the address, or we cannot use what is stored.
    Misconfigured {
        /// What a person must look at.
        attention: Attention,
        /// What may be shown.
        detail: Detail,
    },
    /// The host wants to be left alone; nothing was spent.
    Throttled {
        /// Until when.
        until: Millis,
        /// What may be shown.
        detail: Detail,
    },
    /// Retryable; certainly nothing was spent.
    Unavailable {
        /// What may be shown.
        detail: Detail,
        /// Whether anything left this process.
        sent: bool,
        /// The TLS handshake failed.
        tls: bool,
        /// A rejection that no rule knows.
        unclassified: bool,
    },
    /// The refresh token may have been spent.
    Unknown {
        /// What may be shown.
        detail: Detail,
    },
    /// Surely nothing left this process.
    NotSent,
}

impl Outcome {
    /// The word for the outcome metric and for records.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Refreshed(_) => "refreshed",
            Self::Rejected { .. } => "rejected",
            Self::Misconfigured { .. } => "misconfigured",
            Self::Throttled { .. } => "throttled",
            Self::Unavailable {
                unclassified: true, ..
            } => "unclassified",
            Self::Unavailable { .. } => "unavailable",
            Self::Unknown { .. } => "unknown",
            Self::NotSent => "not_sent",
        }
    }

    /// What may be shown of the answer, if there was one.
    #[must_use]
    pub fn detail(&self) -> Option<&Detail> {
        match self {
            Self::Refreshed(issued) => Some(&issued.detail),
            Self::Rejected { detail, .. }
            | Self::Misconfigured { detail, .. }
            | Self::Throttled { detail, .. }
            | Self::Unavailable { detail, .. }
            | Self::Unknown { detail } => Some(detail),
            Self::NotSent => None,
        }
    }
}

/// What a refresh brought.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The grant.
    pub grant: GrantId,
    /// The generation that was spent.
    pub base_generation: u64,
    /// Both tokens, the old one where the answer brought none.
    pub pair: Pair,
    /// The refresh token's fingerprint; absent for a client grant.
    pub refresh_token: Option<Fingerprint>,
    /// When the request was sent, by the store's clock.
    pub obtained_at: Millis,
    /// When the access token expires, by the store's clock; `None` where no new access token came.
    pub expires_at: Option<Millis>,
    /// The life is our assumption.
    pub expiry_assumed: bool,
    /// The scopes, where told.
    pub scopes: Option<String>,
    /// Whether the access token may be handed out.
    pub bearer: bool,
    /// Which token path answered.
    pub token_path: TokenPath,
    /// Something odd, as a word.
    pub warning: Option<String>,
    /// The answer was cut, and only the refresh token could be saved from it: whether it is whole
    /// and right, the next request shows.
    pub salvaged: bool,
    /// What may be shown.
    pub detail: Detail,
    /// Its entry in the journal, if it could be written.
    pub entry: Option<Arc<Carried>>,
}

/// What the machine may ask to have sealed.
#[derive(Debug, Clone)]
pub enum Secret {
    /// A pair from the provider, for its generation.
    Issued {
        /// The grant.
        grant: GrantId,
        /// Its generation from now on.
        generation: u64,
        /// The pair.
        pair: Pair,
    },
    /// A pair that a signal carried, for its generation.
    Carried {
        /// The grant.
        grant: GrantId,
        /// Its generation from now on.
        generation: u64,
        /// The pair as it came.
        pair: Sealed,
    },
    /// The app's credentials that a signal carried.
    CarriedApp {
        /// The grant.
        grant: GrantId,
        /// The credentials as they came.
        app: Sealed,
    },
    /// A pair that a signal carried, to be kept apart.
    Quarantine {
        /// The grant.
        grant: GrantId,
        /// The generation that was spent to get it.
        base_generation: u64,
        /// The pair as it came.
        pair: Sealed,
    },
    /// The stored pair, to be kept apart because another takes its place that may be worth nothing.
    SetAside {
        /// The grant.
        grant: GrantId,
        /// The generation that it is stored as.
        generation: u64,
        /// The generation that was spent to get it.
        base_generation: u64,
    },
    /// A pair that was kept apart, for its generation.
    Released {
        /// The grant.
        grant: GrantId,
        /// Its generation from now on.
        generation: u64,
        /// The generation that was spent to get it.
        base_generation: u64,
        /// Under which name it was kept.
        slot: String,
        /// The generation of the pair that is stored now, where its access token outlives that of
        /// the pair that was kept apart.
        access_of: Option<u64>,
    },
    /// What is kept under a name, with the key that seals now.
    Anew {
        /// The name.
        slot: String,
        /// What it is.
        kept: Kept,
    },
}

/// What is kept sealed, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The pair that the grant lives on.
    Pair {
        /// The grant.
        grant: GrantId,
        /// Its generation.
        generation: u64,
    },
    /// The credentials of the grant's own client app.
    App {
        /// The grant.
        grant: GrantId,
    },
    /// A pair that is kept apart.
    Quarantined {
        /// The grant.
        grant: GrantId,
        /// The generation that was spent to get it.
        base_generation: u64,
    },
}
