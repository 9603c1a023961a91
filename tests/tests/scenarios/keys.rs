//! Seal keys: a wrong one, a new one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evergreen_engine::WorkflowId;
use evergreen_tests::bench::{PATIENCE, RunningWorker, adopt, offer};
use evergreen_tests::{Bench, RedisServer, eventually};
use ninjaone::journal::{self, Entry, EntryId, Journal, Limits};
use ninjaone::lifecycle::{Credential, KIND};
use ninjaone::provider::InstanceUrl;
use ninjaone::service::{AdoptOptions, Adopted, App, ClientConnect, Recovery, TokenAsk, UsePlace};
use ninjaone::simulator::{ClientApp, SeededGrant};
use ninjaone::vault::{GrantId, KeyRing, Pair, Place, Workflow};
use secrecy::ExposeSecret;

use crate::support::*;

pub(crate) fn fresh() -> String {
    let key = KeyRing::generate().unwrap().printable;
    key.expose_secret().to_owned()
}

pub(crate) fn id_of(key: &str) -> &str {
    key.split(':').next().unwrap()
}

fn app_with(bench: &Bench, name: &str, ring: &str) -> App {
    let mut options = bench.options(name);
    options.ring = KeyRing::parse(ring).unwrap();
    bench.app_from(options)
}

#[tokio::test(flavor = "multi_thread")]
async fn s66_with_a_wrong_key_it_is_undecryptable_and_the_right_one_heals_it() {
    let redis = RedisServer::start().await;
    let bench = Bench::on_redis(&redis, life(3600)).await;
    let grant = bench.seed(1).remove(0);
    adopt(&bench.app("before"), &grant).await;
    // Another key under the id of the right one, as a mistake in a file of secrets makes it.
    let other = fresh();
    let (_, material) = other.split_once(':').unwrap();
    let wrong = format!("{}:{material}", id_of(bench.keys()));
    let mistaken = app_with(&bench, "mistaken", &wrong);
    let refused = mistaken.token(&target(&grant), &TokenAsk::default()).await;
    let refused = refused.map(drop).unwrap_err();
    assert!(refused.to_string().contains("undecryptable"), "{refused}");
    assert_eq!(refused.recovery(), Recovery::FixConfiguration);
    let working = bench.worker(&mistaken);
    let status = mistaken.refresh(&target(&grant)).await.unwrap();
    assert_eq!(
        (status.state.as_str(), status.attention.as_deref()),
        ("Active", Some("undecryptable"))
    );
    assert_eq!(status.reason, None, "nobody is asked to consent");
    eventually("the worker's settings", PATIENCE, async || {
        bench.store.table_get("settings", "access").await.ok()?
    })
    .await;
    working.stop().await;
    assert_eq!(bench.simulator.handle().totals().requests, 0);

    let right = bench.app("right");
    let working = bench.worker(&right);
    let name = target(&grant).to_string();
    let healed = bench
        .see(&right, &name, "its health", |s| s.state == "Scheduled")
        .await;
    assert_eq!(
        (healed.generation, healed.epoch),
        (1, 1),
        "by itself, without a reconnect"
    );
    working.stop().await;
}

