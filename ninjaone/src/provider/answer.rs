//! The words for what the token endpoint said. Which reply gets which word is in `classify.rs`.

use std::fmt;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::granted::Granted;
use super::request::TokenPath;

/// What one attempt at the token endpoint came to.
#[derive(Debug, Clone)]
pub struct Reply {
    /// What the answer means for the grant.
    pub answer: Answer,
    /// What may be shown of it.
    pub detail: Detail,
    /// Wall clock when the request left, milliseconds since 1970; expiry counts from here. If it
    /// never left, when the attempt began.
    pub sent_at_ms: u64,
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

/// Why a person must consent again. The words are part of the HTTP surface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The provider no longer knows the grant.
    Revoked,
    /// The provider says that the refresh token outlived itself.
    Expired,
    /// A rotated token was probably lost on its way to us.
    RotationLost,
    /// No refresh token is stored.
    MissingCredentials,
    /// The provider wants a person to act.
    ConsentRequired,
    /// The provider saw a refresh token twice.
    ReuseDetected,
}

impl Reason {
    /// The word used in states, JSON and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::RotationLost => "rotation_lost",
            Self::MissingCredentials => "missing_credentials",
            Self::ConsentRequired => "consent_required",
            Self::ReuseDetected => "reuse_detected",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a person must put right without reconnecting. The words are part of the HTTP surface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attention {
    /// The app does not exist at this host: wrong region, wrong client id or wrong kind of app.
    ClientUnknown,
    /// The app exists and is refused: its secret, its grant types or its scopes.
    ClientRejected,
    /// Client id or secret are not those that the grant was made with.
    ClientChanged,
    /// No key of the ring opens the stored tokens.
    Undecryptable,
    /// No client id is configured.
    NoClient,
    /// The grant came without a refresh token.
    NoOfflineAccess,
    /// The token endpoint answered with a redirect, which is never followed.
    UnexpectedRedirect,
    /// Neither token path exists at this host, or the host is not allowed.
    WrongEndpoint,
    /// Rejected again and again for a reason that no rule knows.
    Unclassified,
    /// The access token is not a bearer token.
    TokenType,
    /// The TLS handshake keeps failing.
    TlsError,
}

impl Attention {
    /// The word used in states, JSON and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientUnknown => "client_unknown",
            Self::ClientRejected => "client_rejected",
            Self::ClientChanged => "client_changed",
            Self::Undecryptable => "undecryptable",
            Self::NoClient => "no_client",
            Self::NoOfflineAccess => "no_offline_access",
            Self::UnexpectedRedirect => "unexpected_redirect",
            Self::WrongEndpoint => "wrong_endpoint",
            Self::Unclassified => "unclassified",
            Self::TokenType => "token_type",
            Self::TlsError => "tls_error",
        }
    }
}

impl fmt::Display for Attention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What stood between us and a definite answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The name did not resolve.
    NameResolution,
    /// The name resolves to an address inside our own network.
    AddressRefused,
    /// No connection: refused, no route, or the proxy said no.
    Connect,
    /// No connection within the connect timeout.
    ConnectTimeout,
    /// The TLS handshake failed.
    Tls,
    /// The caller took back its permission before the first byte left.
    Withheld,
    /// The deadline passed.
    Deadline,
    /// The exchange ended before a status line came.
    BrokenOff,
    /// The body ended early.
    BodyCut,
    /// The body did not end within the bound.
    BodyTooLong,
    /// A success status without anything a success must hold.
    MalformedSuccess,
    /// The HTTP status alone says so.
    Status,
    /// The provider's error code says so.
    Code,
}

impl Why {
    /// The word used in logs and as description where the provider gave none.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NameResolution => "name_resolution",
            Self::AddressRefused => "address_refused",
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls => "tls",
            Self::Withheld => "withheld",
            Self::Deadline => "deadline",
            Self::BrokenOff => "broken_off",
            Self::BodyCut => "body_cut",
            Self::BodyTooLong => "body_too_long",
            Self::MalformedSuccess => "malformed_success",
            Self::Status => "status",
            Self::Code => "code",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_surface_are_those_that_serde_writes() {
        let reasons = [
            Reason::Revoked,
            Reason::Expired,
            Reason::RotationLost,
            Reason::MissingCredentials,
            Reason::ConsentRequired,
            Reason::ReuseDetected,
        ];
        let words: Vec<_> = reasons.iter().map(|r| r.as_str()).collect();
        assert_eq!(
            words.join(" "),
            "revoked expired rotation_lost missing_credentials consent_required reuse_detected"
        );
        for reason in reasons {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
        let attentions = [
            Attention::ClientUnknown,
            Attention::ClientRejected,
            Attention::ClientChanged,
            Attention::Undecryptable,
            Attention::NoClient,
            Attention::NoOfflineAccess,
            Attention::UnexpectedRedirect,
            Attention::WrongEndpoint,
            Attention::Unclassified,
            Attention::TokenType,
            Attention::TlsError,
        ];
        let words: Vec<_> = attentions.iter().map(|a| a.as_str()).collect();
        assert_eq!(
            words.join(" "),
            "client_unknown client_rejected client_changed undecryptable no_client \
             no_offline_access unexpected_redirect wrong_endpoint unclassified token_type tls_error"
        );
        for attention in attentions {
            assert_eq!(serde_json::to_value(attention).unwrap(), attention.as_str());
        }
    }

    #[test]
    fn an_empty_detail_is_an_empty_object_and_says_so() {
        assert_eq!(serde_json::to_string(&Detail::default()).unwrap(), "{}");
        assert_eq!(Detail::default().to_string(), "no detail");
        let detail: Detail =
            serde_json::from_str(r#"{"status":400,"code":"invalid_token"}"#).unwrap();
        assert_eq!(detail.to_string(), "status 400, code invalid_token");
    }
}
