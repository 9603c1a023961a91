//! Errors as problem details (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::service::{Recovery, ServiceError};

/// What every `type` starts with; the kind follows.
pub const TYPE_PREFIX: &str = "urn:evergreen:problem:";

/// Why a request was not answered, for programs and for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Problem {
    /// `urn:evergreen:problem:` and a stable word.
    #[serde(rename = "type")]
    #[schema(example = "urn:evergreen:problem:not-found")]
    pub kind: String,
    /// The same for every problem of this type.
    #[schema(value_type = String)]
    pub title: Box<str>,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// What helps: `none`, `wait`, `fix_configuration` or `reconnect`.
    #[schema(value_type = String)]
    pub recovery: Box<str>,
    /// The part of the input that is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Seconds after which to ask again; also in the header `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
}

impl Problem {
    fn new(status: u16, kind: &str, detail: impl Into<String>, recovery: Recovery) -> Self {
        Self {
            kind: format!("{TYPE_PREFIX}{kind}"),
            title: title(kind).into(),
            status,
            detail: detail.into(),
            recovery: recovery_word(recovery).into(),
            field: None,
            retry_after: None,
        }
    }

    /// No key, or none that is known.
    pub(super) fn unauthorized(detail: &str) -> Self {
        Self::new(401, "unauthorized", detail, Recovery::FixConfiguration)
    }

    /// A key that may not do this.
    pub(super) fn forbidden(detail: String) -> Self {
        Self::new(403, "forbidden", detail, Recovery::FixConfiguration)
    }

    /// A field and what is allowed. Never the content: it may be a secret in the wrong place.
    pub(super) fn invalid(field: &str, rule: &str) -> Self {
        ServiceError::Invalid {
            field: field.to_owned(),
            rule: rule.to_owned(),
        }
        .into()
    }

    /// A body that cannot be read at all.
    pub(super) fn malformed(detail: String) -> Self {
        Self::new(400, "malformed-body", detail, Recovery::None)
    }

    /// A body beyond the bound.
    pub(super) fn too_large() -> Self {
        Self::new(413, "too-large", "a body has at most 1 MiB", Recovery::None)
    }

    /// A body that does not come.
    pub(super) fn too_slow() -> Self {
        Self::new(
            408,
            "too-slow",
            "the body did not arrive in time",
            Recovery::Wait,
        )
    }

    /// A path that leads nowhere.
    pub(super) fn no_route() -> Self {
        let detail = "nothing is served under this path; /openapi.json lists what is";
        Self::new(404, "not-found", detail, Recovery::None)
    }

    /// A key that does not exist, or is not the caller's to see.
    pub(super) fn no_such_key() -> Self {
        Self::new(404, "not-found", "there is no such API key", Recovery::None)
    }

    /// A path that does not take this method.
    pub(super) fn method_not_allowed() -> Self {
        let detail = "this path does not take this method; the header Allow lists those it takes";
        Self::new(405, "method-not-allowed", detail, Recovery::None)
    }

    /// More at once than this process serves.
    pub(super) fn busy(detail: &str) -> Self {
        let mut problem = Self::new(503, "try-later", detail, Recovery::Wait);
        problem.retry_after = Some(5);
        problem
    }

    /// What `/readyz` says while something is missing.
    pub(super) fn not_ready(reasons: &[String]) -> Self {
        let mut problem = Self::new(503, "not-ready", reasons.join("; "), Recovery::Wait);
        problem.retry_after = Some(2);
        problem
    }

    /// A defect. Its text stays in the log.
    pub(super) fn defect() -> Self {
        let detail = "a defect of Evergreen; its log says more";
        Self::new(500, "internal", detail, Recovery::None)
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        let mut problem = Self::new(
            error.status(),
            error.kind(),
            error.to_string(),
            error.recovery(),
        );
        problem.retry_after = error
            .retry_after_s()
            .map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX));
        match error {
            ServiceError::Invalid { field, .. } => problem.field = Some(field),
            // Without its name: one that exists for others must not differ in a single byte.
            ServiceError::NotFound { .. } => {
                problem.detail = "there is no such integration".to_owned();
            }
            ServiceError::Internal { doing, why } => {
                tracing::error!(doing, why, "a request met a defect");
                problem.detail = Self::defect().detail;
            }
            ServiceError::StoreAway { why } => {
                // Where the store is and what it says is the operator's business.
                tracing::warn!(why, "a request met a store that does not answer");
                problem.detail =
                    "the store does not answer; nothing was changed, try again later".to_owned();
            }
            _ => {}
        }
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer realm=\"evergreen\"");
            headers.insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}

fn recovery_word(recovery: Recovery) -> &'static str {
    match recovery {
        Recovery::None => "none",
        Recovery::Wait => "wait",
        Recovery::FixConfiguration => "fix_configuration",
        Recovery::Reconnect => "reconnect",
    }
}

fn title(kind: &str) -> &'static str {
    match kind {
        "not-found" => "Not found",
        "invalid-input" => "The input is wrong",
        "conflict" => "What was asked contradicts what is stored",
        "reconnect-required" => "Somebody must consent again",
        "needs-attention" => "Somebody must put something right",
        "try-later" => "Not now",
        "store-unavailable" => "The store does not answer",
        "provider-refused" => "NinjaOne refused",
        "unauthorized" => "An API key is needed",
        "forbidden" => "This API key may not do this",
        "malformed-body" => "The body cannot be read",
        "too-large" => "The body is too large",
        "too-slow" => "The body came too slowly",
        "method-not-allowed" => "The path does not take this method",
        "not-ready" => "Not ready",
        _ => "A defect",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_error_becomes_a_problem_of_a_stable_shape() {
        let problem = Problem::from(ServiceError::TryLater {
            integration: "acme/prod".to_owned(),
            why: "the host is paused".to_owned(),
            after_s: 120,
        });
        assert_eq!(
            serde_json::to_value(&problem).unwrap(),
            json!({
                "type": "urn:evergreen:problem:try-later", "title": "Not now", "status": 503,
                "detail": "acme/prod: no token at the moment: the host is paused",
                "recovery": "wait", "retry_after": 120,
            })
        );
        let response = problem.into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "120");
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "application/problem+json"
        );
    }

    #[test]
    fn a_wrong_field_is_named() {
        let problem = Problem::invalid("limit", "1 to 500");
        assert_eq!(problem.field.as_deref(), Some("limit"));
        assert_eq!(
            (problem.status, problem.detail.as_str()),
            (422, "limit: 1 to 500")
        );
    }

    #[test]
    fn what_is_ours_to_know_is_not_told() {
        let why = "redis://user:CANARY@10.0.0.7".to_owned();
        let away = Problem::from(ServiceError::StoreAway { why: why.clone() });
        let defect = Problem::from(ServiceError::Internal {
            doing: "reading".to_owned(),
            why,
        });
        for problem in [away, defect] {
            assert!(!problem.detail.contains("CANARY"), "{problem:?}");
        }
    }

    #[test]
    fn every_kind_of_a_service_error_has_a_title() {
        for kind in [
            "not-found",
            "invalid-input",
            "conflict",
            "reconnect-required",
            "needs-attention",
            "try-later",
            "store-unavailable",
            "provider-refused",
        ] {
            assert_ne!(title(kind), "A defect", "{kind}");
        }
    }
}
