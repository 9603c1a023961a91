//! Nothing that the provider issued is lost, whatever falls over.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use evergreen_tests::bench::{Host, PATIENCE, adopt, offer};
use evergreen_tests::{Bench, RedisServer, eventually};
use ninjaone::integration::Target;
use ninjaone::service::{AdoptOptions, Recovery, ServiceError, StatusView, TokenAsk};
use ninjaone::simulator::{Action, Fault, Handle, Rotation, SeededGrant, SettingsChange, When};
use secrecy::ExposeSecret;

use crate::support::*;

/// A fleet of two machines over a Redis, and a grant that is refreshed while the provider holds the
/// answer back.
struct Fleet {
    redis: RedisServer,
    bench: Bench,
    grant: SeededGrant,
    target: Target,
    handle: Handle,
    hold: u64,
}

impl Fleet {
    async fn new() -> Self {
        let redis = RedisServer::start_own().await;
        let bench = Bench::on_redis(&redis, life(3600))
            .await
            .with_limits(short_leases());
        let grant = bench.seed(1).remove(0);
        let handle = bench.simulator.handle().clone();
        Self {
            redis,
            target: target(&grant),
            bench,
            grant,
            handle,
            hold: 0,
        }
    }

    /// The grant's token has expired when it is adopted, so it is refreshed at once: by this machine.
    /// Returns when the provider has the request and sits on it.
    async fn with_a_request_under_way(&mut self, host: &Host, when: When) {
        self.hold = self
            .handle
            .script(Fault::new(Action::Hold { when }))
            .unwrap();
        let mut expired = offer(&self.grant);
        expired.expires_at = Some(self.bench.now().await - 1_000);
        let app = host.app().clone();
        // The turn runs where the adoption is driven, and is answered only once it has ended.
        host.spawn(async move {
            let _ = app.adopt(expired, AdoptOptions::default()).await;
        });
        tokio::time::timeout(PATIENCE, self.handle.applied(self.hold, 1))
            .await
            .expect("a request");
    }

    async fn see(&self, what: &str, wanted: impl Fn(&StatusView) -> bool) -> StatusView {
        let app = self.bench.app("eye");
        let name = self.target.to_string();
        self.bench.see(&app, &name, what, wanted).await
    }

    async fn told(&self) -> Vec<String> {
        names(&events(&self.bench.app("eye")).await)
    }

    /// What is served is what the provider takes.
    async fn serves_a_good_token(&self) {
        let app = self.bench.app("eye");
        let token = app.token(&self.target, &TokenAsk::default()).await.unwrap();
        let url = format!("{}/v2/organizations", self.handle.url());
        let token = token.access_token.expose_secret();
        let answer = reqwest::Client::new().get(url).bearer_auth(token).send();
        assert!(answer.await.unwrap().status().is_success());
    }
}

fn entries(disk: &Path) -> usize {
    ninjaone::journal::read_dir(disk).map_or(0, |listing| listing.entries.len())
}

