//! No secret comes out, whatever the provider says back; and sealed is sealed.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evergreen_tests::bench::{PATIENCE, adopt, offer};
use evergreen_tests::{Bench, Canaries, RedisServer, eventually};
use ninjaone::provider::ClientApp;
use ninjaone::service::{AdoptOptions, Offer, TokenAsk};
use ninjaone::simulator::{Action, Echo, EchoEncoding, EchoPlace, Fault};
use ninjaone::simulator::{Rotation, SeedRequest, SimulatorOptions};
use ninjaone::vault::KeyRing;
use secrecy::ExposeSecret;
use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::support::*;

const DAY: Duration = Duration::from_secs(86_400);

/// Everything that is logged in this process from the first call on.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn begin() -> Self {
        let log = Self::default();
        let writer = log.clone();
        // Of this workspace, at every level; what the HTTP library tells at its lowest is its own.
        let ours = tracing_subscriber::filter::filter_fn(|metadata| {
            let target = metadata.target();
            target.starts_with("evergreen") || target.starts_with("ninjaone")
        });
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .with_filter(ours);
        tracing_subscriber::registry().with(lines).init();
        log
    }

    fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Everything that a Redis holds, as text.
async fn dump(redis: &RedisServer, prefix: &str) -> String {
    let keys: Vec<String> = redis.cli(&["KEYS", &format!("{prefix}*")]).await;
    assert!(!keys.is_empty());
    let mut all = String::new();
    for key in keys {
        let kind: String = redis.cli(&["TYPE", &key]).await;
        let found: redis::Value = match kind.as_str() {
            "hash" => redis.cli(&["HGETALL", &key]).await,
            "zset" => redis.cli(&["ZRANGE", &key, "0", "-1"]).await,
            "list" => redis.cli(&["LRANGE", &key, "0", "-1"]).await,
            "stream" => redis.cli(&["XRANGE", &key, "-", "+"]).await,
            _ => redis.cli(&["GET", &key]).await,
        };
        all.push_str(&format!("{key} {}\n", text_of(&found)));
    }
    all
}

