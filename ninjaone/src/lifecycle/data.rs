//! What all states of a grant share, and the states.

use evergreen_engine::Millis;
use serde::{Deserialize, Serialize};

use crate::provider::{Attention, Detail, Reason, TokenPath};
use crate::vault::{Fingerprint, GrantId};

/// The data of one grant's workflow. Never secret: tokens are sealed beside it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Credential {
    /// Counts consents, for people; machines compare [`Grant::id`].
    pub epoch: u64,
    /// The grant, while there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
    /// What went wrong since the last success.
    #[serde(skip_serializing_if = "Failures::is_none")]
    pub failures: Failures,
    /// Fingerprints of the refresh tokens that this grant has spent, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spent: Vec<Fingerprint>,
    /// Rescued pairs that are neither newer nor known; each is tried once before a verdict.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quarantined: Vec<Quarantined>,
    /// When a refresh last succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_refresh_at: Option<Millis>,
    /// When a request was last about to be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_attempt_at: Option<Millis>,
    /// The generation whose slow end was told as `EXPIRING`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiring_told: Option<u64>,
    /// The refresh token whose age was told as `EXPIRING`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_told: Option<Fingerprint>,
    /// Something odd that does not stop anything, as a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// The state that answers the input at hand, for what all states answer alike. Not stored.
    #[serde(skip)]
    pub(super) here: Phase,
}

/// One consent of a user or an app, and where its rotation stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    /// Drawn at random by whoever stored it.
    pub id: GrantId,
    /// Rotations and renewals within this grant; the first pair is 0.
    pub generation: u64,
    /// Scheme and host.
    pub instance_url: String,
    /// The client app it was made with.
    pub client_id: String,
    /// Whether the app's credentials are sealed beside the pair (else the fleet's are used).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_app: bool,
    /// When the request that brought this access token was sent.
    pub obtained_at: Millis,
    /// When the access token expires; absent if that is not known at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Millis>,
    /// The life is our assumption.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expiry_assumed: bool,
    /// The refresh token, as a keyed fingerprint; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<Fingerprint>,
    /// When that refresh token was issued.
    pub refresh_token_at: Millis,
    /// The scopes, as the provider told them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<String>,
    /// Whether the access token may be handed out as a bearer token.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub bearer: bool,
    /// Where in 0 ≤ x < 1 of the allowed jitter this generation's refresh lies.
    pub jitter: f64,
    /// Which token path is known to answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_path: Option<TokenPath>,
}

fn yes() -> bool {
    true
}

/// What went wrong since the last success.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failures {
    /// Failed attempts in a row.
    #[serde(skip_serializing_if = "is_zero")]
    pub consecutive: u32,
    /// Of these, rejections in a row that no rule knows.
    #[serde(skip_serializing_if = "is_zero")]
    pub unclassified: u32,
    /// A failure was told to the outside, so its end is told as well.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub published: bool,
    /// Since when it has not been known whether a refresh token was spent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_since: Option<Millis>,
    /// The one immediate retry after an unknown outcome is used up.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub retried: bool,
    /// The next request is that retry.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub retry_owed: bool,
    /// What a person was told to put right. Stands until a success, so it is told once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention: Option<Attention>,
    /// Since when the TLS handshake has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_since: Option<Millis>,
    /// The refresh token that the provider has rejected: not sent again, unless a person resets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead: Option<Fingerprint>,
    /// Why it was condemned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Reason>,
    /// A person has reset: it may be sent once all the same.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reprieved: bool,
    /// What may be shown of the last answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Detail>,
}

impl Failures {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// A pair that may or may not be of use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quarantined {
    /// Of its refresh token; also names its sealed blob.
    pub fingerprint: Fingerprint,
    /// The generation that was spent to get it.
    pub base_generation: u64,
    /// When its access token expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Millis>,
    /// When the request that brought it was sent.
    pub obtained_at: Millis,
    /// It was the stored one until a refresh token took its place that was saved from an answer that
    /// was cut. If that is good, this one is spent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spare: bool,
}

impl Quarantined {
    /// The name under which its pair is sealed.
    #[must_use]
    pub fn slot(&self) -> String {
        format!("{QUARANTINE}{}", self.fingerprint)
    }
}

/// What the names begin with under which pairs are kept apart.
const QUARANTINE: &str = "quarantine:";

/// Whether this is the name of a pair that is kept apart.
pub(crate) fn is_quarantine(slot: &str) -> bool {
    slot.starts_with(QUARANTINE)
}

/// The states. Variants' names are stored and shown; they are never renamed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Phase {
    /// A grant is stored but cannot be scheduled yet.
    Active {
        /// What a person must put right.
        attention: Attention,
    },
    /// Healthy, or waiting to try again.
    Scheduled {
        /// What the next attempt is for.
        purpose: Purpose,
        /// When it is to be made.
        at: Millis,
        /// What led to this.
        source: Source,
        /// Until when the host wants to be left alone; nobody shortens that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_before: Option<Millis>,
    },
    /// One holder has written down that it will send a request.
    Refreshing {
        /// The generation whose refresh token is spent.
        generation: u64,
        /// That refresh token; absent for a client grant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fingerprint: Option<Fingerprint>,
        /// When it was written down.
        started_at: Millis,
        /// What led to this.
        source: Source,
        /// What the attempt is for.
        #[serde(default)]
        purpose: Purpose,
        /// What a person was to put right, where the attempt is to find out whether that was done.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attention: Option<Attention>,
    },
    /// A person must consent again.
    ReconnectRequired {
        /// Why.
        reason: Reason,
    },
    /// Credentials are erased; late results are ignored. Also where a workflow begins.
    Disconnected {},
}

impl Phase {
    /// The state's name, as it is stored.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Active { .. } => "Active",
            Self::Scheduled { .. } => "Scheduled",
            Self::Refreshing { .. } => "Refreshing",
            Self::ReconnectRequired { .. } => "ReconnectRequired",
            Self::Disconnected {} => "Disconnected",
        }
    }
}

impl Default for Phase {
    fn default() -> Self {
        Self::Disconnected {}
    }
}

/// What a scheduled attempt is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The planned refresh before expiry.
    #[default]
    Refresh,
    /// Trying again after a failure.
    Retry,
    /// Finding out whether a grant works that a person has asked about.
    Probe,
}

/// What led to a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A first consent.
    OauthConnected,
    /// A consent after an earlier one.
    Reconnected,
    /// Tokens from outside.
    Import,
    /// A refresh that a worker made in time.
    ProactiveRefreshSuccess,
    /// A refresh that a caller needed.
    LazyRefreshSuccess,
    /// A caller's need.
    Lazy,
    /// An operator's wish.
    Operator,
    /// The timer.
    Timer,
    /// The backfill.
    Backfill,
    /// A changed setting.
    Configuration,
    /// A rotated pair that came by another way.
    Rescued,
    /// A failure.
    Failure,
}

impl Source {
    /// The word used in JSON, events and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OauthConnected => "oauth_connected",
            Self::Reconnected => "reconnected",
            Self::Import => "import",
            Self::ProactiveRefreshSuccess => "proactive_refresh_success",
            Self::LazyRefreshSuccess => "lazy_refresh_success",
            Self::Lazy => "lazy",
            Self::Operator => "operator",
            Self::Timer => "timer",
            Self::Backfill => "backfill",
            Self::Configuration => "configuration",
            Self::Rescued => "rescued",
            Self::Failure => "failure",
        }
    }
}
