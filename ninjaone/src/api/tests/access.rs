//! Keys, scopes, tenants.

use axum::http::StatusCode;
use secrecy::ExposeSecret;
use serde_json::json;

use super::fixture::{Fixture, path};
use crate::api::{KeyStore, Scope};
use crate::vault::apikey::Digest;

#[tokio::test]
async fn without_a_known_key_nothing_is_told() {
    let fixture = Fixture::new().await;
    let wrong = "eg_0000000000000000000000000000000000000000000";
    for key in ["", wrong, "CANARY"] {
        let answer = fixture.get("/v1/integrations", key).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.problem(), "unauthorized");
        assert_eq!(
            answer.header("www-authenticate"),
            "Bearer realm=\"evergreen\""
        );
        assert!(
            key.is_empty() || !answer.text.contains(key),
            "{}",
            answer.text
        );
    }
}

#[tokio::test]
async fn s61_a_scope_opens_its_own_doors_only() {
    let fixture = Fixture::new().await;
    let path = path(&fixture.adopted().await);
    let token = format!("{path}/token");
    for (key, status, access_token) in [
        (&fixture.read, 200, 403),
        (&fixture.token, 403, 200),
        (&fixture.admin, 200, 403),
    ] {
        assert_eq!(fixture.get(&path, key).await.status, status);
        let answer = fixture.get(&token, key).await;
        assert_eq!(answer.status, access_token, "{}", answer.text);
        if access_token == 403 {
            assert_eq!(answer.problem(), "forbidden");
        }
    }
    for key in [&fixture.read, &fixture.token] {
        for (method, path) in [
            ("PUT", path.clone()),
            ("DELETE", path.clone()),
            ("POST", format!("{path}/refresh")),
            ("POST", format!("{path}/reset")),
            ("POST", format!("{path}/connect")),
            ("POST", "/v1/backfill".to_owned()),
        ] {
            let answer = fixture.ask(method, &path, key, Some("{}".to_owned())).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn s61_another_tenants_integration_is_answered_as_one_that_is_not_there() {
    let fixture = Fixture::new().await;
    let seeded = fixture.adopted().await;
    let there = path(&seeded);
    for (scope, method, verb) in [
        (Scope::Token, "GET", "/token"),
        (Scope::Read, "GET", ""),
        (Scope::Read, "GET", "?grant=client"),
        (Scope::Read, "GET", "/history"),
        (Scope::Admin, "DELETE", ""),
        (Scope::Admin, "POST", "/refresh"),
    ] {
        let stranger = fixture.key(scope, "stranger").await;
        let others = fixture
            .ask(method, &format!("{there}{verb}"), &stranger, None)
            .await;
        let own = format!("/v1/integrations/stranger/{}{verb}", seeded.integration);
        let missing = fixture.ask(method, &own, &stranger, None).await;
        assert_eq!(
            others.status,
            StatusCode::NOT_FOUND,
            "{method} {verb}: {}",
            others.text
        );
        assert_eq!(
            (missing.status, &missing.text),
            (others.status, &others.text)
        );
        assert_eq!(missing.headers, others.headers);
    }
    // Before a body is looked at, too.
    let stranger = fixture.key(Scope::Admin, "stranger").await;
    let answer = fixture
        .ask("PUT", &there, &stranger, Some("not json".to_owned()))
        .await;
    assert_eq!(answer.problem(), "not-found");
}

#[tokio::test]
async fn a_bound_key_lists_its_tenant_alone() {
    let fixture = Fixture::new().await;
    let seeded = fixture.adopted().await;
    let listed = async |key: &str, query: &str| {
        let answer = fixture.get(&format!("/v1/integrations{query}"), key).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.json()["integrations"].as_array().unwrap().len()
    };
    let own = fixture.key(Scope::Read, &seeded.tenant).await;
    let stranger = fixture.key(Scope::Read, "stranger").await;
    assert_eq!(listed(&fixture.read, "").await, 1);
    assert_eq!(listed(&own, "").await, 1);
    assert_eq!(listed(&own, "?tenant=stranger").await, 0);
    assert_eq!(listed(&stranger, "").await, 0);
    assert_eq!(
        listed(&stranger, &format!("?tenant={}", seeded.tenant)).await,
        0
    );
    let bound = fixture.key(Scope::Admin, &seeded.tenant).await;
    let answer = fixture.post("/v1/backfill", &bound, &json!({})).await;
    assert_eq!(answer.json()["field"], "only");
    let only = json!({ "only": format!("{}/{}", seeded.tenant, seeded.integration) });
    assert_eq!(
        fixture.post("/v1/backfill", &bound, &only).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn keys_are_made_listed_and_revoked_and_kept_hashed() {
    let fixture = Fixture::new().await;
    let new = fixture
        .keys
        .create(
            "ci",
            &[Scope::Read, Scope::Token],
            Some(&["acme".to_owned()]),
        )
        .await
        .unwrap();
    let listed = fixture.keys.list().await.unwrap();
    let key = listed.iter().find(|key| key.id == new.id).unwrap();
    assert_eq!(key.scopes, [Scope::Read, Scope::Token]);
    assert_eq!(key.tenants.as_deref(), Some(&["acme".to_owned()][..]));
    assert!(key.created_at.is_some());
    assert!(
        !serde_json::to_string(&listed)
            .unwrap()
            .contains(new.key.expose_secret())
    );
    assert!(!format!("{new:?}").contains(new.key.expose_secret()));
    assert!(fixture.keys.revoke(&new.id).await.unwrap());
    assert!(!fixture.keys.revoke(&new.id).await.unwrap());
    for (name, scopes, tenant, field) in [
        ("", &[Scope::Read][..], None, "name"),
        ("n", &[][..], None, "scopes"),
        (
            "n",
            &[Scope::Read][..],
            Some(&["a/b".to_owned()][..]),
            "tenant",
        ),
    ] {
        let error = fixture.keys.create(name, scopes, tenant).await.unwrap_err();
        assert!(error.to_string().starts_with(field), "{error}");
    }
}

#[tokio::test]
async fn a_new_key_works_at_once_and_a_revoked_one_not_for_long() {
    let fixture = Fixture::new().await;
    assert_eq!(
        fixture.get("/v1/integrations", &fixture.read).await.status,
        200
    );
    // The table has just been read without this one.
    let late = fixture
        .keys
        .create("late", &[Scope::Read], None)
        .await
        .unwrap();
    let text = late.key.expose_secret();
    assert_eq!(fixture.get("/v1/integrations", text).await.status, 200);
    assert!(fixture.keys.revoke(&late.id).await.unwrap());
    // Another process has not seen it yet, and so asks the table.
    let elsewhere = KeyStore::new(fixture.store.clone());
    assert!(elsewhere.find(&text.into()).await.unwrap().is_none());
}

#[tokio::test]
async fn keys_of_a_file_work_beside_those_of_the_table() {
    let fixture = Fixture::new().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let sha256 = Digest::of(&"eg_from_a_file".into()).to_string();
    let text =
        json!({ "keys": [{ "id": "f1", "name": "f", "sha256": sha256, "scopes": ["read"] }] });
    std::fs::write(file.path(), text.to_string()).unwrap();
    let keys = KeyStore::with_file(fixture.store.clone(), file.path().to_owned()).unwrap();
    assert_eq!(
        keys.find(&"eg_from_a_file".into())
            .await
            .unwrap()
            .unwrap()
            .id,
        "f1"
    );
    assert!(
        keys.find(&fixture.admin.as_str().into())
            .await
            .unwrap()
            .is_some()
    );
    assert!(keys.list().await.unwrap().iter().any(|key| key.id == "f1"));
    assert!(
        keys.revoke("f1")
            .await
            .unwrap_err()
            .to_string()
            .contains("remove it there")
    );
    std::fs::write(file.path(), "damaged").unwrap();
    assert!(KeyStore::with_file(fixture.store.clone(), file.path().to_owned()).is_err());
}

#[tokio::test]
async fn keys_are_managed_from_afar_and_nobody_gives_more_than_they_have() {
    let fixture = Fixture::new().await;
    let wanted = json!({ "name": "ci", "scopes": ["read"], "tenants": ["acme"] });
    let made = fixture.post("/v1/apikeys", &fixture.admin, &wanted).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert_eq!(made.header("cache-control"), "no-store");
    let (id, key) = (made.json()["id"].clone(), made.json()["key"].clone());
    let (id, key) = (id.as_str().unwrap(), key.as_str().unwrap());
    assert_eq!(
        fixture.get("/v1/integrations", key).await.status,
        StatusCode::OK
    );

    let listed = fixture.get("/v1/apikeys", &fixture.admin).await;
    assert!(
        listed.text.contains(id) && !listed.text.contains(key),
        "{}",
        listed.text
    );
    let bound = fixture.key(Scope::Admin, "acme").await;
    let seen = fixture.get("/v1/apikeys", &bound).await.json();
    let seen = seen["keys"].as_array().unwrap();
    assert!(
        seen.iter().all(|key| key["tenants"] == json!(["acme"])),
        "{seen:?}"
    );
    let elsewhere = fixture.key(Scope::Admin, "stranger").await;
    for (key, wanted, field) in [
        (
            &fixture.admin,
            json!({ "name": "n", "scopes": ["token"] }),
            "scopes",
        ),
        (
            &fixture.admin,
            json!({ "name": "n", "scopes": ["root"] }),
            "scopes",
        ),
        (
            &fixture.admin,
            json!({ "name": "n", "scopes": [] }),
            "scopes",
        ),
        (&fixture.admin, json!({ "scopes": ["read"] }), "name"),
        (
            &fixture.admin,
            json!({ "name": "n", "scopes": ["read"], "tenants": [] }),
            "tenants",
        ),
        (
            &bound,
            json!({ "name": "n", "scopes": ["read"] }),
            "tenants",
        ),
        (&elsewhere, wanted, "tenants"),
    ] {
        let answer = fixture.post("/v1/apikeys", key, &wanted).await;
        assert_eq!(answer.problem(), "invalid-input", "{wanted}");
        assert_eq!(answer.json()["field"], field, "{wanted}");
    }
    let path = format!("/v1/apikeys/{id}");
    assert_eq!(
        fixture
            .ask("DELETE", &path, &fixture.read, None)
            .await
            .status,
        403
    );
    assert_eq!(
        fixture
            .ask("DELETE", &path, &elsewhere, None)
            .await
            .problem(),
        "not-found"
    );
    assert_eq!(
        fixture.ask("DELETE", &path, &bound, None).await.status,
        StatusCode::OK
    );
    assert_eq!(
        fixture
            .ask("DELETE", &path, &fixture.admin, None)
            .await
            .problem(),
        "not-found"
    );
}
