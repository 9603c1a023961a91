//! What each verb answers.

use axum::http::StatusCode;
use serde_json::json;

use super::fixture::{Fixture, path};

#[tokio::test]
async fn a_token_is_handed_out_uncacheable_and_the_refresh_token_only_when_asked() {
    let fixture = Fixture::new().await;
    let seeded = fixture.adopted().await;
    let path = format!("{}/token", path(&seeded));
    let answer = fixture.get(&path, &fixture.token).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.header("cache-control"), "no-store");
    let token = answer.json();
    assert_eq!(token["access_token"], seeded.access_token.as_str());
    assert_eq!(token["grant"], "user");
    assert_eq!(token["instance_url"], seeded.instance_url.as_str());
    assert!(token["expires_in"].as_u64().unwrap() > 0);
    assert!(token["expires_at"].as_str().unwrap().ends_with('Z'));
    assert!(token.get("refresh_token").is_none());
    assert!(token.as_object().unwrap().contains_key("warning"));

    let answer = fixture
        .get(&format!("{path}?refresh_token=true"), &fixture.token)
        .await;
    assert_eq!(
        answer.json()["refresh_token"],
        seeded.refresh_token.unwrap().as_str()
    );

    for (query, field) in [
        ("min_validity=soon", "min_validity"),
        ("min_validity=86401", "min_validity"),
        ("grant=machine", "grant"),
        ("refresh_token=yes", "refresh_token"),
        ("minvalidity=5", "minvalidity"),
    ] {
        let answer = fixture
            .get(&format!("{path}?{query}"), &fixture.token)
            .await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        assert_eq!(answer.json()["field"], field, "{query}");
    }
}

#[tokio::test]
async fn a_refresh_is_carried_out_and_written_into_the_history() {
    let fixture = Fixture::new().await;
    let seeded = fixture.adopted().await;
    let path = path(&seeded);
    let before = fixture.get(&path, &fixture.read).await.json();
    let after = fixture
        .post(&format!("{path}/refresh"), &fixture.admin, &json!({}))
        .await;
    assert_eq!(after.status, StatusCode::OK, "{}", after.text);
    let after = after.json();
    assert_eq!(after["state"], "Scheduled");
    assert_eq!(
        after["generation"].as_u64(),
        before["generation"].as_u64().map(|g| g + 1)
    );
    assert!(after["last_refresh_at"].is_string());
    let history = fixture
        .get(&format!("{path}/history"), &fixture.read)
        .await
        .json();
    assert_eq!(history["integration"], after["integration"]);
    assert_eq!(history["grant"], "user");
    let transitions = history["transitions"].as_array().unwrap();
    assert!(
        transitions.iter().any(|t| t["to"] == "Refreshing"),
        "{transitions:?}"
    );
}

