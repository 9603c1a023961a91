//! What a reply of NinjaOne's API, not of its token endpoint, means for the access token it was
//! asked with. A refresh helps in exactly one case.

use std::time::{Duration, SystemTime};

use reqwest::header::HeaderMap;
use secrecy::SecretString;

use super::answer::Detail;
use super::body::{Body, decode};
use super::clean::Mask;
use super::throttle::{self, DEFAULT_PAUSE};

/// The meaning of an API reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiAnswer {
    /// A success status; the body is the caller's.
    Success,
    /// The access token is bad or expired: refresh once and repeat once.
    TokenRefused,
    /// A scope or a role is missing, although the status is often 401.
    InsufficientPrivileges,
    /// A person's token is needed, not the app's.
    UserContextRequired,
    /// The request was wrong: a missing or malformed `Authorization` header.
    OurMistake,
    /// The host wants to be left alone, by status or by an HTML page.
    Throttled {
        /// How long, at most one hour.
        pause: Duration,
    },
    /// No such thing, or not on this instance.
    NotFound,
    /// Anything else that is not a success.
    Failed,
}

impl ApiAnswer {
    /// Whether one refresh and one repetition are worth it.
    #[must_use]
    pub fn refresh_helps(self) -> bool {
        self == Self::TokenRefused
    }
}

/// Reads status, headers and (the beginning of) the body of an API reply. The detail is safe to
/// show; `access_token` is masked in it.
#[must_use]
pub fn read_api_reply(
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
    access_token: &SecretString,
) -> (ApiAnswer, Detail) {
    let text = decode(body);
    let body = Body::read(&text);
    let mask = Mask::new([access_token]);
    let success = (200..300).contains(&status);
    // A success may well have members of these names that mean something else.
    let code = if success { None } else { body.code() };
    let detail = Detail {
        status: Some(status),
        code: code.as_ref().and_then(|code| mask.code(code)),
        description: match success {
            true => None,
            false => body.description().and_then(|text| mask.description(&text)),
        },
        incident_id: body.text("incidentId").and_then(|id| mask.id(&id)),
        request_id: headers
            .get("x-nj-request-id")
            .and_then(|id| mask.id(id.to_str().ok()?)),
    };
    let code = code.unwrap_or_default().to_ascii_lowercase();
    (answer(status, headers, &code, &text), detail)
}

fn answer(status: u16, headers: &HeaderMap, code: &str, text: &str) -> ApiAnswer {
    let asked = throttle::retry_after(headers, SystemTime::now());
    if status == 429
        || (status == 503 && asked.is_some())
        || throttle::is_throttle_page(headers, text)
    {
        return ApiAnswer::Throttled {
            pause: asked.unwrap_or(DEFAULT_PAUSE),
        };
    }
    match (status, code) {
        (200..300, _) => ApiAnswer::Success,
        // The second word is that of RFC 6750 section 3.1.
        (401, "not_authenticated" | "invalid_token") => ApiAnswer::TokenRefused,
        (_, "insufficient_privileges" | "permission_denied" | "organization_access_violation") => {
            ApiAnswer::InsufficientPrivileges
        }
        (_, "user_context_required") => ApiAnswer::UserContextRequired,
        (_, "missing_header" | "invalid_header") => ApiAnswer::OurMistake,
        (404, _) => ApiAnswer::NotFound,
        _ => ApiAnswer::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> (ApiAnswer, Detail) {
        read_api_reply(
            status,
            &HeaderMap::new(),
            body.as_bytes(),
            &"CANARY-TOKEN".into(),
        )
    }

    #[test]
    fn a_refresh_helps_in_one_case_only() {
        let bad_token = r#"{"error":"not_authenticated","error_description":"Invalid credentials","error_code":10}"#;
        assert!(read(401, bad_token).0.refresh_helps());
        for (status, body, expected) in [
            (
                401,
                r#"{"resultCode":"insufficient_privileges"}"#,
                ApiAnswer::InsufficientPrivileges,
            ),
            (
                403,
                r#"{"error":"user_context_required","error_description":"Access key does not have user context which is required for this request","error_code":5}"#,
                ApiAnswer::UserContextRequired,
            ),
            (
                403,
                r#"{"resultCode":"user_context_required"}"#,
                ApiAnswer::UserContextRequired,
            ),
            (
                400,
                r#"{"error":"missing_header","error_description":"Missing required header","error_code":2}"#,
                ApiAnswer::OurMistake,
            ),
            (
                400,
                r#"{"error":"invalid_header","error_description":"Invalid 'Authorization' header","error_code":1}"#,
                ApiAnswer::OurMistake,
            ),
            (
                500,
                r#"{"resultCode":"permission_denied"}"#,
                ApiAnswer::InsufficientPrivileges,
            ),
            (
                403,
                r#"{"errorCode":"organization_access_violation","message":"m"}"#,
                ApiAnswer::InsufficientPrivileges,
            ),
            (404, r#"{"resultCode":"FAILURE"}"#, ApiAnswer::NotFound),
            (401, "<html>WAF</html>", ApiAnswer::Failed),
            (401, "", ApiAnswer::Failed),
            (500, r#""a bare string""#, ApiAnswer::Failed),
            (200, bad_token, ApiAnswer::Success),
            (204, "", ApiAnswer::Success),
        ] {
            let (answer, _) = read(status, body);
            assert_eq!(answer, expected, "{status} {body}");
            assert!(!answer.refresh_helps());
        }
    }

    #[test]
    fn throttling_may_hide_in_a_success() {
        let page = "<!DOCTYPE html><h1>Request limit exceeded</h1>";
        assert_eq!(
            read(200, page).0,
            ApiAnswer::Throttled {
                pause: DEFAULT_PAUSE
            }
        );
        assert_eq!(
            read(429, "").0,
            ApiAnswer::Throttled {
                pause: DEFAULT_PAUSE
            }
        );
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "7".parse().unwrap());
        let (answer, _) = read_api_reply(503, &headers, b"", &"x".into());
        assert_eq!(
            answer,
            ApiAnswer::Throttled {
                pause: Duration::from_secs(7)
            }
        );
    }

    #[test]
    fn the_detail_shows_what_support_asks_for_and_no_token() {
        let mut headers = HeaderMap::new();
        headers.insert("x-nj-request-id", "req-1".parse().unwrap());
        let body = r#"{"resultCode":"FAILURE","errorMessage":{"code":"no CANARY-TOKEN","params":{}},"incidentId":"INC-1"}"#;
        let (_, detail) = read_api_reply(500, &headers, body.as_bytes(), &"CANARY-TOKEN".into());
        assert_eq!(detail.incident_id.as_deref(), Some("INC-1"));
        assert_eq!(detail.request_id.as_deref(), Some("req-1"));
        assert_eq!(detail.description.as_deref(), Some("no [masked]"));
    }
}
