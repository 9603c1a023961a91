//! What the ledger counts, and what it calls a sin.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::super::ledger::{Ledger, Presented};
use super::super::{Action, Delivery, Fault, Name};
use super::*;

const LOST: Action = Action::Drop {
    rotate: true,
    reset: false,
};

#[tokio::test]
async fn each_request_is_written_down_without_secrets() {
    let bench = strict().await;
    let grant = bench.one_grant();
    let token = grant.refresh_token.as_deref().unwrap();
    let second = bench.refresh(token).await.text("refresh_token");
    bench.refresh(token).await;
    let page = bench.simulator.handle().entries(0, 10);
    let [first, again] = &page.entries[..] else {
        panic!("{page:?}")
    };
    assert_eq!((first.seq, again.seq), (1, 2));
    assert_eq!(first.path, "/ws/oauth/token");
    assert_eq!(first.grant_type.as_deref(), Some("refresh_token"));
    assert_eq!(first.chain.as_ref().map(Name::as_str), Some(&*grant.chain));
    assert_eq!(first.fingerprint, again.fingerprint);
    assert_eq!(first.presented, Some(Presented::Current));
    assert_eq!(first.presented_generation, Some(0));
    assert_eq!((first.generation, first.rotated), (Some(1), true));
    assert_eq!((first.status, first.delivery), (Some(200), Delivery::Sent));
    assert_eq!(again.presented, Some(Presented::Spent));
    assert_eq!((again.status, again.generation), (Some(400), Some(1)));

    let everything = bench.get("/simulator/ledger/entries").await.body
        + &bench.get("/simulator/ledger").await.body
        + &bench.get("/").await.body;
    for secret in [token, second.as_str(), SECRET, grant.access_token.as_str()] {
        assert!(!everything.contains(secret));
    }
}

#[tokio::test]
async fn counters_add_up_over_chains() {
    let bench = strict().await;
    let grants = bench
        .simulator
        .handle()
        .seed(SeedRequest::count(3))
        .unwrap();
    for grant in &grants {
        let mut token = grant.refresh_token.clone().unwrap();
        for _ in 0..4 {
            token = bench.refresh(&token).await.text("refresh_token");
        }
    }
    bench.refresh("made.up").await;
    let report = bench.simulator.handle().ledger();
    assert_eq!(report.totals.requests, 13);
    assert_eq!(report.totals.refreshes_succeeded, 12);
    assert_eq!(report.totals.refreshes_refused, 1);
    assert_eq!(report.totals.unknown_tokens, 1);
    assert_eq!(report.totals.by_status["200"], 12);
    assert_eq!(report.totals.by_grant_type["refresh_token"], 13);
    assert_eq!(report.longest_gap_ms, 0);
    for (chain, grant) in report.chains.iter().zip(&grants) {
        assert_eq!(chain.tenant.as_deref(), Some(grant.tenant.as_str()));
        assert_eq!((chain.generation, chain.tally.refreshes_succeeded), (4, 4));
        assert!(chain.tally.first_at_ms <= chain.tally.last_at_ms);
    }
}

#[tokio::test]
async fn one_resend_after_a_lost_answer_is_excused_and_the_next_is_not() {
    let bench = strict().await;
    let handle = bench.simulator.handle();
    let grant = bench.one_grant();
    let token = grant.refresh_token.as_deref().unwrap();
    handle.script(Fault::new(LOST)).unwrap();
    assert!(bench.try_refresh(token).await.is_err());
    let tally = || handle.chain(&grant.chain).unwrap().tally;
    assert_eq!((tally().answers_eaten, tally().double_sends), (1, 0));

    bench.refresh(token).await;
    let after = (tally().double_sends, tally().double_sends_after_answer);
    assert_eq!(after, (1, 0));
    bench.refresh(token).await;
    let after = (tally().double_sends, tally().double_sends_after_answer);
    assert_eq!(after, (2, 1));
    assert_eq!(handle.totals().double_sends_after_answer, 1);
}

#[tokio::test]
async fn a_resend_after_a_delivered_answer_is_never_excused() {
    let bench = strict().await;
    let grant = bench.one_grant();
    let token = grant.refresh_token.as_deref().unwrap();
    bench.refresh(token).await;
    bench.refresh(token).await;
    let tally = bench.simulator.handle().chain(&grant.chain).unwrap().tally;
    assert_eq!(
        (tally.double_sends, tally.double_sends_after_answer),
        (1, 1)
    );
}

#[test]
fn a_gap_runs_from_the_end_of_the_last_token_delivered_to_the_next_delivery() {
    let mut ledger = Ledger::new(10);
    let chain = Name::from("c");
    ledger.open(&chain, 1_000, 5_000);
    let refresh = |at_ms, expires| Entry {
        at_ms,
        access_expires_at_ms: Some(expires),
        ..refreshed(&chain)
    };
    let lost = ledger.record(refresh(4_000, 8_000));
    ledger.settle(lost, 4_000, Delivery::Eaten);
    assert_eq!(ledger.tally(&chain).gap_at(6_500), 1_500);
    let kept = ledger.record(refresh(6_900, 10_900));
    ledger.settle(kept, 7_000, Delivery::Sent);
    let tally = ledger.tally(&chain);
    assert_eq!((tally.longest_gap_ms, tally.gap_at(10_000)), (2_000, 0));
    // Saying it twice changes nothing.
    ledger.settle(lost, 9_000, Delivery::Sent);
    assert_eq!(ledger.tally(&chain), tally);
}

