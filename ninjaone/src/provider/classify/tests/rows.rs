//! Each row of the table with the bytes of an answer that shows its sign, as they were seen or as the
//! standards write them; and no row without one.

use super::*;
use crate::provider::table::{self, Shown, TABLE};

type Answered = (u16, &'static [(&'static str, &'static str)], &'static str);

const JSON: &[(&str, &str)] = &[
    ("content-type", "application/json"),
    ("cache-control", "no-store"),
];
const HTML: &[(&str, &str)] = &[("content-type", "text/html; charset=utf-8")];
const NONE: &[(&str, &str)] = &[];
const AWAY: &[(&str, &str)] = &[("location", "https://login.example/ws/oauth/token?x=1")];
const LATER: &[(&str, &str)] = &[("retry-after", "120")];

const TOKENS: &str = r#"{"access_token":"A1","expires_in":3600,"scope":"monitoring management offline_access","token_type":"Bearer","refresh_token":"R1"}"#;
const WAF: &str = "<!DOCTYPE html><html><head><title>Access denied</title></head><body>The request was blocked (invalid_token).</body></html>";
const SLOW: &str = "<!DOCTYPE html>\n<html><head><title>Too Many Requests</title></head><body>Request limit exceeded. Try again later.</body></html>";
const GATEWAY: &str =
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>nginx</body>\r\n</html>\r\n";

