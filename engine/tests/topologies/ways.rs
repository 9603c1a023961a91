//! Everything is found where it lies, and nobody waits for a server that does not answer.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use evergreen_engine::WorkflowId;
use evergreen_engine::store::redis::{RedisOptions, RedisStore};
use evergreen_engine::store::{Commit, Committed, OutboxEntry, Peek, Store, StoreError};

use crate::fleet::{self, Fleet};
use crate::steps::{QUICK, commit, creating, hold, id, queued};
use crate::support::{Cluster, Server, Watched, fresh, tell, until};

const WORKFLOWS: usize = 300;
/// A score that no worker lives to see.
const NEVER: &str = "9000000000000";

fn all(store: &RedisStore) -> Vec<u16> {
    (0..store.partitions()).collect()
}

/// A look at all partitions that found all of them: on a busy machine a server may be slower than the
/// others are waited for.
pub(crate) async fn whole_peek(store: &RedisStore) -> Peek {
    until("a look at all partitions", async || {
        let peek = store.peek(&all(store)).await.map_err(|e| e.to_string())?;
        if peek.partitions.len() == usize::from(store.partitions()) {
            Ok(peek)
        } else {
            Err(format!("{:?}", peek.partitions))
        }
    })
    .await
}

/// What is away cannot be compared; the rest of the index is put right all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_away_keeps_nobody_from_repairing_the_rest() {
    let mut cluster = Cluster::start(3, 0).await;
    // A node that has nothing to say of who works and who repairs.
    let (options, gone) = loop {
        let options = RedisOptions {
            partitions: Some(6),
            ..fleet::options(&cluster.url(), 0)
        };
        let mut needed = Vec::new();
        for name in ["meta", "reconciler", "workers"] {
            needed.push(cluster.holder(&format!("{}:{name}", options.prefix)).await);
        }
        let free = |place: &usize| !needed.contains(&cluster.servers[*place].port());
        if let Some(gone) = (0..3).find(free) {
            break (options, gone);
        }
    };
    let fleet = Fleet::start(options, 1, 24).await;
    fleet.has_beaten(1, |_| true).await;
    let lost = cluster.servers[gone].port();
    cluster.servers[gone].end();
    // To put all of them right a second time it has to come past what is away.
    for _ in 0..2 {
        are_put_right(&cluster, &fleet, lost).await;
    }
}

