//! Redis answers, and refuses to write: full, read-only, unable to save, or with a full disk. A pair that was just issued
//! waits in memory and in the journal, and is shown to wait; who is told to stop waits with it.

use std::time::Duration;

use evergreen_tests::proxy::Step;
use evergreen_tests::{RedisServer, Signal, eventually};
use ninjaone::simulator::{SimulatorOptions, When};
use serde_json::Value;

use crate::checks::{healthy, refreshed};
use crate::machine::Machine;
use crate::stage::{PATIENCE, Stage, target};

/// Why nothing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// `maxmemory` is reached, and nothing may be evicted.
    Full,
    /// It is made a replica of a server that is not there.
    ReadOnly,
    /// Its last snapshot failed, as on a full disk.
    CannotSave,
    /// Its append-only file cannot grow: the disk is full.
    DiskFull,
}

impl Refusal {
    /// A server that can be made to refuse like this.
    async fn server(self) -> RedisServer {
        match self {
            // With `always` it would rather end than answer.
            Self::DiskFull => RedisServer::start_process(&["--appendfsync", "everysec"]).await,
            _ => RedisServer::start_with(&["--enable-protected-configs", "yes"]).await,
        }
    }

    /// What it says to a write.
    fn code(self) -> &'static str {
        match self {
            Self::Full => "OOM",
            Self::ReadOnly => "READONLY",
            Self::CannotSave | Self::DiskFull => "MISCONF",
        }
    }

    async fn begin(self, redis: &RedisServer) {
        match self {
            Self::Full => set(redis, "maxmemory", "1").await,
            Self::ReadOnly => {
                // A port that nothing listens on.
                let _: String = redis.cli(&["REPLICAOF", "127.0.0.1", "1"]).await;
            }
            Self::CannotSave => {
                // Nobody can put a file there.
                set(redis, "dir", "/proc").await;
                set(redis, "save", "3600 1").await;
                saved(redis, "err").await;
            }
            Self::DiskFull => {
                redis.fill_disk();
                // It is noticed by what is answered already and then cannot be written to the file.
                let _: String = redis.cli(&["SET", "anything", "0"]).await;
            }
        }
        let refused = redis.try_cli::<String>(&["SET", "anything", "1"]).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Some(self.code()), "{refused}");
    }

    async fn end(self, redis: &RedisServer) {
        match self {
            Self::Full => set(redis, "maxmemory", "0").await,
            Self::ReadOnly => {
                let _: String = redis.cli(&["REPLICAOF", "NO", "ONE"]).await;
            }
            Self::CannotSave => {
                set(redis, "dir", "/tmp").await;
                saved(redis, "ok").await;
            }
            Self::DiskFull => redis.free_disk(),
        }
    }
}

async fn set(redis: &RedisServer, name: &str, value: &str) {
    let _: String = redis.cli(&["CONFIG", "SET", name, value]).await;
}

/// Takes snapshots until one has ended like this.
async fn saved(redis: &RedisServer, how: &str) {
    eventually("a snapshot", PATIENCE, async || {
        let info: String = redis.cli(&["INFO", "persistence"]).await;
        if info.contains("rdb_bgsave_in_progress:1") {
            return None;
        }
        if info.contains(&format!("rdb_last_bgsave_status:{how}")) {
            return Some(());
        }
        // Refused where another has begun by itself.
        let _ = redis.try_cli::<String>(&["BGSAVE"]).await;
        None
    })
    .await;
}

/// A worker has a pair that Redis refuses to take.
async fn with_a_pair_that_waits(refusal: Refusal, grants: usize) -> (Stage, Machine) {
    with_grace(refusal, grants, "20s").await
}

/// The same with another time in which to end when told to.
async fn with_grace(refusal: Refusal, grants: usize, grace: &str) -> (Stage, Machine) {
    let redis = refusal.server().await;
    let stage = Stage::on(redis, grants, SimulatorOptions::default()).await;
    let one = stage.machine("one").await;
    let mut one = one.with("EVERGREEN_SHUTDOWN_GRACE", grace);
    let url = one.serve().await;
    let key = one.key(&["read"]).await;
    let hold = stage.hold(When::After);
    stage.ask().await;
    stage.held(hold).await;
    refusal.begin(&stage.redis).await;
    stage.simulator.release(hold);
    one.see_entries(1).await;
    one.see_count("evergreen_persist_pending", |pending| pending == 1)
        .await;
    one.proxy
        .see("the refusal", |passed| passed.word.contains(refusal.code()))
        .await;
    let shown = reqwest::Client::new()
        .get(format!(
            "{url}/v1/integrations/{}",
            stage.target().integration
        ))
        .bearer_auth(key)
        .send();
    let shown: Value = shown.await.unwrap().json().await.unwrap();
    assert_eq!(shown["persist_pending"], true, "{shown}");
    (stage, one)
}

