//! Which server is accepted, under which settings, and what it is told about.

use evergreen_engine::store::redis::{RedisOptions, RedisStore, migrate};
use evergreen_engine::store::{Store, StoreError};

use super::steps::{creating, id};
use super::support::Server;

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
    assert!(
        store
            .signal(&creating("a", false))
            .await
            .unwrap()
            .is_queued()
    );
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
async fn without_a_clock_of_its_own_it_goes_by_the_server() {
    let server = Server::any();
    let store = RedisStore::connect(server.options()).await.unwrap();
    let mut raw = server.raw().await;
    let time = redis::cmd("TIME");
    let (before, _): (u64, u64) = time.query_async(&mut raw).await.unwrap();
    let now = store.now().await.unwrap();
    let peek = store.peek(&[0, 15]).await.unwrap();
    assert!(
        store
            .signal(&creating("a", false))
            .await
            .unwrap()
            .is_queued()
    );
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
