//! What the words in a status mean, for people who meet them the first time.

/// Why a person must consent again.
#[must_use]
pub(crate) fn reason(word: &str) -> &'static str {
    match word {
        "revoked" => "NinjaOne no longer knows the grant",
        "expired" => "the refresh token outlived itself",
        "rotation_lost" => "a rotated refresh token was lost on its way",
        "missing_credentials" => "no refresh token is stored",
        "consent_required" => "NinjaOne wants a person to act",
        "reuse_detected" => "NinjaOne saw a refresh token twice",
        _ => "a person must consent again",
    }
}

/// What a person must put right.
#[must_use]
pub(crate) fn attention(word: &str) -> &'static str {
    match word {
        "client_unknown" => {
            "the client app does not exist at this host: region, client id or kind of app is wrong"
        }
        "client_rejected" => {
            "the client app is refused: its secret, grant types or scopes are wrong"
        }
        "client_changed" => "client id or secret are not those that the grant was made with",
        "undecryptable" => {
            "no seal key opens the stored tokens; put the missing key back into EVERGREEN_SEAL_KEYS"
        }
        "no_client" => "no client id is configured; set EVERGREEN_NINJAONE_CLIENT_ID",
        "no_offline_access" => {
            "the grant has no refresh token: ask for offline_access and tick the refresh token grant at the app"
        }
        "unexpected_redirect" => {
            "the token endpoint redirects elsewhere, which is never followed; check the instance URL"
        }
        "wrong_endpoint" => {
            "neither token path exists at this host, or the host is not allowed; check the instance URL"
        }
        "unclassified" => {
            "rejected again and again for an unknown reason; the provider's answer is below"
        }
        "token_type" => "the access token is not a bearer token",
        "tls_error" => "the TLS handshake keeps failing; check certificates and proxies",
        _ => "somebody must look at it",
    }
}

/// Something odd that stops nothing.
#[must_use]
pub(crate) fn warning(word: &str) -> &str {
    match word {
        "no_refresh_token" => "there is no refresh token; it cannot be renewed when it expires",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{Attention, Reason};

    #[test]
    fn every_word_of_the_surface_is_explained() {
        for word in [
            Reason::Revoked,
            Reason::Expired,
            Reason::RotationLost,
            Reason::MissingCredentials,
            Reason::ConsentRequired,
            Reason::ReuseDetected,
        ] {
            assert_ne!(reason(word.as_str()), reason(""), "{word}");
        }
        for word in [
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
        ] {
            assert_ne!(attention(word.as_str()), attention(""), "{word}");
        }
    }
}
