//! What the log of a process says of each thing that happens to a timer.

use std::collections::BTreeSet;
use std::fs;

use evergreen_tests::site::Site;
use evergreen_tests::{Canaries, eventually};
use serde_json::{Value, json};

use crate::processes::SOON;

/// A server, a key, and two integrations that it does not know yet.
struct Logged {
    site: Site,
    key: String,
    grants: Vec<Value>,
    canaries: Canaries,
}

impl Logged {
    async fn new() -> Self {
        let mut canaries = Canaries::new();
        let secret = canaries.plant("client secret");
        let site = Site::start(&secret).await;
        let key = site.key(&["admin", "token"]).await;
        let list = json!([{"tenant": "acme", "integration": "prod"},
            {"tenant": "globex", "integration": "prod"}]);
        let ask = json!({"client_id": "site", "list": list});
        let grants = site.simulated("seed", &ask).await["grants"]
            .as_array()
            .unwrap()
            .clone();
        for grant in &grants {
            for name in ["access_token", "refresh_token"] {
                canaries.watch(name, grant[name].as_str().unwrap());
            }
        }
        Self {
            site,
            key,
            grants,
            canaries,
        }
    }

    async fn import(&self, grant: &Value) {
        let path = self.site.file("grants.jsonl");
        fs::write(&path, grant.to_string()).unwrap();
        let import = ["import", "--format", "jsonl", path.to_str().unwrap()];
        self.operator(&import).await;
    }

    /// What it comes to is in the records.
    async fn operator(&self, arguments: &[&str]) {
        let run = self.site.from_afar(&self.key, arguments);
        self.site.run(run).await;
    }

    /// The next token request is answered with this.
    async fn answer(&self, action: Value) {
        self.site
            .simulated("faults", &json!({"action": action}))
            .await;
    }

    /// All records so far of one tenant, in the order of their `v`.
    fn records(&self, tenant: &str) -> Vec<Value> {
        let output = self.site.server.output();
        let lines = output
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let mut records: Vec<Value> = lines
            .filter(|line: &Value| line["target"] == "evergreen::transition")
            .filter(|line| line["tenant"] == tenant)
            .collect();
        records.sort_by_key(|record| record["v"].as_u64());
        records
    }

    /// The records of a tenant, once there are so many.
    async fn until(&self, tenant: &str, count: usize) -> Vec<Value> {
        eventually(&format!("{count} records"), SOON, async || {
            let records = self.records(tenant);
            (records.len() >= count).then_some(records)
        })
        .await
    }

    /// The records of a tenant, once the last of them is about `what` and came of `outcome`, if any.
    async fn see(&self, tenant: &str, what: &str, outcome: Option<&str>) -> Vec<Value> {
        eventually(&format!("the record of {what}"), SOON, async || {
            let records = self.records(tenant);
            let last = records.last()?;
            (last["what"] == what && last["outcome"] == json!(outcome)).then_some(records)
        })
        .await
    }
}

/// Says that the record has exactly what is wanted in these fields; null stands for "absent".
#[track_caller]
fn says(record: &Value, wanted: &Value) {
    for (field, value) in wanted.as_object().unwrap() {
        assert_eq!(&record[field], value, "{field} of {record:#}");
    }
}

