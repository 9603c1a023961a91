//! Slots that move from one master of a cluster to another.

use evergreen_engine::WorkflowId;
use evergreen_engine::store::redis::{RedisOptions, RedisStore};
use evergreen_engine::store::{Store, StoreError};

use crate::fleet::{Fleet, options};
use crate::steps::{QUICK, creating, id, queued};
use crate::support::{Cluster, Server, fresh, holder, tell, until};
use crate::ways::whole_peek;

/// The first and the last step of an operator who moves a slot, and the keys between them.
struct Move<'a> {
    cluster: &'a Cluster,
    from: &'a Server,
    to: &'a Server,
    slot: String,
}

impl<'a> Move<'a> {
    /// From now on the slot is on its way, and its keys are still where they were.
    async fn begin(cluster: &'a Cluster, key: &str) -> Self {
        let holder = cluster.at(cluster.holder(key).await);
        let (from, to) = (&cluster.servers[holder], &cluster.servers[(holder + 1) % 3]);
        let slot: i64 = tell(from.port(), &["CLUSTER", "KEYSLOT", key])
            .await
            .unwrap();
        let slot = slot.to_string();
        let source: String = tell(from.port(), &["CLUSTER", "MYID"]).await.unwrap();
        let target: String = tell(to.port(), &["CLUSTER", "MYID"]).await.unwrap();
        let set = ["CLUSTER", "SETSLOT", &slot];
        let () = tell(to.port(), &[&set[..], &["IMPORTING", &source]].concat())
            .await
            .unwrap();
        let () = tell(from.port(), &[&set[..], &["MIGRATING", &target]].concat())
            .await
            .unwrap();
        Self {
            cluster,
            from,
            to,
            slot,
        }
    }

    /// Moves so many keys at most; tells how many there were.
    async fn keys(&self, count: &str) -> usize {
        let ask = ["CLUSTER", "GETKEYSINSLOT", &self.slot, count];
        let keys: Vec<String> = tell(self.from.port(), &ask).await.unwrap();
        if !keys.is_empty() {
            let port = self.to.port().to_string();
            let mut migrate = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            migrate.extend(keys.iter().map(String::as_str));
            let _: String = tell(self.from.port(), &migrate).await.unwrap();
        }
        keys.len()
    }

    /// Moves all keys that are left, and tells everybody.
    async fn end(self) {
        while self.keys("10").await > 0 {}
        let target: String = tell(self.to.port(), &["CLUSTER", "MYID"]).await.unwrap();
        // The new holder first: otherwise nobody holds it for a moment.
        for server in [self.to, self.from] {
            let set = ["CLUSTER", "SETSLOT", &self.slot, "NODE", &target];
            let () = tell(server.port(), &set).await.unwrap();
        }
        let slot: u16 = self.slot.parse().unwrap();
        until("a slot whose new place everybody knows", async || {
            for server in &self.cluster.servers {
                let holder = holder(server.port(), slot)
                    .await
                    .map_err(|e| e.to_string())?;
                if holder != Some(self.to.port()) {
                    return Err(format!("{} says {holder:?}", server.port()));
                }
            }
            Ok(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_moves_while_workers_run_loses_no_timer_and_doubles_none() {
    let cluster = Cluster::start(3, 0).await;
    let fleet = Fleet::start(options(&cluster.url(), 0), 3, 48).await;
    let first = &fleet.ids()[0];
    let key = cluster.key(&fleet.key(first)).await;
    let here = |id: &WorkflowId| id.partition(16) == first.partition(16);
    for round in 0_usize..2 {
        fleet.has_beaten(2, |_| true).await;
        let from = cluster.holder(&key).await;
        let moving = Move::begin(&cluster, &key).await;
        // While some of its keys are here and some there, the others go on.
        moving.keys("3").await;
        fleet.has_beaten(1, |id| !here(id)).await;
        moving.end().await;
        let now = cluster.holder(&key).await;
        assert_ne!(now, from, "round {round}");
        fleet.has_beaten(1, here).await;
    }
    fleet.holds_together().await;
}

#[tokio::test]
async fn a_store_follows_a_slot_that_has_moved() {
    let cluster = Cluster::start(3, 0).await;
    let options = fresh(&cluster.url());
    let store = RedisStore::connect(options.clone()).await.unwrap();
    assert!(
        store
            .signal(&creating("a", true))
            .await
            .unwrap()
            .is_queued()
    );
    let before = store.run_id().await.unwrap();
    let key = cluster
        .key(&format!("{}:*:wf:test:a", options.prefix))
        .await;
    Move::begin(&cluster, &key).await.end().await;
    // The first to come is told where it went, whether it reads or writes durably.
    let reading = store.read(&id("a"), false).await.unwrap().unwrap();
    assert_eq!(reading.inbox_len, 1);
    Move::begin(&cluster, &key).await.end().await;
    assert_eq!(
        store.signal(&creating("a", true)).await.unwrap(),
        queued(true)
    );
    whole_peek(&store).await;
    assert_ne!(
        store.run_id().await.unwrap(),
        before,
        "another server's clock judges its leases"
    );
}

/// A slot on its way answers about single keys wherever they are; what needs several of them, of which
/// some are not there, waits.
#[tokio::test]
async fn a_slot_on_its_way_stands_still_and_nobody_is_refused() {
    let cluster = Cluster::start(3, 0).await;
    let options = RedisOptions {
        reply_timeout: QUICK * 2,
        ..fresh(&cluster.url())
    };
    let store = RedisStore::connect(options.clone()).await.unwrap();
    assert!(
        store
            .signal(&creating("a", true))
            .await
            .unwrap()
            .is_queued()
    );
    store.table_put("gate", "host", "open").await.unwrap();
    let gate = format!("{}:gate", options.prefix);
    let moving = Move::begin(&cluster, &gate).await;
    moving.keys("10").await;
    assert_eq!(
        store.table_get("gate", "host").await.unwrap().as_deref(),
        Some("open")
    );
    store.table_put("gate", "other", "shut").await.unwrap();
    moving.end().await;
    assert_eq!(store.table_all("gate").await.unwrap().len(), 2);

    let key = cluster
        .key(&format!("{}:*:wf:test:a", options.prefix))
        .await;
    let moving = Move::begin(&cluster, &key).await;
    moving.keys("1").await;
    for durable in [false, true] {
        let error = store.signal(&creating("a", durable)).await.unwrap_err();
        assert!(matches!(error, StoreError::Away { .. }), "{error}");
        assert!(error.to_string().contains("rehashing"), "{error}");
    }
    // A look at all partitions finds this one where it is.
    whole_peek(&store).await;
    moving.end().await;
    until("the slot at its new place", async || {
        let signal = store.signal(&creating("a", true)).await;
        match signal.map_err(|e| e.to_string())? {
            answer if answer == queued(true) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}