/// A worker is told to stop meanwhile: it waits, and ends in order when the pair is safe.
async fn shutdown_waits(refusal: Refusal) -> Stage {
    let (stage, mut one) = with_a_pair_that_waits(refusal, 1).await;
    assert_eq!(stage.status().await.generation, 0);
    let tries = refusals(&one, refusal);
    one.worker().signal(Signal::TERM);
    one.worker().wait_for_line("told to stop", PATIENCE).await;
    // It goes on trying after that.
    eventually("more tries", PATIENCE, async || {
        (refusals(&one, refusal) > tries + 1).then_some(())
    })
    .await;
    assert!(one.worker().exit().is_none(), "shutdown waits");
    refusal.end(&stage.redis).await;
    one.ended().await;
    refreshed(&stage, 1).await;
    // A server before 7.2 that syncs once a second says of nothing that it is on the disk, so the entry stays.
    if refusal != Refusal::DiskFull {
        assert_eq!(one.entries(), 0);
    }
    stage
}

fn refusals(one: &Machine, refusal: Refusal) -> usize {
    let passed = one.proxy.passed();
    passed
        .iter()
        .filter(|passed| passed.word.contains(refusal.code()))
        .count()
}

/// Work becomes due while nothing can be written: it is not begun, nobody is blamed, and it is done when
/// it can be.
async fn nothing_is_begun(refusal: Refusal) {
    let redis = refusal.server().await;
    let simulator = SimulatorOptions {
        access_token_life: Duration::from_secs(8),
        ..SimulatorOptions::default()
    };
    let stage = Stage::on(redis, 1, simulator).await;
    refusal.begin(&stage.redis).await;
    let mut one = stage.working("one").await;
    // Its timer comes, and it cannot be claimed.
    one.proxy
        .see("a claim that is refused", |passed| {
            passed.call.step == Step::Claim && passed.word.contains(refusal.code())
        })
        .await;
    let status = stage.status().await;
    assert_eq!(
        (status.state.as_str(), status.consecutive_failures),
        ("Scheduled", 0)
    );
    assert_eq!(stage.presented(), Vec::<u64>::new(), "nothing is sent");
    refusal.end(&stage.redis).await;
    let status = stage.see("a refresh", |s| s.generation >= 1).await;
    assert_eq!((status.reason, status.unknown_since), (None, None));
    assert_eq!(stage.count("REFRESH_FAILED").await, 0);
    assert!(stage.presented().iter().all(|count| *count == 1));
    one.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s23_nothing_is_begun_that_could_not_be_written() {
    tokio::join!(
        nothing_is_begun(Refusal::Full),
        nothing_is_begun(Refusal::ReadOnly),
        nothing_is_begun(Refusal::CannotSave),
        nothing_is_begun(Refusal::DiskFull),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn s24_full_between_answer_and_commit() {
    shutdown_waits(Refusal::Full).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s24_read_only_between_answer_and_commit() {
    shutdown_waits(Refusal::ReadOnly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s24_unable_to_save_between_answer_and_commit() {
    shutdown_waits(Refusal::CannotSave).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s24_a_full_disk_between_answer_and_commit_and_a_death_after_it() {
    let mut stage = shutdown_waits(Refusal::DiskFull).await;
    // What was written once there was room again is in the file.
    stage.redis.restart().await;
    refreshed(&stage, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s25_a_worker_whose_grace_is_over_leaves_the_pair_in_its_journal() {
    let (stage, mut one) = with_grace(Refusal::Full, 1, "1s").await;
    one.end().await;
    assert_eq!(one.entries(), 1);
    Refusal::Full.end(&stage.redis).await;
    one.start().await;
    refreshed(&stage, 1).await;
    one.see_entries(0).await;
    one.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s24_a_refusal_longer_than_a_lease_loses_nothing_to_who_takes_over() {
    let (stage, mut one) = with_a_pair_that_waits(Refusal::ReadOnly, 1).await;
    let mut two = stage.working("two").await;
    let lease_until: u64 = stage.field("lease_until").await;
    eventually("the end of the lease", PATIENCE, async || {
        (stage.bench.now().await > lease_until).then_some(())
    })
    .await;
    Refusal::ReadOnly.end(&stage.redis).await;
    healthy(&stage).await;
    one.see_entries(0).await;
    one.end().await;
    two.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disconnect_works_on_a_full_server() {
    let (stage, mut one) = with_a_pair_that_waits(Refusal::Full, 2).await;
    let other = target(&stage.grants[1]);
    let gone = stage.api.disconnect(&other).await.unwrap();
    assert_eq!(gone[0].state, "Disconnected");
    let name = other.integration.to_string();
    let sealed: Vec<String> = stage
        .redis
        .cli(&["KEYS", &format!("*sealed*{name}*")])
        .await;
    assert_eq!(
        sealed,
        Vec::<String>::new(),
        "no credential exists after disconnect"
    );
    // The one whose pair waits, too: the pair is of no use any more, and nobody keeps it.
    let gone = stage.api.disconnect(&stage.target()).await.unwrap();
    assert_eq!(gone[0].state, "Disconnected");
    Refusal::Full.end(&stage.redis).await;
    one.see_count("evergreen_persist_pending", |pending| pending == 0)
        .await;
    one.see_entries(0).await;
    let sealed: Vec<String> = stage.redis.cli(&["KEYS", "*sealed*"]).await;
    assert_eq!(sealed, Vec::<String>::new());
    assert_eq!(stage.status().await.state, "Disconnected");
    assert_eq!(stage.presented(), [1]);
    one.end().await;
}