/// Spoils the entries at the servers that are there, and waits until they are right again.
async fn are_put_right(cluster: &Cluster, fleet: &Fleet, lost: u16) {
    let mut moved: Vec<(u16, String, String)> = Vec::new();
    for id in fleet.ids() {
        let alive = cluster
            .servers
            .iter()
            .map(Server::port)
            .filter(|port| *port != lost);
        for port in alive {
            let pattern = fleet.key(id);
            let keys: Vec<String> = tell(port, &["KEYS", &pattern]).await.unwrap();
            let Some(key) = keys.first() else { continue };
            let due = key.replace(&format!(":wf:{id}"), ":due");
            let () = tell(port, &["ZADD", &due, NEVER, &id.to_string()])
                .await
                .unwrap();
            moved.push((port, due, id.to_string()));
        }
    }
    assert!(moved.len() > 4, "{moved:?}");
    for (port, due, id) in moved {
        until("an entry that is right again", async || {
            let score = tell::<Option<String>>(port, &["ZSCORE", &due, &id]).await;
            let score = score.map_err(|error| error.to_string())?;
            let is_right = score.as_deref() != Some(NEVER);
            if is_right { Ok(()) } else { Err(id.clone()) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_spread_over_a_cluster_is_found_as_one() {
    let mut cluster = Cluster::start(3, 0).await;
    let options = RedisOptions {
        partitions: Some(64),
        ..fresh(&cluster.url())
    };
    let store = RedisStore::connect(options).await.unwrap();
    let mut wakes = store.wakes().await.unwrap();
    let names: Vec<String> = (0..WORKFLOWS).map(|n| format!("w{n}")).collect();
    let created = names.iter().map(|name| async {
        assert_eq!(
            store.signal(&creating(name, true)).await.unwrap(),
            queued(true)
        );
    });
    futures::future::join_all(created).await;
    let ids: BTreeSet<WorkflowId> = names.iter().map(|name| id(name)).collect();
    let homes: BTreeSet<u16> = ids.iter().map(|id| id.partition(64)).collect();

    // Wake-up messages of all servers are heard at any of them.
    let mut heard = BTreeSet::new();
    while heard.len() < homes.len() {
        let wake = tokio::time::timeout(Duration::from_secs(20), wakes.recv());
        heard.insert(wake.await.unwrap().unwrap().0);
    }
    assert_eq!(heard, homes);

    let peek = whole_peek(&store).await;
    let full = peek
        .partitions
        .iter()
        .filter(|(_, heads)| !heads.is_empty());
    assert_eq!(
        full.map(|(partition, _)| *partition)
            .collect::<BTreeSet<_>>(),
        homes
    );
    for (_, heads) in &peek.partitions {
        assert!(
            heads.iter().all(|(_, at)| *at <= peek.now),
            "all are due: {heads:?}"
        );
    }

    // A walk tells of each, whatever server it lies on.
    let (mut cursor, mut found) = (None, BTreeSet::new());
    loop {
        let (some, next) = store.walk("test", cursor, 50).await.unwrap();
        found.extend(some.into_iter().map(|(id, _)| id));
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found, ids);

    for n in 0..20 {
        let (table, name) = (format!("table{n}"), format!("slip:{n}"));
        store.table_put(&table, "a", "1").await.unwrap();
        assert_eq!(
            store.table_get(&table, "a").await.unwrap().as_deref(),
            Some("1")
        );
        store
            .slip_put(&name, "x", Duration::from_secs(60))
            .await
            .unwrap();
        assert_eq!(store.slip_take(&name).await.unwrap().as_deref(), Some("x"));
        let gate = format!("gate:{n}");
        assert!(
            store
                .turnstile(&gate, "me", Duration::from_secs(60))
                .await
                .unwrap()
        );
        assert!(
            !store
                .turnstile(&gate, "you", Duration::from_secs(60))
                .await
                .unwrap()
        );
    }

    // Each server has to be told the scripts, and each is told them once more when it forgets.
    for server in &cluster.servers {
        let () = tell(server.port(), &["SCRIPT", "FLUSH"]).await.unwrap();
    }
    let store = &store;
    let turns = names.iter().take(40).map(|name| async move {
        let record = hold(store, name).await;
        let event = OutboxEntry {
            id: format!("{name}-0"),
            event: "HAPPENED".to_owned(),
            subject_field: "workflow".to_owned(),
            subject: name.clone(),
            at: "now".to_owned(),
            payload: "{}".to_owned(),
        };
        let last = Commit {
            events: vec![event],
            ..commit(name, &record)
        };
        for again in [false, true] {
            let told = store.commit(&last).await.unwrap().answer;
            assert!(
                matches!(told, Committed::Written { already, confirmed: true, .. } if already == again),
                "{told:?}"
            );
        }
    });
    futures::future::join_all(turns).await;
    let mut events = 0;
    for partition in 0..64 {
        let some = store.events(partition, None, 1000).await.unwrap();
        assert_eq!(
            store.events_end(partition).await.unwrap(),
            some.last().map(|e| e.position.clone())
        );
        events += some.len();
    }
    assert_eq!(events, 40);

    // What it is that runs changes with any one of them.
    let before = store.run_id().await.unwrap();
    assert_eq!(store.run_id().await.unwrap(), before);
    cluster.servers[1].restart();
    until("another run", async || match store.run_id().await {
        Ok(run) if run != before => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

/// A stopped server accepts connections and answers nothing; the others are as quick as ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_a_cluster_that_stands_still_holds_up_only_its_own() {
    let cluster = Cluster::start(3, 0).await;
    let options = RedisOptions {
        reply_timeout: QUICK * 2,
        confirm_timeout: QUICK,
        ..fresh(&cluster.url())
    };
    let prefix = options.prefix.clone();
    let store = RedisStore::connect(options).await.unwrap();
    let names: Vec<String> = (0..32).map(|n| format!("w{n}")).collect();
    for name in &names {
        assert!(
            store
                .signal(&creating(name, true))
                .await
                .unwrap()
                .is_queued()
        );
    }
    let run = store.run_id().await.unwrap();
    let still = &cluster.servers[0];
    let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
    for name in &names {
        let key = cluster.key(&format!("{prefix}:*:wf:test:{name}")).await;
        let is_here = cluster.holder(&key).await == still.port();
        if is_here { &mut here } else { &mut elsewhere }.push(name.clone());
    }
    assert!(!here.is_empty() && !elsewhere.is_empty());
    let homes: BTreeSet<u16> = elsewhere
        .iter()
        .map(|name| id(name).partition(16))
        .collect();
    still.stop();
    for round in 0..3 {
        let begun = Instant::now();
        until("the others' partitions, and only these", async || {
            let peek = store.peek(&all(&store)).await.map_err(|e| e.to_string())?;
            let seen = peek.partitions.iter().map(|(partition, _)| *partition);
            let seen: BTreeSet<u16> = seen.collect();
            let right = homes.is_subset(&seen) && seen.len() < 16;
            if right {
                Ok(())
            } else {
                Err(format!("{seen:?}"))
            }
        })
        .await;
        // What is not known of it is taken from before.
        assert_eq!(store.run_id().await.unwrap(), run);
        for name in &elsewhere {
            assert_eq!(
                store.signal(&creating(name, round == 1)).await.unwrap(),
                queued(true)
            );
        }
        for durable in [false, true] {
            let error = store
                .signal(&creating(&here[0], durable))
                .await
                .unwrap_err();
            assert!(matches!(error, StoreError::Away { .. }), "{error}");
        }
        assert!(begun.elapsed() < 20 * QUICK, "{:?}", begun.elapsed());
    }
    still.go_on();
    until("its own again", async || {
        match store.signal(&creating(&here[0], true)).await {
            Ok(answer) if answer == queued(true) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    whole_peek(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_is_replaced_on_purpose_is_left_at_once() {
    let watched = Watched::start(1).await;
    let options = RedisOptions {
        replicas: 1,
        ..fresh(&watched.url())
    };
    let store = RedisStore::connect(options).await.unwrap();
    assert_eq!(store.warnings(), [] as [&str; 0]);
    let mut wakes = store.wakes().await.unwrap();
    until("a replica that confirms", async || {
        confirmed(&store, "a").await
    })
    .await;
    wakes.recv().await.unwrap();
    let before = store.run_id().await.unwrap();
    let old = watched.servers[0].port();
    let sentinel = watched.sentinels[0].port();
    until("a failover that begins", async || {
        tell::<()>(sentinel, &["SENTINEL", "FAILOVER", "main"]).await
    })
    .await;
    let new = watched.successor(old).await;
    assert_eq!(new, 1);
    until("the former master, a replica now", async || {
        confirmed(&store, "b").await
    })
    .await;
    assert_ne!(store.run_id().await.unwrap(), before);
    let role: redis::Value = tell(watched.servers[1].port(), &["ROLE"]).await.unwrap();
    assert!(format!("{role:?}").contains("master"));
    // What was there is there, and wake-up messages come from the new one.
    assert!(store.read(&id("a"), false).await.unwrap().is_some());
    let mut n = 0;
    until("a wake-up message", async || {
        while wakes.try_recv().is_ok() {}
        n += 1;
        assert!(
            store
                .signal(&creating(&format!("c{n}"), false))
                .await
                .map_err(|e| e.to_string())?
                .is_queued()
        );
        let soon = tokio::time::timeout(Duration::from_millis(200), wakes.recv());
        soon.await.map(|_| ()).map_err(|late| late.to_string())
    })
    .await;
}

async fn confirmed(store: &RedisStore, name: &str) -> Result<(), String> {
    match store.signal(&creating(name, true)).await {
        Ok(answer) if answer == queued(true) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}
