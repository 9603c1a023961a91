//! Every row of the tables, with the bytes that servers were seen to send.

use reqwest::header::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::super::granted::Warning;
use super::*;

const OLD: &str =
    "0f8fad5b-d9cb-469f-a165-70867728950e.CANARYoldTokenOfFortyThreeLettersAbcdefghij";
const NOT_EXIST: &str =
    r#"{"resultCode":"Client app not exist","incidentId":"WEB_MGMT_SERVICE-77aa"}"#;
const NO_PATH: &str = r#"{"resultCode":"FAILURE","errorMessage":"HTTP 404 Not Found","incidentId":"WEB_MGMT_SERVICE-77aa"}"#;

fn app() -> ClientApp {
    ClientApp {
        client_id: "app".to_owned(),
        client_secret: Some("CANARY-client-secret".into()),
    }
}

fn refresh() -> TokenRequest {
    TokenRequest::Refresh {
        refresh_token: OLD.into(),
    }
}

fn head(status: u16, headers: &[(&str, &str)]) -> Head {
    let pairs = headers.iter().map(|(name, value)| {
        (
            name.parse::<HeaderName>().unwrap(),
            HeaderValue::from_str(value).unwrap(),
        )
    });
    Head {
        status,
        headers: pairs.collect(),
        at: SystemTime::now(),
    }
}

