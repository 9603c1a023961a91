//! The words for what the token endpoint said. Which reply gets which word is in `classify.rs`.

use std::fmt;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::granted::Granted;
use super::request::TokenPath;
use super::words::{Attention, Reason, Why};

/// What one attempt at the token endpoint came to.
#[derive(Debug, Clone)]
pub struct Reply {
    /// What the answer means for the grant.
    pub answer: Answer,
    /// What may be shown of it.
    pub detail: Detail,
    /// When the request left; expiry counts from here. If it never left, when the attempt began. By
    /// the monotonic clock: a wall clock that is stepped meanwhile must not move an expiry.
    pub sent_at: Instant,
    /// From the beginning of the attempt to its answer, both paths included.
    pub elapsed: Duration,
    /// The path that the answer belongs to.
    pub path: TokenPath,
    /// The reply's `Date` minus our clock, in milliseconds, to the second at best.
    pub skew_ms: Option<i64>,
}

/// The meaning of a reply, or of its absence.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Tokens came (RFC 6749 section 5.1).
    Granted(Granted),
    /// The provider says that the grant is dead. Believed only after the store was read again.
    Rejected {
        /// Why, as far as one answer can tell.
        reason: Reason,
    },
    /// The provider does not accept the app or the address; reconnecting would not help.
    Misconfigured {
        /// What a person must look at.
        attention: Attention,
    },
    /// The host wants to be left alone; nothing was spent.
    Throttled {
        /// How long, at most one hour.
        pause: Duration,
        /// Whether the host named that time. If not, `pause` is the default, to be doubled when
        /// throttled again.
        asked: bool,
    },
    /// Retryable, and certainly nothing was spent.
    Unavailable {
        /// What stood in the way.
        why: Why,
        /// Nothing that carries a secret left this process.
        not_sent: bool,
        /// The TLS handshake failed: loud, never downgraded.
        tls: bool,
    },
    /// A rejection that no rule knows. Retried, and never by itself a reason to reconnect.
    Unclassified,
    /// The request may have been processed and its answer lost: the refresh token may be spent.
    Unknown {
        /// What stood in the way.
        why: Why,
        /// A complete refresh token found in what did arrive, other than the one sent.
        salvaged: Option<SecretString>,
    },
}

impl Answer {
    /// The word for logs and the outcome metric.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Granted(_) => "refreshed",
            Self::Rejected { .. } => "rejected",
            Self::Misconfigured { .. } => "misconfigured",
            Self::Throttled { .. } => "throttled",
            Self::Unavailable { not_sent: true, .. } => "not_sent",
            Self::Unavailable { .. } => "unavailable",
            Self::Unclassified => "unclassified",
            Self::Unknown { .. } => "unknown",
        }
    }
}

/// All that is ever kept of a provider's reply: cleaned, masked and capped, never the body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Detail {
    /// HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The error code (RFC 6749 section 5.2, or NinjaOne's `resultCode`), at most 64 characters of
    /// `A-Z a-z 0-9 _ . -` and space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The provider's text, or ours if the transfer failed; at most 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// NinjaOne's `incidentId`, which its support asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident_id: Option<String>,
    /// NinjaOne's `x-nj-request-id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status.map(|status| status.to_string());
        let parts = [
            ("status", status.as_ref()),
            ("code", self.code.as_ref()),
            ("description", self.description.as_ref()),
            ("incident", self.incident_id.as_ref()),
            ("request", self.request_id.as_ref()),
        ];
        let mut separator = "";
        for (name, value) in parts {
            if let Some(value) = value {
                write!(f, "{separator}{name} {value}")?;
                separator = ", ";
            }
        }
        if separator.is_empty() {
            f.write_str("no detail")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_detail_is_an_empty_object_and_says_so() {
        assert_eq!(serde_json::to_string(&Detail::default()).unwrap(), "{}");
        assert_eq!(Detail::default().to_string(), "no detail");
        let detail: Detail =
            serde_json::from_str(r#"{"status":400,"code":"invalid_token"}"#).unwrap();
        assert_eq!(detail.to_string(), "status 400, code invalid_token");
    }
}
