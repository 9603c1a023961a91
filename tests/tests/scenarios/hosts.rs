//! Hosts that throttle, fail, cannot be reached, send elsewhere or never end.

use std::collections::BTreeMap;
use std::time::Duration;

use evergreen_tests::Bench;
use evergreen_tests::bench::{adopt, offer};
use ninjaone::service::{AdoptOptions, ServiceError, TokenAsk};
use ninjaone::simulator::{Action, Fault, Respond};
use secrecy::ExposeSecret;

use crate::support::*;

fn with_header(status: u16, name: &str, value: &str) -> Fault {
    Fault::new(Action::Respond(Respond {
        status,
        headers: BTreeMap::from([(name.to_owned(), value.to_owned())]),
        ..Respond::default()
    }))
}

#[tokio::test]
async fn s34_s35_a_host_that_throttles_is_left_alone_by_everybody() {
    let in_two_minutes = || {
        let date = chrono::Utc::now() + chrono::TimeDelta::seconds(120);
        date.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
    };
    let page = |status| Fault::new(Action::ThrottlePage { status });
    for (what, fault, seconds) in [
        ("seconds", with_header(429, "retry-after", "120"), 120),
        (
            "a date",
            with_header(429, "retry-after", &in_two_minutes()),
            120,
        ),
        ("nonsense", with_header(429, "retry-after", "abc"), 30),
        ("for ever", with_header(429, "retry-after", "999999"), 3_600),
        ("503", with_header(503, "retry-after", "120"), 120),
        ("a page", page(200), 30),
        ("a page with 503", page(503), 30),
    ] {
        let life = Life::of(3600).await;
        let others = life.bench.seed(4).split_off(1);
        for (n, other) in others.iter().enumerate() {
            let mut offer = offer(other);
            // Due soon after the first, in an order that is not that of their expiry.
            let left = [900, 300, 600][n] * 1_000;
            offer.expires_at = Some(life.bench.now().await + left);
            life.app
                .adopt(offer, AdoptOptions::default())
                .await
                .unwrap();
        }
        life.script(fault);
        life.app.refresh(&life.target).await.unwrap();
        assert_eq!(life.requests(), 1, "{what}");
        assert_eq!(life.status().await.consecutive_failures, 0, "no strike");
        for other in &others {
            let status = life.app.refresh(&target(other)).await.unwrap();
            assert_eq!(status.state, "Scheduled", "{what}");
        }
        life.pass(Duration::from_secs(seconds - 3)).await;
        assert_eq!(life.requests(), 1, "{what}: everybody waits");
        life.pass(Duration::from_secs(10)).await;
        let entries = life.bench.simulator.handle().entries(1, 100).entries;
        let mut order = Vec::new();
        for entry in entries {
            let chain = entry.chain.unwrap();
            order.extend(others.iter().position(|o| o.chain == chain.as_str()));
        }
        assert_eq!(order, [1, 2, 0], "{what}: soonest expiry first");
        assert_eq!(life.status().await.generation, 1, "{what}");
        assert_eq!(life.count("REFRESH_FAILED").await, 0);
    }
}

#[tokio::test]
async fn s34_a_caller_in_another_process_does_not_shorten_a_pause() {
    let life = Life::of(3600).await;
    let other = life.bench.seed(2).remove(1);
    let mut expiring = offer(&other);
    expiring.expires_at = Some(life.bench.now().await + 10_000);
    life.app
        .adopt(expiring, AdoptOptions::default())
        .await
        .unwrap();
    life.script(with_header(429, "retry-after", "120"));
    life.app.refresh(&life.target).await.unwrap();
    life.app.refresh(&target(&other)).await.unwrap();
    life.bench.clock.as_ref().unwrap().advance(MINUTE);
    // It has asked the provider nothing yet, so only the store can tell it of the pause.
    let elsewhere = life.bench.app("api-1");
    let answer = elsewhere.token(&target(&other), &TokenAsk::default()).await;
    let later = answer.map(drop).unwrap_err().retry_after_s().unwrap();
    assert!((50..=70).contains(&later), "{later}");
    assert_eq!(life.requests(), 1);
}

#[tokio::test]
async fn s36_an_outage_of_two_hours_is_waited_out() {
    let life = Life::of(3600).await;
    life.script(Fault::respond(503, "").always());
    life.pass_the_refresh().await;
    let token = life.token().await;
    assert_eq!(token.access_token.expose_secret(), life.grant.access_token);
    life.pass(HOUR * 2).await;
    let status = life.status().await;
    assert_eq!(
        (status.state.as_str(), status.recovery.as_str()),
        ("Scheduled", "wait")
    );
    let tries = life.requests();
    assert!((24..=60).contains(&tries), "growing delays: {tries}");
    let error = refused(&life.app, &life).await;
    let later = error.retry_after_s().unwrap();
    assert!(
        matches!(error, ServiceError::TryLater { .. }) && later <= 300,
        "{error:?}"
    );
    assert_eq!(life.requests(), tries, "a caller shortens nothing");
    assert_eq!(life.count("REFRESH_FAILED").await, 1);
    assert_eq!(life.count("EXPIRING").await, 1);
    life.bench.simulator.handle().clear_faults();
    life.pass(MINUTE * 5).await;
    assert_eq!(life.status().await.generation, 1);
    assert_eq!(life.count("RECOVERED").await, 1);
    assert_eq!(life.count("RECONNECT_REQUIRED").await, 0);
}