/// Cut answers: how the transfer broke, the answer as far as it came, and what it means.
#[rustfmt::skip]
const CUT: [(Why, Answered, &str); 9] = [
    (Why::BodyCut,     (302, AWAY,  "<html>"),                                     "misconfigured unexpected_redirect"),
    (Why::Deadline,    (307, AWAY,  ""),                                           "misconfigured unexpected_redirect"),
    (Why::BodyTooLong, (429, LATER, "<html>"),                                     "throttled 120 asked"),
    (Why::Deadline,    (429, NONE,  ""),                                           "throttled 30 default"),
    (Why::Deadline,    (503, NONE,  "<html>"),                                     "unavailable status"),
    (Why::BodyCut,     (503, LATER, ""),                                           "throttled 120 asked"),
    (Why::BodyCut,     (200, JSON,  r#"{"access_token":"A1","refresh_token":"R1","#), "unknown body_cut R1"),
    (Why::Deadline,    (200, JSON,  r#"{"access_token":"A1","refresh_tok"#),       "unknown deadline"),
    (Why::BodyCut,     (400, JSON,  r#"{"error":"invalid_token"}"#),               "unknown body_cut"),
];

/// Whole answers, in the order of the table.
#[rustfmt::skip]
const WHOLE: [(Answered, &str); 61] = [
    ((200, JSON, TOKENS),                                                          "granted"),
    ((201, JSON, TOKENS),                                                          "granted"),
    ((203, HTML, TOKENS),                                                          "granted"),
    ((200, JSON, r#"{"access_token":"A1","error":"server_error"}"#),               "granted"),

    ((400, JSON, r#"{"error":"invalid_token"}"#),                                  "rejected revoked"),
    ((401, JSON, r#"{"error":"invalid_token"}"#),                                  "rejected revoked"),
    ((400, JSON, r#"{"error":"invalid_grant"}"#),                                  "rejected revoked"),
    ((401, JSON, r#"{"error":"invalid_grant","error_description":"Token expired"}"#), "rejected revoked"),
    ((403, JSON, r#"{"error":"invalid_grant"}"#),                                  "rejected revoked"),
    ((400, JSON, r#"{"error":{"code":"invalid_grant","message":"m"}}"#),           "rejected revoked"),
    ((400, JSON, r#"{"error":"expired_token"}"#),                                  "rejected expired"),
    ((401, JSON, r#"{"error":"expired_token"}"#),                                  "rejected expired"),
    ((403, JSON, r#"{"error":"access_denied"}"#),                                  "rejected consent_required"),
    ((400, JSON, r#"{"error":"interaction_required"}"#),                           "rejected consent_required"),
    ((400, JSON, r#"{"error":"consent_required"}"#),                               "rejected consent_required"),
    ((400, JSON, r#"{"error":"login_required"}"#),                                 "rejected consent_required"),
    ((200, JSON, r#"{"error":"bad_refresh_token"}"#),                              "rejected revoked"),
    ((401, JSON, r#"{"error":"invalid_refresh_token"}"#),                          "rejected revoked"),
    ((404, JSON, r#"{"error":"refresh_token_not_found"}"#),                        "rejected revoked"),
    ((400, JSON, r#"{"error":"refresh_token_reused"}"#),                           "rejected reuse_detected"),
    ((400, JSON, r#"{"error":"invalid_client"}"#),                                 "misconfigured client_rejected"),
    ((401, JSON, r#"{"error":"invalid_client"}"#),                                 "misconfigured client_rejected"),
    ((400, JSON, r#"{"error":"unauthorized_client"}"#),                            "misconfigured client_rejected"),
    ((400, JSON, r#"{"error":"unsupported_grant_type"}"#),                         "misconfigured client_rejected"),
    ((400, JSON, r#"{"error":"invalid_scope"}"#),                                  "misconfigured client_rejected"),
    ((404, JSON, NOT_EXIST),                                                       "misconfigured client_unknown"),
    ((400, JSON, r#"{"error":"temporarily_unavailable"}"#),                        "unavailable code"),
    ((503, LATER, r#"{"error":"temporarily_unavailable"}"#),                       "throttled 120 asked"),
    ((500, JSON, r#"{"error":"server_error"}"#),                                   "unavailable code"),
    ((400, JSON, r#"{"error":"internal_failure"}"#),                               "unavailable code"),
    ((400, JSON, r#"{"error":"slow_down"}"#),                                      "throttled 30 default"),
    ((403, JSON, r#"{"error":"rate_limit_exceeded"}"#),                            "throttled 30 default"),
    ((400, LATER, r#"{"error":"too_many_requests"}"#),                             "throttled 120 asked"),

    ((200, JSON, r#"{"error":"foo"}"#),                                            "unclassified"),
    ((200, JSON, r#"{"resultCode":"FAILURE"}"#),                                   "unclassified"),
    ((200, HTML, SLOW),                                                            "throttled 30 default"),
    ((503, HTML, SLOW),                                                            "throttled 30 default"),
    ((200, NONE, "<html>Rate limit reached</html>"),                               "throttled 30 default"),
    ((302, AWAY, ""),                                                              "misconfigured unexpected_redirect"),
    ((308, AWAY, WAF),                                                             "misconfigured unexpected_redirect"),
    ((404, JSON, r#"{"error":"foo"}"#),                                            "unclassified"),
    ((405, JSON, r#"{"error":"invalid_request"}"#),                                "unclassified"),
    ((404, JSON, NO_PATH),                                                         "misconfigured wrong_endpoint"),
    ((404, HTML, WAF),                                                             "misconfigured wrong_endpoint"),
    ((405, JSON, r#"{"timestamp":1,"status":405,"error":"Method Not Allowed"}"#),  "misconfigured wrong_endpoint"),
    ((410, NONE, ""),                                                              "misconfigured wrong_endpoint"),
    ((408, NONE, ""),                                                              "unavailable status"),
    ((423, JSON, r#"{"error":"foo"}"#),                                            "unavailable status"),
    ((503, HTML, GATEWAY),                                                         "unavailable status"),
    ((503, LATER, ""),                                                             "throttled 120 asked"),
    ((429, LATER, ""),                                                             "throttled 120 asked"),
    ((429, JSON, r#"{"error":"foo"}"#),                                            "throttled 30 default"),
    ((200, HTML, WAF),                                                             "unknown malformed_success"),
    ((200, JSON, "null"),                                                          "unknown malformed_success"),
    ((204, NONE, ""),                                                              "unknown malformed_success"),
    ((400, JSON, r#"{"error":"invalid_request","error_description":"please retry"}"#), "unclassified"),
    ((400, JSON, r#"{"error":"not_invalid_token"}"#),                              "unclassified"),
    ((403, HTML, WAF),                                                             "unclassified"),
    ((401, JSON, r#"{"resultCode":"insufficient_privileges"}"#),                   "unclassified"),
    ((502, HTML, GATEWAY),                                                         "unknown status"),
    ((500, JSON, r#"{"resultCode":"FAILURE","incidentId":"WEB_MGMT_SERVICE-77aa"}"#), "unknown status"),
];

/// The row that an answer shows, found as `classify` finds it.
fn row_of((status, headers, body): Answered, cut: bool) -> usize {
    let head = head(status, headers);
    let read = Body::read(body);
    let mask = Mask::new([]);
    let code = read.code();
    table::place(&Shown {
        status,
        cut,
        tokens: head.is_success() && Granted::read(&read, &refresh(), &mask).is_some(),
        code: code.as_deref(),
        telling: code.as_deref().is_some_and(|code| is_telling(code, &head)),
        page: throttle::is_throttle_page(&head.headers, body),
    })
}

#[test]
fn every_row_has_its_bytes_and_means_what_it_says() {
    assert_eq!(
        r#"{"error":"invalid_token"}"#.len(),
        25,
        "as it was captured"
    );
    let mut shown = vec![0_u32; TABLE.len()];
    for (why, answered, expected) in CUT {
        let (status, headers, body) = answered;
        let head = head(status, headers);
        let judged = classify(&head, body.as_bytes(), Some(why), &app(), &refresh());
        assert_eq!(short(&judged), expected, "{answered:?} {why}");
        shown[row_of(answered, true)] += 1;
    }
    let mut last = 0;
    for (answered, expected) in WHOLE {
        let (status, headers, body) = answered;
        let judged = judge_with(status, headers, body.as_bytes());
        assert_eq!(short(&judged), expected, "{answered:?}");
        assert_eq!(judged.no_such_path, expected.ends_with("wrong_endpoint"));
        let row = row_of(answered, false);
        assert!(
            row >= last,
            "{answered:?} stands before its row {:?}",
            TABLE[row]
        );
        last = row;
        shown[row] += 1;
    }
    let without: Vec<_> = (TABLE.iter().zip(shown))
        .filter(|(_, count)| *count == 0)
        .collect();
    assert!(without.is_empty(), "rows without an example: {without:?}");
}

#[test]
fn every_status_shows_a_row_whatever_its_body() {
    for status in 100..=599 {
        for (cut, tokens, telling, page) in [
            (false, false, false, false),
            (true, false, true, false),
            (false, false, true, true),
        ] {
            let shown = Shown {
                status,
                cut,
                tokens,
                code: telling.then_some("foo"),
                telling,
                page,
            };
            let row = &TABLE[table::place(&shown)];
            assert!(row.sign.holds(&shown), "{status}: {row:?}");
        }
    }
}