fn text_of(value: &redis::Value) -> String {
    match value {
        redis::Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        redis::Value::Array(values) => values.iter().map(text_of).collect::<Vec<_>>().join(" "),
        other => format!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s65_no_secret_comes_out_though_the_provider_repeats_them_all() {
    let log = Log::begin();
    let mut canaries = Canaries::new();
    let secret = canaries.plant("client secret");
    let redis = RedisServer::start().await;
    let mut demo = ninjaone::simulator::ClientApp::demo();
    demo.client_secret = Some(secret.clone().into());
    let simulator = SimulatorOptions {
        clients: vec![demo],
        ..life(3600)
    };
    let bench = Bench::on_redis(&redis, simulator).await;
    let mut options = bench.options("worker-1");
    options.client = Some(ClientApp {
        client_id: "evergreen-demo".to_owned(),
        client_secret: Some(secret.into()),
    });
    let app = bench.app_from(options);
    let handle = bench.simulator.handle();
    let mut outputs = String::new();
    let mut faults = Vec::new();
    for place in [
        EchoPlace::Body,
        EchoPlace::Header,
        EchoPlace::Location,
        EchoPlace::Both,
    ] {
        for encoding in [
            EchoEncoding::Raw,
            EchoEncoding::Form,
            EchoEncoding::Percent,
            EchoEncoding::Base64,
            EchoEncoding::Half,
        ] {
            for (status, error) in [
                (400, "invalid_token"),
                (401, "invalid_client"),
                (400, "invalid_request"),
                (500, "who_knows"),
                (200, "odd"),
            ] {
                if place == EchoPlace::Location && status != 400 {
                    continue;
                }
                let status = if place == EchoPlace::Location {
                    302
                } else {
                    status
                };
                faults.push(Fault::new(Action::Echo(Echo {
                    status,
                    error: error.to_owned(),
                    place,
                    encoding,
                })));
            }
        }
    }
    let grants = handle.seed(SeedRequest::count(faults.len())).unwrap();
    for (n, (grant, fault)) in grants.iter().zip(faults).enumerate() {
        // Each output is searched for its own tokens, and all of them for those of a few.
        let mut own = Canaries::new();
        let mut watch = |name: &str, token: &str| {
            own.watch(name, token);
            if n % 15 == 0 {
                canaries.watch(name, token);
            }
        };
        watch("access token", &grant.access_token);
        watch("refresh token", grant.refresh_token.as_deref().unwrap());
        let from = outputs.len();
        handle
            .script(fault.on_chain(&grant.chain).always())
            .unwrap();
        adopt(&app, grant).await;
        let status = app.refresh(&target(grant)).await.unwrap();
        let history = app.history(&target(grant)).await.unwrap();
        outputs.push_str(&serde_json::to_string(&status).unwrap());
        outputs.push_str(&format!("{history:?}"));
        handle.clear_faults();
        if status.state == "Scheduled" && status.generation == 0 {
            // Healed, so that rotated tokens come by as well.
            let status = app.refresh(&target(grant)).await.unwrap();
            outputs.push_str(&format!("{status:?}"));
            let all = TokenAsk {
                with_refresh_token: true,
                ..TokenAsk::default()
            };
            let token = app.token(&target(grant), &all).await.unwrap();
            watch("new access token", token.access_token.expose_secret());
            let refresh = token.refresh_token.as_ref().unwrap();
            watch("new refresh token", refresh.expose_secret());
            outputs.push_str(&format!("{token:?}"));
        }
        own.assert_absent("what is told of it", &outputs[from..]);
    }
    for (name, payload) in events(&app).await {
        outputs.push_str(&format!("{name} {payload}\n"));
    }
    let refused = app.token(&target(&grants[0]), &TokenAsk::default()).await;
    outputs.push_str(&format!("{refused:?}"));
    canaries.assert_absent("status, history, events, errors", &outputs);
    canaries.assert_absent("Redis", dump(&redis, redis.prefix()).await);
    let logged = log.take();
    assert!(logged.len() > 10_000, "something was logged");
    canaries.assert_absent("the log", logged);
    for file in std::fs::read_dir(bench.journals()).unwrap() {
        let path = file.unwrap().path();
        canaries.assert_absent("the journal", std::fs::read(path).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s65_the_journal_holds_a_pair_only_sealed() {
    let mut redis = RedisServer::start_own().await;
    let bench = Bench::on_redis(&redis, life(3600))
        .await
        .with_limits(short_leases());
    let host = bench.host("one").await;
    let grant = bench.seed(1).remove(0);
    let handle = bench.simulator.handle();
    let when = ninjaone::simulator::When::After;
    let hold = handle.script(Fault::new(Action::Hold { when })).unwrap();
    let mut expired = offer(&grant);
    expired.expires_at = Some(bench.now().await - 1_000);
    let app = host.app().clone();
    host.spawn(async move {
        let _ = app.adopt(expired, AdoptOptions::default()).await;
    });
    tokio::time::timeout(PATIENCE, handle.applied(hold, 1))
        .await
        .unwrap();
    redis.kill().await;
    handle.release(hold);
    let file = host.disk().join("one.journal");
    let bytes = eventually("an entry", PATIENCE, async || {
        let listing = ninjaone::journal::read_dir(host.disk()).ok()?;
        (listing.entries.len() == 1).then(|| std::fs::read(&file).unwrap())
    })
    .await;
    redis.restart().await;
    let name = target(&grant).to_string();
    bench
        .see(&bench.app("eye"), &name, "the pair", |s| s.generation == 1)
        .await;
    let all = TokenAsk {
        with_refresh_token: true,
        ..TokenAsk::default()
    };
    let token = bench.app("api").token(&target(&grant), &all).await.unwrap();
    let mut canaries = Canaries::new();
    canaries.watch("A1", token.access_token.expose_secret());
    canaries.watch("R1", token.refresh_token.as_ref().unwrap().expose_secret());
    canaries.watch("R0", grant.refresh_token.as_deref().unwrap());
    canaries.assert_absent("the journal", bytes);
}

#[tokio::test]
async fn s66_blobs_of_two_integrations_that_are_swapped_do_not_open() {
    let redis = RedisServer::start().await;
    let bench = Bench::on_redis(&redis, life(3600)).await;
    let app = bench.app("worker-1");
    let grants = bench.seed(2);
    let mut keys = Vec::new();
    for grant in &grants {
        adopt(&app, grant).await;
        let pattern = format!("{}*sealed*{}*", redis.prefix(), grant.tenant);
        let found: Vec<String> = redis.cli(&["KEYS", &pattern]).await;
        keys.extend(found);
    }
    let [one, two] = &keys[..] else {
        panic!("{keys:?}")
    };
    let first: String = redis.cli(&["HGET", one, "pair"]).await;
    let second: String = redis.cli(&["HGET", two, "pair"]).await;
    let _: u64 = redis.cli(&["HSET", one, "pair", &second]).await;
    let _: u64 = redis.cli(&["HSET", two, "pair", &first]).await;
    for grant in &grants {
        let refused = app.token(&target(grant), &TokenAsk::default()).await;
        let refused = refused.map(drop).unwrap_err();
        assert!(refused.to_string().contains("undecryptable"), "{refused}");
    }
    assert_eq!(bench.simulator.handle().totals().requests, 0);
}

#[tokio::test]
async fn s66_a_rotated_key_ring_serves_what_the_old_one_sealed() {
    let life = Life::of(3600).await;
    let fresh = KeyRing::generate().unwrap();
    let both = format!("{},{}", fresh.printable.expose_secret(), life.bench.keys());
    let mut options = life.bench.options("worker-2");
    options.ring = KeyRing::parse(&both).unwrap();
    let rotated = life.bench.app_from(options);
    rotated
        .token(&life.target, &TokenAsk::default())
        .await
        .unwrap();
    life.bench.pass(&rotated, HOUR).await;
    assert_eq!(life.status().await.generation, 1);
    // From the first refresh on it is sealed with the new key: the old ring does not open it.
    let refused = life.app.token(&life.target, &TokenAsk::default()).await;
    assert!(refused.is_err());
    let mut options = life.bench.options("worker-3");
    options.ring = KeyRing::parse(fresh.printable.expose_secret()).unwrap();
    let new_only = life.bench.app_from(options);
    let token = new_only.token(&life.target, &TokenAsk::default()).await;
    assert_eq!(token.unwrap().generation, 1);
}

#[tokio::test]
async fn s64_no_success_by_the_middle_of_the_buffer_is_told_once() {
    let life = Life::of(3600).await;
    life.script(Fault::respond(503, "").always());
    life.pass(Duration::from_secs(3_140)).await;
    assert_eq!(life.count("EXPIRING").await, 0, "not before the middle");
    life.pass(Duration::from_secs(20)).await;
    assert_eq!(life.count("EXPIRING").await, 1);
    life.pass(HOUR * 3).await;
    assert_eq!(life.count("EXPIRING").await, 1);
    let expiring = events(&life.app).await;
    let (_, payload) = expiring
        .iter()
        .find(|(name, _)| name == "EXPIRING")
        .unwrap();
    assert_eq!(payload["what"], "access_token");
}

#[tokio::test]
async fn s64_a_refresh_token_near_its_age_is_told_once() {
    // A provider that never rotates: the token of the first day is still the token of the last.
    let bench = Bench::with_a_clock(SimulatorOptions {
        rotation: Rotation::Never,
        ..life(86_400)
    });
    let life = Life::on(bench.await).await;
    life.pass(DAY * 22).await;
    assert_eq!(life.count("EXPIRING").await, 0, "not three weeks before");
    life.pass(DAY * 2).await;
    assert_eq!(life.count("EXPIRING").await, 1);
    life.pass(DAY * 4).await;
    let told = events(&life.app).await;
    let told: Vec<_> = told.iter().filter(|(name, _)| name == "EXPIRING").collect();
    assert_eq!(told.len(), 1, "once: {told:?}");
    assert_eq!(told[0].1["what"], "refresh_token");
    let dies_at = ms(told[0].1["expiresAt"].as_str().unwrap());
    let left = dies_at - life.bench.now().await;
    assert!(left < 3 * 86_400_000, "{left}");
    assert_eq!(life.status().await.consecutive_failures, 0);
}

#[tokio::test]
async fn s65_an_offer_does_not_show_its_tokens() {
    let mut canaries = Canaries::new();
    let bench = Bench::with_a_clock(life(3600)).await;
    let offer = Offer {
        access_token: Some(canaries.plant("access").into()),
        refresh_token: Some(canaries.plant("refresh").into()),
        client_secret: Some(canaries.plant("secret").into()),
        ..offer(&bench.seed(1)[0])
    };
    canaries.assert_absent("Debug", format!("{offer:?}"));
}
