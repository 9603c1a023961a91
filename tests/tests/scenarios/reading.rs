//! Who may read a token, and what is left behind of each reading.

use std::fs;

use evergreen_tests::site::Site;
use evergreen_tests::{Canaries, eventually};
use reqwest::Response;
use serde_json::{Value, json};

use crate::processes::SOON;

/// A server with two live integrations of two tenants.
async fn two_tenants(site: &Site, canaries: &mut Canaries, admin: &str) -> Vec<Value> {
    let list = json!([{"tenant": "acme", "integration": "prod"},
        {"tenant": "globex", "integration": "prod"}]);
    let ask = json!({"client_id": "site", "list": list});
    let grants = site.simulated("seed", &ask).await["grants"]
        .as_array()
        .unwrap()
        .clone();
    let mut lines = String::new();
    for grant in &grants {
        for name in ["access_token", "refresh_token"] {
            canaries.watch(name, grant[name].as_str().unwrap());
        }
        lines += &format!("{grant}\n");
    }
    let path = site.file("grants.jsonl");
    fs::write(&path, lines).unwrap();
    let import = [
        "import",
        "--format",
        "jsonl",
        path.to_str().unwrap(),
        "--json",
    ];
    let told = site.run(site.from_afar(admin, &import)).await;
    assert_eq!(told.expect_code(0).json()["adopted"], 2);
    grants
}

/// A key with one scope, for one tenant or for all.
async fn key(site: &Site, name: &str, scope: &str, tenant: Option<&str>) -> String {
    let mut arguments = vec![
        "apikeys", "create", "--name", name, "--scope", scope, "--json",
    ];
    if let Some(tenant) = tenant {
        arguments.extend(["--tenant", tenant]);
    }
    let made = site.run(site.here(&arguments)).await.expect_code(0).json();
    made["key"].as_str().unwrap().to_owned()
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    async fn of(answer: Response) -> Self {
        let headers = answer.headers().iter();
        Self {
            status: answer.status().as_u16(),
            headers: headers
                // When it was answered is not what is compared.
                .filter(|(name, _)| *name != "date")
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                .collect(),
            body: answer.text().await.unwrap(),
        }
    }

    fn header(&self, wanted: &str) -> &str {
        let found = self.headers.iter().find(|(name, _)| name == wanted);
        found.map_or("", |(_, value)| value)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// The audit's lines so far.
fn audited(site: &Site) -> Vec<Value> {
    let output = site.server.output();
    let lines = output
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    lines
        .filter(|line: &Value| line["target"] == "evergreen::audit")
        .collect()
}

async fn see_audited(site: &Site, like: impl Fn(&Value) -> bool) -> Value {
    eventually("a line of the audit", SOON, async || {
        audited(site).into_iter().find(|line| like(line))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn s61_a_token_is_read_by_whoever_may_and_each_reading_is_audited_without_material() {
    let mut canaries = Canaries::new();
    let site = Site::start("a-secret-of-the-app").await;
    let admin = site.key(&["admin"]).await;
    let grants = two_tenants(&site, &mut canaries, &admin).await;
    let reader = key(&site, "reader", "read", None).await;
    let acme = key(&site, "acme-sync", "token", Some("acme")).await;
    for secret in [&admin, &reader, &acme] {
        canaries.watch("an API key", secret);
    }
    let http = reqwest::Client::new();
    let ask = async |name: &str, key: &str| {
        let url = format!("{}/v1/integrations/{name}", site.url);
        Answer::of(http.get(url).bearer_auth(key).send().await.unwrap()).await
    };

    // Without the scope.
    for key in [&reader, &admin] {
        let refused = ask("acme/prod/token", key).await;
        assert_eq!(refused.status, 403, "{}", refused.body);
        assert!(
            refused.json()["type"]
                .as_str()
                .unwrap()
                .ends_with(":forbidden")
        );
        canaries.assert_absent("a refusal", &refused.body);
    }
    let line = see_audited(&site, |line| line["key_name"] == "reader").await;
    assert_eq!(
        (&line["message"], &line["needs"]),
        (&json!("refused"), &json!("token"))
    );

    // Another tenant's, and one that is not there: the same answer, to the byte.
    let others = ask("globex/prod/token", &acme).await;
    let missing = ask("acme/nothing/token", &acme).await;
    let missing_elsewhere = ask("globex/nothing/token", &acme).await;
    assert_eq!(others.status, 404);
    for other in [&missing, &missing_elsewhere] {
        assert_eq!((other.status, &other.body), (others.status, &others.body));
        assert_eq!(other.headers, others.headers);
    }
    let line = see_audited(&site, |line| line["integration"] == "globex/prod").await;
    assert_eq!(
        (&line["message"], &line["key_name"]),
        (&json!("refused"), &json!("acme-sync"))
    );

    // With both.
    let token = grants[0]["access_token"].as_str().unwrap();
    let read = ask("acme/prod/token", &acme).await;
    assert_eq!(
        (read.status, read.json()["access_token"].as_str()),
        (200, Some(token))
    );
    assert_eq!(
        read.json().get("refresh_token"),
        None,
        "not without the flag"
    );
    assert_eq!(read.header("cache-control"), "no-store");
    let flagged = ask("acme/prod/token?refresh_token=true", &acme).await;
    assert_eq!(flagged.json()["refresh_token"], grants[0]["refresh_token"]);
    assert_eq!(flagged.header("cache-control"), "no-store");
    let reads = eventually("both readings", SOON, async || {
        let mut lines = audited(&site);
        lines.retain(|line| line["message"] == "token read");
        (lines.len() >= 2).then_some(lines)
    })
    .await;
    assert_eq!(reads.len(), 2, "one line a reading: {reads:?}");
    for (line, with_refresh_token) in reads.iter().zip([false, true]) {
        assert_eq!(line["key_name"], "acme-sync");
        assert!(line["key_id"].as_str().unwrap().starts_with("key_"));
        assert_eq!(
            (&line["integration"], &line["grant"]),
            (&json!("acme/prod"), &json!("user"))
        );
        assert_eq!(
            (&line["generation"], &line["with_refresh_token"]),
            (&json!(0), &json!(with_refresh_token))
        );
        assert!(
            (1..=600).contains(&line["remaining_s"].as_u64().unwrap()),
            "{line}"
        );
    }
    canaries.assert_absent("the audit", json!(audited(&site)).to_string());
    canaries.assert_absent("the log", site.server.output());
}
