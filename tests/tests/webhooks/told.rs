//! What a receiver is told of failures.

use std::time::Duration;

use evergreen_tests::bench::adopt;
use evergreen_tests::{Bench, eventually};
use ninjaone::service::App;
use ninjaone::simulator::{Fault, SimulatorOptions};
use ninjaone::webhook::{Dispatcher, READER, SigningSecrets, WebhookOptions, WebhookUrl};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::receiver::{Came, Receiver};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PATIENCE: Duration = Duration::from_secs(60);
const MINUTE: Duration = Duration::from_secs(60);

/// Sends the webhooks of an app, from the moment at which this returns.
async fn sending(
    bench: &Bench,
    app: &App,
    receiver: &Receiver,
) -> (JoinHandle<()>, CancellationToken) {
    let options = WebhookOptions {
        url: WebhookUrl::parse(&receiver.url).unwrap(),
        secrets: SigningSecrets::parse(SECRET).unwrap(),
    };
    let stop = CancellationToken::new();
    let dispatcher = Dispatcher::new(app, options).unwrap();
    let task = tokio::spawn(dispatcher.run(stop.clone()));
    eventually("a reader in every partition", PATIENCE, async || {
        let seen = bench.store.progress(READER).await.unwrap();
        seen.iter().all(|one| one.joined).then_some(())
    })
    .await;
    (task, stop)
}

fn failures(came: &[Came]) -> Vec<&Came> {
    let named = |one: &&Came| one.body["type"] == "INTEGRATION_TOKEN_REFRESH_FAILED";
    came.iter().filter(named).collect()
}

#[tokio::test]
async fn s63_a_terminal_failure_after_a_retryable_one_is_told_beside_it_and_each_again_by_its_id() {
    let bench = Bench::with_a_clock(SimulatorOptions {
        access_token_life: Duration::from_secs(3600),
        ..SimulatorOptions::default()
    })
    .await;
    let app = bench.app("worker-1");
    let receiver = Receiver::start(SECRET).await;
    let (task, stop) = sending(&bench, &app, &receiver).await;
    // The first failure is not taken at once, so it has to come again.
    let refused = std::sync::atomic::AtomicBool::new(false);
    receiver.answers(move |body| {
        let failed = body["type"] == "INTEGRATION_TOKEN_REFRESH_FAILED";
        let first = failed && !refused.swap(true, std::sync::atomic::Ordering::SeqCst);
        if first { 500 } else { 200 }
    });
    let grant = bench.seed(1).remove(0);
    adopt(&app, &grant).await;
    let simulator = bench.simulator.handle();
    simulator.script(Fault::respond(503, "").times(2)).unwrap();
    let dead = r#"{"error":"invalid_token"}"#;
    simulator
        .script(Fault::respond(400, dead).always())
        .unwrap();
    for _ in 0..50 {
        bench.pass(&app, MINUTE).await;
    }

    let came = receiver
        .until("a verdict", PATIENCE, |came| {
            let last = "INTEGRATION_RECONNECT_REQUIRED";
            came.iter().any(|one| one.body["type"] == last)
        })
        .await;
    assert!(
        came.iter().all(|one| one.status != 401),
        "every signature is right"
    );
    let failed = failures(&came);
    assert_eq!(failed.len(), 3, "{failed:?}");
    assert_eq!(failed[0].id(), failed[1].id(), "the same id on redelivery");
    assert_eq!(failed[0].text, failed[1].text);
    assert_ne!(failed[1].id(), failed[2].id(), "neither swallows the other");
    let payload = |one: &Came| one.body["data"]["payload"].clone();
    assert_eq!(payload(failed[1])["retryable"], true);
    let verdict = payload(failed[2]);
    assert_eq!(verdict["retryable"], false);
    assert_eq!(verdict["errorCode"], "invalid_token");
    let name = format!("{}/{}", grant.tenant, grant.integration);
    assert_eq!(verdict["integrationId"], name.as_str());
    for field in ["provider", "connectionId", "expiresAt", "failedAt"] {
        assert!(verdict[field].is_string(), "{field}: {verdict}");
    }

    // What the feed shows is what was posted, in the same order.
    let shown = app.events(&Default::default(), 1000).await.unwrap();
    let shown: Vec<Value> = shown
        .into_iter()
        .map(|event| {
            serde_json::json!({
                "id": event.id, "event": event.event, "integration": event.integration,
                "at": event.at, "payload": event.payload,
            })
        })
        .collect();
    let taken = came.iter().filter(|one| one.status == 200);
    let taken: Vec<Value> = taken.map(|one| one.body["data"].clone()).collect();
    assert_eq!(taken, shown);
    stop.cancel();
    task.await.unwrap();
}
