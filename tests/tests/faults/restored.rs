//! Redis is put back to what it was some time ago: what it acknowledged since is forgotten there, and
//! only the provider and a journal know.

use evergreen_tests::proxy::{Side, Step};
use evergreen_tests::{RedisServer, eventually};
use ninjaone::simulator::SimulatorOptions;

use crate::checks::refreshed;
use crate::emptied::{agreeable, consents};
use crate::machine::{LEASE, Machine};
use crate::stage::{PATIENCE, Stage};

/// Everything that a Redis holds, as it was at one moment.
struct Backup(Vec<(Vec<u8>, Vec<u8>)>);

impl Backup {
    async fn of(redis: &RedisServer) -> Self {
        let keys: Vec<Vec<u8>> = redis.cli(&["KEYS", "*"]).await;
        let mut connection = redis.connection().await.unwrap();
        let mut all = Vec::new();
        for key in keys {
            let value = redis::cmd("DUMP")
                .arg(&key)
                .query_async(&mut connection)
                .await;
            all.push((key, value.unwrap()));
        }
        Self(all)
    }

    /// Puts it back, and starts the server anew: as who stops it, changes its files and starts it.
    async fn put_back(self, redis: &mut RedisServer) {
        let mut connection = redis.connection().await.unwrap();
        let _: String = redis.cli(&["FLUSHALL"]).await;
        for (key, value) in self.0 {
            let mut restore = redis::cmd("RESTORE");
            restore.arg(&key).arg(0).arg(&value);
            let _: String = restore.query_async(&mut connection).await.unwrap();
        }
        drop(connection);
        redis.restart().await;
    }
}

/// The store loses a commit that it had answered and that nobody has confirmed to be on a disk.
#[tokio::test(flavor = "multi_thread")]
async fn s26_a_commit_that_is_lost_before_it_is_confirmed_is_made_again() {
    let redis = RedisServer::start_with(&["--appendfsync", "everysec"]).await;
    let mut stage = Stage::on(redis, 1, SimulatorOptions::default()).await;
    let mut one = stage.working("one").await;
    let backup = Backup::of(&stage.redis).await;
    let mut commit = one.proxy.trap(Step::Commit, Side::Asked);
    stage.ask().await;
    commit.caught().await;
    // Only a server of 7.2 or later is asked for one; with an older one time must pass instead.
    let confirmation = one.proxy.trap_any(Side::Answered, |passed| {
        passed
            .call
            .words
            .first()
            .is_some_and(|command| command == "WAITAOF")
    });
    commit.release();
    one.proxy
        .see("the commit", |passed| {
            passed.call.step == Step::Commit && passed.word == "committed"
        })
        .await;
    one.see_entries(1).await;
    one.proxy.tear();
    drop(confirmation);
    backup.put_back(&mut stage.redis).await;
    one.proxy.mend();
    let status = stage
        .see("the pair", |s| s.generation == 1 && s.owner.is_none())
        .await;
    assert_eq!((status.state.as_str(), status.reason), ("Scheduled", None));
    assert_eq!(stage.presented(), [1], "no loop with the old token");
    stage.serves_a_good_token().await;
    one.end().await;
}

/// As long as it is not known what became of what the fleet did last, a rejection says just that.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_put_back_condemns_nothing_as_revoked() {
    let mut stage = Stage::new().await;
    // As long as a lease, by its own clock, a worker doubts a store that has become another run.
    let mut one = stage.machine("one").await.with("EVERGREEN_LEASE", "30s");
    one.start().await;
    let backup = Backup::of(&stage.redis).await;
    stage.ask().await;
    refreshed(&stage, 1).await;
    one.see_entries(0).await;
    one.proxy.tear();
    backup.put_back(&mut stage.redis).await;
    one.proxy.mend();
    assert_eq!(
        stage.status().await.generation,
        0,
        "what was refreshed is forgotten"
    );
    stage.ask().await;
    let status = stage.see("the verdict", |s| s.reason.is_some()).await;
    assert_eq!(status.reason.as_deref(), Some("rotation_lost"));
    assert_eq!(stage.presented(), [2]);
    one.end().await;
}

