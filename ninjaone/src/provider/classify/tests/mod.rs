//! Every row of the table, with the bytes that servers were seen to send.

mod codes;
mod rows;
mod successes;

use reqwest::header::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

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
