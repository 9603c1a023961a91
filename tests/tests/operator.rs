//! What an operator has at hand: explain, top, doctor, the journal of a machine that is gone, and how
//! mistakes are told.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use evergreen_engine::WorkflowId;
use evergreen_engine::store::Store;
use evergreen_engine::store::redis::{RedisOptions, RedisStore};
use evergreen_tests::process::{Evergreen, Signal};
use evergreen_tests::site::Site;
use ninjaone::journal::{Entry, EntryId, Journal, Limits};
use ninjaone::lifecycle::KIND;
use ninjaone::vault::{KeyRing, Pair, Place, Workflow};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// A server with one live integration, and a key that may do everything.
async fn site() -> (Site, String) {
    let site = Site::start("a-secret-of-the-app").await;
    let key = site.key(&["admin", "token"]).await;
    let row = json!({"list": [{"tenant": "acme", "integration": "prod"}]});
    let seeded = site.simulated("seed", &row).await;
    let path = site.file("grants.jsonl");
    fs::write(&path, format!("{}\n", seeded["grants"][0])).unwrap();
    let path = path.to_str().unwrap();
    let import = site.from_afar(&key, &["import", "--format", "jsonl", path, "--json"]);
    assert_eq!(site.run(import).await.expect_code(0).json()["adopted"], 1);
    (site, key)
}

