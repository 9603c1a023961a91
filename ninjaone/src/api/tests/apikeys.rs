//! Keys that are made, listed and revoked by the API itself.

use axum::http::StatusCode;
use serde_json::json;

use super::fixture::Fixture;
use crate::api::Scope;

async fn made(
    fixture: &Fixture,
    by: &str,
    body: serde_json::Value,
) -> (StatusCode, serde_json::Value) {
    let answer = fixture
        .ask("POST", "/v1/apikeys", by, Some(body.to_string()))
        .await;
    (answer.status, answer.json())
}

#[tokio::test]
async fn a_key_is_told_once_works_and_is_revoked() {
    let fixture = Fixture::new().await;
    let body = json!({ "name": "grafana", "scope": "read" });
    let (status, new) = made(&fixture, &fixture.admin, body).await;
    assert_eq!(status, StatusCode::CREATED);
    let (id, key) = (new["id"].as_str().unwrap(), new["key"].as_str().unwrap());
    assert!(key.starts_with("eg_"));
    assert_eq!(
        fixture.get("/v1/integrations", key).await.status,
        StatusCode::OK
    );

    let listed = fixture.get("/v1/apikeys", &fixture.admin).await;
    assert!(!listed.text.contains("eg_"), "{}", listed.text);
    let keys = listed.json()["keys"].as_array().unwrap().clone();
    let found = keys.iter().find(|key| key["id"] == id).unwrap();
    assert_eq!(
        (&found["name"], &found["scopes"]),
        (&json!("grafana"), &json!(["read"]))
    );

    let path = format!("/v1/apikeys/{id}");
    let answer = fixture.ask("DELETE", &path, &fixture.admin, None).await;
    assert_eq!(
        (answer.status, &answer.json()["revoked"]),
        (StatusCode::OK, &json!(id))
    );
    let again = fixture.ask("DELETE", &path, &fixture.admin, None).await;
    assert_eq!(
        (again.status, again.problem().as_str()),
        (StatusCode::NOT_FOUND, "not-found")
    );
}

#[tokio::test]
async fn only_admins_may_and_what_is_wrong_is_named() {
    let fixture = Fixture::new().await;
    for key in [&fixture.read, &fixture.token] {
        assert_eq!(
            fixture.get("/v1/apikeys", key).await.status,
            StatusCode::FORBIDDEN
        );
        let body = json!({ "name": "x", "scope": "admin" });
        assert_eq!(made(&fixture, key, body).await.0, StatusCode::FORBIDDEN);
    }
    for (body, field) in [
        (json!({ "scope": "read" }), "name"),
        (json!({ "name": "x" }), "scope"),
        (json!({ "name": "x", "scope": "root" }), "scope"),
        (
            json!({ "name": "x", "scope": "read", "tenant": "a/b" }),
            "tenant",
        ),
    ] {
        let (status, told) = made(&fixture, &fixture.admin, body).await;
        assert_eq!(
            (status.as_u16(), told["field"].as_str()),
            (422, Some(field)),
            "{told}"
        );
    }
}

#[tokio::test]
async fn a_key_bound_to_a_tenant_rules_over_no_other() {
    let fixture = Fixture::new().await;
    let bound = fixture.key(Scope::Admin, "acme").await;
    let ask = |tenant| json!({ "name": "x", "scope": "token", "tenant": tenant });
    assert_eq!(
        made(&fixture, &bound, ask(json!(null))).await.1["field"],
        "tenant"
    );
    assert_eq!(
        made(&fixture, &bound, ask(json!("other"))).await.1["field"],
        "tenant"
    );
    assert_eq!(
        made(&fixture, &bound, ask(json!("acme"))).await.0,
        StatusCode::CREATED
    );

    let listed = fixture.get("/v1/apikeys", &bound).await.json()["keys"].clone();
    assert!(
        listed
            .as_array()
            .unwrap()
            .iter()
            .all(|key| key["tenants"] == json!(["acme"]))
    );
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let all = fixture.get("/v1/apikeys", &fixture.admin).await.json()["keys"].clone();
    let other = all
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["tenants"].is_null())
        .unwrap()
        .clone();
    let path = format!("/v1/apikeys/{}", other["id"].as_str().unwrap());
    let answer = fixture.ask("DELETE", &path, &bound, None).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}