/// Whoever reads tokens all the time, through whichever processes there are.
struct Readers {
    apps: Arc<Mutex<Vec<App>>>,
    over: Arc<AtomicBool>,
    reads: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Readers {
    fn start(apps: Vec<App>, names: Vec<String>) -> Self {
        let (apps, over) = (Arc::new(Mutex::new(apps)), Arc::new(AtomicBool::new(false)));
        let reads = Arc::new(AtomicU64::new(0));
        let (through, ended, count) = (Arc::clone(&apps), Arc::clone(&over), Arc::clone(&reads));
        let task = tokio::spawn(async move {
            while !ended.load(Ordering::Relaxed) {
                let apps = through.lock().unwrap().clone();
                for app in &apps {
                    for name in &names {
                        let ask = TokenAsk::default();
                        if let Err(error) = app.token(&name.parse().unwrap(), &ask).await {
                            panic!("{name} by {}: {error}", app.worker_id());
                        }
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        Self {
            apps,
            over,
            reads,
            task,
        }
    }

    fn replace(&self, apps: Vec<App>) {
        *self.apps.lock().unwrap() = apps;
    }

    async fn stop(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        self.reads.load(Ordering::Relaxed)
    }
}

/// Waits until a worker's line tells of its keys.
async fn told(bench: &Bench, worker: &str) {
    eventually("its line", PATIENCE, async || {
        let line = bench.store.table_get("workers", worker).await.ok()??;
        line.contains("seal_keys").then_some(())
    })
    .await;
}

async fn started(bench: &Bench, name: &str, ring: &str) -> (App, RunningWorker) {
    let app = app_with(bench, name, ring);
    let worker = bench.worker(&app);
    told(bench, name).await;
    (app, worker)
}

/// A user grant, one with an app of its own, and a client grant; their names.
async fn grants(bench: &Bench, app: &App) -> (Vec<SeededGrant>, Vec<String>) {
    let seeded = bench.seed(2);
    adopt(app, &seeded[0]).await;
    // To a fleet without an app, this one is the grant's own.
    let mut options = bench.options("without-an-app");
    options.client = None;
    options.ring = KeyRing::parse(bench.keys()).unwrap();
    let mut own = offer(&seeded[1]);
    own.client_secret = ClientApp::demo().client_secret;
    let adopted = bench
        .app_from(options)
        .adopt(own, AdoptOptions::default())
        .await;
    assert_eq!(adopted.unwrap(), Adopted::Adopted);
    let url = bench.simulator.handle().url().to_string();
    let minted = app.connect_client(ClientConnect {
        integration: target(&seeded[0]).integration,
        instance_url: InstanceUrl::parse(&url, app.host_policy()).unwrap(),
        client_id: None,
        client_secret: None,
        scopes: None,
    });
    assert_eq!(minted.await.unwrap().state, "Scheduled");
    let first = target(&seeded[0]).to_string();
    let names = vec![
        format!("{first}@user"),
        format!("{first}@client"),
        format!("{}@user", target(&seeded[1])),
    ];
    (seeded, names)
}

/// The keys that everything sealed in Redis is sealed with.
async fn keys_in_use(redis: &RedisServer) -> Vec<String> {
    let pattern = format!("{}*sealed*", redis.prefix());
    let hashes: Vec<String> = redis.cli(&["KEYS", &pattern]).await;
    let mut ids = Vec::new();
    for hash in hashes {
        let blobs: Vec<String> = redis.cli(&["HVALS", &hash]).await;
        ids.extend(
            blobs
                .iter()
                .map(|blob| blob.split('.').nth(1).unwrap().to_owned()),
        );
    }
    assert!(
        ids.len() >= 4,
        "three pairs, and an app of its own: {ids:?}"
    );
    ids.sort();
    ids.dedup();
    ids
}

/// An entry that stays in a journal: its grant is not known to the store.
pub(crate) fn stranded(ring: &str) -> Entry {
    left_behind(ring, "gone/prod@user", GrantId::random())
}

/// A pair that the first refresh of this grant has brought, and nobody has stored.
fn left_behind(ring: &str, id: &str, grant: GrantId) -> Entry {
    let place = Place::Journal {
        workflow: Workflow { kind: KIND, id },
        grant,
        base_generation: 0,
    };
    let pair = Pair {
        access_token: "A".into(),
        refresh_token: Some("R".into()),
    };
    Entry {
        id: EntryId::random(),
        kind: KIND.to_owned(),
        workflow: id.to_owned(),
        grant,
        base_generation: 0,
        claim: "0123456789abcdef".to_owned(),
        commit: None,
        written_at_ms: 1,
        expires_at_ms: None,
        bearer: true,
        stamp: 0,
        sealed: KeyRing::parse(ring).unwrap().seal_pair(&place, &pair),
    }
}

#[tokio::test]
async fn s41_a_pair_kept_apart_under_a_key_that_is_gone_is_told_of_before_anybody_is_asked_to_consent()
 {
    let bench = Bench::with_a_clock(life(3600)).await;
    let (old, new) = (bench.keys().to_owned(), fresh());
    let grant = bench.seed(1).remove(0);
    let name = target(&grant);
    let app = bench.app("old");
    adopt(&app, &grant).await;
    app.refresh(&name).await.unwrap();
    let id = format!("{}@user", name.integration);
    let workflow = WorkflowId::new(KIND, &id).unwrap();
    let view = app.engine().read::<Credential>(&workflow, false).await;
    let stored = view.unwrap().unwrap().machine.unwrap().0.grant.unwrap();
    let lost = Journal::open(&bench.journals(), "a-lost-worker", Limits::default()).unwrap();
    let entry = left_behind(&old, &id, stored.id);
    lost.put(entry).await.unwrap();
    lost.close().await.unwrap();
    let heir = bench.app("heir");
    heir.replay_journal().await;
    bench.settle(&heir).await;
    assert_eq!(heir.status(&name).await.unwrap().quarantined, 1);

    // The stored pair is sealed anew by the next refresh; the other one is not.
    let both = app_with(&bench, "both", &format!("{new},{old}"));
    both.refresh(&name).await.unwrap();
    let handle = bench.simulator.handle();
    handle.revoke(&grant.chain);
    let requests = handle.totals().requests;
    let alone = app_with(&bench, "new", &new);
    let status = alone.refresh(&name).await.unwrap();
    assert_eq!((status.state.as_str(), status.reason), ("Active", None));
    assert_eq!(status.attention.as_deref(), Some("undecryptable"));
    let why = status.provider.unwrap().description.unwrap();
    assert!(why.contains(id_of(&old)), "{why}");
    assert_eq!(handle.totals().requests, requests + 1, "and no hot loop");

    // With the key it is tried, and only then the verdict comes.
    both.refresh(&name).await.unwrap();
    bench.pass(&both, Duration::from_secs(1)).await;
    let status = both.status(&name).await.unwrap();
    assert_eq!(
        (status.state.as_str(), status.quarantined),
        ("ReconnectRequired", 0),
        "{status:#?}"
    );
    assert_eq!(handle.totals().requests, requests + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn s66_with_a_rotated_key_all_is_served_throughout_and_the_old_key_can_go() {
    let redis = RedisServer::start_own().await;
    let bench = Bench::on_redis(&redis, life(3600))
        .await
        .with_limits(short_leases());
    let (old, new) = (bench.keys().to_owned(), fresh());
    let both = format!("{new},{old}");
    // A machine that is gone has left a pair of which the store knows nothing.
    let lost = Journal::open(&bench.journals(), "a-lost-worker", Limits::default()).unwrap();
    lost.put(stranded(&old)).await.unwrap();
    lost.close().await.unwrap();
    let (one, first) = started(&bench, "one", &old).await;
    let (two, second) = started(&bench, "two", &old).await;
    let (seeded, names) = grants(&bench, &one).await;
    let readers = Readers::start(vec![one, two.clone()], names.clone());

    // The first worker gets the new ring, and the other could not open what it would seal with it.
    readers.replace(vec![two.clone()]);
    first.stop().await;
    let (one, first) = started(&bench, "one-again", &both).await;
    readers.replace(vec![one.clone(), two.clone()]);
    one.refresh(&target(&seeded[0])).await.unwrap();
    assert_eq!(keys_in_use(&redis).await, [id_of(&old)]);
    // As the command does: with no journal, so that it adopts nothing.
    let mut options = bench.options("operator");
    options.ring = KeyRing::parse(&both).unwrap();
    options.journal_dir = None;
    let operator = bench.app_from(options);
    let refused = operator.rotate_seal_keys(|_| {}).await.unwrap();
    assert!(!refused.begun && !refused.done);
    assert_eq!(refused.still[0].place, UsePlace::Worker);
    assert_eq!(refused.still[0].worker.as_deref(), Some("two"));
    assert_eq!(
        keys_in_use(&redis).await,
        [id_of(&old)],
        "nothing was begun"
    );

    readers.replace(vec![one.clone()]);
    second.stop().await;
    let (two, second) = started(&bench, "two-again", &both).await;
    readers.replace(vec![one.clone(), two.clone()]);
    let requests = bench.simulator.handle().totals().requests;
    let done = operator.rotate_seal_keys(|_| {}).await.unwrap();
    assert!(done.begun && done.done, "{done:#?}");
    assert_eq!((done.grants, done.resealed), (3, 3));
    assert_eq!(done.unused, [id_of(&old)]);
    assert_eq!(keys_in_use(&redis).await, [id_of(&new)]);
    let listing = journal::read_dir(&bench.journals()).unwrap();
    let keys: Vec<_> = listing
        .entries
        .iter()
        .map(|e| e.entry.sealed.key_id())
        .collect();
    assert_eq!(keys, [id_of(&new)], "the journal as well");
    let again = operator.rotate_seal_keys(|_| {}).await.unwrap();
    assert_eq!((again.done, again.resealed), (true, 0));
    assert_eq!(
        bench.simulator.handle().totals().requests,
        requests,
        "no token was refreshed by it"
    );

    // The old key goes.
    readers.replace(vec![two]);
    first.stop().await;
    let (one, first) = started(&bench, "one-at-last", &new).await;
    readers.replace(vec![one.clone()]);
    second.stop().await;
    for name in &names {
        let refreshed = one.refresh(&name.parse().unwrap()).await.unwrap();
        assert_eq!(
            (refreshed.state.as_str(), refreshed.attention),
            ("Scheduled", None),
            "{name}"
        );
    }
    assert!(readers.stop().await > 20, "tokens were read all the time");
    first.stop().await;
    let dump = String::from_utf8_lossy(&redis.dump().await).into_owned();
    assert!(!dump.contains(&format!("v1.{}.", id_of(&old))));
}
