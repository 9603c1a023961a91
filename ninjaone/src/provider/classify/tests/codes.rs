//! Refusals: codes, statuses, redirects, and how long to wait.

use super::*;

#[test]
fn every_code_has_its_class_whatever_the_status() {
    for (code, expected) in [
        ("invalid_token", "rejected revoked"),
        ("invalid_grant", "rejected revoked"),
        ("expired_token", "rejected expired"),
        ("access_denied", "rejected consent_required"),
        ("interaction_required", "rejected consent_required"),
        ("consent_required", "rejected consent_required"),
        ("login_required", "rejected consent_required"),
        ("bad_refresh_token", "rejected revoked"),
        ("invalid_refresh_token", "rejected revoked"),
        ("refresh_token_not_found", "rejected revoked"),
        ("refresh_token_reused", "rejected reuse_detected"),
        ("invalid_client", "misconfigured client_rejected"),
        ("unauthorized_client", "misconfigured client_rejected"),
        ("unsupported_grant_type", "misconfigured client_rejected"),
        ("invalid_scope", "misconfigured client_rejected"),
        ("Client app not exist", "misconfigured client_unknown"),
        ("temporarily_unavailable", "unavailable code"),
        ("server_error", "unavailable code"),
        ("internal_failure", "unavailable code"),
        ("slow_down", "throttled 30 default"),
        ("rate_limit_exceeded", "throttled 30 default"),
        ("too_many_requests", "throttled 30 default"),
    ] {
        for status in [200, 400, 401, 403, 404, 500] {
            for spelling in [code.to_owned(), code.to_uppercase(), format!(" {code}\t")] {
                for member in ["error", "error_code", "errorCode", "resultCode"] {
                    let body = serde_json::json!({ member: spelling }).to_string();
                    let judged = judge(status, &body);
                    assert_eq!(short(&judged), expected, "{status} {body}");
                    assert!(!judged.no_such_path);
                }
                let body = serde_json::json!({"error": {"code": spelling}}).to_string();
                assert_eq!(short(&judge(status, &body)), expected, "{status} {body}");
            }
        }
    }
}

#[test]
fn a_word_inside_a_text_is_not_a_code() {
    for (status, body) in [
        (400, r#"{"error":"not_invalid_token"}"#),
        (400, r#"{"error":"invalid_token_format"}"#),
        (400, r#"{"error":"foo"}"#),
        (400, r#"{"error":"invalid_request"}"#),
        (400, r#"{"resultCode":"FAILURE"}"#),
        (403, r#"{"resultCode":"FAILURE"}"#),
        (401, "<html>blocked: parameter invalid_token</html>"),
        (
            403,
            "<!DOCTYPE html><title>Access denied</title>invalid_grant",
        ),
        (400, r#"{"message":"invalid_token"}"#),
        (400, r#"{"data":{"error":"invalid_token"}}"#),
        (400, r#""invalid_token""#),
        (400, r#"["invalid_token"]"#),
        (400, "error=invalid_token"),
        (400, ""),
        (200, r#"{"error":"foo"}"#),
        (404, r#"{"error":"foo"}"#),
    ] {
        let judged = judge(status, body);
        assert_eq!(short(&judged), "unclassified", "{status} {body}");
        assert!(!judged.no_such_path, "{status} {body}");
    }
    assert_eq!(
        judge(400, r#"{"error":"foo"}"#).detail.code.as_deref(),
        Some("foo")
    );
}

#[test]
fn every_status_without_a_known_code_has_its_class() {
    for (statuses, expected) in [
        (
            &[301, 302, 303, 307, 308][..],
            "misconfigured unexpected_redirect",
        ),
        (
            &[400, 401, 402, 403, 406, 412, 415, 418, 422, 451, 300, 304],
            "unclassified",
        ),
        (&[404, 405, 410, 421], "misconfigured wrong_endpoint"),
        (&[408, 409, 423, 425, 503], "unavailable status"),
        (&[429], "throttled 30 default"),
        (
            &[500, 501, 502, 504, 520, 521, 522, 523, 524, 599],
            "unknown status",
        ),
        (&[200, 201, 203, 204, 205], "unknown malformed_success"),
    ] {
        for status in statuses {
            for body in ["", "<html>oops</html>", "{}", "null", "[]"] {
                let judged = judge(*status, body);
                assert_eq!(short(&judged), expected, "{status} {body}");
                assert_eq!(judged.no_such_path, expected.ends_with("wrong_endpoint"));
            }
        }
    }
}

#[test]
fn an_unknown_code_does_not_make_a_server_error_definite() {
    assert_eq!(
        short(&judge(500, r#"{"resultCode":"FAILURE"}"#)),
        "unknown status"
    );
    assert_eq!(short(&judge(502, r#"{"error":"foo"}"#)), "unknown status");
    assert_eq!(
        short(&judge(503, r#"{"error":"foo"}"#)),
        "unavailable status"
    );
    assert_eq!(
        short(&judge(429, r#"{"error":"foo"}"#)),
        "throttled 30 default"
    );
}

#[test]
fn a_reason_phrase_in_the_place_of_a_code_says_no_more_than_the_status() {
    for body in [
        r#"{"timestamp":1,"status":404,"error":"Not Found","path":"/ws/oauth/token"}"#,
        r#"{"error":{"code":404,"message":"no handler"}}"#,
    ] {
        assert!(judge(404, body).no_such_path, "{body}");
    }
    assert!(judge(405, r#"{"error":"Method Not Allowed"}"#).no_such_path);
}

#[test]
fn throttling_is_recognised_and_measured() {
    for (status, headers, body, expected) in [
        (
            429,
            &[("retry-after", "120")][..],
            "",
            "throttled 120 asked",
        ),
        (429, &[("retry-after", "abc")], "", "throttled 30 default"),
        (
            429,
            &[("retry-after", "999999")],
            "",
            "throttled 3600 asked",
        ),
        (503, &[("retry-after", "9")], "", "throttled 9 asked"),
        (
            429,
            &[
                ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
                ("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT"),
            ],
            "",
            "throttled 60 asked",
        ),
        (
            429,
            &[("retry-after", "5")],
            r#"{"error":"server_error"}"#,
            "throttled 5 asked",
        ),
        (
            503,
            &[("retry-after", "5")],
            r#"{"error":"temporarily_unavailable"}"#,
            "throttled 5 asked",
        ),
        (
            200,
            &[],
            "<!DOCTYPE html>Too many requests",
            "throttled 30 default",
        ),
        (503, &[], "<html>Rate limit</html>", "throttled 30 default"),
        (
            200,
            &[("content-type", "text/html")],
            "request limit exceeded",
            "throttled 30 default",
        ),
        // Not a throttle page: a WAF's.
        (403, &[], "<html>Rate limit</html>", "unclassified"),
        // A definite answer is not overruled by its status.
        (
            429,
            &[("retry-after", "5")],
            r#"{"error":"invalid_grant"}"#,
            "rejected revoked",
        ),
    ] {
        assert_eq!(
            short(&judge_with(status, headers, body.as_bytes())),
            expected,
            "{body}"
        );
    }
}