async fn see_entries(disk: &Path, wanted: usize) {
    eventually(
        &format!("{wanted} entries in the journal"),
        PATIENCE,
        async || (entries(disk) == wanted).then_some(()),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s20_a_machine_that_falls_over_before_its_request_was_carried_out_costs_nothing() {
    let mut fleet = Fleet::new().await;
    let one = fleet.bench.host("one").await;
    fleet.with_a_request_under_way(&one, When::Before).await;
    one.crash().await;
    // The request is never carried out: its sender is gone, and the host forgets it.
    let _two = fleet.bench.host("two").await;
    let status = fleet.see("health", |s| s.generation == 1).await;
    assert_eq!(status.unknown_since, None);
    assert_eq!(fleet.handle.totals().double_sends, 0);
    assert!(fleet.handle.totals().requests <= 2);
    fleet.serves_a_good_token().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s21_an_answer_that_fell_with_its_reader_costs_a_strict_grant_and_says_why() {
    let mut fleet = Fleet::new().await;
    let one = fleet.bench.host("one").await;
    fleet.with_a_request_under_way(&one, When::After).await;
    one.crash().await;
    let _two = fleet.bench.host("two").await;
    let status = fleet.see("the verdict", |s| s.reason.is_some()).await;
    assert_eq!(status.reason.as_deref(), Some("rotation_lost"));
    assert_eq!(fleet.handle.totals().requests, 2);
    let told = fleet.told().await;
    let count = |name| told.iter().filter(|told| *told == name).count();
    assert_eq!(
        (count("REFRESH_FAILED"), count("RECONNECT_REQUIRED")),
        (1, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn s21_a_provider_with_a_grace_window_heals_it_by_the_one_retry() {
    let mut fleet = Fleet::new().await;
    let window = Duration::from_secs(60);
    let change = SettingsChange {
        rotation: Some(Rotation::Grace { window }),
        ..SettingsChange::default()
    };
    fleet.handle.change_settings(change).unwrap();
    let one = fleet.bench.host("one").await;
    fleet.with_a_request_under_way(&one, When::After).await;
    one.crash().await;
    let _two = fleet.bench.host("two").await;
    let status = fleet.see("health", |s| s.generation == 1).await;
    assert_eq!(
        (status.state.as_str(), status.unknown_since),
        ("Scheduled", None)
    );
    assert_eq!(fleet.handle.totals().requests, 2);
    fleet.serves_a_good_token().await;
}

/// The pair is in the journal of `one`, and in no store: Redis was killed between answer and
/// commit, and then `one` fell over.
async fn with_a_pair_in_the_journal(fleet: &mut Fleet) {
    let one = fleet.bench.host("one").await;
    fleet.with_a_request_under_way(&one, When::After).await;
    fleet.redis.kill().await;
    fleet.handle.release(fleet.hold);
    let disk = one.disk().to_owned();
    see_entries(&disk, 1).await;
    one.crash().await;
    fleet.redis.restart().await;
    assert_eq!(entries(&disk), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn s22_a_pair_in_the_journal_is_adopted_when_its_machine_comes_back() {
    let mut fleet = Fleet::new().await;
    with_a_pair_in_the_journal(&mut fleet).await;
    let one = fleet.bench.host("one").await;
    let status = fleet.see("the pair", |s| s.generation >= 1).await;
    assert_eq!(status.state, "Scheduled");
    see_entries(one.disk(), 0).await;
    fleet.serves_a_good_token().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s22_it_heals_what_another_worker_has_condemned_meanwhile() {
    let mut fleet = Fleet::new().await;
    with_a_pair_in_the_journal(&mut fleet).await;
    let _two = fleet.bench.host("two").await;
    let status = fleet.see("the verdict", |s| s.reason.is_some()).await;
    assert_eq!(status.reason.as_deref(), Some("rotation_lost"));
    let one = fleet.bench.host("one").await;
    let status = fleet.see("health", |s| s.state == "Scheduled").await;
    assert_eq!((status.generation, status.reason), (1, None));
    see_entries(one.disk(), 0).await;
    assert!(fleet.told().await.contains(&"RECOVERED".to_owned()));
    assert_eq!(fleet.handle.totals().requests, 2);
    fleet.serves_a_good_token().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s25_a_pair_of_a_grant_that_was_replaced_meanwhile_is_destroyed() {
    let mut fleet = Fleet::new().await;
    with_a_pair_in_the_journal(&mut fleet).await;
    let api = fleet.bench.app("api");
    let fresh = fleet.bench.seed(2).remove(1);
    let mut new = offer(&fresh);
    new.grant = fleet.target.integration.grant(new.grant.kind());
    let replace = AdoptOptions {
        replace: true,
        ..AdoptOptions::default()
    };
    api.adopt(new, replace).await.unwrap();
    let one = fleet.bench.host("one").await;
    see_entries(one.disk(), 0).await;
    let status = fleet.see("the new grant", |s| s.epoch == 2).await;
    assert_eq!((status.generation, status.quarantined), (0, 0));
    let token = api
        .token(&fleet.target, &TokenAsk::default())
        .await
        .unwrap();
    assert_eq!(token.access_token.expose_secret(), fresh.access_token);
}

#[tokio::test(flavor = "multi_thread")]
async fn s23_without_redis_nothing_is_sent_and_nobody_is_condemned() {
    let mut fleet = Fleet::new().await;
    let app = fleet.bench.app("api");
    adopt(&app, &fleet.grant).await;
    let before = app.status(&fleet.target).await.unwrap();
    fleet.redis.pause().await;
    let began = std::time::Instant::now();
    let refused = app.token(&fleet.target, &TokenAsk::default()).await;
    let refused = refused.map(drop).unwrap_err();
    assert!(
        matches!(refused, ServiceError::StoreAway { .. }),
        "{refused}"
    );
    assert_eq!(
        (refused.status(), refused.recovery()),
        (503, Recovery::Wait)
    );
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    app.refresh(&fleet.target).await.unwrap_err();
    assert_eq!(fleet.handle.totals().requests, 0);
    fleet.redis.resume().await;
    let after = fleet.see("Redis", |_| true).await;
    assert_eq!(after.state, before.state);
    assert_eq!(after.consecutive_failures, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn s23_a_token_already_in_memory_is_served_while_redis_stands_still() {
    let mut redis = RedisServer::start_own().await;
    let bench = Bench::on_redis(&redis, life(3600)).await;
    let app = bench.app("api");
    let grants = bench.seed(2);
    for grant in &grants {
        adopt(&app, grant).await;
    }
    let read = app
        .token(&target(&grants[0]), &TokenAsk::default())
        .await
        .unwrap();
    redis.pause().await;
    let began = std::time::Instant::now();
    let served = app
        .token(&target(&grants[0]), &TokenAsk::default())
        .await
        .unwrap();
    assert_eq!(
        served.access_token.expose_secret(),
        read.access_token.expose_secret()
    );
    assert_eq!(served.warning.as_deref(), Some("store_away"));
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    let never = app.token(&target(&grants[1]), &TokenAsk::default()).await;
    assert!(matches!(
        never.map(drop),
        Err(ServiceError::StoreAway { .. })
    ));
    redis.resume().await;
    let status = bench
        .see(&app, &target(&grants[0]).to_string(), "Redis", |_| true)
        .await;
    assert_eq!(
        (status.state.as_str(), status.consecutive_failures),
        ("Scheduled", 0)
    );
    assert_eq!(bench.simulator.handle().totals().requests, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn s24_a_pair_waits_in_memory_for_redis_to_come_back() {
    for killed in [false, true] {
        let mut fleet = Fleet::new().await;
        let one = fleet.bench.host("one").await;
        fleet.with_a_request_under_way(&one, When::After).await;
        if killed {
            fleet.redis.kill().await;
        } else {
            fleet.redis.pause().await;
        }
        fleet.handle.release(fleet.hold);
        see_entries(one.disk(), 1).await;
        let pending = &one.app().engine().counters().persist_pending;
        eventually("a pair that waits", PATIENCE, async || {
            (pending.load(Ordering::Relaxed) == 1).then_some(())
        })
        .await;
        if killed {
            fleet.redis.restart().await;
        } else {
            fleet.redis.resume().await;
        }
        let status = fleet.see("the pair", |s| s.generation >= 1).await;
        assert_eq!(status.state, "Scheduled");
        assert_eq!(fleet.handle.totals().requests, 1, "killed: {killed}");
        assert_eq!(pending.load(Ordering::Relaxed), 0);
        fleet.serves_a_good_token().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s27_a_pair_that_comes_after_somebody_else_took_over_is_delivered_not_thrown_away() {
    // The answer comes after the first worker's deadline, and after the second one's verdict.
    let mut fleet = Fleet::new().await;
    let one = fleet.bench.host("one").await;
    fleet.with_a_request_under_way(&one, When::After).await;
    let status = fleet.see("the verdict", |s| s.reason.is_some()).await;
    assert_eq!(status.reason.as_deref(), Some("rotation_lost"));
    fleet.handle.release(fleet.hold);
    let status = fleet.see("health", |s| s.state == "Scheduled").await;
    assert_eq!((status.generation, status.reason), (1, None));
    assert_eq!(fleet.handle.totals().requests, 2);
    assert!(fleet.told().await.contains(&"RECOVERED".to_owned()));
    fleet.serves_a_good_token().await;
    // Its entry may be kept for a while; delivered once more it changes nothing.
    one.app().replay_journal().await;
    let again = fleet.see("rest", |s| s.owner.is_none()).await;
    assert_eq!((again.generation, again.quarantined), (1, 0));
    see_entries(one.disk(), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s27_a_fenced_holder_delivers_its_pair_and_frees_nobody_elses_lease() {
    let mut fleet = Fleet::new().await;
    let one = fleet.bench.host("one").await;
    fleet.with_a_request_under_way(&one, When::After).await;
    // Somebody takes it over by the only way there is while a lease runs: a new grant.
    let api = fleet.bench.app("api");
    let fresh = fleet.bench.seed(2).remove(1);
    let mut new = offer(&fresh);
    new.grant = fleet.target.integration.grant(new.grant.kind());
    let replace = AdoptOptions {
        replace: true,
        ..AdoptOptions::default()
    };
    api.adopt(new, replace).await.unwrap();
    fleet.handle.release(fleet.hold);
    let counters = one.app().engine().counters().clone();
    eventually("the late pair's delivery", PATIENCE, async || {
        (counters.redelivered.load(Ordering::Relaxed) == 1).then_some(())
    })
    .await;
    let status = fleet.see("the end of it", |s| s.owner.is_none()).await;
    assert_eq!((status.epoch, status.generation), (2, 0));
    assert_eq!(counters.fenced.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn s26_s36_a_restart_of_redis_is_noticed_and_nothing_is_sent_twice() {
    let mut redis = RedisServer::start_own().await;
    let bench = Bench::on_redis(&redis, life(6))
        .await
        .with_limits(short_leases());
    let one = bench.host("one").await;
    let grants = bench.seed(3);
    for grant in &grants {
        adopt(one.app(), grant).await;
    }
    redis.restart().await;
    let eye = bench.app("eye");
    for grant in &grants {
        let name = target(grant).to_string();
        let status = bench.see(&eye, &name, "a refresh", |s| s.generation >= 1);
        assert_eq!(status.await.reason, None);
    }
    assert_eq!(bench.simulator.handle().totals().double_sends, 0);
}
