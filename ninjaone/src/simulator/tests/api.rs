//! The API: who gets in, what the gate says to others, and paging.

use super::super::{SeedRow, Spread};
use super::*;

const NOT_AUTHENTICATED: &str =
    r#"{"error":"not_authenticated","error_description":"Invalid credentials","error_code":10}"#;

#[tokio::test]
async fn the_gate_says_exactly_what_ninjaones_says() {
    let bench = strict().await;
    let request = |authorization: Option<&str>| {
        let mut request = bench.http.get(bench.url("/v2/devices"));
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        async { read(request.send().await).await }
    };
    let missing = request(None).await;
    assert_eq!(missing.status, 400);
    assert_eq!(
        missing.body,
        r#"{"error":"missing_header","error_description":"Missing required header","error_code":2}"#
    );
    for malformed in ["Bearer", "Bearer ", "Basic eDp5", "Bearer a b", "token"] {
        let answer = request(Some(malformed)).await;
        assert_eq!(answer.status, 400, "{malformed}");
        assert_eq!(
            answer.body,
            r#"{"error":"invalid_header","error_description":"Invalid 'Authorization' header","error_code":1}"#
        );
    }
    let bad = request(Some("Bearer nonsense")).await;
    assert_eq!((bad.status, bad.body.as_str()), (401, NOT_AUTHENTICATED));
}

#[tokio::test]
async fn an_access_token_is_good_until_it_expires_or_is_revoked() {
    let bench = strict().await;
    let spread = Some(Spread { min: -1, max: 3600 });
    let request = SeedRequest {
        expires_in: spread,
        ..SeedRequest::count(2)
    };
    let grants = bench.simulator.handle().seed(request).unwrap();
    let expired = bench.api("/v2/devices", &grants[0].access_token).await;
    assert_eq!(
        (expired.status, expired.body.as_str()),
        (401, NOT_AUTHENTICATED)
    );
    // An old access token outlives the refresh token it came with.
    let token = grants[1].refresh_token.as_deref().unwrap();
    assert_eq!(bench.refresh(token).await.status, 200);
    for prefix in ["/v2", "/api/v2", "/ws/api/v2"] {
        let path = format!("{prefix}/organizations");
        assert_eq!(bench.api(&path, &grants[1].access_token).await.status, 200);
    }
    let revoke = format!("/simulator/grants/{}/revoke", grants[1].chain);
    assert_eq!(bench.admin(&revoke, "").await.status, 204);
    let revoked = bench.api("/v2/devices", &grants[1].access_token).await;
    assert_eq!(revoked.body, NOT_AUTHENTICATED);
}

#[tokio::test]
async fn pages_are_bare_lists_and_after_is_the_last_id_seen() {
    let bench = bench(SimulatorOptions {
        organizations: 5,
        devices: 7,
        ..SimulatorOptions::default()
    })
    .await;
    let token = bench.one_grant().access_token;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let after = seen.last().copied().unwrap_or_default();
        let path = format!("/v2/devices?pageSize=3&after={after}");
        let page = bench.api(&path, &token).await.json();
        let page = page.as_array().unwrap();
        seen.extend(page.iter().map(|device| device["id"].as_u64().unwrap()));
    }
    assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7]);
    let all = bench.api("/v2/organizations", &token).await.json();
    assert_eq!(all.as_array().unwrap().len(), 5);
    assert_eq!(all[4]["name"], "Organization 5");
    for bad in ["pageSize=0", "pageSize=x", "after=-1"] {
        let answer = bench.api(&format!("/v2/devices?{bad}"), &token).await;
        assert_eq!(answer.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn scopes_and_user_context_are_checked() {
    let bench = strict().await;
    let request = SeedRequest {
        list: vec![SeedRow {
            tenant: "acme".to_owned(),
            scope: Some("control".to_owned()),
            ..SeedRow::default()
        }],
        ..SeedRequest::default()
    };
    let grant = bench.simulator.handle().seed(request).unwrap().remove(0);
    assert_eq!(grant.refresh_token, None);
    let answer = bench.api("/v2/devices", &grant.access_token).await;
    assert_eq!(answer.status, 401);
    assert_incident(
        &answer.body,
        r#"{"resultCode":"insufficient_privileges","incidentId":"WEB_MGMT_SERVICE-*"}"#,
    );

    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", ID),
        ("client_secret", SECRET),
    ];
    let machine = bench.token(&form).await.text("access_token");
    let ticket = async |token: &str| {
        let request = bench.http.post(bench.url("/v2/ticketing/ticket"));
        read(request.bearer_auth(token).send().await).await
    };
    let answer = ticket(&machine).await;
    assert_eq!(answer.status, 403);
    assert_eq!(
        answer.body,
        r#"{"error":"user_context_required","error_description":"Access key does not have user context which is required for this request","error_code":5}"#
    );
    assert_eq!(ticket(&bench.one_grant().access_token).await.status, 200);
}
