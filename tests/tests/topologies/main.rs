//! The main job where a server may be replaced under the fleet's hands: worker processes keep every
//! integration alive while the master that Sentinels watch dies, and while a cluster loses a third of
//! itself.
//!
//! What is asked of the store itself, and of slots that move, is in the engine's `tests/topologies`.

#![expect(clippy::unwrap_used, reason = "all of it is a test, its helpers too")]

use std::collections::BTreeMap;
use std::time::Duration;

use evergreen_tests::fleet::{Fleet, Plan};
use evergreen_tests::redis::free_port;
use evergreen_tests::topology::{Cluster, Watched};
use evergreen_tests::{Evergreen, RedisServer, Tls, eventually};
use serde_json::Value;

/// Tokens live 12 s and are refreshed after half of that, so there is time to lose a master in.
const PLAN: Plan = Plan {
    integrations: 40,
    workers: 3,
    life_s: 12,
    watch: Duration::from_secs(4),
    lease_s: 4,
    answer_ms: 100,
};

/// Enough to see the same over TLS.
const SMALL: Plan = Plan {
    integrations: 10,
    ..PLAN
};
/// How long one command may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn store(url: String) -> Vec<(&'static str, String)> {
    vec![
        ("EVERGREEN_REDIS_URL", url),
        ("EVERGREEN_REPLICAS", "1".to_owned()),
    ]
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// How many refreshes the provider has seen succeed, of the integration with the fewest.
async fn least(fleet: &Fleet) -> u64 {
    let ledger = fleet.ledger().await;
    let chains = ledger["chains"].as_array().unwrap().clone();
    let succeeded = chains
        .iter()
        .map(|chain| number(&chain["refreshes_succeeded"]));
    succeeded.min().unwrap_or_default()
}

/// Every integration is refreshed so many times more.
async fn goes_on(fleet: &Fleet, times: u64) {
    let wanted = least(fleet).await + times;
    eventually(
        "refreshes of every integration",
        Duration::from_secs(90),
        async || (least(fleet).await >= wanted).then_some(()),
    )
    .await;
}

/// Nobody lost a grant, and no refresh token was sent more often than the one retry allows.
async fn nothing_was_lost(mut fleet: Fleet) {
    goes_on(&fleet, 1).await;
    let all = fleet.settled().await;
    let sick: Vec<&Value> = all
        .iter()
        .filter(|one| one["state"] != "Scheduled")
        .collect();
    assert!(sick.is_empty(), "{sick:#?}");
    let mut presented: BTreeMap<String, u64> = BTreeMap::new();
    for entry in fleet.entries().await {
        if let Some(token) = entry["fingerprint"].as_str() {
            *presented.entry(token.to_owned()).or_default() += 1;
        }
    }
    let most = presented.values().max().copied().unwrap_or_default();
    let ledger = fleet.ledger().await;
    println!(
        "{} refresh tokens presented, each {most} times at most",
        presented.len()
    );
    println!("requests {}", ledger["totals"]);
    assert!(most <= 2, "a refresh token was presented {most} times");
    for chain in ledger["chains"].as_array().unwrap() {
        assert_eq!(
            number(&chain["open_gap_ms"]),
            0,
            "without a valid token: {chain}"
        );
    }
    fleet.stop().await;
}

/// The master dies under a fleet, and comes back as a replica, which the Sentinels tell it.
async fn replaced(mut watched: Watched, plan: Plan, store: Vec<(&'static str, String)>) {
    let replica = watched.servers.pop().unwrap();
    let mut fleet = Fleet::over(plan, replica, store).await;
    fleet.watch(|_, _| {}).await;
    let old = watched.known_by(0);
    watched.servers[0].kill().await;
    watched.is_replaced(old).await;
    goes_on(&fleet, 1).await;
    watched.servers[0].restart().await;
    nothing_was_lost(fleet).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_loses_no_grant_when_sentinels_replace_the_master() {
    let watched = Watched::start(2).await;
    let store = store(watched.url());
    replaced(watched, PLAN, store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_loses_no_grant_when_a_cluster_loses_a_master() {
    let mut cluster = Cluster::start().await;
    let url = cluster.url();
    let replica = cluster.servers.pop().unwrap();
    let mut fleet = Fleet::over(PLAN, replica, store(url)).await;
    fleet.watch(|_, _| {}).await;
    cluster.servers[0].kill().await;
    cluster.is_replaced(0).await;
    // Only then is there a replica again that can confirm what the new master writes.
    cluster.servers[0].restart().await;
    nothing_was_lost(fleet).await;
}

/// The gate lies in a slot of its own. Where nobody has that, everybody goes by a limit of his own.
#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_goes_on_where_only_the_gates_node_is_away() {
    let mut cluster = Cluster::start().await;
    let url = cluster.url();
    let provider = format!("127.0.0.1:{}", free_port());
    let gate = format!("evergreen:gate:{{{provider}}}");
    let mut apart = cluster.apart(&gate).await;
    let replica = cluster.servers.pop().unwrap();
    let mut fleet = Fleet::asking(&provider, PLAN, replica, store(url)).await;
    fleet.watch(|_, _| {}).await;
    let held: Vec<String> = apart.cli(&["KEYS", "*"]).await;
    assert!(held.contains(&gate), "{held:?}");
    apart.kill().await;
    goes_on(&fleet, 2).await;
    // A list says so where it cannot be whole.
    apart.restart().await;
    nothing_was_lost(fleet).await;
}

/// The same store, asked by who trusts the authority of its servers.
fn trusting(tls: &Tls, url: String) -> Vec<(&'static str, String)> {
    let authority = tls.authority().display().to_string();
    [store(url), vec![("SSL_CERT_FILE", authority)]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_works_over_tls_and_trusts_nobody_else() {
    let (Some(tls), Some(stranger)) = (Tls::where_offered(), Tls::where_offered()) else {
        return;
    };
    let port = free_port();
    let redis = RedisServer::start_encrypted(&tls, port, &[]).await;
    let url = format!("rediss://127.0.0.1:{port}");
    let mut fleet = Fleet::over(
        SMALL,
        redis,
        vec![
            ("EVERGREEN_REDIS_URL", url.clone()),
            ("SSL_CERT_FILE", tls.authority().display().to_string()),
        ],
    )
    .await;
    fleet.watch(|_, _| {}).await;
    let migrate = Evergreen::with(["migrate"])
        .env("EVERGREEN_REDIS_URL", &url)
        .env("SSL_CERT_FILE", stranger.authority());
    let refused = migrate.run(PATIENCE).await.expect_code(5);
    assert!(refused.stderr.contains("certificate"), "{}", refused.stderr);
    nothing_was_lost(fleet).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_follows_sentinels_over_tls() {
    let Some(tls) = Tls::where_offered() else {
        return;
    };
    let watched = Watched::start_over(&tls, 2).await;
    let url = watched.url();
    assert!(url.starts_with("rediss+sentinel://"));
    replaced(watched, SMALL, trusting(&tls, url)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_finds_its_way_about_a_cluster_over_tls() {
    let Some(tls) = Tls::where_offered() else {
        return;
    };
    let mut cluster = Cluster::start_over(&tls).await;
    let url = cluster.url();
    assert!(url.starts_with("rediss+cluster://"));
    let replica = cluster.servers.pop().unwrap();
    let mut fleet = Fleet::over(SMALL, replica, trusting(&tls, url)).await;
    fleet.watch(|_, _| {}).await;
    nothing_was_lost(fleet).await;
}
