//! The words that outlive a reply: they stand in states, in JSON and in logs, and never change.

use std::fmt;

use serde::{Deserialize, Serialize};

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
}
