//! A crowd that wants one token: threads of several processes, a worker and a command.

use std::collections::BTreeSet;
use std::time::Duration;

use evergreen_engine::Limits;
use evergreen_tests::bench::offer;
use evergreen_tests::{Bench, eventually};
use ninjaone::service::{AdoptOptions, ServiceError, TokenAsk};
use ninjaone::simulator::{Action, Fault, When};
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::processes::{Beside, SOON};
use crate::support::*;

const THREADS: usize = 50;
const PROCESSES: usize = 4;

/// Calls of scripts that the server has seen: whoever wants a token makes one at least.
async fn script_calls(beside: &Beside) -> usize {
    let info: String = beside.redis.cli(&["INFO", "commandstats"]).await;
    let calls = info
        .lines()
        .filter(|line| line.starts_with("cmdstat_evalsha"));
    calls
        .filter_map(|line| {
            line.split_once("calls=")?
                .1
                .split_once(',')?
                .0
                .parse::<usize>()
                .ok()
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn s43_fifty_threads_of_four_processes_a_worker_and_a_command_are_one_request() {
    let beside = Beside::new(life(3600)).await;
    let key = beside.key(&["token"]).await;
    let mut servers = Vec::new();
    for _ in 0..PROCESSES {
        // Each of them works, too.
        servers.push(beside.serve().await);
    }
    let handle = beside.bench.simulator.handle();
    let when = When::Before;
    let hold = handle.script(Fault::new(Action::Hold { when })).unwrap();
    let grant = beside.bench.seed(1).remove(0);
    let mut expired = offer(&grant);
    expired.expires_at = Some(beside.bench.now().await - 1_000);
    let app = beside.bench.app("eye");
    let adopting = tokio::spawn(async move { app.adopt(expired, AdoptOptions::default()).await });
    handle.applied(hold, 1).await;

    let before = script_calls(&beside).await;
    let http = reqwest::Client::new();
    let mut callers = JoinSet::new();
    for n in 0..THREADS {
        let url = &servers[n % PROCESSES].url;
        let url = format!("{url}/v1/integrations/{}/token", target(&grant));
        let request = http.get(url).bearer_auth(&key);
        callers.spawn(async move {
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            let told: Value = answer.json().await.unwrap();
            assert_eq!(status, 200, "{told}");
            told["access_token"].as_str().unwrap().to_owned()
        });
    }
    let name = target(&grant).to_string();
    let command = beside
        .program(&["token", &name])
        .env("EVERGREEN_URL", &servers[0].url)
        .env("EVERGREEN_API_KEY", &key);
    let command = command.spawn();
    eventually("everybody's question", SOON, async || {
        (script_calls(&beside).await >= before + THREADS).then_some(())
    })
    .await;
    handle.release(hold);
    let mut tokens: BTreeSet<String> = callers.join_all().await.into_iter().collect();
    let said = command.finished(SOON).await.expect_code(0);
    tokens.insert(said.stdout.trim().to_owned());
    adopting.await.unwrap().unwrap();
    assert_eq!(tokens.len(), 1, "all get the same access token");
    assert!(!tokens.contains(&grant.access_token));
    assert_eq!(handle.totals().requests, 1);
    for server in servers {
        server.process.stop(SOON).await.expect_code(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s43_whose_patience_ends_first_reads_again_and_sends_nothing() {
    // The holder's request may take longer than anybody waits for it.
    let limits = Limits {
        lease: Duration::from_secs(60),
        activity: Duration::from_secs(40),
        ..Limits::default()
    };
    let bench = Bench::with_a_clock(life(3600)).await.with_limits(limits);
    let life = Life::on(bench).await;
    let expires_at = ms(&life.status().await.access_token_expires_at.unwrap());
    life.bench.clock.as_ref().unwrap().set(expires_at - 50_000);
    let when = When::Before;
    let hold = life.script(Fault::new(Action::Hold { when }));
    let elsewhere = life.bench.app("api-2");
    let ask = |min_validity: Option<u64>| {
        let (app, target) = (elsewhere.clone(), life.target.clone());
        let ask = TokenAsk {
            min_validity: min_validity.map(Duration::from_secs),
            ..TokenAsk::default()
        };
        tokio::spawn(async move { app.token(&target, &ask).await })
    };
    let (app, target) = (life.app.clone(), life.target.clone());
    let holder = tokio::spawn(async move { app.token(&target, &TokenAsk::default()).await });
    life.bench.simulator.handle().applied(hold, 1).await;
    let (content, wants_more) = (ask(None), ask(Some(300)));
    // What is still valid is served; whoever needs more is told when to come again.
    let served = content.await.unwrap().unwrap();
    assert_eq!(served.access_token.expose_secret(), life.grant.access_token);
    let refused = wants_more.await.unwrap().map(drop).unwrap_err();
    assert!(
        matches!(refused, ServiceError::TryLater { .. }),
        "{refused}"
    );
    assert!(refused.retry_after_s().is_some());
    assert_eq!(life.requests(), 0, "the provider still holds the only one");
    life.bench.simulator.handle().release(hold);
    assert_eq!(holder.await.unwrap().unwrap().generation, 1);
    assert_eq!(life.requests(), 1);
}
