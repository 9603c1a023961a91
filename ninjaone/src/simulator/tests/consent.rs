//! From the authorize endpoint to the first pair of tokens.

use super::super::{ClientApp, SettingsChange};
use super::*;

// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn request<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![
        ("response_type", "code"),
        ("client_id", ID),
        ("redirect_uri", REDIRECT_URI),
        ("scope", "monitoring offline_access"),
        ("state", "s&t=1"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in changes {
        fields.retain(|(known, _)| known != name);
        if !value.is_empty() {
            fields.push((name, value));
        }
    }
    fields
}

impl Bench {
    async fn authorize(&self, changes: &[(&str, &str)]) -> Answer {
        let page = self.http.get(self.url("/ws/oauth/authorize"));
        read(page.query(&request(changes)).send().await).await
    }

    async fn press(&self, decision: &str) -> Answer {
        let form = request(&[("decision", decision)]);
        let press = self.http.post(self.url("/ws/oauth/authorize")).form(&form);
        read(press.send().await).await
    }

    async fn code(&self) -> String {
        let back = self.press("approve").await;
        query(&back, "code").unwrap()
    }

    async fn redeem(&self, code: &str, changes: &[(&str, &str)]) -> Answer {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("client_id", ID),
            ("client_secret", SECRET),
            ("code_verifier", VERIFIER),
        ];
        for (name, value) in changes {
            form.retain(|(known, _)| known != name);
            form.push((name, value));
        }
        self.token(&form).await
    }
}

fn query(answer: &Answer, name: &str) -> Option<String> {
    let url = url::Url::parse(answer.header("location")).unwrap();
    let found = url.query_pairs().find(|(key, _)| key == name);
    found.map(|(_, value)| value.into_owned())
}

#[tokio::test]
async fn a_person_approves_and_the_app_gets_a_pair() {
    let bench = strict().await;
    let page = bench.authorize(&[]).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), "text/html;charset=utf-8");
    for part in ["Approve", "Deny", ID, "offline_access", "s&amp;t=1"] {
        assert!(page.body.contains(part), "{part}");
    }
    let back = bench.press("approve").await;
    assert_eq!(back.status, 302);
    assert!(back.header("location").starts_with(REDIRECT_URI));
    assert_eq!(query(&back, "state").as_deref(), Some("s&t=1"));
    let code = query(&back, "code").unwrap();

    let pair = bench.redeem(&code, &[]).await;
    assert_eq!(pair.status, 200, "{}", pair.body);
    let refresh_token = pair.text("refresh_token");
    // The code starts with the id of the grant that it became.
    assert_eq!(code.split_once('.').unwrap().0, &refresh_token[..36]);
    let devices = bench.api("/v2/devices", &pair.text("access_token")).await;
    assert_eq!(devices.status, 200);
    assert_eq!(bench.refresh(&refresh_token).await.status, 200);
}

#[tokio::test]
async fn a_person_denies() {
    let bench = strict().await;
    let back = bench.press("deny").await;
    assert_eq!(query(&back, "error").as_deref(), Some("access_denied"));
    assert_eq!(query(&back, "state").as_deref(), Some("s&t=1"));
}

#[tokio::test]
async fn auto_approval_redirects_at_once() {
    let bench = strict().await;
    let change = SettingsChange {
        auto_approve: Some(true),
        ..SettingsChange::default()
    };
    bench.simulator.handle().change_settings(change).unwrap();
    let back = bench.authorize(&[]).await;
    let code = query(&back, "code").unwrap();
    assert_eq!(bench.redeem(&code, &[]).await.status, 200);
}

