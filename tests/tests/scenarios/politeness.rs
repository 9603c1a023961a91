//! One fleet, one gate a host: what several processes send together.

use std::collections::HashMap;
use std::time::Duration;

use evergreen_engine::Limits;
use evergreen_tests::bench::{PATIENCE, adopt, offer};
use evergreen_tests::{Bench, RedisServer, eventually};
use ninjaone::integration::IntegrationId;
use ninjaone::provider::InstanceUrl;
use ninjaone::service::{AdoptOptions, App, ClientConnect, TokenAsk};
use ninjaone::simulator::{Action, Entry, Fault, Handle, Respond, SeededGrant, SimulatorOptions};

use crate::support::*;

/// Token requests of a host at once, by the whole fleet.
const AT_ONCE: u64 = 8;
/// Token requests of a host a second, by the whole fleet.
const A_SECOND: u64 = 50;

fn slow(milliseconds: u64) -> SimulatorOptions {
    SimulatorOptions {
        response_delay: Duration::from_millis(milliseconds),
        ..life(3600)
    }
}

/// Waits until so many requests have arrived and been answered, all at once and none twice.
async fn drained(provider: &Handle, count: usize) {
    let wanted = u64::try_from(count).unwrap();
    eventually("all to be refreshed", PATIENCE * 2, async || {
        (provider.totals().refreshes_succeeded >= wanted).then_some(())
    })
    .await;
}

fn judge(provider: &Handle, count: usize) {
    let totals = provider.totals();
    assert_eq!(
        totals.requests, count as u64,
        "one request each: {totals:?}"
    );
    assert_eq!(totals.double_sends, 0);
    assert!(totals.most_at_once <= AT_ONCE, "{totals:?}");
    // Those that are under way may arrive closer together than they left.
    let most = A_SECOND + AT_ONCE;
    assert!(totals.busiest_second <= most, "{totals:?}");
}

