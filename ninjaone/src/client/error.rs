//! Why an API request brought nothing, in words that a program can act on.

use std::time::Duration;

use crate::provider::{BuildFailed, Detail};
use crate::service::{Recovery, ServiceError};

/// Why a request brought nothing. No variant holds a token or a body.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no access token to ask with.
    #[error("asking NinjaOne for {what}: {source}")]
    Token {
        /// What was asked for.
        what: String,
        /// Why there is none, and what helps.
        #[source]
        source: ServiceError,
    },
    /// The path is not one of the API.
    #[error(
        "{path}: a path of the API begins with a slash and holds neither a host, `..` nor a query"
    )]
    Path {
        /// The path.
        path: String,
    },
    /// The access token was refused, and so was the one that replaced it.
    #[error("asking NinjaOne for {what}: it refuses a fresh access token too: {detail}")]
    Unauthorized {
        /// What was asked for.
        what: String,
        /// What NinjaOne said.
        detail: Detail,
    },
    /// The grant may not do this; another access token would not help. Its scopes, the app's or the
    /// person's role must change.
    #[error("asking NinjaOne for {what}: the grant may not: {detail}")]
    Forbidden {
        /// What was asked for.
        what: String,
        /// Whether a person's grant (`user`) would be needed instead of the app's (`client`).
        needs_user: bool,
        /// What NinjaOne said.
        detail: Detail,
    },
    /// There is no such thing, or not on this instance.
    #[error("asking NinjaOne for {what}: not found: {detail}")]
    NotFound {
        /// What was asked for.
        what: String,
        /// What NinjaOne said.
        detail: Detail,
    },
    /// NinjaOne wants to be left alone.
    #[error("asking NinjaOne for {what}: too many requests; again in {}s", .after.as_secs())]
    Throttled {
        /// What was asked for.
        what: String,
        /// How long to wait.
        after: Duration,
    },
    /// NinjaOne said no in another way.
    #[error("asking NinjaOne for {what}: {detail}")]
    Failed {
        /// What was asked for.
        what: String,
        /// What NinjaOne said.
        detail: Detail,
    },
    /// No answer, or not all of it. Reading changes nothing, so the same request may be repeated.
    #[error("asking NinjaOne for {what}: {why}")]
    Unreachable {
        /// What was asked for.
        what: String,
        /// At which step it failed. Never an address or a body.
        why: String,
    },
    /// The answer is not of the form that was asked for.
    #[error("asking NinjaOne for {what}: an answer that does not fit: {why}")]
    Unreadable {
        /// What was asked for.
        what: String,
        /// What does not fit, and where. Never the body.
        why: String,
    },
    /// The HTTP client could not be built.
    #[error("preparing to speak to NinjaOne")]
    Http(#[source] BuildFailed),
}

impl ClientError {
    /// What helps.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        match self {
            Self::Token { source, .. } => source.recovery(),
            Self::Unauthorized { .. } => Recovery::Reconnect,
            Self::Forbidden { .. } | Self::Http(_) => Recovery::FixConfiguration,
            Self::Throttled { .. } | Self::Unreachable { .. } => Recovery::Wait,
            Self::Failed { detail, .. } if detail.status.is_some_and(|status| status >= 500) => {
                Recovery::Wait
            }
            Self::Path { .. }
            | Self::NotFound { .. }
            | Self::Failed { .. }
            | Self::Unreadable { .. } => Recovery::None,
        }
    }
}