#[tokio::test]
async fn a_code_works_once_and_only_with_what_it_was_made_for() {
    let bench = strict().await;
    let code = bench.code().await;
    assert_eq!(bench.redeem(&code, &[]).await.status, 200);
    let again = bench.redeem(&code, &[]).await;
    assert_eq!(
        (again.status, again.body.as_str()),
        (400, r#"{"error":"invalid_grant"}"#)
    );
    for wrong in [
        ("redirect_uri", "http://127.0.0.1:8080/oauth/callback/"),
        ("redirect_uri", "http://localhost:8080/oauth/callback"),
        ("code_verifier", CHALLENGE),
        ("code_verifier", "short"),
        ("code_verifier", ""),
        ("code", "made.up"),
    ] {
        let code = bench.code().await;
        let refused = bench.redeem(&code, &[wrong]).await;
        assert_eq!(refused.body, r#"{"error":"invalid_grant"}"#, "{wrong:?}");
        // A code is gone at its first use, whatever came of it.
        if wrong.0 != "code" {
            assert_eq!(bench.redeem(&code, &[]).await.status, 400);
        }
    }
}

#[tokio::test]
async fn nobody_is_sent_to_an_address_that_is_not_registered() {
    let bench = strict().await;
    for uri in [
        "http://127.0.0.1:8080/oauth/callback?x=1",
        "http://127.0.0.1:8080/oauth/Callback",
        "https://evil.example/",
        "",
    ] {
        let answer = bench.authorize(&[("redirect_uri", uri)]).await;
        assert_eq!(
            answer.header("location"),
            "/ws/oauth/error?error=unauthorized_client&error_description=Invalid+redirect_uri"
        );
        let page = bench.get(answer.header("location")).await;
        assert_eq!(page.status, 404);
        assert_incident(&page.body, &failure("404 Not Found"));
    }
    let unknown = bench.authorize(&[("client_id", "nobody")]).await;
    assert_eq!(unknown.status, 404);
    assert_incident(&unknown.body, CLIENT_UNKNOWN);
}

#[tokio::test]
async fn a_bad_request_of_a_known_app_goes_back_with_its_error() {
    let bench = strict().await;
    for (change, error) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("scope", "root"), "invalid_scope"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge", "short"), "invalid_request"),
    ] {
        let back = bench.authorize(&[change]).await;
        assert_eq!(query(&back, "error").as_deref(), Some(error));
        assert!(back.header("location").starts_with(REDIRECT_URI));
    }
}

#[tokio::test]
async fn a_public_app_must_bring_a_challenge_and_no_secret() {
    let bench = bench(SimulatorOptions {
        clients: vec![ClientApp::native(ID, REDIRECT_URI)],
        auto_approve: true,
        ..SimulatorOptions::default()
    })
    .await;
    let without = [("code_challenge", ""), ("code_challenge_method", "")];
    let back = bench.authorize(&without).await;
    assert_eq!(query(&back, "error").as_deref(), Some("invalid_request"));

    let code = query(&bench.authorize(&[]).await, "code").unwrap();
    let with_secret = bench.redeem(&code, &[]).await;
    assert_eq!(with_secret.body, r#"{"error":"invalid_client"}"#);
    let pair = bench.redeem(&code, &[("client_secret", "")]).await;
    assert_eq!(pair.status, 200, "{}", pair.body);
}

#[tokio::test]
async fn without_offline_access_there_is_no_refresh_token() {
    let bench = strict().await;
    let change = r#"{"auto_approve":true}"#;
    assert_eq!(bench.admin("/simulator/settings", change).await.status, 200);
    for scope in ["monitoring", ""] {
        let back = bench.authorize(&[("scope", scope)]).await;
        let code = query(&back, "code").unwrap();
        let pair = bench.redeem(&code, &[]).await;
        assert_eq!(pair.status, 200);
        assert_eq!(pair.json().get("refresh_token"), None, "{scope}");
    }
}

#[tokio::test]
async fn what_an_app_sends_cannot_break_out_of_the_page() {
    let bench = strict().await;
    let page = bench.authorize(&[("state", "\"><script>")]).await;
    assert!(!page.body.contains("<script>"));
    assert!(page.body.contains("&quot;&gt;&lt;script&gt;"));
}
