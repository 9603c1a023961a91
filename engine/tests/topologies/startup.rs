//! What a store says of servers that are not as they should be.

use evergreen_engine::store::redis::{RedisOptions, RedisStore, migrate};
use evergreen_engine::store::{Store, StoreError};

use crate::steps::QUICK;
use crate::support::{Cluster, Server, Watched, fresh, tell};

async fn refused(options: RedisOptions) -> String {
    match RedisStore::connect(options).await {
        Err(error @ StoreError::Refused { .. }) => error.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("accepted"),
    }
}

#[tokio::test]
async fn a_cluster_is_looked_at_server_by_server() {
    let cluster = Cluster::start(3, 0).await;
    let options = fresh(&cluster.url());
    let report = migrate(&options, 64).await.unwrap();
    assert_eq!(report.applied, ["0001_key_space"]);
    assert!(migrate(&options, 64).await.unwrap().applied.is_empty());
    let store = RedisStore::connect(options.clone()).await.unwrap();
    assert_eq!(store.partitions(), 64);
    let warnings = store.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("EVERGREEN_REPLICAS"), "{warnings:?}");

    // Any one of them may throw keys away, or forget them; which one is told.
    let port = cluster.servers[2].port();
    let set = |name, value| async move {
        let () = tell(port, &["CONFIG", "SET", name, value]).await.unwrap();
    };
    set("maxmemory-policy", "allkeys-lru").await;
    let why = refused(options.clone()).await;
    assert!(why.contains(&format!("127.0.0.1:{port}")), "{why}");
    assert!(why.contains("maxmemory-policy noeviction"), "{why}");
    set("maxmemory-policy", "noeviction").await;
    set("appendonly", "no").await;
    let strict = RedisOptions {
        allow_volatile: false,
        ..options.clone()
    };
    let why = refused(strict).await;
    assert!(why.contains(&format!("127.0.0.1:{port}")), "{why}");
    assert!(why.contains("appendonly yes"), "{why}");

    // One whose address was given as if it were alone.
    let alone = RedisOptions {
        url: cluster.servers[0].url().to_owned(),
        ..options
    };
    let why = refused(alone).await;
    assert!(why.contains("redis+cluster://"), "{why}");
}

/// Whoever starts while a part of a cluster is away works with the rest of it, as those do that run.
#[tokio::test]
async fn a_cluster_is_used_that_has_lost_a_node() {
    let mut cluster = Cluster::start(3, 0).await;
    let options = fresh(&cluster.url());
    RedisStore::connect(options.clone()).await.unwrap();
    let meta = cluster.holder(&format!("{}:meta", options.prefix)).await;
    let gone = (0..3).find(|place| cluster.servers[*place].port() != meta);
    let port = cluster.servers[gone.unwrap()].port();
    cluster.servers[gone.unwrap()].end();
    let store = RedisStore::connect(options.clone()).await.unwrap();
    let mut warnings = store.warnings().iter();
    let name = format!("127.0.0.1:{port}: it does not answer");
    assert!(
        warnings.any(|warning| warning.contains(&name)),
        "{:?}",
        store.warnings()
    );
    // Without the key space there is nothing to work on.
    let at = cluster.at(meta);
    cluster.servers[at].end();
    let away = RedisStore::connect(options).await.map(|_| ()).unwrap_err();
    assert!(matches!(away, StoreError::Away { .. }), "{away}");
}

#[tokio::test]
async fn a_key_space_that_lost_its_meta_is_found_wherever_its_keys_lie() {
    let cluster = Cluster::start(3, 0).await;
    let options = fresh(&cluster.url());
    for server in &cluster.servers {
        // A key on this very server, in whatever slot.
        let mut names = (0..).map(|n| format!("{}:{n}", options.prefix));
        let here = loop {
            let name = names.next().unwrap();
            let set: redis::RedisResult<()> = tell(server.port(), &["SET", &name, "x"]).await;
            if set.is_ok() {
                break name;
            }
        };
        let why = refused(options.clone()).await;
        assert!(why.contains("restore it"), "{why}");
        let () = tell(server.port(), &["DEL", &here]).await.unwrap();
    }
    RedisStore::connect(options).await.unwrap();
}

#[tokio::test]
async fn a_url_of_another_topology_is_told() {
    let server = Server::any();
    let port = server.port();
    let why = refused(fresh(&format!("redis+cluster://127.0.0.1:{port}"))).await;
    assert!(why.contains("is no node of a cluster"), "{why}");
    let why = refused(fresh(&format!(
        "redis+sentinel://127.0.0.1:{port}?master=m"
    )))
    .await;
    assert!(
        why.contains(&format!("the Sentinel 127.0.0.1:{port}")),
        "{why}"
    );
}

#[tokio::test]
async fn sentinels_are_asked_for_the_right_master_as_long_as_one_answers() {
    let mut watched = Watched::start(1).await;
    let hosts = watched.url();
    let why = refused(fresh(&hosts.replace("master=main", "master=mian"))).await;
    assert!(
        why.contains("knows no master named mian") && why.contains("sentinel monitor"),
        "{why}"
    );

    // One that is gone, and two that are gone, are not missed.
    for gone in 0..2 {
        watched.sentinels[gone].end();
        let options = RedisOptions {
            reply_timeout: QUICK * 5,
            ..fresh(&hosts)
        };
        let store = RedisStore::connect(options).await.unwrap();
        assert_eq!(store.partitions(), 16);
    }
    watched.sentinels[2].end();
    let error = RedisStore::connect(fresh(&hosts)).await.err().unwrap();
    assert!(matches!(error, StoreError::Away { .. }), "{error}");
    assert!(error.to_string().contains("Sentinel"), "{error}");
}