/// How far each request was from its place in the order of expiry.
fn displacements(provider: &Handle, by_expiry: &[SeededGrant]) -> Vec<usize> {
    let places: HashMap<&str, usize> = by_expiry
        .iter()
        .enumerate()
        .map(|(place, grant)| (grant.chain.as_str(), place))
        .collect();
    let entries = provider.entries(0, 10_000).entries;
    let place = |(at, entry): (usize, &Entry)| {
        let chain = entry.chain.as_ref().unwrap();
        places[chain.as_str()].abs_diff(at)
    };
    entries.iter().enumerate().map(place).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn s07_what_is_overdue_is_drained_soonest_expiry_first_by_a_polite_fleet() {
    const COUNT: usize = 500;
    // Slow enough that it is the provider who sets the pace, also on a busy machine.
    let (bench, ahead) = Bench::with_a_clock_ahead(slow(300)).await;
    let bench = bench.with_limits(Limits::default());
    let idle = bench.app("api-1");
    let grants = bench.seed(COUNT);
    let now = bench.now().await;
    // Adopted in an order that is not that of their expiry, which is 20 s apart.
    for n in (0..COUNT).map(|n| n * 211 % COUNT) {
        let mut offer = offer(&grants[n]);
        offer.expires_at = Some(now + 3_600_000 + n as u64 * 20_000);
        let adopted = idle.adopt(offer, AdoptOptions::default()).await;
        adopted.unwrap();
    }
    // Nobody works for four hours: all are due, and most have expired.
    ahead.advance(HOUR * 4);
    let (one, other) = (bench.app("worker-1"), bench.app("worker-2"));
    let workers = [bench.worker(&one), bench.worker(&other)];
    let provider = bench.simulator.handle();
    drained(provider, COUNT).await;
    for worker in workers {
        worker.stop().await;
    }
    judge(provider, COUNT);
    // Before it has found the gate full, each of two workers has taken eight of what was due, to keep out
    // of each other's way. From then on jitter moves a timer by 5 min at most, which are 15 places.
    let displaced = displacements(provider, &grants);
    let later = &displaced[2 * 8..];
    let most = later.iter().max().unwrap();
    let sum: usize = later.iter().sum();
    assert!(*most <= 15 + 2 * 8 + 2 * 8, "one was {most} places off");
    assert!(sum / COUNT <= 20, "{} places off on average", sum / COUNT);
}

#[tokio::test(flavor = "multi_thread")]
async fn s07_two_machines_over_one_redis_share_places_and_pace() {
    const COUNT: usize = 150;
    let redis = RedisServer::start().await;
    let bench = Bench::on_redis(&redis, slow(150)).await;
    let idle = bench.app("api-1");
    for grant in bench.seed(COUNT) {
        let mut offer = offer(&grant);
        // Due in some eight seconds, all of them within two.
        offer.expires_at = Some(bench.now().await + 20_000);
        let adopted = idle.adopt(offer, AdoptOptions::default()).await;
        adopted.unwrap();
    }
    let provider = bench.simulator.handle();
    let machines = [bench.host("worker-1").await, bench.host("worker-2").await];
    drained(provider, COUNT).await;
    judge(provider, COUNT);
    drop(machines);
}

fn retry_after(seconds: u64) -> Fault {
    Fault::new(Action::Respond(Respond {
        status: 429,
        headers: [("retry-after".to_owned(), seconds.to_string())].into(),
        ..Respond::default()
    }))
}

/// Another integration of the same host, which nobody has tried to refresh.
async fn neighbour(life: &Life) -> SeededGrant {
    let grant = life.bench.seed(2).remove(1);
    adopt(&life.app, &grant).await;
    grant
}

#[tokio::test]
async fn s34_a_pause_is_the_fleets_also_for_who_has_asked_the_host_nothing_yet() {
    let life = Life::of(3600).await;
    let other = neighbour(&life).await;
    life.script(retry_after(120));
    life.app.refresh(&life.target).await.unwrap();
    let elsewhere = life.bench.app("worker-2");
    let shown = elsewhere.status(&target(&other)).await.unwrap();
    let until = ms(shown.host_paused_until.as_deref().unwrap());
    let now = life.bench.now().await;
    assert!((118_000..=121_000).contains(&(until - now)), "{shown:?}");
    let refreshed = elsewhere.refresh(&target(&other)).await.unwrap();
    assert_eq!(
        (refreshed.generation, refreshed.state.as_str()),
        (0, "Scheduled")
    );
    assert_eq!(life.requests(), 1, "an operator does not shorten a pause");
    let explained = elsewhere.explain(&target(&other)).await.unwrap();
    let words: Vec<_> = explained.findings.iter().map(|f| f.word.as_str()).collect();
    assert!(words.contains(&"host_paused"), "{words:?}");
    life.bench.pass(&elsewhere, Duration::from_secs(130)).await;
    assert_eq!(
        elsewhere.status(&target(&other)).await.unwrap().generation,
        1
    );
}

/// Opens the breaker of the host: five failures in a row.
async fn fail_five_times(life: &Life) {
    life.script(Fault::respond(503, "").always());
    for _ in 0..5 {
        // An operator does not wait for the back-off.
        life.app.refresh(&life.target).await.unwrap();
    }
    assert_eq!(life.requests(), 5);
}

async fn breaker(app: &App) -> String {
    let hosts = app.hosts().await.unwrap();
    assert_eq!(hosts.len(), 1, "{hosts:?}");
    hosts[0].breaker.clone()
}

#[tokio::test]
async fn s36_a_host_that_fails_is_tried_by_one_at_a_time_and_connecting_stays_possible() {
    let life = Life::of(3600).await;
    let mut expiring = offer(&life.bench.seed(2).remove(1));
    expiring.expires_at = Some(life.bench.now().await + 1_000);
    let other = expiring.grant.to_string().parse().unwrap();
    let adopted = life.app.adopt(expiring, AdoptOptions::default()).await;
    adopted.unwrap();
    fail_five_times(&life).await;
    life.bench
        .clock
        .as_ref()
        .unwrap()
        .advance(Duration::from_secs(2));
    let elsewhere = life.bench.app("worker-2");
    assert_eq!(breaker(&elsewhere).await, "open");
    // Lazy or not, nobody else is let in; the answer is when to come again.
    let answer = elsewhere.token(&other, &TokenAsk::default()).await;
    let later = answer.map(drop).unwrap_err();
    let after = later.retry_after_s().unwrap();
    assert!((1..=16).contains(&after), "{later}");
    assert!(later.to_string().contains("left alone until"), "{later}");
    elsewhere.refresh(&other).await.unwrap();
    assert_eq!(life.requests(), 5);
    let shown = elsewhere.status(&other).await.unwrap();
    assert_eq!(shown.host_breaker.as_deref(), Some("open"));
    // A person connects all the same, and finds out that the host is well again.
    life.bench.simulator.handle().clear_faults();
    let ask = ClientConnect {
        integration: IntegrationId::new("globex", "prod").unwrap(),
        instance_url: instance(&life),
        client_id: None,
        client_secret: None,
        scopes: None,
    };
    elsewhere.connect_client(ask).await.unwrap();
    life.bench.settle(&elsewhere).await;
    assert_eq!(life.requests(), 6);
    eventually("the breaker to close", PATIENCE, async || {
        (breaker(&elsewhere).await == "closed").then_some(())
    })
    .await;
    life.bench.pass(&elsewhere, MINUTE).await;
    assert_eq!(elsewhere.status(&other).await.unwrap().generation, 1);
    assert_eq!(life.count("RECONNECT_REQUIRED").await, 0);
}

fn instance(life: &Life) -> InstanceUrl {
    let url = life.bench.simulator.handle().url();
    InstanceUrl::parse(&url, life.app.host_policy()).unwrap()
}

#[tokio::test]
async fn s36_half_open_one_request_of_a_fleet_finds_out_and_then_all_go() {
    let life = Life::of(3600).await;
    let mut others = Vec::new();
    for grant in life.bench.seed(7).split_off(1) {
        adopt(&life.app, &grant).await;
        others.push(target(&grant));
    }
    fail_five_times(&life).await;
    let elsewhere = life.bench.app("worker-2");
    for other in &others {
        elsewhere.refresh(other).await.unwrap();
    }
    // Still failing: of all that come when the breaker has been open for long enough, one finds out.
    life.bench.pass(&elsewhere, Duration::from_secs(16)).await;
    assert_eq!(life.requests(), 6);
    assert_eq!(breaker(&elsewhere).await, "open");
    life.bench.simulator.handle().clear_faults();
    life.bench.pass(&elsewhere, MINUTE * 2).await;
    assert_eq!(breaker(&elsewhere).await, "closed");
    for other in &others {
        assert_eq!(elsewhere.status(other).await.unwrap().generation, 1);
    }
    assert_eq!(life.requests(), 6 + 7, "one request each");
}

#[tokio::test]
async fn verdicts_and_wrong_settings_of_one_grant_never_open_the_breaker() {
    let life = Life::of(3600).await;
    let answers = [
        (400, r#"{"error":"invalid_token"}"#),
        (404, r#"{"resultCode":"Client app not exist"}"#),
        (403, "<html>denied</html>"),
    ];
    for (status, body) in answers {
        let grants = life.bench.seed(8).split_off(1);
        life.script(Fault::respond(status, body).always());
        for grant in &grants {
            adopt(&life.app, grant).await;
            life.app.refresh(&target(grant)).await.unwrap();
        }
        assert_eq!(breaker(&life.app).await, "closed", "{status}");
        life.bench.simulator.handle().clear_faults();
    }
}
