//! What only the Redis store can do wrong: the server it is given, connections that end, replies that
//! do not come, confirmations that are not given.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod support;

use std::time::{Duration, Instant};

use evergreen_engine::id::WorkflowId;
use evergreen_engine::record::Record;
use evergreen_engine::store::redis::{RedisOptions, RedisStore, migrate};
use evergreen_engine::store::{
    Claim, ClaimMode, Claimed, Commit, Committed, Creation, SealedOp, Signal, Signalled, Store,
    StoreError,
};

use self::support::Server;

/// Every write reaches the disk before it is answered: confirming takes no time.
const SAFE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];
const QUICK: Duration = Duration::from_millis(400);

fn id(name: &str) -> WorkflowId {
    WorkflowId::new("test", name).unwrap()
}

fn creating(name: &str, durable: bool) -> Signal {
    Signal {
        id: id(name),
        payload: "{}".to_owned(),
        preemptive: false,
        ends_claim: None,
        create: Some(Creation {
            state: "New".to_owned(),
            data: "{}".to_owned(),
            schema: 1,
        }),
        durable,
    }
}

async fn hold(store: &RedisStore, name: &str) -> Record {
    let claim = Claim {
        id: id(name),
        claim: format!("{:016x}", rand::random::<u64>()),
        owner: "worker".to_owned(),
        lease: Duration::from_secs(15),
        mode: ClaimMode::Drive,
        spare_owned: false,
    };
    match store.claim(&claim).await.unwrap().answer {
        Claimed::Claimed { record, .. } => *record,
        other => panic!("{other:?}"),
    }
}

fn commit(name: &str, record: &Record) -> Commit {
    Commit {
        id: id(name),
        fence: record.fence,
        claim: record.claim.clone().unwrap(),
        commit: format!("{:016x}", rand::random::<u64>()),
        strict: false,
        consumed: 1,
        state: "Waiting".to_owned(),
        data: "{}".to_owned(),
        schema: 1,
        wake_at: None,
        visible_at: None,
        activity: None,
        keep: None,
        finish: false,
        park: None,
        sealed: Vec::new(),
        log: String::new(),
        log_max: 0,
        events: Vec::new(),
        events_max: 1000,
        durable: true,
    }
}

fn queued(confirmed: bool) -> Signalled {
    Signalled::Queued {
        v: 0,
        held: false,
        confirmed,
    }
}

async fn refused(options: RedisOptions) -> String {
    match RedisStore::connect(options).await {
        Err(error @ StoreError::Refused { .. }) => error.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("accepted"),
    }
}

#[tokio::test]
async fn a_server_that_would_lose_data_is_refused() {
    let server = Server::start(&["--maxmemory-policy", "allkeys-lru"]);
    let why = refused(server.options()).await;
    assert!(why.contains("maxmemory-policy noeviction"), "{why}");

    let server = Server::start(&[]);
    let volatile = |allow_volatile| RedisOptions {
        allow_volatile,
        ..server.options()
    };
    let why = refused(volatile(false)).await;
    assert!(why.contains("appendonly yes"), "{why}");
    let store = RedisStore::connect(volatile(true)).await.unwrap();
    assert_eq!(store.warnings().len(), 1);

    let server = Server::start(&["--save", "3600 1"]);
    let store = RedisStore::connect(server.options()).await.unwrap();
    assert!(store.warnings()[0].contains("snapshots"));

    let server = Server::start(&["--appendonly", "yes"]);
    let store = RedisStore::connect(server.options()).await.unwrap();
    assert!(store.warnings().is_empty());
}

/// Managed services forbid `CONFIG`.
#[tokio::test]
async fn a_server_that_does_not_show_its_configuration_is_warned_of() {
    let server = Server::start(&["--rename-command", "CONFIG", ""]);
    let options = RedisOptions {
        allow_volatile: false,
        ..server.options()
    };
    let store = RedisStore::connect(options).await.unwrap();
    assert!(store.warnings()[0].contains("make sure"));
}