fn judge_with(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Judged {
    classify(&head(status, headers), body, None, &app(), &refresh())
}

fn judge(status: u16, body: &str) -> Judged {
    judge_with(status, &[], body.as_bytes())
}

/// The answer in a few words, to compare rows with.
fn short(judged: &Judged) -> String {
    match &judged.answer {
        Answer::Granted(_) => "granted".to_owned(),
        Answer::Rejected { reason } => format!("rejected {reason}"),
        Answer::Misconfigured { attention } => format!("misconfigured {attention}"),
        Answer::Throttled { pause, asked } => {
            format!(
                "throttled {} {}",
                pause.as_secs(),
                if *asked { "asked" } else { "default" }
            )
        }
        Answer::Unavailable { why, not_sent, tls } => {
            assert!(!not_sent && !tls, "a reply came, so the request went");
            format!("unavailable {why}")
        }
        Answer::Unclassified => "unclassified".to_owned(),
        Answer::Unknown { why, salvaged } => match salvaged {
            None => format!("unknown {why}"),
            Some(token) => format!("unknown {why} {}", token.expose_secret()),
        },
    }
}

fn granted(body: &str) -> Granted {
    match judge(200, body).answer {
        Answer::Granted(granted) => granted,
        other => panic!("{body}: {other:?}"),
    }
}

fn exposed(token: Option<&SecretString>) -> Option<&str> {
    token.map(ExposeSecret::expose_secret)
}

#[test]
fn the_bytes_that_ninjaone_was_seen_to_send() {
    let dead = judge(400, r#"{"error":"invalid_token"}"#);
    assert_eq!(short(&dead), "rejected revoked");
    assert_eq!(dead.detail.status, Some(400));
    assert_eq!(dead.detail.code.as_deref(), Some("invalid_token"));

    let unknown_app = judge(404, NOT_EXIST);
    assert_eq!(short(&unknown_app), "misconfigured client_unknown");
    assert!(
        !unknown_app.no_such_path,
        "the app is unknown, the path is not"
    );
    assert_eq!(
        unknown_app.detail.code.as_deref(),
        Some("Client app not exist")
    );
    assert_eq!(
        unknown_app.detail.incident_id.as_deref(),
        Some("WEB_MGMT_SERVICE-77aa")
    );

    let no_path = judge(404, NO_PATH);
    assert_eq!(short(&no_path), "misconfigured wrong_endpoint");
    assert!(no_path.no_such_path);

    let success = granted(
        r#"{"access_token":"A1","expires_in":3600,"scope":"monitoring management","token_type":"Bearer","refresh_token":"R1"}"#,
    );
    assert_eq!(exposed(success.access_token.as_ref()), Some("A1"));
    assert_eq!(exposed(success.refresh_token.as_ref()), Some("R1"));
    assert!(success.rotated && success.token_type_ok && !success.expiry_assumed);
    assert_eq!(success.life_s, 3600);
    assert_eq!(success.scope.as_deref(), Some("monitoring management"));
    assert_eq!(success.warnings, []);
}

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

#[test]
fn a_success_without_tokens_may_have_been_one() {
    for body in [
        "",
        "null",
        "[]",
        "{}",
        "true",
        "<html>Welcome to the guest network</html>",
        r#"{"access_token":"A1""#,
        r#"{"access_token":"","refresh_token":""}"#,
        r#"{"access_token":null}"#,
        r#"{"access_token":5}"#,
        r#"{"resultCode":"SUCCESS"}"#,
    ] {
        assert_eq!(
            short(&judge(200, body)),
            "unknown malformed_success",
            "{body}"
        );
    }
    let cut = r#"{"access_token":"A1","refresh_token":"R1","expires_i"#;
    assert_eq!(short(&judge(200, cut)), "unknown malformed_success R1");
}

#[test]
fn an_error_in_a_success_takes_nothing_from_its_tokens() {
    assert_eq!(
        short(&judge(200, r#"{"error":"bad_refresh_token"}"#)),
        "rejected revoked"
    );
    let both = granted(r#"{"access_token":"A1","refresh_token":"R1","error":"server_error"}"#);
    assert_eq!(exposed(both.refresh_token.as_ref()), Some("R1"));
    assert_eq!(
        both.warnings,
        [Warning::ErrorBesideTokens, Warning::ExpiryAssumed]
    );
}

#[test]
fn tokens_come_out_of_every_odd_success() {
    for refresh_token in ["", r#","refresh_token":null"#, r#","refresh_token":"""#] {
        let kept = granted(&format!(
            r#"{{"access_token":"A1","expires_in":60{refresh_token}}}"#
        ));
        assert!(
            kept.refresh_token.is_none() && !kept.rotated,
            "{refresh_token}"
        );
    }
    let same = granted(&format!(
        r#"{{"access_token":"A1","expires_in":60,"refresh_token":"{OLD}"}}"#
    ));
    assert!(same.refresh_token.is_some() && !same.rotated);
    for access_token in ["", r#","access_token":"""#, r#","access_token":null"#] {
        let lone = granted(&format!(
            r#"{{"refresh_token":"R1","expires_in":60{access_token}}}"#
        ));
        assert!(lone.access_token.is_none() && lone.rotated);
        assert_eq!(lone.warnings, [Warning::NoAccessToken]);
    }
    let twice =
        granted(r#"{"access_token":"A1","access_token":"A2","expires_in":60,"x":{"y":[1]}}"#);
    assert_eq!(exposed(twice.access_token.as_ref()), Some("A2"));
    for status in [201, 203] {
        assert_eq!(short(&judge(status, r#"{"access_token":"A1"}"#)), "granted");
    }
    let marked = judge_with(
        200,
        &[("content-type", "text/html")],
        b"\xef\xbb\xbf{\"access_token\":\"A1\"}",
    );
    assert_eq!(short(&marked), "granted");
}

#[test]
fn token_types_and_scopes() {
    for (member, ok) in [
        ("", true),
        (r#","token_type":"bearer""#, true),
        (r#","token_type":"BEARER""#, true),
        (r#","token_type":null"#, true),
        (r#","token_type":"mac""#, false),
        (r#","token_type":["Bearer"]"#, false),
    ] {
        let read = granted(&format!(
            r#"{{"access_token":"A1","expires_in":60{member}}}"#
        ));
        assert_eq!(read.token_type_ok, ok, "{member}");
        assert_eq!(read.warnings.contains(&Warning::TokenType), !ok);
    }
    for (member, expected) in [
        ("", None),
        (r#","scope":"a  b""#, Some("a b")),
        (r#","scope":["a","b"]"#, Some("a b")),
        (r#","scope":7"#, None),
        (r#","scope":"""#, None),
        (r#","scope":"a CANARY-client-secret""#, Some("a [masked]")),
    ] {
        let read = granted(&format!(r#"{{"access_token":"A1"{member}}}"#));
        assert_eq!(read.scope.as_deref(), expected, "{member}");
    }
    assert!(super::super::scope_reduced("a b", "b"));
    assert!(!super::super::scope_reduced("a b", "b c a"));
}

#[test]
fn a_life_is_always_usable() {
    let huge = "9".repeat(40);
    for (member, life_s, warning) in [
        ("3600", 3600, None),
        ("3600.9", 3600, None),
        ("1", 1, None),
        ("3.6e3", 3600, None),
        ("\"3600\"", 3600, None),
        ("\" 3600 \"", 3600, None),
        ("\"3600.0\"", 3600, None),
        ("86400", 86_400, None),
        ("86401", 86_400, Some(Warning::ExpiryClamped)),
        ("9e18", 86_400, Some(Warning::ExpiryClamped)),
        ("1e400", 86_400, Some(Warning::ExpiryClamped)),
        ("\"1e400\"", 86_400, Some(Warning::ExpiryClamped)),
        ("18446744073709551616", 86_400, Some(Warning::ExpiryClamped)),
        (huge.as_str(), 86_400, Some(Warning::ExpiryClamped)),
        ("0", 300, Some(Warning::ExpiredAtBirth)),
        ("0.4", 300, Some(Warning::ExpiredAtBirth)),
        ("-5", 300, Some(Warning::ExpiredAtBirth)),
        ("-1e400", 300, Some(Warning::ExpiredAtBirth)),
        ("\"-5\"", 300, Some(Warning::ExpiredAtBirth)),
        ("null", 3600, Some(Warning::ExpiryAssumed)),
        ("true", 3600, Some(Warning::ExpiryAssumed)),
        ("{}", 3600, Some(Warning::ExpiryAssumed)),
        ("[]", 3600, Some(Warning::ExpiryAssumed)),
        ("[3600]", 3600, Some(Warning::ExpiryAssumed)),
        ("\"\"", 3600, Some(Warning::ExpiryAssumed)),
        ("\"abc\"", 3600, Some(Warning::ExpiryAssumed)),
        ("\"1h\"", 3600, Some(Warning::ExpiryAssumed)),
        ("\"inf\"", 3600, Some(Warning::ExpiryAssumed)),
        ("\"NaN\"", 3600, Some(Warning::ExpiryAssumed)),
        ("\"0x10\"", 3600, Some(Warning::ExpiryAssumed)),
        ("\"\u{663}\u{666}\"", 3600, Some(Warning::ExpiryAssumed)),
    ] {
        let read = granted(&format!(
            r#"{{"expires_in":{member},"access_token":"A1","refresh_token":"R1"}}"#
        ));
        assert_eq!(read.life_s, life_s, "{member}");
        assert_eq!(read.warnings.first().copied(), warning, "{member}");
        let assumed = matches!(
            warning,
            Some(Warning::ExpiryAssumed | Warning::ExpiredAtBirth)
        );
        assert_eq!(read.expiry_assumed, assumed, "{member}");
        assert_eq!(exposed(read.refresh_token.as_ref()), Some("R1"), "{member}");
    }
    assert_eq!(
        granted(r#"{"access_token":"A1"}"#).warnings,
        [Warning::ExpiryAssumed]
    );
}

#[test]
fn a_client_grant_takes_no_refresh_token() {
    let request = TokenRequest::ClientCredentials {
        scope: Some("monitoring management".to_owned()),
    };
    let body =
        br#"{"access_token":"A1","refresh_token":"R1","expires_in":60,"scope":"monitoring"}"#;
    let judged = classify(&head(200, &[]), body, None, &app(), &request);
    let Answer::Granted(read) = judged.answer else {
        panic!("{judged:?}")
    };
    assert!(read.refresh_token.is_none() && !read.rotated);
    assert_eq!(
        read.warnings,
        [Warning::RefreshTokenIgnored, Warning::ScopeReduced]
    );
    let cut = classify(
        &head(200, &[]),
        &body[..45],
        Some(Why::BodyCut),
        &app(),
        &request,
    );
    assert_eq!(short(&cut), "unknown body_cut");
}

#[test]
fn a_broken_transfer_is_ambiguous_and_gives_up_what_it_holds() {
    let cut = |status, body: &str, why| {
        short(&classify(
            &head(status, &[]),
            body.as_bytes(),
            Some(why),
            &app(),
            &refresh(),
        ))
    };
    let pair = r#"{"access_token":"A1","refresh_token":"R1","#;
    assert_eq!(cut(200, pair, Why::BodyCut), "unknown body_cut R1");
    assert_eq!(cut(200, pair, Why::BodyTooLong), "unknown body_too_long R1");
    assert_eq!(cut(200, pair, Why::Deadline), "unknown deadline R1");
    assert_eq!(cut(500, pair, Why::BodyCut), "unknown body_cut R1");
    assert_eq!(
        cut(200, r#"{"refresh_token":"R"#, Why::BodyCut),
        "unknown body_cut"
    );
    assert_eq!(
        cut(400, r#"{"error":"invalid_token"}"#, Why::BodyCut),
        "unknown body_cut"
    );
    let echo = format!(r#"{{"refresh_token":"{OLD}","#);
    assert_eq!(
        cut(200, &echo, Why::BodyCut),
        "unknown body_cut",
        "what we sent is no salvage"
    );
    // No rest of a body could have changed these.
    assert_eq!(
        cut(302, "<html>", Why::BodyCut),
        "misconfigured unexpected_redirect"
    );
    assert_eq!(cut(429, "<html>", Why::BodyTooLong), "throttled 30 default");
    assert_eq!(cut(503, "<html>", Why::Deadline), "unavailable status");
}

#[test]
fn a_redirect_shows_scheme_and_host_only() {
    let target = |location: &str| {
        let judged = judge_with(302, &[("location", location)], b"");
        assert_eq!(short(&judged), "misconfigured unexpected_redirect");
        judged.detail.description.unwrap()
    };
    assert_eq!(
        target("https://user:pw@login.example:8443/x?refresh_token=secret#f"),
        "redirect to https://login.example"
    );
    assert_eq!(
        target("/login?next=secret"),
        "redirect to another path of the same host"
    );
    assert_eq!(
        target("//login.example/x"),
        "redirect to a target that is no URL"
    );
    let leak = target(&format!("https://{}.example/", &OLD[40..]));
    assert!(!leak.to_lowercase().contains("canary"), "{leak}");
}

#[test]
fn nothing_that_was_sent_or_issued_is_shown() {
    let body = serde_json::json!({
        "error": format!("bad {OLD}"),
        "error_description": format!("refresh_token={OLD}, A1-CANARY-issued\u{1b}[2J\r\n{}", &OLD[..20]),
        "incidentId": OLD,
        "access_token": "A1-CANARY-issued",
        "client_secret": "CANARY-client-secret",
    })
    .to_string();
    for status in [200, 400, 500] {
        let headers = [
            ("x-nj-request-id", OLD),
            ("location", "https://CANARY-client-secret/"),
        ];
        let judged = judge_with(status, &headers, body.as_bytes());
        let shown = format!(
            "{judged:?} {}",
            serde_json::to_string(&judged.detail).unwrap()
        );
        let shown = shown.to_lowercase();
        assert!(
            !shown.contains("canary") && !shown.contains("0f8fad5b"),
            "{shown}"
        );
        assert!(
            !shown.contains('\u{1b}') && !shown.contains("\\u{1b}"),
            "{shown}"
        );
    }
}
