//! A rejection speaks of the token that was sent, not of the grant: it is believed only after what is
//! stored, and what waits to be heard, has been looked at again.

use std::time::Duration;

use evergreen_tests::bench::PATIENCE;
use evergreen_tests::eventually;
use ninjaone::service::{App, StatusView};
use ninjaone::simulator::{Action, Fault, Presented, When};
use secrecy::ExposeSecret;
use tokio::task::JoinHandle;

use crate::support::*;

/// Longer than the leases of a bench.
const PAST_A_LEASE: Duration = Duration::from_secs(10);

fn refreshing(app: &App, life: &Life) -> JoinHandle<StatusView> {
    let (app, target) = (app.clone(), life.target.clone());
    tokio::spawn(async move { app.refresh(&target).await.unwrap() })
}

/// Lets the provider keep the next request, before or after it is carried out.
fn hold(life: &Life, when: When) -> u64 {
    life.script(Fault::new(Action::Hold { when }))
}

async fn held(life: &Life, hold: u64) {
    let handle = life.bench.simulator.handle();
    let there = tokio::time::timeout(PATIENCE, handle.applied(hold, 1));
    there.await.expect("a request");
}

fn presented(life: &Life) -> Vec<Presented> {
    let entries = life.bench.simulator.handle().entries(0, 10).entries;
    entries
        .into_iter()
        .filter_map(|entry| entry.presented)
        .collect()
}

/// It works, and nobody was ever told of anything but the rotation.
async fn is_as_if_nothing_had_been_said(life: &Life) {
    let status = life.status().await;
    assert_eq!((status.state.as_str(), status.generation), ("Scheduled", 1));
    assert_eq!((status.reason, status.attention), (None, None));
    assert_eq!(
        (status.consecutive_failures, status.unknown_since),
        (0, None)
    );
    assert_eq!(status.recovery, "none");
    for event in ["REFRESH_FAILED", "RECONNECT_REQUIRED", "RECOVERED"] {
        assert_eq!(life.count(event).await, 0, "{event}");
    }
    assert_eq!(life.count("REFRESHED").await, 1);
    let token = life.token().await;
    assert!(life.api_takes(token.access_token.expose_secret()).await);
    life.pass_the_refresh().await;
    assert_eq!(life.status().await.generation, 2, "R1 is what is sent next");
}

#[tokio::test(flavor = "multi_thread")]
async fn s31_a_rejection_that_comes_after_another_has_stored_the_next_pair_changes_nothing() {
    let life = Life::of(3600).await;
    let slow = hold(&life, When::Before);
    let one = refreshing(&life.app, &life);
    held(&life, slow).await;
    // Its lease ends, and another takes over: asks with R0, and stores R1.
    life.bench.clock.as_ref().unwrap().advance(PAST_A_LEASE);
    let two = life.bench.app("worker-2");
    refreshing(&two, &life).await.unwrap();
    let (status, told) = (life.status().await, life.told().await);
    assert_eq!(status.generation, 1);

    // Now the first request is carried out: R0 is spent, and it is told so.
    life.bench.simulator.handle().release(slow);
    one.await.unwrap();
    assert_eq!(presented(&life), [Presented::Current, Presented::Spent]);
    assert_eq!(life.status().await, status, "no change is to be seen");
    assert_eq!(life.told().await, told, "and none is told");
    is_as_if_nothing_had_been_said(&life).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s31_a_rejection_is_not_believed_while_the_next_pair_waits_to_be_heard() {
    let life = Life::of(3600).await;
    let late = hold(&life, When::After);
    let one = refreshing(&life.app, &life);
    held(&life, late).await;
    // R0 has been exchanged for R1, whose answer is on its way. Another takes over and sends R0 too.
    life.bench.clock.as_ref().unwrap().advance(PAST_A_LEASE);
    let doomed = hold(&life, When::Before);
    let app = life.bench.app("worker-2");
    let two = refreshing(&app, &life);
    held(&life, doomed).await;
    // R1 arrives where nobody has the lease any more, and waits as a signal.
    life.bench.simulator.handle().release(late);
    eventually("the pair as a signal", PATIENCE, async || {
        (life.due().await.1 > 0).then_some(())
    })
    .await;
    life.bench.simulator.handle().release(doomed);
    two.await.unwrap();
    one.await.unwrap();
    assert_eq!(presented(&life), [Presented::Current, Presented::Spent]);
    is_as_if_nothing_had_been_said(&life).await;
}