#[tokio::test]
async fn a_key_space_is_made_once_and_its_partitions_stay() {
    let server = Server::any();
    let options = RedisOptions {
        partitions: Some(64),
        ..server.options()
    };
    let not_yet = RedisOptions {
        create: false,
        ..options.clone()
    };
    let why = refused(not_yet.clone()).await;
    assert!(why.contains("evergreen migrate"), "{why}");

    let first = migrate(&options, 64).await.unwrap();
    assert_eq!(first.applied, ["0001_key_space"]);
    assert_eq!((first.meta.version, first.meta.partitions), (1, 64));
    assert_eq!(
        (first.meta.salt.len(), first.meta.stamp),
        (64, first.meta.created_at)
    );
    let again = migrate(&options, 64).await.unwrap();
    assert!(again.applied.is_empty());
    assert_eq!(again.meta, first.meta);
    let why = migrate(&options, 16).await.unwrap_err().to_string();
    assert!(why.contains("64"), "{why}");

    let store = RedisStore::connect(not_yet.clone()).await.unwrap();
    assert_eq!(store.partitions(), 64);
    assert_eq!(store.meta().await.unwrap(), first.meta);
    let any = RedisOptions {
        partitions: None,
        ..not_yet.clone()
    };
    assert_eq!(RedisStore::connect(any).await.unwrap().partitions(), 64);
    let other = RedisOptions {
        partitions: Some(16),
        ..not_yet.clone()
    };
    let why = refused(other).await;
    assert!(why.contains("configure 64"), "{why}");

    store.table_put("meta", "stamp", "7").await.unwrap();
    assert_eq!(store.meta().await.unwrap().stamp, 7);
    store.table_put("meta", "version", "2").await.unwrap();
    let why = refused(not_yet).await;
    assert!(why.contains("install a newer one"), "{why}");
}

#[tokio::test]
async fn a_key_space_that_lost_its_meta_is_not_made_anew() {
    let server = Server::any();
    let options = server.options();
    let store = RedisStore::connect(options.clone()).await.unwrap();
    store.signal(&creating("a", false)).await.unwrap();
    let mut forget = redis::cmd("DEL");
    forget.arg(format!("{}:meta", options.prefix));
    forget.exec_async(&mut server.raw().await).await.unwrap();
    let why = refused(options).await;
    assert!(why.contains("restore it"), "{why}");
}

#[tokio::test]
async fn a_password_opens_and_is_never_told() {
    let server = Server::start(&["--appendonly", "yes", "--requirepass", "hunter2"]);
    let with = |login: &str| RedisOptions {
        url: server
            .url()
            .replace("redis://", &format!("redis://{login}@")),
        ..server.options()
    };
    let store = RedisStore::connect(with(":hunter2")).await.unwrap();
    assert!(!store.masked_url().contains("hunter2"));
    let why = refused(with(":hunter3")).await;
    assert!(!why.contains("hunter"), "{why}");
    let why = refused(server.options()).await;
    assert!(why.contains("NOAUTH"), "{why}");
}

#[tokio::test]
async fn nobody_there_is_away() {
    let server = Server::start(&[]);
    let options = server.options();
    drop(server);
    let error = RedisStore::connect(options).await.err().unwrap();
    assert!(matches!(error, StoreError::Away { .. }), "{error}");
}

#[tokio::test]
async fn a_flushed_script_cache_is_filled_again() {
    let server = Server::any();
    let store = RedisStore::connect(server.options()).await.unwrap();
    let mut flush = redis::cmd("SCRIPT");
    flush.arg("FLUSH");
    let mut raw = server.raw().await;
    for round in 0..2 {
        let name = format!("w{round}");
        flush.exec_async(&mut raw).await.unwrap();
        assert_eq!(
            store.signal(&creating(&name, false)).await.unwrap(),
            queued(true)
        );
        let record = hold(&store, &name).await;
        flush.exec_async(&mut raw).await.unwrap();
        let last = commit(&name, &record);
        let told = store.commit(&last).await.unwrap();
        assert!(matches!(
            told.answer,
            Committed::Written {
                v: 1,
                already: false,
                ..
            }
        ));
        flush.exec_async(&mut raw).await.unwrap();
        assert!(store.read(&id(&name), true).await.unwrap().is_some());
    }
}

/// A stopped server accepts connections and answers nothing.
#[tokio::test]
async fn a_stopped_server_is_away_and_nothing_hangs() {
    let server = Server::start(&SAFE);
    let options = RedisOptions {
        reply_timeout: QUICK,
        pool: 2,
        ..server.options()
    };
    let store = RedisStore::connect(options.clone()).await.unwrap();
    store.signal(&creating("a", true)).await.unwrap();
    let record = hold(&store, "a").await;
    let last = commit("a", &record);
    server.stop();
    let begun = Instant::now();
    let plain = Commit {
        durable: false,
        ..last.clone()
    };
    let (a, b, c, d) = tokio::join!(
        store.commit(&last),
        store.commit(&plain),
        store.peek(&[0]),
        RedisStore::connect(options),
    );
    assert!(begun.elapsed() < 3 * QUICK, "{:?}", begun.elapsed());
    for error in [a.err(), b.err(), c.err(), d.err()] {
        assert!(matches!(error, Some(StoreError::Away { .. })), "{error:?}");
    }
    server.go_on();
    // Both were sent before; whichever came first counts, and the rest is answered `already`.
    let told = store.commit(&last).await.unwrap();
    let already = Committed::Written {
        v: 1,
        already: true,
        ours: false,
        confirmed: true,
    };
    assert_eq!(told.answer, already);
}

