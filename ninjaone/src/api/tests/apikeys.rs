//! Keys that are made, listed and revoked by the API itself.

use axum::http::StatusCode;
use secrecy::ExposeSecret;
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
    let body = json!({ "name": "grafana", "scopes": ["read"], "tenants": null });
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
        let body = json!({ "name": "x", "scopes": ["admin"] });
        assert_eq!(made(&fixture, key, body).await.0, StatusCode::FORBIDDEN);
    }
    for (body, field) in [
        (json!({ "scopes": ["read"] }), "name"),
        (json!({ "name": "x" }), "scopes"),
        (json!({ "name": "x", "scopes": [] }), "scopes"),
        (json!({ "name": "x", "scopes": "read" }), "scopes"),
        (json!({ "name": "x", "scopes": ["root"] }), "scopes"),
        (json!({ "name": "x", "scope": "read" }), "scope"),
        (
            json!({ "name": "x", "scopes": ["read"], "tenants": [] }),
            "tenants",
        ),
        (
            json!({ "name": "x", "scopes": ["read"], "tenants": "acme" }),
            "tenants",
        ),
        (
            json!({ "name": "x", "scopes": ["read"], "tenants": ["a/b"] }),
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

/// Else an admin, who may not take tokens, would only have to make a key that may.
#[tokio::test]
async fn nobody_gives_away_what_they_lack() {
    let fixture = Fixture::new().await;
    let both = [Scope::Admin, Scope::Token];
    let both = fixture.keys.create("both", &both, None).await.unwrap();
    let both = both.key.expose_secret();
    for (by, scopes, expected) in [
        (fixture.admin.as_str(), &["token"][..], 422),
        (&fixture.admin, &["admin", "token"], 422),
        (&fixture.admin, &["admin"], 201),
        (&fixture.admin, &["read"], 201),
        (both, &["token"], 201),
        (both, &["admin", "read", "token"], 201),
    ] {
        let before = fixture.keys.list().await.unwrap().len();
        let body = json!({ "name": "x", "scopes": scopes });
        let (status, told) = made(&fixture, by, body).await;
        assert_eq!(status.as_u16(), expected, "{scopes:?} {told}");
        let after = fixture.keys.list().await.unwrap().len();
        assert_eq!(after - before, usize::from(expected == 201));
        if expected == 422 {
            assert_eq!(told["field"], "scopes");
        }
    }
}

#[tokio::test]
async fn a_key_bound_to_a_tenant_rules_over_no_other() {
    let fixture = Fixture::new().await;
    let bound = fixture.key(Scope::Admin, "acme").await;
    let ask = |tenants| json!({ "name": "x", "scopes": ["read"], "tenants": tenants });
    for beyond in [json!(null), json!(["other"]), json!(["acme", "other"])] {
        let (status, told) = made(&fixture, &bound, ask(beyond)).await;
        assert_eq!((status.as_u16(), &told["field"]), (422, &json!("tenants")));
    }
    assert_eq!(
        made(&fixture, &bound, ask(json!(["acme"]))).await.0,
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