/// Also long after the restart is forgotten: the fleet knows it by the stamp. A grant that was made
/// since is judged as ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_put_back_is_known_by_its_stamp() {
    let mut stage = Stage::of(1, agreeable()).await;
    let mut one = stage.working("one").await;
    let backup = Backup::of(&stage.redis).await;
    stage.ask().await;
    refreshed(&stage, 1).await;
    one.see_entries(0).await;
    eventually("a stamp in the journal", PATIENCE, async || {
        let listing = ninjaone::journal::read_dir(one.disk()).ok()?;
        (listing.newest_stamp > 0).then_some(())
    })
    .await;
    one.proxy.tear();
    backup.put_back(&mut stage.redis).await;
    one.proxy.mend();
    eventually(
        "the mark of a store that was put back",
        PATIENCE,
        async || {
            let fields: Vec<String> = stage.redis.cli(&["HGETALL", "evergreen:meta"]).await;
            fields.iter().any(|field| field == "restored").then_some(())
        },
    )
    .await;
    let marked = stage.bench.now().await;
    eventually("the end of all doubt", PATIENCE, async || {
        (u128::from(stage.bench.now().await - marked) > 2 * LEASE.as_millis()).then_some(())
    })
    .await;
    stage.ask().await;
    let status = stage.see("the verdict", |s| s.reason.is_some()).await;
    assert_eq!(status.reason.as_deref(), Some("rotation_lost"));

    let connected = consents(&stage).await;
    assert_eq!(connected.status.epoch, 2);
    for chain in stage.simulator.ledger().chains {
        stage.simulator.revoke(chain.chain.as_str());
    }
    stage.ask().await;
    let status = stage.see("another verdict", |s| s.reason.is_some()).await;
    assert_eq!(status.reason.as_deref(), Some("revoked"));
    one.end().await;
}

/// The store forgot generation 1; the journal of a machine holds what became of it.
async fn put_back_with_a_newer_pair_in_a_journal() -> (Stage, Machine) {
    let mut stage = Stage::new().await;
    let mut one = stage.working("one").await;
    let backup = Backup::of(&stage.redis).await;
    stage.ask().await;
    refreshed(&stage, 1).await;
    one.see_entries(0).await;
    let mut commit = one.proxy.trap(Step::Commit, Side::Asked);
    stage.ask().await;
    commit.caught().await;
    one.kill();
    drop(commit);
    assert_eq!(one.entries(), 1);
    backup.put_back(&mut stage.redis).await;
    assert_eq!(stage.status().await.generation, 0);
    (stage, one)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_knows_better_than_a_store_that_was_put_back_heals_it() {
    let (stage, mut one) = put_back_with_a_newer_pair_in_a_journal().await;
    one.start().await;
    let status = stage
        .see("the newer pair", |s| s.generation > 0 && s.owner.is_none())
        .await;
    assert_eq!((status.generation, status.state.as_str()), (2, "Scheduled"));
    assert_eq!(stage.presented(), [1, 1], "nothing was sent for it");
    one.see_entries(0).await;
    stage.serves_a_good_token().await;
    one.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_knows_better_heals_also_what_was_condemned_meanwhile() {
    let (stage, mut one) = put_back_with_a_newer_pair_in_a_journal().await;
    let mut two = stage.successor().await;
    stage.ask().await;
    let status = stage.see("the verdict", |s| s.reason.is_some()).await;
    assert_eq!(status.state, "ReconnectRequired");
    one.start().await;
    let status = stage
        .see("health", |s| s.state == "Scheduled" && s.owner.is_none())
        .await;
    assert_eq!((status.generation, status.reason), (2, None));
    assert_eq!(stage.count("RECOVERED").await, 1);
    assert_eq!(stage.presented(), [2, 1]);
    one.see_entries(0).await;
    stage.serves_a_good_token().await;
    one.end().await;
    two.end().await;
}
