//! The admin endpoint over HTTP: shapes, refusals, reset.

use super::*;

#[tokio::test]
async fn seeded_grants_work_and_come_as_json_or_import_lines() {
    let bench = strict().await;
    let body = r#"{"count": 3, "tenant_prefix": "t", "expires_in": {"min": 60, "max": 120},
        "list": [{"tenant": "acme", "integration": "prod", "expires_in": 5}]}"#;
    let answer = bench.admin("/simulator/seed", body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let grants = answer.json()["grants"].clone();
    let names: Vec<_> = (grants.as_array().unwrap().iter())
        .map(|grant| {
            let text = |name: &str| grant[name].as_str().unwrap();
            format!("{}/{}", text("tenant"), text("integration"))
        })
        .collect();
    assert_eq!(
        names,
        [
            "t0001/ninjaone",
            "t0002/ninjaone",
            "t0003/ninjaone",
            "acme/prod"
        ]
    );
    assert_eq!(grants[0]["expires_in"], 60);
    assert_eq!(grants[3]["expires_in"], 5);
    assert_eq!(grants[0]["instance_url"], bench.simulator.url());
    assert_eq!(grants[0]["client_secret"], SECRET);
    let token = grants[3]["refresh_token"].as_str().unwrap();
    assert_eq!(bench.refresh(token).await.status, 200);

    let lines = bench
        .admin("/simulator/seed?format=jsonl", r#"{"count":2}"#)
        .await;
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    let lines: Vec<Value> = (lines.body.lines())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["grant"], "user");
}