#[tokio::test]
async fn connections_that_were_killed_are_made_anew() {
    let server = Server::any();
    let store = RedisStore::connect(server.options()).await.unwrap();
    let mut wakes = store.wakes().await.unwrap();
    store.signal(&creating("a", true)).await.unwrap();
    wakes.recv().await.unwrap();
    let mut raw = server.raw().await;
    for kind in ["normal", "pubsub"] {
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg(kind);
        kill.exec_async(&mut raw).await.unwrap();
    }
    store.signal(&creating("b", false)).await.unwrap();
    // Whoever used the killed connection is told that it is gone; the next gets a new one.
    let first = store.signal(&creating("c", true)).await;
    assert!(
        !matches!(first, Err(StoreError::Refused { .. })),
        "{first:?}"
    );
    let next = store.signal(&creating("d", true)).await.unwrap();
    assert_eq!(next, queued(true));
    let heard = async {
        loop {
            store.signal(&creating("e", false)).await.unwrap();
            let patience = Duration::from_millis(50);
            if let Ok(wake) = tokio::time::timeout(patience, wakes.recv()).await {
                break wake.unwrap();
            }
        }
    };
    let heard = tokio::time::timeout(Duration::from_secs(10), heard)
        .await
        .unwrap();
    assert_eq!(heard.0, id("e").partition(store.partitions()));
}

#[tokio::test]
async fn connections_bear_names_that_people_know() {
    let server = Server::any();
    let store = RedisStore::connect(server.options()).await.unwrap();
    store.signal(&creating("a", true)).await.unwrap();
    let mut list = redis::cmd("CLIENT");
    list.arg("LIST");
    let list: String = list.query_async(&mut server.raw().await).await.unwrap();
    for name in ["evergreen-pool", "evergreen-durable"] {
        assert!(list.contains(&format!("name={name} ")), "{list}");
    }
}

#[tokio::test]
async fn a_restart_changes_the_run_id_and_nothing_else() {
    let mut server = Server::start(&SAFE);
    let store = RedisStore::connect(server.options()).await.unwrap();
    store.signal(&creating("a", true)).await.unwrap();
    let before = (store.run_id().await.unwrap(), store.meta().await.unwrap());
    server.restart();
    // The first to use the connection learns that it is gone.
    let _ = store.run_id().await;
    let run = store.run_id().await.unwrap();
    assert_ne!(run, before.0);
    assert_eq!(store.meta().await.unwrap(), before.1);
    let reading = store.read(&id("a"), false).await.unwrap().unwrap();
    assert_eq!(reading.inbox_len, 1);
    assert_eq!(
        store.signal(&creating("b", true)).await.unwrap(),
        queued(true)
    );
}

/// Returns when a durable write is confirmed: a replica that has just been filled first writes its
/// file anew, and has nothing safe until that is done.
async fn settled(store: &RedisStore) {
    let confirmed =
        async { while store.signal(&creating("settled", true)).await.unwrap() != queued(true) {} };
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, confirmed).await.unwrap();
}

async fn acknowledgements(server: &Server) -> u64 {
    server.calls_of("waitaof").await + server.calls_of("wait").await
}

/// Many at once need few acknowledgements: what comes while one is awaited shares the next.
#[tokio::test]
async fn durable_writes_share_their_acknowledgements() {
    const WRITES: usize = 300;
    let server = Server::start(&SAFE);
    let port = server.port().to_owned();
    let _replica = Server::start(&[&SAFE[..], &["--replicaof", "127.0.0.1", &port]].concat());
    server.has_replicas(1).await;
    let options = RedisOptions {
        replicas: 1,
        ..server.options()
    };
    let store = RedisStore::connect(options).await.unwrap();
    settled(&store).await;
    let before = acknowledgements(&server).await;
    let signal = async |n: usize| store.signal(&creating(&format!("w{n}"), true)).await;
    let writes = futures::future::join_all((0..WRITES).map(signal));
    for answer in writes.await {
        assert_eq!(answer.unwrap(), queued(true));
    }
    let waits = acknowledgements(&server).await - before;
    assert!(
        (1..=20).contains(&waits),
        "{WRITES} writes, {waits} acknowledgements"
    );
}