#[tokio::test]
async fn an_offer_is_adopted_once_and_refused_by_field() {
    let fixture = Fixture::new().await;
    let seeded = fixture.adopted().await;
    let path = path(&seeded);
    let offer = json!({
        "access_token": seeded.access_token, "refresh_token": seeded.refresh_token,
        "expires_at": seeded.expires_at, "instance_url": seeded.instance_url,
    });
    let again = fixture.put(&path, &fixture.admin, &offer).await;
    assert_eq!(
        (again.status, again.json()["result"].as_str()),
        (StatusCode::OK, Some("unchanged"))
    );

    let elsewhere = json!({ "refresh_token": "CANARY", "instance_url": "https://evil.example" });
    let refused = fixture
        .put("/v1/integrations/acme/other", &fixture.admin, &elsewhere)
        .await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert_eq!(refused.json()["result"], "refused");
    assert_eq!(refused.json()["field"], "instance_url");
    assert!(!refused.text.contains("CANARY"));

    let dry = fixture
        .put(
            "/v1/integrations/acme/dry?dry_run=true",
            &fixture.admin,
            &offer,
        )
        .await;
    assert_eq!(
        (dry.status, dry.json()["result"].as_str()),
        (StatusCode::OK, Some("adopted"))
    );
    assert_eq!(
        fixture
            .get("/v1/integrations/acme/dry", &fixture.read)
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn a_client_grant_is_minted_from_an_app() {
    let fixture = Fixture::new().await;
    let path = "/v1/integrations/acme/machine";
    let body = json!({ "instance_url": fixture.simulator.url() });
    let answer = fixture
        .put(&format!("{path}?grant=client"), &fixture.admin, &body)
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.json()["grant"], "client");
    let token = fixture.get(&format!("{path}/token"), &fixture.token).await;
    assert_eq!(token.status, StatusCode::OK, "{}", token.text);
    assert_eq!(token.json()["grant"], "client");
}

#[tokio::test]
async fn s54_a_disconnect_erases_says_what_it_cannot_do_and_may_come_twice() {
    let fixture = Fixture::new().await;
    let path = path(&fixture.adopted().await);
    for _ in 0..2 {
        let answer = fixture.ask("DELETE", &path, &fixture.admin, None).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let json = answer.json();
        assert_eq!(json["disconnected"][0]["state"], "Disconnected");
        assert_eq!(json["revoked_at_provider"], false);
        assert!(json["note"].as_str().unwrap().contains("unsupported"));
    }
    let token = fixture.get(&format!("{path}/token"), &fixture.token).await;
    assert_eq!(token.status, StatusCode::CONFLICT);
    assert_eq!(token.problem(), "reconnect-required");
    assert_eq!(token.json()["recovery"], "reconnect");
    let unknown = fixture
        .ask("DELETE", "/v1/integrations/no/such", &fixture.admin, None)
        .await;
    assert_eq!(unknown.problem(), "not-found");
}

#[tokio::test]
async fn a_listing_goes_page_by_page_and_says_what_is_allowed() {
    let fixture = Fixture::new().await;
    let mut names = Vec::new();
    for n in 0..3 {
        let body = json!({ "instance_url": fixture.simulator.url() });
        let path = format!("/v1/integrations/acme/n{n}?grant=client");
        assert_eq!(
            fixture.put(&path, &fixture.admin, &body).await.status,
            StatusCode::OK
        );
    }
    let mut path = "/v1/integrations?limit=2".to_owned();
    loop {
        let page = fixture.get(&path, &fixture.read).await.json();
        let some = page["integrations"].as_array().unwrap();
        names.extend(
            some.iter()
                .map(|view| view["integration"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else {
            break;
        };
        let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        path = format!("/v1/integrations?limit=2&cursor={next}");
    }
    assert_eq!(names, ["acme/n0", "acme/n1", "acme/n2"]);
    let attention = fixture
        .get("/v1/integrations?attention=true", &fixture.read)
        .await
        .json();
    assert_eq!(attention["integrations"], json!([]));
    for (query, field) in [
        ("state=Broken", "state"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("attention=1", "attention"),
    ] {
        let answer = fixture
            .get(&format!("/v1/integrations?{query}"), &fixture.read)
            .await;
        assert_eq!(answer.problem(), "invalid-input", "{query}");
        assert_eq!(answer.json()["field"], field, "{query}");
    }
}

#[tokio::test]
async fn a_backfill_reports_in_the_documented_shape() {
    let fixture = Fixture::new().await;
    fixture.adopted().await;
    let report = fixture
        .post("/v1/backfill", &fixture.admin, &json!({ "dry_run": true }))
        .await;
    assert_eq!(report.status, StatusCode::OK, "{}", report.text);
    let report = report.json();
    let document = serde_json::to_value(crate::api::openapi_document()).unwrap();
    for (schema, value) in [("Report", &report), ("ReportLine", &report["rows"][0])] {
        let documented = document["components"]["schemas"][schema]["properties"]
            .as_object()
            .unwrap();
        for name in value.as_object().unwrap().keys() {
            assert!(
                documented.contains_key(name),
                "{schema}.{name} is not in the document"
            );
        }
    }
    assert_eq!(report["unchanged"], 1);
    let wrong = json!({ "only": "acme" });
    let answer = fixture.post("/v1/backfill", &fixture.admin, &wrong).await;
    assert_eq!(answer.json()["field"], "integration");
}
