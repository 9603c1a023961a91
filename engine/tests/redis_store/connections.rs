//! Connections that end, replies that do not come, a server that is not the one of before.

use std::time::{Duration, Instant};

use evergreen_engine::store::redis::{RedisOptions, RedisStore};
use evergreen_engine::store::{Commit, Committed, Signal, Store, StoreError};

use super::steps::{QUICK, SAFE, commit, creating, hold, id, queued};
use super::support::Server;
use super::support::wire::Wire;

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

/// A password is changed under a worker that has something in its hands: it must outlast that.
#[tokio::test]
async fn a_login_that_is_not_accepted_any_more_is_away() {
    let server = Server::start(&["--appendonly", "yes", "--requirepass", "first"]);
    let options = RedisOptions {
        url: server.url().replace("redis://", "redis://:first@"),
        ..server.options()
    };
    let store = RedisStore::connect(options.clone()).await.unwrap();
    assert!(
        store
            .signal(&creating("a", true))
            .await
            .unwrap()
            .is_queued()
    );
    let record = hold(&store, "a").await;
    let last = commit("a", &record);
    let raw = redis::Client::open(options.url.as_str()).unwrap();
    let mut raw = raw.get_multiplexed_async_connection().await.unwrap();
    let mut say = async |words: &[&str]| {
        let command = redis::cmd(words[0]).arg(&words[1..]).take();
        command.exec_async(&mut raw).await.unwrap();
    };
    say(&["CONFIG", "SET", "requirepass", "second"]).await;
    say(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
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
    for error in [a.err(), b.err(), c.err()] {
        assert!(matches!(error, Some(StoreError::Away { .. })), "{error:?}");
    }
    let error = d.err();
    assert!(
        matches!(error, Some(StoreError::Refused { .. })),
        "{error:?}"
    );
    say(&["CONFIG", "SET", "requirepass", "first"]).await;
    let told = store.commit(&last).await.unwrap().answer;
    assert!(matches!(told, Committed::Written { v: 1, .. }), "{told:?}");
}

/// What a role may not see is not there for it; that it came in before makes no difference.
#[tokio::test]
async fn what_a_role_may_not_ask_is_told_as_nothing() {
    let server = Server::start(&["--appendonly", "yes"]);
    let mut rights = redis::cmd("ACL");
    rights.arg(&["SETUSER", "fleet", "on", ">pw", "~*", "&*", "+@all"]);
    rights.arg(&["-slowlog", "-latency"]);
    rights.exec_async(&mut server.raw().await).await.unwrap();
    let options = RedisOptions {
        url: server.url().replace("redis://", "redis://fleet:pw@"),
        ..server.options()
    };
    let store = RedisStore::connect(options).await.unwrap();
    assert_eq!(store.slow_calls(10).await.unwrap(), None);
    assert_eq!(store.histogram("evalsha").await.unwrap(), None);
    assert!(store.slow_from().await.unwrap().is_some());
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
    assert!(
        store
            .signal(&creating("a", true))
            .await
            .unwrap()
            .is_queued()
    );
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
    assert!(
        store
            .signal(&creating("a", true))
            .await
            .unwrap()
            .is_queued()
    );
    wakes.recv().await.unwrap();
    let mut raw = server.raw().await;
    for kind in ["normal", "pubsub"] {
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg(kind);
        kill.exec_async(&mut raw).await.unwrap();
    }
    assert!(
        store
            .signal(&creating("b", false))
            .await
            .unwrap()
            .is_queued()
    );
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
            assert!(
                store
                    .signal(&creating("e", false))
                    .await
                    .unwrap()
                    .is_queued()
            );
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

/// What may be asked twice costs one round trip: nobody asks first whether the connection is still
/// there.
#[tokio::test]
async fn a_steady_connection_is_not_asked_whether_it_works() {
    let server = Server::start(&SAFE);
    let store = RedisStore::connect(server.options()).await.unwrap();
    store.peek(&[0]).await.unwrap();
    let before = server.calls_of("ping").await;
    for _ in 0..20 {
        store.peek(&[0]).await.unwrap();
    }
    assert_eq!(server.calls_of("ping").await, before);
}

/// Its end is nobody's business: what was asked is asked again over a new one.
#[tokio::test]
async fn a_steady_connection_that_has_ended_is_made_anew_unnoticed() {
    let mut server = Server::start(&SAFE);
    let store = RedisStore::connect(server.options()).await.unwrap();
    let line = "a line of text";
    for _ in 0..2 {
        store.table_put("workers", "w1", line).await.unwrap();
        server.restart();
        let told = store.table_get("workers", "w1").await.unwrap();
        assert_eq!(told.as_deref(), Some(line));
        server.restart();
        assert_eq!(store.look().await.unwrap().peek.partitions.len(), 16);
        server.restart();
        // The script is not known to the new run.
        let life = Duration::from_secs(60);
        assert!(store.turnstile("t", "me", life).await.unwrap());
    }
}

#[tokio::test]
async fn connections_bear_names_that_people_know() {
    let server = Server::any();
    let store = RedisStore::connect(server.options()).await.unwrap();
    assert!(
        store
            .signal(&creating("a", true))
            .await
            .unwrap()
            .is_queued()
    );
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
    assert!(
        store
            .signal(&creating("a", true))
            .await
            .unwrap()
            .is_queued()
    );
    let before = (store.run_id().await.unwrap(), store.meta().await.unwrap());
    server.restart();
    // The first to use a connection learns that it is gone.
    let _ = store.run_id().await;
    let _ = store.signal(&creating("b", true)).await;
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

/// Behind the name of one Redis another server may be the master from one moment to the next, while the
/// old one lives on as its replica and keeps its connections.
#[tokio::test]
async fn who_is_connected_to_what_is_a_replica_now_goes_where_the_name_leads() {
    let (old, new) = (Server::start(&SAFE), Server::start(&SAFE));
    let name = Wire::to(&old);
    let options = RedisOptions {
        url: name.url(),
        pool: 3,
        ..old.options()
    };
    let store = RedisStore::connect(options).await.unwrap();
    let follow = async |server: &Server, whom: [&str; 2]| {
        let mut follow = redis::cmd("REPLICAOF");
        follow.arg(&whom);
        follow.exec_async(&mut server.raw().await).await.unwrap();
    };
    let ports = [&old, &new].map(|server| server.port().to_string());
    follow(&new, ["127.0.0.1", &ports[0]]).await;
    assert!(
        store
            .signal(&creating("a", false))
            .await
            .unwrap()
            .is_queued()
    );
    // Several are connected.
    let one = id("a");
    let read = || store.read(&one, false);
    let (first, second, third) = tokio::join!(read(), read(), read());
    assert!([first, second, third].iter().all(Result::is_ok));
    old.has_replicas(1).await;

    follow(&new, ["NO", "ONE"]).await;
    name.lead_to(&new);
    follow(&old, ["127.0.0.1", &ports[1]]).await;
    for _ in 0..4 {
        hold(&store, "a").await;
        let freeing = Signal {
            preemptive: true,
            ..creating("a", false)
        };
        assert_eq!(store.signal(&freeing).await.unwrap(), queued(true));
    }
}
