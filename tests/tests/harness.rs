//! The harness keeps its promises, so that the other tests can rely on them.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use evergreen_tests::group::Group;
use evergreen_tests::wait::within;
use evergreen_tests::{Evergreen, RedisServer, Signal, eventually};

const SOON: Duration = Duration::from_secs(10);

/// A program other than the one under test, started the same way.
fn shell(script: &str) -> Group {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    Group::spawn(&mut command).expect("a shell starts")
}

/// A process that has ended but was not waited for by its parent is gone, too.
fn runs(id: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{id}/stat"));
    state.is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .starts_with(" Z")
    })
}

#[tokio::test]
async fn a_redis_is_ready_when_it_is_handed_out() {
    let redis = RedisServer::start().await;
    let key = format!("{}:greeting", redis.prefix());
    let () = redis.cli(&["SET", &key, "hello"]).await;
    assert_eq!(redis.cli::<String>(&["GET", &key]).await, "hello");
    let () = redis.cli(&["DEL", &key]).await;
}

#[tokio::test]
async fn a_redis_of_ones_own_keeps_everything_and_evicts_nothing() {
    let redis = RedisServer::start_with(&["--maxmemory", "64mb"]).await;
    for (setting, wanted) in [
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("maxmemory-policy", "noeviction"),
        ("maxmemory", "67108864"),
    ] {
        let (_, value): (String, String) = redis.cli(&["CONFIG", "GET", setting]).await;
        assert_eq!(value, wanted, "{setting}");
    }
}

#[tokio::test]
async fn two_redis_know_nothing_of_each_other() {
    let (one, other) = tokio::join!(RedisServer::start_own(), RedisServer::start_own());
    assert_ne!(one.url(), other.url());
    assert_ne!(one.prefix(), other.prefix());
    let () = one.cli(&["SET", "a", "1"]).await;
    assert_eq!(other.cli::<u64>(&["DBSIZE"]).await, 0);
}

#[tokio::test]
async fn a_restart_keeps_what_was_acknowledged() {
    let mut redis = RedisServer::start_own().await;
    let url = redis.url().to_owned();
    let before: String = redis.cli(&["INFO", "server"]).await;
    let () = redis.cli(&["SET", "token", "rotated"]).await;
    redis.kill().await;
    assert!(
        redis.try_cli::<String>(&["PING"]).await.is_err(),
        "a killed Redis answers nothing"
    );
    redis.restart().await;
    assert_eq!(redis.url(), url);
    assert_eq!(redis.cli::<String>(&["GET", "token"]).await, "rotated");
    let after: String = redis.cli(&["INFO", "server"]).await;
    assert_ne!(run_id(&before), run_id(&after), "it is another run");
}

fn run_id(info: &str) -> &str {
    info.lines()
        .find_map(|line| line.strip_prefix("run_id:"))
        .expect("INFO has a run id")
}

#[tokio::test]
async fn a_paused_redis_answers_nothing_until_it_is_resumed() {
    let mut redis = RedisServer::start_own().await;
    redis.pause().await;
    let answer = within(Duration::from_millis(300), async || {
        redis.try_cli::<String>(&["PING"]).await.ok()
    });
    assert_eq!(answer.await, None);
    redis.resume().await;
    eventually("an answer", SOON, async || {
        redis.try_cli::<String>(&["PING"]).await.ok()
    })
    .await;
    redis.pause().await;
    redis.restart().await;
    assert_eq!(
        redis.cli::<String>(&["PING"]).await,
        "PONG",
        "a restart ends a pause"
    );
}

#[tokio::test]
async fn a_replica_finds_its_primary() {
    let primary = RedisServer::start_own().await;
    let (host, port) = primary.peer_address().await;
    let replica = RedisServer::start_with(&["--replicaof", &host, &port.to_string()]).await;
    let () = primary.cli(&["SET", "a", "1"]).await;
    eventually("the write on the replica", SOON, async || {
        replica
            .try_cli::<Option<String>>(&["GET", "a"])
            .await
            .ok()
            .flatten()
    })
    .await;
}

#[tokio::test]
async fn a_redis_ends_when_it_is_dropped() {
    let redis = RedisServer::start_own().await;
    let client = redis::Client::open(redis.url()).unwrap();
    drop(redis);
    eventually("nobody listens any more", SOON, async || {
        client
            .get_multiplexed_async_connection()
            .await
            .is_err()
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_a_process_started_ends_with_it() {
    let mut group = shell("sleep 600 & echo $!; wait");
    let (stdout, _) = group.take_output();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout.unwrap()), &mut line).unwrap();
    let grandchild: u32 = line.trim().parse().unwrap();
    assert!(runs(grandchild));
    drop(group);
    eventually("the grandchild is gone", SOON, async || {
        (!runs(grandchild)).then_some(())
    })
    .await;
}

/// The test itself is killed here, so it is played by a second run of this very test.
#[tokio::test]
async fn a_killed_test_leaves_nothing_behind() {
    const ROLE: &str = "EVERGREEN_TEST_DOOMED";
    if std::env::var_os(ROLE).is_some() {
        let child = shell("exec sleep 600");
        println!("child={}", child.id());
        std::future::pending::<()>().await;
    }
    let mut doomed = Command::new(std::env::current_exe().unwrap());
    doomed
        .args([
            "--exact",
            "--nocapture",
            "a_killed_test_leaves_nothing_behind",
        ])
        .env(ROLE, "1")
        .stdout(Stdio::piped());
    let mut doomed = doomed.spawn().unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(doomed.stdout.take().unwrap()));
    let child: u32 = lines
        .map_while(Result::ok)
        .find_map(|line| line.split("child=").nth(1)?.trim().parse().ok())
        .unwrap();
    assert!(runs(child));
    doomed.kill().unwrap();
    doomed.wait().unwrap();
    eventually("the child is gone", SOON, async || {
        (!runs(child)).then_some(())
    })
    .await;
}

#[tokio::test]
#[should_panic(expected = "not within 50ms: the impossible")]
async fn a_condition_that_never_holds_fails_the_test() {
    eventually("the impossible", Duration::from_millis(50), async || {
        None::<()>
    })
    .await;
}

#[tokio::test]
async fn a_look_that_hangs_is_cut_off() {
    let began = Instant::now();
    let nothing = async || std::future::pending::<Option<()>>().await;
    assert_eq!(within(Duration::from_millis(50), nothing).await, None);
    assert!(began.elapsed() < SOON);
}

#[tokio::test]
async fn evergreen_runs_with_nothing_of_ours_in_its_environment() {
    let finished = Evergreen::with(["--version"])
        .run(SOON)
        .await
        .expect_code(0);
    assert!(finished.stdout.starts_with("evergreen "), "{finished:?}");
}

#[tokio::test]
async fn evergreen_is_watched_and_stopped() {
    let mut simulator = Evergreen::with(["simulator"])
        .env("EVERGREEN_LISTEN", "127.0.0.1:0")
        .spawn();
    simulator.wait_for_line("http://127.0.0.1:", SOON).await;
    simulator.signal(Signal::STOP);
    simulator.signal(Signal::CONT);
    assert_eq!(simulator.exit(), None);
    simulator.stop(SOON).await.expect_code(0);
}
