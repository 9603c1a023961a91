//! What holds for every route: the document, headers, problems, silence about secrets.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::json;

use super::fixture::{Fixture, path};
use crate::api::{openapi_document, routes};

#[test]
fn the_document_has_every_route_and_no_other() {
    let document = serde_json::to_value(openapi_document()).unwrap();
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            documented.insert((method.clone(), path.clone()));
        }
    }
    let served: BTreeSet<(String, String)> = routes::all()
        .table
        .into_iter()
        .map(|(method, path)| (method.to_owned(), path.to_owned()))
        .collect();
    assert_eq!(served, documented);
}

#[test]
fn every_operation_of_v1_names_its_scope_and_its_problems() {
    let document = serde_json::to_value(openapi_document()).unwrap();
    assert_eq!(
        document["components"]["securitySchemes"]["api_key"]["scheme"],
        "bearer"
    );
    for name in [
        "Problem",
        "StatusView",
        "Listing",
        "TokenView",
        "EventView",
        "Report",
    ] {
        assert!(
            document["components"]["schemas"][name].is_object(),
            "{name}"
        );
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(
                operation["summary"].is_string(),
                "{method} {path} has no summary"
            );
            if path.starts_with("/v1/") {
                assert!(
                    operation["security"][0]["api_key"][0].is_string(),
                    "{method} {path}"
                );
                let problem = &operation["responses"]["default"]["content"];
                assert!(
                    problem["application/problem+json"].is_object(),
                    "{method} {path}"
                );
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_served_is_a_problem_too() {
    let fixture = Fixture::new().await;
    for path in [
        "/v2/integrations",
        "/v1",
        "/assets/secret.js",
        "/assets/../Cargo.toml",
    ] {
        let answer = fixture.get(path, "").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.problem(), "not-found");
    }
    let answer = fixture
        .ask("PATCH", "/v1/integrations/a/b", &fixture.admin, None)
        .await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.problem(), "method-not-allowed");
    assert!(
        answer.header("allow").contains("PUT"),
        "{:?}",
        answer.headers
    );
    for path in [
        "/v1/integrations/a%2Fb/c",
        "/v1/integrations/-a/c",
        "/v1/integrations/%FF/c",
    ] {
        let answer = fixture.get(path, &fixture.read).await;
        assert_eq!(answer.problem(), "invalid-input", "{path}");
    }
}

#[tokio::test]
async fn a_body_is_judged_by_field_and_bound() {
    let fixture = Fixture::new().await;
    let path = "/v1/integrations/acme/prod";
    for (body, status, kind) in [
        ("{".to_owned(), 400, "malformed-body"),
        ("[]".to_owned(), 400, "malformed-body"),
        (
            format!("{{\"a\":\"{}\"}}", "x".repeat(1024 * 1024)),
            413,
            "too-large",
        ),
        (
            json!({ "refresh_token": 7 }).to_string(),
            422,
            "invalid-input",
        ),
        (
            json!({ "refresh_token": "r", "expires_at": "CANARY" }).to_string(),
            422,
            "invalid-input",
        ),
        (
            json!({ "refresh_token": "r", "refreshtoken": "CANARY" }).to_string(),
            422,
            "invalid-input",
        ),
        (json!({}).to_string(), 422, "invalid-input"),
    ] {
        let answer = fixture.ask("PUT", path, &fixture.admin, Some(body)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.problem().as_str()),
            (status, kind)
        );
        assert!(!answer.text.contains("CANARY"), "{}", answer.text);
        assert_eq!(
            answer.json()["field"].is_string(),
            status == 422,
            "{}",
            answer.text
        );
    }
}

#[tokio::test]
async fn pages_let_nothing_in_but_their_own_files() {
    let fixture = Fixture::new().await;
    for path in ["/", "/integrations/acme/prod"] {
        let page = fixture.get(path, "").await;
        assert_eq!(page.status, StatusCode::OK);
        let policy = page.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"));
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"));
        assert_eq!(page.header("referrer-policy"), "no-referrer");
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        assert_eq!(page.header("x-frame-options"), "DENY");
        assert_eq!(page.header("cache-control"), "no-store");
        for asset in page
            .text
            .split('"')
            .filter(|text| text.starts_with("/assets/"))
        {
            let file = fixture.get(asset, "").await;
            assert_eq!(file.status, StatusCode::OK, "{asset}");
            assert!(!file.header("content-type").contains("html"), "{asset}");
            let again = Request::get(asset).header("if-none-match", file.header("etag"));
            let again = fixture.send(again.body(Body::empty()).unwrap()).await;
            assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{asset}");
        }
    }
}

#[tokio::test]
async fn health_and_metrics_need_no_key() {
    let fixture = Fixture::new().await;
    for path in ["/healthz", "/readyz", "/metrics", "/openapi.json"] {
        assert_eq!(fixture.get(path, "").await.status, StatusCode::OK, "{path}");
    }
    let head = fixture.ask("HEAD", "/healthz", "", None).await;
    assert_eq!(head.status, StatusCode::OK);
}

/// Scenario 65, as far as it is this server's: nothing but the token endpoint shows a secret.
#[tokio::test]
async fn s65_no_answer_holds_a_secret_but_the_one_that_should() {
    let fixture = Fixture::new().await;
    let seeded = fixture.adopted().await;
    let there = path(&seeded);
    let mut secrets = vec![
        seeded.access_token.clone(),
        seeded.refresh_token.clone().unwrap(),
        "evergreen-demo-secret".to_owned(),
    ];
    secrets.extend([&fixture.admin, &fixture.read, &fixture.token].map(Clone::clone));
    let mut answers = vec![
        fixture
            .post(&format!("{there}/refresh"), &fixture.admin, &json!({}))
            .await,
        fixture
            .post("/v1/backfill", &fixture.admin, &json!({}))
            .await,
        fixture.ask("DELETE", &there, &fixture.token, None).await,
        fixture
            .get("/oauth/callback?code=CANARY&state=CANARY", "")
            .await,
        fixture
            .get("/oauth/connect/acme/prod?ticket=CANARY", "")
            .await,
    ];
    for (path, key) in [
        (there.clone(), &fixture.read),
        (format!("{there}/history"), &fixture.read),
        ("/v1/integrations".to_owned(), &fixture.read),
        (format!("{there}/token"), &fixture.read),
        ("/metrics".to_owned(), &fixture.read),
        ("/readyz".to_owned(), &fixture.read),
        ("/".to_owned(), &fixture.read),
        ("/openapi.json".to_owned(), &fixture.read),
    ] {
        answers.push(fixture.get(&path, key).await);
    }
    let token = fixture
        .get(&format!("{there}/token"), &fixture.token)
        .await
        .json();
    secrets.push(token["access_token"].as_str().unwrap().to_owned());
    secrets.push("CANARY".to_owned());
    for answer in answers {
        let shown = format!("{} {:?}", answer.text, answer.headers);
        for secret in &secrets {
            assert!(!shown.contains(secret.as_str()), "a secret is in {shown}");
        }
    }
}