fn time(record: &Value, field: &str) -> chrono::DateTime<chrono::FixedOffset> {
    let text = record[field].as_str();
    let text = text.unwrap_or_else(|| panic!("no {field} in {record:#}"));
    chrono::DateTime::parse_from_rfc3339(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn s62_one_structured_record_for_each_thing_that_happens_to_a_timer() {
    let logged = Logged::new().await;
    let [acme, globex] = &logged.grants[..] else {
        panic!("two");
    };
    logged.import(acme).await;
    let records = logged.see("acme", "schedule", None).await;
    let schedule = &records[0];
    says(
        schedule,
        &json!({
            "level": "INFO", "message": "transition", "what": "schedule", "tenant": "acme",
            "integration": "prod", "grant": "user", "workflow": "ninjaone.credential:acme/prod@user",
            "v": 1, "attempt": 1, "from": "Disconnected", "to": "Scheduled", "heard": "Adopt",
            "source": "import", "generation": 0, "old_expires_at": null, "outcome": null,
            "http_status": null, "retryable": null,
        }),
    );
    assert!(schedule["fence"].as_u64().unwrap() > 0);
    let expires_at = time(schedule, "expires_at");
    assert!(time(schedule, "scheduled_for") < expires_at);

    logged.operator(&["refresh", "acme/prod"]).await;
    let records = logged.see("acme", "success", Some("refreshed")).await;
    let [.., start, success] = &records[..] else {
        panic!("{records:#?}");
    };
    says(
        start,
        &json!({
            "what": "start", "from": "Scheduled", "to": "Refreshing", "v": 2, "generation": 0,
            "scheduled_for": schedule["scheduled_for"], "expires_at": schedule["expires_at"],
            "heard": "RefreshNow TimerFired",
        }),
    );
    says(
        success,
        &json!({
            "what": "success", "to": "Scheduled", "v": 3, "fence": start["fence"], "generation": 1,
            "outcome": "refreshed", "http_status": 200, "old_expires_at": schedule["expires_at"],
            "source": "proactive_refresh_success",
        }),
    );
    assert!(time(success, "expires_at") >= expires_at);
    assert!(time(success, "scheduled_for") < time(success, "expires_at"));
    assert_eq!(success["request_id"].as_str().unwrap().len(), 36);

    let down = json!({"kind": "respond", "status": 503,
        "body": r#"{"error":"temporarily_unavailable","incidentId":"WEB_MGMT_SERVICE-7"}"#});
    logged.answer(down).await;
    logged.operator(&["refresh", "acme/prod"]).await;
    let records = logged.see("acme", "retry", Some("unavailable")).await;
    let retry = records.last().unwrap();
    says(
        retry,
        &json!({
            "what": "retry", "outcome": "unavailable", "http_status": 503, "retryable": true,
            "provider_code": "temporarily_unavailable", "incident_id": "WEB_MGMT_SERVICE-7",
            "source": "failure", "old_expires_at": success["expires_at"],
            "expires_at": success["expires_at"],
        }),
    );
    assert!(retry["request_id"].is_string());
    assert!(time(retry, "scheduled_for") < time(success, "scheduled_for"));

    logged.import(globex).await;
    let throttled = json!({"kind": "respond", "status": 429, "headers": {"retry-after": "300"}});
    logged.answer(throttled).await;
    let before = logged.see("globex", "schedule", None).await;
    logged.operator(&["refresh", "acme/prod"]).await;
    let records = logged.see("acme", "retry", Some("throttled")).await;
    says(
        records.last().unwrap(),
        &json!({"outcome": "throttled", "http_status": 429}),
    );
    // Whoever comes now waits behind the host's pause.
    logged.operator(&["refresh", "globex/prod"]).await;
    let records = logged.see("globex", "reschedule", None).await;
    says(
        records.last().unwrap(),
        &json!({
            "what": "reschedule", "v": 2, "from": "Scheduled", "to": "Scheduled",
            "was_scheduled_for": before[0]["scheduled_for"], "outcome": null,
        }),
    );
    logged.operator(&["disconnect", "globex/prod"]).await;
    let records = logged.see("globex", "cancel", None).await;
    let [.., rescheduled, cancelled] = &records[..] else {
        panic!("{records:#?}");
    };
    says(
        cancelled,
        &json!({
            "what": "cancel", "to": "Disconnected", "heard": "Disconnect", "expires_at": null,
            "scheduled_for": rescheduled["scheduled_for"],
        }),
    );
    every_transition_has_one(&logged);
}

#[tokio::test(flavor = "multi_thread")]
async fn s62_terminal_failures_say_what_a_person_must_do_and_nothing_secret() {
    let logged = Logged::new().await;
    let [acme, globex] = &logged.grants[..] else {
        panic!("two");
    };
    for grant in [acme, globex] {
        logged.import(grant).await;
    }
    // The provider says our own secrets back wherever it can.
    let echo = json!({"kind": "echo", "status": 400, "error": "invalid_client", "place": "both",
        "encoding": "raw"});
    logged.answer(echo).await;
    logged.operator(&["refresh", "globex/prod"]).await;
    let records = logged
        .see("globex", "terminal_failure", Some("misconfigured"))
        .await;
    says(
        records.last().unwrap(),
        &json!({
            "v": 3, "attention": "client_rejected", "http_status": 400,
        }),
    );
    let unknown = json!({"kind": "respond", "status": 404,
        "body": r#"{"resultCode":"Client app not exist","incidentId":"WEB_MGMT_SERVICE-77"}"#});
    logged.answer(unknown).await;
    logged.operator(&["reset", "globex/prod"]).await;
    let records = logged.until("globex", 5).await;
    says(
        records.last().unwrap(),
        &json!({
            "what": "terminal_failure", "to": "Active", "attention": "client_unknown",
            "outcome": "misconfigured", "http_status": 404, "provider_code": "Client app not exist",
            "incident_id": "WEB_MGMT_SERVICE-77", "retryable": false,
        }),
    );
    assert_eq!(
        records.last().unwrap()["request_id"]
            .as_str()
            .unwrap()
            .len(),
        36
    );
    let dead = json!({"kind": "respond", "status": 400, "body": r#"{"error":"invalid_token"}"#});
    logged.answer(dead).await;
    logged.operator(&["refresh", "acme/prod"]).await;
    let records = logged
        .see("acme", "terminal_failure", Some("rejected"))
        .await;
    let failure = records.last().unwrap();
    says(
        failure,
        &json!({
            "what": "terminal_failure", "from": "Refreshing", "to": "ReconnectRequired",
            "reason": "revoked", "outcome": "rejected", "http_status": 400,
            "provider_code": "invalid_token", "retryable": false, "scheduled_for": null,
            "heard": "Rejected", "generation": 0,
        }),
    );
    assert_eq!(failure["old_expires_at"], failure["expires_at"]);
    every_transition_has_one(&logged);
    logged
        .canaries
        .assert_absent("the log", logged.site.server.output());
}

/// One record for each transition of each workflow, and none missing.
fn every_transition_has_one(logged: &Logged) {
    for tenant in ["acme", "globex"] {
        let records = logged.records(tenant);
        let counts: Vec<u64> = records.iter().map(|r| r["v"].as_u64().unwrap()).collect();
        let all: Vec<u64> = (1..=records.len() as u64).collect();
        assert_eq!(counts, all, "{records:#?}");
        let words: BTreeSet<&str> = records
            .iter()
            .map(|r| r["what"].as_str().unwrap())
            .collect();
        assert!(!words.is_empty());
    }
}