#[tokio::test]
async fn what_the_replica_does_not_have_is_not_confirmed() {
    let server = Server::start(&SAFE);
    let port = server.port().to_owned();
    let replica = Server::start(&[&SAFE[..], &["--replicaof", "127.0.0.1", &port]].concat());
    server.has_replicas(1).await;
    let with = |replicas| RedisOptions {
        replicas,
        confirm_timeout: QUICK,
        ..server.options()
    };
    let store = RedisStore::connect(with(1)).await.unwrap();
    settled(&store).await;
    store.signal(&creating("a", true)).await.unwrap();
    replica.stop();
    let record = hold(&store, "a").await;
    let last = commit("a", &record);
    let answer = async |store: &RedisStore, commit: &Commit| match store
        .commit(commit)
        .await
        .unwrap()
        .answer
    {
        Committed::Written {
            already, confirmed, ..
        } => (already, confirmed),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        answer(&store, &last).await,
        (false, false),
        "written, not confirmed"
    );
    assert_eq!(answer(&store, &last).await, (true, false), "still not");
    let plain = Commit {
        durable: false,
        ..last.clone()
    };
    assert_eq!(
        answer(&store, &plain).await,
        (true, true),
        "nothing was asked"
    );
    replica.go_on();
    let confirmed = async { while answer(&store, &last).await != (true, true) {} };
    tokio::time::timeout(Duration::from_secs(10), confirmed)
        .await
        .unwrap();
    let two = RedisStore::connect(with(2)).await.unwrap();
    assert_eq!(
        two.signal(&creating("b", true)).await.unwrap(),
        queued(false)
    );
}

/// Who disconnects must be able to, also when memory is full: erasing comes first.
#[tokio::test]
async fn with_full_memory_only_a_commit_that_erases_passes() {
    let server = Server::start(&["--appendonly", "yes"]);
    let store = RedisStore::connect(server.options()).await.unwrap();
    for name in ["a", "b"] {
        store.signal(&creating(name, false)).await.unwrap();
    }
    let (a, b) = (hold(&store, "a").await, hold(&store, "b").await);
    let mut fill = redis::cmd("CONFIG");
    fill.arg("SET").arg("maxmemory").arg("1");
    fill.exec_async(&mut server.raw().await).await.unwrap();
    for durable in [false, true] {
        let growing = Commit {
            sealed: vec![SealedOp::Put("blob".to_owned(), "x".to_owned())],
            durable,
            ..commit("a", &a)
        };
        let error = store.commit(&growing).await.unwrap_err();
        assert!(matches!(error, StoreError::Away { .. }), "{error}");
        let error = store.signal(&creating("c", durable)).await.unwrap_err();
        assert!(matches!(error, StoreError::Away { .. }), "{error}");
    }
    let erasing = Commit {
        sealed: vec![SealedOp::Clear],
        ..commit("b", &b)
    };
    let told = store.commit(&erasing).await.unwrap();
    assert!(matches!(told.answer, Committed::Written { v: 1, .. }));
    let reading = store.read(&id("b"), true).await.unwrap().unwrap();
    assert_eq!(reading.record.state, "Waiting");
    let reading = store.read(&id("a"), true).await.unwrap().unwrap();
    assert_eq!(
        (reading.record, reading.inbox_len),
        (a, 1),
        "nothing was half written"
    );
}

#[tokio::test]
async fn without_a_clock_of_its_own_it_goes_by_the_server() {
    let server = Server::any();
    let store = RedisStore::connect(server.options()).await.unwrap();
    let mut raw = server.raw().await;
    let time = redis::cmd("TIME");
    let (before, _): (u64, u64) = time.query_async(&mut raw).await.unwrap();
    let now = store.now().await.unwrap();
    let peek = store.peek(&[0, 15]).await.unwrap();
    store.signal(&creating("a", false)).await.unwrap();
    let reading = store.read(&id("a"), false).await.unwrap().unwrap();
    let (after, _): (u64, u64) = time.query_async(&mut raw).await.unwrap();
    for seen in [now, peek.now, reading.now, reading.score.unwrap()] {
        assert!(
            (before * 1000..(after + 1) * 1000).contains(&seen),
            "{seen}"
        );
    }
    assert_eq!(peek.partitions.len(), 2);
}
