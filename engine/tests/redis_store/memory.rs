//! A server whose memory is full.

use evergreen_engine::store::redis::RedisStore;
use evergreen_engine::store::{Commit, Committed, SealedOp, Store, StoreError};

use super::steps::{commit, creating, hold, id};
use super::support::Server;

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
