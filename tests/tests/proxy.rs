//! The proxy keeps its promises, so that the fault runs can rely on them.

use std::time::Duration;

use evergreen_tests::proxy::{Passed, Side};
use evergreen_tests::{Proxy, RedisServer, eventually};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult};

const SOON: Duration = Duration::from_secs(10);

/// A connection through the proxy that waits as long as it takes.
async fn connect(proxy: &Proxy) -> RedisResult<MultiplexedConnection> {
    let patient = AsyncConnectionConfig::new().set_response_timeout(None);
    let client = Client::open(proxy.redis_url())?;
    client
        .get_multiplexed_async_connection_with_config(&patient)
        .await
}

async fn count(redis: &RedisServer) -> u64 {
    redis
        .cli::<Option<u64>>(&["GET", "count"])
        .await
        .unwrap_or(0)
}

/// Counts one up, in the background.
fn count_up(connection: &MultiplexedConnection) -> tokio::task::JoinHandle<RedisResult<u64>> {
    let mut connection = connection.clone();
    tokio::spawn(async move {
        redis::cmd("INCR")
            .arg("count")
            .query_async(&mut connection)
            .await
    })
}

fn is_count(passed: &Passed) -> bool {
    passed
        .call
        .words
        .first()
        .is_some_and(|command| command == "INCR")
}

async fn see_count(redis: &RedisServer, wanted: u64) {
    eventually("the count", SOON, async || {
        (count(redis).await == wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_holds_a_request_or_its_answer_until_it_is_released() {
    let redis = RedisServer::start_own().await;
    let proxy = Proxy::before_redis(&redis).await;
    let connection = connect(&proxy).await.unwrap();
    for (done, side) in [Side::Asked, Side::Answered].into_iter().enumerate() {
        let mut trap = proxy.trap_any(side, is_count);
        let counting = count_up(&connection);
        let catch = trap.caught().await;
        assert_eq!(catch.call.words, ["INCR", "count"]);
        // Held on its way there, it has done nothing; held on its way back, it has.
        assert_eq!(
            count(&redis).await,
            done as u64 + u64::from(side == Side::Answered)
        );
        assert!(!counting.is_finished());
        trap.release();
        assert_eq!(counting.await.unwrap().unwrap(), done as u64 + 1);
    }
    let seen = proxy.passed();
    assert_eq!(seen.iter().filter(|passed| is_count(passed)).count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dropped_trap_held_never_arrives() {
    let redis = RedisServer::start_own().await;
    let proxy = Proxy::before_redis(&redis).await;
    for (side, done) in [(Side::Asked, 0), (Side::Answered, 1)] {
        let connection = connect(&proxy).await.unwrap();
        let mut trap = proxy.trap_any(side, is_count);
        let counting = count_up(&connection);
        trap.caught().await;
        drop(trap);
        counting.await.unwrap().unwrap_err();
        assert_eq!(count(&redis).await, done);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_still_network_delivers_late_and_a_torn_one_never() {
    let redis = RedisServer::start_own().await;
    let proxy = Proxy::before_redis(&redis).await;
    let connection = connect(&proxy).await.unwrap();
    proxy.still(false, true);
    let unanswered = count_up(&connection);
    see_count(&redis, 1).await;
    assert!(!unanswered.is_finished());
    proxy.mend();
    assert_eq!(unanswered.await.unwrap().unwrap(), 1);

    proxy.still(true, false);
    let unheard = count_up(&connection);
    // Whoever comes by another way is not held up.
    assert_eq!(redis.cli::<u64>(&["INCR", "count"]).await, 2);
    proxy.mend();
    assert_eq!(unheard.await.unwrap().unwrap(), 3, "late, after the other");

    proxy.tear();
    count_up(&connection).await.unwrap().unwrap_err();
    assert!(connect(&proxy).await.is_err(), "no new ones either");
    proxy.mend();
    let again = connect(&proxy).await.unwrap();
    assert_eq!(count_up(&again).await.unwrap().unwrap(), 4);
}
