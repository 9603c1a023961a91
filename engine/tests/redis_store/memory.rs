//! A server whose memory is full.

use evergreen_engine::store::redis::RedisStore;
use evergreen_engine::store::{Commit, Committed, SealedOp, Signal, Store, StoreError};

use super::steps::{commit, creating, hold, id, queued};
use super::support::Server;

/// Who disconnects must be able to, also when memory is full: erasing comes first.
#[tokio::test]
async fn with_full_memory_only_a_commit_that_erases_passes() {
    let server = Server::start(&["--appendonly", "yes"]);
    let store = RedisStore::connect(server.options()).await.unwrap();
    for name in ["a", "b"] {
        assert!(
            store
                .signal(&creating(name, false))
                .await
                .unwrap()
                .is_queued()
        );
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

/// The signal that disconnects takes a lease away before it adds itself to the inbox, and the script's
/// first write decides whether the others pass.
#[tokio::test]
async fn with_full_memory_a_preemptive_signal_is_queued_and_carried_out() {
    let server = Server::start(&["--appendonly", "yes"]);
    let store = RedisStore::connect(server.options()).await.unwrap();
    for name in ["held", "idle"] {
        assert!(
            store
                .signal(&creating(name, false))
                .await
                .unwrap()
                .is_queued()
        );
    }
    let held = hold(&store, "held").await;
    let mut fill = redis::cmd("CONFIG");
    fill.arg("SET").arg("maxmemory").arg("1");
    fill.exec_async(&mut server.raw().await).await.unwrap();
    for name in ["held", "idle"] {
        let plain = Signal {
            create: None,
            ..creating(name, true)
        };
        let error = store.signal(&plain).await.unwrap_err();
        assert!(matches!(error, StoreError::Away { .. }), "{error}");
        let stop = Signal {
            preemptive: true,
            ..plain
        };
        assert_eq!(store.signal(&stop).await.unwrap(), queued(true), "{name}");
    }
    let zombie = store.commit(&commit("held", &held)).await;
    assert!(!matches!(
        zombie.map(|told| told.answer),
        Ok(Committed::Written { .. })
    ));
    for name in ["held", "idle"] {
        let record = hold(&store, name).await;
        assert!(record.barrier, "{name}");
        let erasing = Commit {
            sealed: vec![SealedOp::Clear],
            consumed: 2,
            ..commit(name, &record)
        };
        let told = store.commit(&erasing).await.unwrap();
        assert!(matches!(told.answer, Committed::Written { v: 1, .. }));
        let reading = store.read(&id(name), true).await.unwrap().unwrap();
        assert_eq!((reading.inbox_len, reading.record.barrier), (0, false));
    }
}
