//! Every refusal of the token endpoint, byte for byte.

use super::super::{ClientApp, Paths};
use super::*;

async fn refused(bench: &Bench, form: &[(&str, &str)], status: u16, body: &str) {
    let answer = bench.token(form).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (status, body),
        "{form:?}"
    );
}

#[tokio::test]
async fn oauth_refusals_are_the_error_and_nothing_else() {
    let bench = strict().await;
    let (id, secret) = (("client_id", ID), ("client_secret", SECRET));
    let grant = |grant_type| ("grant_type", grant_type);
    refused(
        &bench,
        &[grant("client_credentials"), id, ("client_secret", "wrong")],
        401,
        r#"{"error":"invalid_client"}"#,
    )
    .await;
    refused(
        &bench,
        &[grant("client_credentials"), id],
        401,
        r#"{"error":"invalid_client"}"#,
    )
    .await;
    refused(
        &bench,
        &[grant("password"), id, secret],
        400,
        r#"{"error":"unsupported_grant_type"}"#,
    )
    .await;
    refused(
        &bench,
        &[grant("client_credentials"), id, secret, ("scope", "root")],
        400,
        r#"{"error":"invalid_scope"}"#,
    )
    .await;
    for incomplete in [
        &[id, secret][..],
        &[grant("refresh_token"), id, secret],
        &[grant("refresh_token"), secret],
        &[grant("authorization_code"), id, secret],
        &[grant("client_credentials"), id, id, secret],
    ] {
        refused(&bench, incomplete, 400, r#"{"error":"invalid_request"}"#).await;
    }
    let untick = r#"{"client_id":"evergreen-demo","grants":["authorization_code"]}"#;
    assert_eq!(bench.admin("/simulator/clients", untick).await.status, 204);
    refused(
        &bench,
        &refresh_form("a.b"),
        400,
        r#"{"error":"unauthorized_client"}"#,
    )
    .await;
}

#[tokio::test]
async fn an_unknown_app_and_the_wrong_kind_of_app_are_404() {
    let bench = bench(SimulatorOptions {
        clients: vec![
            ClientApp::native("native", REDIRECT_URI),
            ClientApp::api_services("machine", "s"),
        ],
        ..SimulatorOptions::default()
    })
    .await;
    for (client_id, grant_type) in [
        ("nobody", "refresh_token"),
        ("native", "client_credentials"),
        ("machine", "refresh_token"),
        ("machine", "authorization_code"),
    ] {
        let form = [("grant_type", grant_type), ("client_id", client_id)];
        let answer = bench.token(&form).await;
        assert_eq!(answer.status, 404);
        assert_incident(&answer.body, CLIENT_UNKNOWN);
    }
}

#[tokio::test]
async fn what_is_not_a_form_in_the_body_is_refused_and_spends_nothing() {
    let bench = strict().await;
    let grant = bench.one_grant();
    let token = grant.refresh_token.as_deref().unwrap();
    let url = bench.url("/ws/oauth/token");
    let fields: std::collections::HashMap<_, _> = refresh_form(token).into();

    let json = read(bench.http.post(&url).json(&fields).send().await).await;
    assert_eq!(json.status, 415);
    assert_incident(&json.body, &failure("415 Unsupported Media Type"));

    let in_query = bench.http.post(&url).query(&fields).form(&fields);
    let in_query = read(in_query.send().await).await;
    assert_eq!(in_query.status, 400);
    assert_eq!(in_query.body, r#"{"error":"invalid_request"}"#);

    let get = bench.get("/ws/oauth/token").await;
    assert_eq!(get.status, 405);
    assert_incident(&get.body, &failure("405 Method Not Allowed"));

    let long = "x".repeat(70_000);
    let long = bench.token(&[("refresh_token", &long)]).await;
    assert_eq!(long.status, 413);
    assert_incident(&long.body, &failure("413 Payload Too Large"));

    assert_eq!(bench.refresh(token).await.status, 200);
}

#[tokio::test]
async fn each_token_path_can_be_missing() {
    let bench = bench(SimulatorOptions {
        paths: Paths {
            ws: false,
            plain: true,
        },
        ..SimulatorOptions::default()
    })
    .await;
    let grant = bench.one_grant();
    let token = grant.refresh_token.as_deref().unwrap();
    let missing = bench.refresh(token).await;
    assert_eq!(missing.status, 404);
    assert_incident(&missing.body, &failure("404 Not Found"));
    let request = bench.http.post(bench.url("/oauth/token"));
    let answer = read(request.form(&refresh_form(token)).send().await).await;
    assert_eq!(answer.status, 200);
    let unknown = bench.get("/ws/oauth/tokens").await;
    assert_eq!(unknown.status, 404);
    assert_incident(&unknown.body, &failure("404 Not Found"));
}

#[tokio::test]
async fn answers_carry_a_request_id_and_a_date() {
    let bench = strict().await;
    let (first, second) = (bench.get("/nowhere").await, bench.refresh("a.b").await);
    for answer in [&first, &second] {
        assert_eq!(answer.header("x-nj-request-id").len(), 36);
        assert!(httpdate::parse_http_date(answer.header("date")).is_ok());
    }
    assert_ne!(
        first.header("x-nj-request-id"),
        second.header("x-nj-request-id")
    );
}

#[tokio::test]
async fn client_credentials_give_an_access_token_and_never_a_refresh_token() {
    let bench = bench(SimulatorOptions {
        clients: vec![ClientApp::api_services("machine", "s"), ClientApp::demo()],
        ..SimulatorOptions::default()
    })
    .await;
    for (id, secret, scope) in [
        ("machine", "s", "monitoring"),
        (ID, SECRET, "monitoring offline_access"),
    ] {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", id),
            ("client_secret", secret),
            ("scope", scope),
        ];
        let (one, two) = (bench.token(&form).await, bench.token(&form).await);
        assert_eq!(one.status, 200, "{}", one.body);
        assert_eq!(one.json().get("refresh_token"), None);
        assert_eq!(one.text("scope"), scope);
        assert_ne!(one.text("access_token"), two.text("access_token"));
        let devices = bench.api("/v2/devices", &one.text("access_token")).await;
        assert_eq!(devices.status, 200);
    }
    // One grant per app and scope set, however often it is minted.
    assert_eq!(bench.simulator.handle().ledger().chains.len(), 2);
}