/// A pair that a machine has obtained for the integration and could not store any more.
async fn left_behind(site: &Site, directory: &Path) -> Entry {
    let store = RedisStore::connect(RedisOptions::new(site.redis.url()))
        .await
        .unwrap();
    let id = WorkflowId::new(KIND, "acme/prod@user").unwrap();
    let record = store.read(&id, false).await.unwrap().unwrap().record;
    let stored: Value = serde_json::from_str(&record.data).unwrap();
    let data = &stored["data"];
    let grant = data["grant"]["id"].as_str().unwrap().parse().unwrap();
    let base_generation = data["grant"]["generation"].as_u64().unwrap();
    let place = Place::Journal {
        workflow: Workflow {
            kind: KIND,
            id: "acme/prod@user",
        },
        grant,
        base_generation,
    };
    let pair = Pair {
        access_token: "CANARY-access".into(),
        refresh_token: Some("CANARY-refresh".into()),
    };
    let now = store.now().await.unwrap();
    let entry = Entry {
        id: EntryId::random(),
        kind: KIND.to_owned(),
        workflow: "acme/prod@user".to_owned(),
        grant,
        base_generation,
        claim: "0123456789abcdef".to_owned(),
        commit: None,
        written_at_ms: now,
        expires_at_ms: Some(now + 3_600_000),
        bearer: true,
        stamp: 0,
        sealed: KeyRing::parse(&site.seal_keys)
            .unwrap()
            .seal_pair(&place, &pair),
    };
    let journal = Journal::open(directory, "a-lost-machine", Limits::default()).unwrap();
    journal.put(entry.clone()).await.unwrap();
    entry
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_machine_left_is_listed_and_delivered_and_no_secret_is_shown() {
    let (site, key) = site().await;
    let disk = site.file("lost");
    let entry = left_behind(&site, &disk).await;
    let dir = disk.to_str().unwrap();
    let list = || Evergreen::with(["journal", "list", "--dir", dir, "--json"]);
    let listed = site.run(list()).await.expect_code(0);
    assert_eq!(listed.json().as_array().unwrap().len(), 1);
    assert_eq!(listed.json()[0]["workflow"], "acme/prod@user");
    let table = Evergreen::with(["journal", "list", "--dir", dir]);
    let table = site.run(table).await.expect_code(0);

    let replay = site.here(&["journal", "replay", "--dir", dir, "--json"]);
    let replayed = site.run(replay).await.expect_code(0);
    let told = &replayed.json()[0];
    assert_eq!(
        (&told["result"], &told["heard"]),
        (&json!("delivered"), &json!(true))
    );
    assert_eq!(told["generation"], entry.base_generation + 1);
    let status = site.from_afar(&key, &["status", "acme/prod", "--json"]);
    let status = site.run(status).await.expect_code(0).json();
    assert_eq!(status["generation"], entry.base_generation + 1);
    assert_eq!(site.run(list()).await.expect_code(0).json(), json!([]));
    for shown in [listed, table, replayed] {
        let text = format!("{}{}", shown.stdout, shown.stderr);
        assert!(!text.contains("CANARY"), "{text}");
        assert!(!text.contains(&entry.sealed.to_string()), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_a_live_worker_uses_is_left_to_it() {
    let (site, _) = site().await;
    let refused = site.run(site.here(&["journal", "replay"])).await;
    let refused = refused.expect_code(2);
    assert!(
        refused.stderr.contains("a live worker uses"),
        "{}",
        refused.stderr
    );
    let missing = Evergreen::with(["journal", "list", "--dir", "/nowhere", "--json"]);
    let missing = site.run(missing).await.expect_code(2);
    let told: Value = serde_json::from_str(&missing.stderr).unwrap();
    assert_eq!(told["error"]["exit_code"], 2, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_explained_and_without_workers_that_is_what_is_said() {
    let (mut site, key) = site().await;
    let explain = |site: &Site| site.from_afar(&key, &["explain", "acme/prod", "--json"]);
    let told = site.run(explain(&site)).await.expect_code(0).json();
    let summary = told["summary"].as_str().unwrap();
    assert!(
        summary.starts_with("The next request leaves in "),
        "{told:#}"
    );
    assert!(summary.contains("its tokens were imported"), "{told:#}");
    assert_eq!(told["fleet"]["workers_alive"], 1);
    assert_eq!(told["timer"]["due_at"], told["timer"]["due_wanted_at"]);
    assert!(!told["history"].as_array().unwrap().is_empty());
    let text = site.from_afar(&key, &["explain", "acme/prod"]);
    let text = site.run(text).await.expect_code(0).stdout;
    assert!(text.contains(summary) && text.contains("1 alive"), "{text}");

    let top = site.from_afar(&key, &["top", "--json"]);
    let top = site.run(top).await.expect_code(0).json();
    assert_eq!(top["states"], json!({"Scheduled": 1}));
    assert_eq!(top["next"][0]["id"], "acme/prod@user");
    assert_eq!(top["workers"].as_array().unwrap().len(), 1);

    // A line that stays although its worker is gone is not one that lives.
    let store = RedisStore::connect(RedisOptions::new(site.redis.url()))
        .await
        .unwrap();
    let app = ninjaone_app(&site, &store).await;
    site.server.signal(Signal::TERM);
    site.server.finished(PATIENCE).await.expect_code(0);
    let told = app.explain(&"acme/prod".parse().unwrap()).await.unwrap();
    assert!(told.summary.contains("no worker is alive"), "{told:#?}");
    assert!(told.findings.iter().any(|one| one.word == "no_workers"));
}

/// An app in this process over the site's Redis: a server without a worker.
async fn ninjaone_app(site: &Site, store: &RedisStore) -> ninjaone::service::App {
    use ninjaone::provider::HostPolicy;
    use ninjaone::service::{App, AppOptions};
    let options = AppOptions {
        worker_id: "reader".to_owned(),
        limits: evergreen_engine::Limits::default(),
        settings: ninjaone::lifecycle::Settings::default(),
        ring: KeyRing::parse(&site.seal_keys).unwrap(),
        client: None,
        hosts: HostPolicy::new().with_loopback(),
        journal_dir: None,
        public_url: site.url.clone(),
        redirect_uri: format!("{}/oauth/callback", site.url),
        salt: store.meta().await.unwrap().salt,
        connect_timeout: Duration::from_secs(3),
    };
    let store: std::sync::Arc<dyn Store> = std::sync::Arc::new(store.clone());
    App::start(store, options, std::sync::Arc::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_nothing_wrong_and_then_what_is() {
    let (mut site, _) = site().await;
    let doctor = |site: &Site| site.here(&["doctor", "--json"]);
    let told = site.run(doctor(&site)).await.expect_code(0).json();
    assert_eq!(told["fail"], 0, "{told:#}");
    let result = |told: &Value, check: &str| -> Value {
        let checks = told["checks"].as_array().unwrap();
        let found = checks.iter().find(|one| one["check"] == check);
        found.unwrap_or_else(|| panic!("no {check}: {told:#}"))["result"].clone()
    };
    for check in [
        "settings",
        "journal",
        "redis",
        "api keys",
        "clock",
        "workers",
        "timers",
        "index",
        "grants",
        "seal keys",
        "provider",
    ] {
        assert_eq!(result(&told, check), "ok", "{check}: {told:#}");
    }
    // Another key ring, nobody who works, nobody at the provider's address.
    let another = Evergreen::with(["--version"]).spawn();
    let mut server = std::mem::replace(&mut site.server, another);
    server.signal(Signal::TERM);
    server.finished(PATIENCE).await.expect_code(0);
    site.simulator.kill();
    let other = KeyRing::generate().unwrap().printable;
    let other = secrecy::ExposeSecret::expose_secret(&other).to_owned();
    let ill = doctor(&site).env("EVERGREEN_SEAL_KEYS", other);
    let ill = site.run(ill).await.expect_code(4).json();
    for check in ["workers", "seal keys", "provider"] {
        assert_eq!(result(&ill, check), "fail", "{check}: {ill:#}");
    }
    let away = Evergreen::with(["doctor", "--json"])
        .env("EVERGREEN_REDIS_URL", "redis://127.0.0.1:1")
        .env("EVERGREEN_SEAL_KEYS", &site.seal_keys);
    let away = site.run(away).await.expect_code(5).json();
    assert_eq!(result(&away, "redis"), "fail");
}

#[tokio::test]
async fn mistakes_are_json_where_json_is_asked_for() {
    let wrong = Evergreen::with(["lst", "--json"]).run(PATIENCE).await;
    let wrong = wrong.expect_code(2);
    let told: Value = serde_json::from_str(&wrong.stderr).unwrap();
    assert_eq!(told["error"]["exit_code"], 2, "{told}");
    assert!(told["error"]["why"].as_str().unwrap().contains("'lst'"));
    let plain = Evergreen::with(["lst"]).run(PATIENCE).await.expect_code(2);
    assert!(plain.stderr.starts_with("error: "), "{}", plain.stderr);
    let help = Evergreen::with(["--help", "--json"]).run(PATIENCE).await;
    assert!(help.expect_code(0).stdout.contains("Usage: evergreen"));

    // Before anything is connected to, and all at once.
    let serve = Evergreen::with(["serve", "--json"])
        .env("EVERGREEN_REDIS_URL", "redis://127.0.0.1:1")
        .env("EVERGREEN_PUBLIC_URL", "https://e.example/evergreen")
        .env("EVERGREEN_REDIRECT_URI", "https://e.example/callback");
    let refused = serve.run(PATIENCE).await.expect_code(2);
    let told: Value = serde_json::from_str(&refused.stderr).unwrap();
    let why = told["error"]["why"].as_str().unwrap();
    for name in ["PUBLIC_URL", "REDIRECT_URI", "SEAL_KEYS"] {
        assert!(why.contains(&format!("EVERGREEN_{name}: ")), "{why}");
    }
}