#[tokio::test]
async fn s37_a_refused_connection_is_retried_and_not_ambiguous() {
    let bench = Bench::with_a_clock(life(3600)).await;
    let app = bench.app("worker-1");
    let grant = bench.seed(1).remove(0);
    let mut offer = offer(&grant);
    // Nobody listens there: the port was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap();
    drop(port);
    offer.instance_url = Some(format!("http://{address}"));
    app.adopt(offer, AdoptOptions::default()).await.unwrap();
    bench.pass(&app, HOUR * 2).await;
    let status = app.status(&target(&grant)).await.unwrap();
    assert_eq!(status.state, "Scheduled");
    assert_eq!(status.unknown_since, None);
    assert!(status.consecutive_failures > 10);
    assert_eq!(bench.simulator.handle().totals().requests, 0);
}

#[tokio::test]
async fn s37_a_handshake_that_fails_is_loud_and_nothing_is_sent_in_the_clear() {
    let bench = Bench::with_a_clock(life(3600)).await;
    let app = bench.app("worker-1");
    let grant = bench.seed(1).remove(0);
    // The simulator speaks plain HTTP, so no handshake with it comes about.
    let mut offer = offer(&grant);
    offer.instance_url = Some(format!("https://{}", bench.simulator.addr()));
    app.adopt(offer, AdoptOptions::default()).await.unwrap();
    bench.pass(&app, HOUR).await;
    let status = app.status(&target(&grant)).await.unwrap();
    assert_eq!(
        (status.state.as_str(), status.recovery.as_str()),
        ("Scheduled", "wait")
    );
    assert_eq!(status.warning.as_deref(), Some("tls_error"));
    assert_eq!((status.unknown_since, status.reason), (None, None));
    let url = status.instance_url.unwrap();
    assert!(url.starts_with("https://"), "nothing is downgraded: {url}");
    bench.pass(&app, HOUR * 25).await;
    let status = app.status(&target(&grant)).await.unwrap();
    assert_eq!(
        status.attention.as_deref(),
        Some("tls_error"),
        "after a day"
    );
    assert_eq!(bench.simulator.handle().totals().requests, 0);
}

#[tokio::test]
async fn s40_a_redirect_is_not_followed() {
    let life = Life::of(3600).await;
    let other = Bench::in_memory(crate::support::life(60)).await;
    let url = other.simulator.handle().url();
    let location = format!("{url}/ws/oauth/token?refresh_token=CANARY");
    life.script(Fault::new(Action::Redirect {
        status: 307,
        location,
    }));
    life.pass_the_refresh().await;
    let status = life.status().await;
    assert_eq!(status.attention.as_deref(), Some("unexpected_redirect"));
    let shown = status.provider.unwrap().description.unwrap();
    assert!(
        shown.contains("127.0.0.1") && !shown.contains("CANARY"),
        "{shown}"
    );
    assert_eq!(other.simulator.handle().totals().requests, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn s42_endless_answers_are_cut_and_disturb_nobody() {
    let bench = Bench::in_memory(life(600))
        .await
        .with_limits(short_leases());
    let app = bench.app("worker-1");
    let grants = bench.seed(3);
    for grant in &grants {
        adopt(&app, grant).await;
    }
    let handle = bench.simulator.handle();
    let huge = Action::HugeBody { bytes: 50 << 20 };
    let slow = Action::SlowBody {
        piece: 1,
        pause: Duration::from_secs(1),
    };
    for (action, grant) in [(huge, &grants[0]), (slow, &grants[1])] {
        let fault = Fault::new(action).on_chain(&grant.chain);
        handle.script(fault).unwrap();
    }
    let refresh = |n: usize| {
        let (app, target) = (app.clone(), target(&grants[n]));
        tokio::spawn(async move { app.refresh(&target).await.unwrap() })
    };
    let (huge, slow, healthy) = (refresh(0), refresh(1), refresh(2));
    assert_eq!(healthy.await.unwrap().generation, 1);
    // The beginning of both held no refresh token; the provider has spent the old one.
    for disturbed in [huge.await.unwrap(), slow.await.unwrap()] {
        let state = (disturbed.state.as_str(), disturbed.generation);
        assert!(state != ("Refreshing", 0), "{disturbed:?}");
        assert!(disturbed.unknown_since.is_some() || disturbed.generation > 0);
    }
}
