//! What a refresh token is worth, used once, twice, at the same time, and under each rotation.

use std::time::Duration;

use super::super::{Presented, Rotation, SettingsChange};
use super::*;

const DEAD: &str = r#"{"error":"invalid_token"}"#;

#[tokio::test]
async fn a_refresh_token_is_dead_at_once_after_its_use() {
    let bench = strict().await;
    let grant = bench.one_grant();
    let first = grant.refresh_token.as_deref().unwrap();
    let answer = bench.refresh(first).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.json()["expires_in"], 3600);
    assert_eq!(answer.json()["token_type"], "Bearer");
    assert_eq!(answer.text("scope"), "monitoring management offline_access");
    let second = answer.text("refresh_token");
    assert_eq!(second.split_once('.').unwrap().0, grant.chain);
    assert_eq!(second.split_once('.').unwrap().1.len(), 43);

    let again = bench.refresh(first).await;
    assert_eq!((again.status, again.body.as_str()), (400, DEAD));
    assert_eq!(again.body.len(), 25);
    assert_eq!(again.header("cache-control"), "no-store");
    assert_eq!(again.header("content-type"), "application/json");
    assert_eq!(bench.refresh(&second).await.status, 200);
}

#[tokio::test]
async fn of_many_at_once_exactly_one_succeeds() {
    let bench = strict().await;
    let grant = bench.one_grant();
    let token = grant.refresh_token.as_deref().unwrap();
    let sends = (0..20).map(|_| bench.refresh(token));
    let answers = futures::future::join_all(sends).await;
    let succeeded = answers.iter().filter(|answer| answer.status == 200);
    assert_eq!(succeeded.count(), 1);
    let refused = answers.iter().filter(|answer| answer.body == DEAD);
    assert_eq!(refused.count(), 19);
    let chain = bench.simulator.handle().chain(&grant.chain).unwrap();
    assert_eq!((chain.generation, chain.tally.double_sends), (1, 19));
}

#[tokio::test]
async fn a_fleet_of_a_thousand_chains_is_kept_apart() {
    use futures::{StreamExt as _, TryStreamExt as _};
    let bench = bench(SimulatorOptions {
        response_delay: Duration::from_millis(1),
        ..SimulatorOptions::default()
    })
    .await;
    let request = SeedRequest::count(1000);
    let grants = bench.simulator.handle().seed(request).unwrap();
    let refreshed = futures::stream::iter(&grants)
        .map(|grant| async {
            let token = grant.refresh_token.as_deref().unwrap();
            bench.try_refresh(token).await?.error_for_status()
        })
        .buffer_unordered(50)
        .try_fold(0, async |count, _| Ok(count + 1));
    assert_eq!(refreshed.await.unwrap(), 1000);
    let report = bench.simulator.handle().ledger();
    assert!(report.chains.iter().all(|chain| chain.generation == 1));
    assert_eq!(report.totals.double_sends, 0);
    assert!((2..=50).contains(&report.totals.most_at_once));
}

#[tokio::test]
async fn a_grace_window_answers_the_same_pair_and_then_ends() {
    let bench = bench(SimulatorOptions {
        rotation: Rotation::Grace {
            window: Duration::from_secs(60),
        },
        ..SimulatorOptions::default()
    })
    .await;
    let grant = bench.one_grant();
    let first = grant.refresh_token.as_deref().unwrap();
    let second = bench.refresh(first).await.text("refresh_token");
    let again = bench.refresh(first).await;
    assert_eq!(again.text("refresh_token"), second);
    assert_eq!(bench.refresh(&second).await.status, 200);
    // Only the token just replaced is answered.
    assert_eq!(bench.refresh(first).await.body, DEAD);

    let strict = SettingsChange {
        rotation: Some(Rotation::Strict),
        ..SettingsChange::default()
    };
    bench.simulator.handle().change_settings(strict).unwrap();
    assert_eq!(bench.refresh(&second).await.body, DEAD);
    let page = bench.simulator.handle().entries(0, 10);
    let presented: Vec<_> = (page.entries.iter())
        .filter_map(|entry| entry.presented)
        .collect();
    use Presented::{Current, Grace, Spent};
    assert_eq!(presented, [Current, Grace, Current, Spent, Spent]);
}

#[tokio::test]
async fn never_repeats_the_token_and_absent_leaves_it_out() {
    for (rotation, in_answer) in [(Rotation::Never, true), (Rotation::Absent, false)] {
        let bench = bench(SimulatorOptions {
            rotation,
            ..SimulatorOptions::default()
        })
        .await;
        let grant = bench.one_grant();
        let token = grant.refresh_token.as_deref().unwrap();
        for _ in 0..3 {
            let answer = bench.refresh(token).await;
            assert_eq!(answer.status, 200, "{rotation:?}");
            let expected = in_answer.then_some(token);
            assert_eq!(answer.json()["refresh_token"].as_str(), expected);
        }
        assert_eq!(bench.simulator.handle().totals().double_sends, 0);
    }
}

#[tokio::test]
async fn tokens_that_are_revoked_made_up_or_anothers_are_dead() {
    let bench = strict().await;
    let grant = bench.one_grant();
    let token = grant.refresh_token.as_deref().unwrap();
    assert_eq!(bench.refresh("made.up").await.body, DEAD);
    let other = r#"{"client_id":"other","client_secret":"s"}"#;
    assert_eq!(bench.admin("/simulator/clients", other).await.status, 204);
    let foreign = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token),
        ("client_id", "other"),
        ("client_secret", "s"),
    ];
    assert_eq!(bench.token(&foreign).await.body, DEAD);
    assert!(bench.simulator.handle().revoke(&grant.chain));
    assert_eq!(bench.refresh(token).await.body, DEAD);
    let page = bench.simulator.handle().entries(0, 10);
    let presented: Vec<_> = page.entries.iter().map(|entry| entry.presented).collect();
    use Presented::{Foreign, Revoked, Unknown};
    assert_eq!(presented, [Some(Unknown), Some(Foreign), Some(Revoked)]);
}

#[tokio::test]
async fn a_refresh_token_past_its_life_is_expired() {
    let bench = bench(SimulatorOptions {
        refresh_token_life: Some(Duration::from_secs(60)),
        ..SimulatorOptions::default()
    })
    .await;
    let grant = bench.one_grant();
    let token = grant.refresh_token.as_deref().unwrap();
    let look = |after_ms: u64| {
        let shared = bench.simulator.handle().shared();
        let seen = shared.lock().look_at(token, ID, shared.now() + after_ms);
        seen.presented
    };
    assert_eq!(look(50_000), Presented::Current);
    assert_eq!(look(60_000), Presented::Expired);
}