#[tokio::test]
async fn a_thousand_grants_are_seeded_at_once() {
    let bench = strict().await;
    let answer = bench.admin("/simulator/seed", r#"{"count": 1000}"#).await;
    let grants = answer.json()["grants"].as_array().unwrap().len();
    assert_eq!(grants, 1000);
    let report = bench.get("/simulator/ledger?chains=false").await.json();
    assert_eq!(report["chains"].as_array().unwrap().len(), 0);
    assert_eq!(report["totals"]["requests"], 0);
}

#[tokio::test]
async fn a_refusal_names_its_field_and_what_is_allowed() {
    let bench = strict().await;
    for (path, body, field, rule) in [
        ("/simulator/seed", r#"{"count":0}"#, "count", "at least 1"),
        (
            "/simulator/seed",
            r#"{"cuont":1}"#,
            "body",
            "unknown field `cuont`",
        ),
        (
            "/simulator/seed?format=xml",
            "{}",
            "format",
            "json and jsonl",
        ),
        ("/simulator/faults", "{}", "body", "missing field `action`"),
        (
            "/simulator/faults",
            r#"{"action":{"kind":"explode"}}"#,
            "body",
            "unknown variant `explode`, expected one of `respond`",
        ),
        (
            "/simulator/faults",
            r#"{"action":{"kind":"respond","status":42}}"#,
            "action.status",
            "200 to 999",
        ),
        (
            "/simulator/faults",
            r#"{"action":{"kind":"respond","stauts":500}}"#,
            "body",
            "unknown field `stauts`",
        ),
        (
            "/simulator/faults",
            r#"{"match":{"chain":"x"},"action":{"kind":"close"}}"#,
            "match",
            "before the body is read",
        ),
        (
            "/simulator/faults",
            r#"{"action":{"kind":"hang"},"lasts":"0s"}"#,
            "lasts",
            "longer than 0s",
        ),
        (
            "/simulator/faults",
            r#"{"match":{"probability":2},"action":{"kind":"close"}}"#,
            "match.probability",
            "from 0 to 1",
        ),
        (
            "/simulator/settings",
            r#"{"access_token_life":"0s"}"#,
            "access_token_life",
            "from 1s to 365d",
        ),
        (
            "/simulator/settings",
            r#"{"access_token_life":"soon"}"#,
            "body",
            "written like 15m",
        ),
        (
            "/simulator/clients",
            r#"{"client_id":""}"#,
            "client_id",
            "1 to 100",
        ),
    ] {
        let answer = bench.admin(path, body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(answer.text("field"), field, "{body}");
        assert!(answer.text("rule").contains(rule), "{}", answer.body);
    }
    for path in ["/simulator/grants/x/revoke", "/simulator/faults/7/release"] {
        assert_eq!(bench.admin(path, "").await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn settings_and_apps_change_while_it_runs() {
    let bench = strict().await;
    let grant = bench.one_grant();
    let change = r#"{"access_token_life": "90s", "rotation": "never"}"#;
    let settings = bench.admin("/simulator/settings", change).await.json();
    assert_eq!(settings["access_token_life"], "1m 30s");
    assert_eq!(settings["rotation"], "never");
    let token = grant.refresh_token.as_deref().unwrap();
    assert_eq!(bench.refresh(token).await.json()["expires_in"], 90);

    let secret = r#"{"client_id": "evergreen-demo", "client_secret": "new"}"#;
    assert_eq!(bench.admin("/simulator/clients", secret).await.status, 204);
    assert_eq!(bench.refresh(token).await.status, 401);
    let clients = bench.get("/simulator/clients").await;
    assert_eq!(clients.json()["clients"][0]["has_secret"], true);
    assert!(!clients.body.contains("new"));
    let remove = r#"{"client_id": "evergreen-demo", "remove": true}"#;
    assert_eq!(bench.admin("/simulator/clients", remove).await.status, 204);
    assert_eq!(bench.refresh(token).await.status, 404);
    let api = bench.api("/v2/devices", &grant.access_token).await;
    assert_eq!(api.status, 401);
}

#[tokio::test]
async fn faults_are_listed_scripted_in_lists_and_cleared() {
    let bench = strict().await;
    let script = r#"[{"action":{"kind":"respond","status":500},"times":null},
                     {"action":{"kind":"hold"}}]"#;
    let ids = bench.admin("/simulator/faults", script).await.json();
    assert_eq!(ids, serde_json::json!({"ids": [1, 2]}));
    assert_eq!(bench.refresh("a.b").await.status, 500);
    let listed = bench.get("/simulator/faults").await.json();
    assert_eq!(listed["faults"][0]["applied"], 1);
    assert_eq!(listed["faults"][0]["action"]["status"], 500);
    assert_eq!(listed["faults"][1]["action"]["when"], "before");
    let clear = bench.http.delete(bench.url("/simulator/faults"));
    assert_eq!(read(clear.send().await).await.status, 204);
    assert_eq!(bench.refresh("a.b").await.status, 400);
    // A list with one bad fault scripts none of them.
    let bad = r#"[{"action":{"kind":"hang"}}, {"action":{"kind":"hang"},"times":0}]"#;
    assert_eq!(bench.admin("/simulator/faults", bad).await.status, 400);
    assert_eq!(bench.refresh("a.b").await.status, 400);
}

#[tokio::test]
async fn entries_are_paged_and_can_be_waited_for() {
    let bench = strict().await;
    for _ in 0..5 {
        bench.refresh("a.b").await;
    }
    let page = bench
        .get("/simulator/ledger/entries?after=1&limit=2")
        .await
        .json();
    assert_eq!(page["entries"][0]["seq"], 2);
    assert_eq!(page["next_after"], 3);
    assert_eq!(page["lost"], 0);
    let wait = bench.get("/simulator/ledger/entries?after=5&wait=1m");
    let (page, _) = tokio::join!(wait, bench.refresh("a.b"));
    assert_eq!(page.json()["entries"][0]["seq"], 6);
    let bad = bench.get("/simulator/ledger/entries?wait=2h").await;
    assert_eq!(bad.text("field"), "wait");
}

#[tokio::test]
async fn a_reset_forgets_grants_faults_and_the_ledger() {
    let bench = strict().await;
    let grant = bench.one_grant();
    let token = grant.refresh_token.as_deref().unwrap();
    bench.refresh(token).await;
    let fault = r#"{"action":{"kind":"respond","status":500},"times":null}"#;
    bench.admin("/simulator/faults", fault).await;
    let client = r#"{"client_id":"evergreen-demo","client_secret":"other"}"#;
    bench.admin("/simulator/clients", client).await;
    assert_eq!(bench.admin("/simulator/reset", "").await.status, 204);
    let totals = bench.simulator.handle().totals();
    assert_eq!(totals.requests, 0);
    let answer = bench.refresh(token).await;
    assert_eq!(answer.body, r#"{"error":"invalid_token"}"#);
    assert_eq!(bench.simulator.handle().totals().unknown_tokens, 1);
}

#[tokio::test]
async fn the_front_page_says_what_it_is() {
    let bench = strict().await;
    let page = bench.get("/").await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("This is not NinjaOne"));
}