#[test]
fn the_ring_forgets_entries_and_the_counters_do_not() {
    let mut ledger = Ledger::new(3);
    let chain = Name::from("c");
    for _ in 0..10 {
        ledger.record(refreshed(&chain));
    }
    let kept: Vec<_> = ledger.after(0).map(|entry| entry.seq).collect();
    assert_eq!(kept, [8, 9, 10]);
    let kept: Vec<_> = ledger.after(9).map(|entry| entry.seq).collect();
    assert_eq!(kept, [10]);
    assert_eq!(ledger.after(10).count(), 0);
    assert_eq!(ledger.tally(&chain).refreshes_succeeded, 10);
    assert_eq!(ledger.totals().requests, 10);
    // What has left the ring can no longer be settled, and that is all.
    ledger.settle(1, 0, Delivery::Sent);
}

fn refreshed(chain: &Name) -> Entry {
    Entry {
        seq: 0,
        at_ms: 0,
        path: "/ws/oauth/token".into(),
        grant_type: Some("refresh_token".into()),
        client_id: Some(Name::from(ID)),
        chain: Some(chain.clone()),
        fingerprint: None,
        presented: Some(Presented::Current),
        presented_generation: None,
        generation: None,
        issued: true,
        rotated: true,
        access_expires_at_ms: None,
        status: Some(200),
        fault: None,
        delivery: Delivery::Pending,
        settled_at_ms: None,
    }
}

/// A refresh on a connection of its own, sent and not yet read.
async fn asked(bench: &Bench, token: &str, connection: &str) -> TcpStream {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    let body = form.extend_pairs(refresh_form(token)).finish();
    let mut stream = TcpStream::connect(bench.simulator.addr()).await.unwrap();
    let request = format!(
        "POST /ws/oauth/token HTTP/1.1\r\nhost: h\r\nconnection: {connection}\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// What the ledger has of an answer, where the client keeps its connection, or wanted one answer only.
async fn in_the_socket_of_one_that_dies(connection: &str) {
    let bench = strict().await;
    let grants = bench.simulator.handle().seed(SeedRequest::count(2));
    let grants = grants.unwrap();
    let of = |nth: usize, delivery| {
        let chain = grants[nth].chain.clone();
        move |entry: &Entry| {
            entry.delivery == delivery && entry.chain.as_ref().is_some_and(|c| c.as_str() == chain)
        }
    };
    let token = |nth: usize| grants[nth].refresh_token.clone().unwrap();
    let mut reads = asked(&bench, &token(0), connection).await;
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        assert_ne!(in_time(reads.read_buf(&mut answer)).await.unwrap(), 0);
    }
    drop(reads);

    let dies = asked(&bench, &token(1), connection).await;
    in_time(dies.readable()).await.unwrap();
    bench.entry(of(1, Delivery::Sent)).await;
    drop(dies);
    let entry = bench.entry(of(1, Delivery::Unread)).await;
    assert!(entry.rotated && entry.settled_at_ms.is_some());
    bench.entry(of(0, Delivery::Sent)).await;
}

#[tokio::test]
async fn an_answer_in_the_socket_of_a_client_that_dies_was_not_read() {
    in_the_socket_of_one_that_dies("keep-alive").await;
    // As the workers ask.
    in_the_socket_of_one_that_dies("close").await;
}

#[test]
fn an_answer_that_turns_out_unread_was_never_in_the_clients_hands() {
    let mut ledger = Ledger::new(10);
    let chain = Name::from("c");
    ledger.open(&chain, 1_000, 5_000);
    let refresh = |at_ms, presented, expires| Entry {
        at_ms,
        presented: Some(presented),
        issued: presented == Presented::Current,
        rotated: presented == Presented::Current,
        access_expires_at_ms: expires,
        ..refreshed(&chain)
    };
    let lost = ledger.record(refresh(4_000, Presented::Current, Some(8_000)));
    ledger.settle(lost, 4_000, Delivery::Sent);
    assert_eq!(ledger.tally(&chain).covered_until_ms, 8_000);
    ledger.unread(lost);
    let entry = ledger.after(0).next().unwrap();
    assert_eq!(entry.delivery, Delivery::Unread);
    assert_eq!(entry.settled_at_ms, Some(4_000));
    assert_eq!(ledger.tally(&chain).covered_until_ms, 5_000);
    // So the retry is excused, and what comes after its answer is not.
    let retry = ledger.record(refresh(4_500, Presented::Spent, None));
    ledger.settle(retry, 4_500, Delivery::Sent);
    assert_eq!(ledger.tally(&chain).double_sends_after_answer, 0);
    ledger.record(refresh(5_000, Presented::Spent, None));
    assert_eq!(ledger.tally(&chain).double_sends_after_answer, 1);
    // What a fault ate was never handed over, and stays that.
    let eaten = ledger.record(refresh(6_000, Presented::Current, Some(9_000)));
    ledger.settle(eaten, 6_000, Delivery::Eaten);
    ledger.unread(eaten);
    let eaten = ledger.after(eaten - 1).next().unwrap();
    assert_eq!(eaten.delivery, Delivery::Eaten);
}
