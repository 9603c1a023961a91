//! Writes that are confirmed only when they are safe.

use std::time::Duration;

use evergreen_engine::store::redis::{RedisOptions, RedisStore};
use evergreen_engine::store::{Commit, Committed, Store};

use super::steps::{QUICK, SAFE, commit, creating, hold, queued};
use super::support::Server;

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
    let port = server.port().to_string();
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
    let port = server.port().to_string();
    let replica = Server::start(&[&SAFE[..], &["--replicaof", "127.0.0.1", &port]].concat());
    server.has_replicas(1).await;
    let with = |replicas| RedisOptions {
        replicas,
        confirm_timeout: QUICK,
        ..server.options()
    };
    let store = RedisStore::connect(with(1)).await.unwrap();
    settled(&store).await;
    assert!(
        store
            .signal(&creating("a", true))
            .await
            .unwrap()
            .is_queued()
    );
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
