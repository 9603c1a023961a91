//! Two processes, one of them killed between the receiver's answer and the note of it.

use std::fs;
use std::time::Duration;

use evergreen_engine::store::Store;
use evergreen_engine::store::redis::{RedisOptions, RedisStore};
use evergreen_tests::process::Invocation;
use evergreen_tests::{Canaries, Evergreen, Site, eventually};
use ninjaone::webhook::READER;
use serde_json::json;

use super::receiver::{Came, Receiver};

/// Longer than the part of a sender that has died, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A worker that may send webhooks.
fn worker(site: &Site, receiver: &Receiver, secret: &str, arguments: &[&str]) -> Invocation {
    site.here(arguments)
        .env("EVERGREEN_LOG", "debug")
        .env("EVERGREEN_WEBHOOK_URL", &receiver.url)
        .env("EVERGREEN_WEBHOOK_SECRET", secret)
}

fn ids(came: &[Came]) -> Vec<&str> {
    came.iter().map(Came::id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn s63_a_sender_that_is_killed_before_it_noted_the_answer_has_the_same_id_sent_again() {
    let mut canaries = Canaries::new();
    let site = Site::start("a-secret-of-the-app").await;
    let secret = format!("whsec_{}", "QWdlbnRTbWl0aFdhc0hlcmVCdXROb3RGb3JMb25n");
    canaries.watch("signing secret", secret.trim_start_matches("whsec_"));
    let receiver = Receiver::start(&secret).await;
    let mut first = worker(&site, &receiver, &secret, &["worker"]).spawn();
    first
        .wait_for_line("this process sends the webhooks", PATIENCE)
        .await;
    let store = RedisStore::connect(RedisOptions::new(site.redis.url()))
        .await
        .unwrap();
    eventually("a reader in every partition", PATIENCE, async || {
        let seen = store.progress(READER).await.ok()?;
        seen.iter().all(|one| one.joined).then_some(())
    })
    .await;

    receiver.holds(true);
    let key = site.key(&["admin", "token"]).await;
    canaries.watch("API key", &key);
    let row = json!({"list": [{"tenant": "acme", "integration": "prod"}]});
    let seeded = site.simulated("seed", &row).await;
    let path = site.file("grants.jsonl");
    fs::write(&path, format!("{}\n", seeded["grants"][0])).unwrap();
    let path = path.to_str().unwrap();
    let import = site.from_afar(&key, &["import", "--format", "jsonl", path, "--json"]);
    assert_eq!(site.run(import).await.expect_code(0).json()["adopted"], 1);
    let came = receiver
        .until("the first webhook", PATIENCE, |came| !came.is_empty())
        .await;
    let sent_first = came[0].id().to_owned();
    assert_eq!(came.len(), 1, "the next one waits for it: {:?}", ids(&came));

    first.kill();
    let log = first.output();
    receiver.holds(false);
    let second = worker(&site, &receiver, &secret, &["worker"]).spawn();
    let came = receiver
        .until("everything", PATIENCE, |came| came.len() >= 3)
        .await;
    let came_ids = ids(&came);
    assert_eq!(came_ids[..2], [&sent_first, &sent_first], "{came_ids:?}");
    assert_ne!(came_ids[2], sent_first);
    assert!(
        came.iter().all(|one| one.status == 200),
        "signatures are right"
    );
    eventually("nothing left to deliver", PATIENCE, async || {
        let seen = store.progress(READER).await.ok()?;
        let left: u64 = seen.iter().map(|one| one.unread + one.unsettled).sum();
        (left == 0).then_some(())
    })
    .await;
    assert_eq!(
        receiver.came().len(),
        3,
        "each once but for the one in between"
    );

    let doctor = worker(&site, &receiver, &secret, &["doctor", "--json"]);
    let told = site.run(doctor).await;
    let checks = told.json()["checks"].clone();
    let checks = checks.as_array().unwrap();
    let webhooks = checks
        .iter()
        .find(|one| one["check"] == "webhooks")
        .unwrap();
    assert_eq!(webhooks["says"], "all events are delivered", "{webhooks}");

    let stopped = stopped(second).await;
    canaries.assert_absent("the logs", format!("{log}{stopped}"));
    canaries.assert_absent("doctor", format!("{}{}", told.stdout, told.stderr));
    canaries.assert_absent("Redis", site.redis.dump().await);
    for one in &came {
        canaries.assert_absent("a webhook", format!("{:?}{}", one.headers, one.text));
        let token = seeded["grants"][0]["access_token"].as_str().unwrap();
        assert!(!one.text.contains(token));
    }
}

async fn stopped(worker: Evergreen) -> String {
    let ended = worker.stop(PATIENCE).await.expect_code(0);
    format!("{}{}", ended.stdout, ended.stderr)
}
