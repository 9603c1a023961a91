//! A master dies while workers run, and a replica takes over.

use std::time::Duration;

use evergreen_engine::WorkflowId;
use evergreen_engine::store::redis::{RedisOptions, RedisStore};

use crate::fleet::{Fleet, options};
use crate::support::{Cluster, Watched, sentinels_url, tell, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_sentinels_promote_goes_on_where_the_master_ended() {
    let mut watched = Watched::start(2).await;
    let fleet = Fleet::start(options(&watched.url(), 1), 3, 24).await;
    fleet.has_beaten(2, |_| true).await;
    let old = watched.servers[0].port();
    watched.servers[0].end();
    watched.successor(old).await;
    fleet.has_beaten(1, |_| true).await;
    fleet.holds_together().await;
}

/// A replica that cannot turn to the new master keeps the failover from being over, and the Sentinel that
/// leads it describes the old master meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn the_new_master_is_known_before_the_other_replicas_have_turned_to_it() {
    let mut watched = Watched::start(2).await;
    let options = options(&watched.url(), 0);
    RedisStore::connect(options.clone()).await.unwrap();
    watched.servers[0].has_replicas(2).await;
    for replica in &watched.servers[1..] {
        let () = tell(replica.port(), &["CONFIG", "SET", "masteruser", "nobody"])
            .await
            .unwrap();
    }
    let old = watched.servers[0].port();
    watched.servers[0].end();
    for (asked, sentinel) in watched.sentinels.iter().enumerate() {
        watched.told_by(asked, old).await;
        let options = RedisOptions {
            url: sentinels_url(std::slice::from_ref(sentinel)),
            ..options.clone()
        };
        RedisStore::connect(options).await.unwrap();
    }
}

/// The replica misses what came while it stood still. None of that was acknowledged, so nothing that
/// anybody relied on is lost when it takes over all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lags_when_the_master_dies_lacks_nothing_that_was_acknowledged() {
    let mut watched = Watched::start(1).await;
    let options = RedisOptions {
        confirm_timeout: Duration::from_millis(1500),
        ..options(&watched.url(), 1)
    };
    let fleet = Fleet::start(options, 3, 24).await;
    fleet.has_beaten(2, |_| true).await;
    let master = watched.servers[0].port();
    watched.servers[1].stop();
    // Turns go on to be written, but nothing is done on the strength of it.
    let pattern = fleet.key(&fleet.ids()[0]);
    let keys: Vec<String> = tell(master, &["KEYS", &pattern]).await.unwrap();
    written(master, &keys[0], 4).await;
    let done = fleet.done(|_| true);
    written(master, &keys[0], 6).await;
    assert_eq!(
        fleet.done(|_| true),
        done,
        "done although the replica had not heard of it"
    );
    watched.servers[0].end();
    watched.servers[1].go_on();
    assert_eq!(watched.successor(master).await, 1);
    // Without a replica nothing is acknowledged, so the fleet waits for one.
    watched.servers[0].restart();
    fleet.has_beaten(1, |_| true).await;
    fleet.holds_together().await;
}

/// Returns when a master has written so many more transitions of a workflow: an intent that waits in
/// vain for its confirmation, and that it was not acted on, are two.
async fn written(master: u16, key: &str, transitions: u64) {
    let v = async || tell::<u64>(master, &["HGET", key, "v"]).await.unwrap();
    let before = v().await;
    until("transitions that only the master has", async || {
        let now = v().await;
        if now >= before + transitions {
            Ok(())
        } else {
            Err((before, now))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_loses_a_master_goes_on_with_its_replica_and_meanwhile_with_the_others() {
    let mut cluster = Cluster::start(3, 3).await;
    let fleet = Fleet::start(options(&cluster.url(), 1), 3, 48).await;
    fleet.has_beaten(2, |_| true).await;

    let old = cluster.servers[0].port();
    let (mut held_by_it, mut one_of_them) = (Vec::<WorkflowId>::new(), String::new());
    for id in fleet.ids() {
        let key = cluster.key(&fleet.key(id)).await;
        if cluster.holder(&key).await == old {
            held_by_it.push(id.clone());
            one_of_them = key;
        }
    }
    assert!(
        !held_by_it.is_empty() && held_by_it.len() < 40,
        "{held_by_it:?}"
    );
    cluster.servers[0].end();
    // Those of the other masters do not wait for it.
    fleet.has_beaten(2, |id| !held_by_it.contains(id)).await;
    until("the replica in its place", async || {
        let now = cluster.holder(&one_of_them).await;
        if now == old { Err(now) } else { Ok(()) }
    })
    .await;
    // It has no replica any more that could acknowledge anything, until the dead one comes back as such.
    cluster.servers[0].restart();
    fleet.has_beaten(1, |id| held_by_it.contains(id)).await;
    fleet.holds_together().await;
}
