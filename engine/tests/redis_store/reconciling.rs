//! Records that somebody else has spoilt, and how little a comparison costs.

use evergreen_engine::store::redis::{RedisOptions, RedisStore};
use evergreen_engine::store::{Place, Reconciled, Store, StoreError};
use redis::aio::MultiplexedConnection;

use super::steps::{creating, id};
use super::support::Server;

/// What is none of ours keeps nobody from putting right what is.
#[tokio::test]
async fn a_record_that_is_spoilt_is_told_and_left_alone() {
    let server = Server::any();
    let options = RedisOptions {
        partitions: Some(1),
        ..server.options()
    };
    let prefix = options.prefix.clone();
    let store = RedisStore::connect(options).await.unwrap();
    let ids = ["a", "b", "c"].map(id);
    for name in ["a", "b", "c"] {
        assert!(
            store
                .signal(&creating(name, false))
                .await
                .unwrap()
                .is_queued()
        );
    }
    let key = |what: &str| format!("{prefix}:{{00}}:{what}");
    let mut raw = server.raw().await;
    let mut spoil = redis::pipe();
    spoil.cmd("DEL").arg(key("wf:test:a"));
    spoil.cmd("SET").arg(key("wf:test:a")).arg("mine");
    spoil.cmd("DEL").arg(key("inbox:test:b"));
    spoil.cmd("HSET").arg(key("wf:test:b")).arg("wake_at");
    spoil.arg("tomorrow");
    spoil.cmd("ZREM").arg(key("due")).arg("test:c");
    spoil.exec_async(&mut raw).await.unwrap();

    let found = store.compare(&ids, &[]).await.unwrap().found;
    use Reconciled::{Missing, Right, Unreadable};
    assert_eq!(found, [Unreadable, Unreadable, Missing]);
    let found = store.compare(&ids, &[]).await.unwrap().found;
    assert_eq!(found, [Unreadable, Unreadable, Right]);
    let mut left = redis::cmd("ZSCORE");
    left.arg(key("due")).arg("test:a");
    let left: Option<f64> = left.query_async(&mut raw).await.unwrap();
    assert!(left.is_some(), "not ours to take away");

    // A whole set that is none of ours: nothing can be compared with it.
    let mut replace = redis::cmd("SET");
    replace.arg(key("due")).arg("mine");
    replace.exec_async(&mut raw).await.unwrap();
    let refused = store.compare(&ids, &[]).await;
    assert!(matches!(refused, Err(StoreError::Refused { .. })));
}

/// One step of the reconciler is one round trip, however many it compares: the server reads once.
#[tokio::test]
async fn a_step_that_compares_a_few_costs_one_round_trip() {
    let server = Server::start(&["--appendonly", "yes"]);
    let store = RedisStore::connect(server.options()).await.unwrap();
    let names: Vec<_> = (0..20).map(|n| format!("w{n}")).collect();
    for name in &names {
        assert!(
            store
                .signal(&creating(name, false))
                .await
                .unwrap()
                .is_queued()
        );
    }
    let ids: Vec<_> = names.iter().map(|name| id(name)).collect();
    let (partition, rank, count) = (0, 0, 10);
    let (kind, cursor) = ("test".to_owned(), None);
    let then = [
        Place::Index {
            partition,
            rank,
            count,
        },
        Place::Records {
            kind,
            cursor,
            count,
        },
    ];
    // The script is known, and the connection made.
    store.compare(&ids, &then).await.unwrap();
    let mut raw = server.raw().await;
    let before = reads(&mut raw).await;
    for _ in 0..5 {
        let compared = store.compare(&ids, &then).await.unwrap();
        assert_eq!(compared.found, [Reconciled::Right; 20]);
    }
    let own = 1;
    assert_eq!(reads(&mut raw).await - before, 5 + own);
}

/// How often the server has read from a connection.
async fn reads(raw: &mut MultiplexedConnection) -> u64 {
    let mut ask = redis::cmd("INFO");
    ask.arg("stats");
    let text: String = ask.query_async(raw).await.unwrap();
    let head = "total_reads_processed:";
    let line = text.lines().find_map(|line| line.strip_prefix(head));
    line.unwrap().parse().unwrap()
}
