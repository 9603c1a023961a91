//! The main job, as it is deployed: three worker processes and one Redis keep every integration alive.
//!
//! Small in every run; `EVERGREEN_FLEET_INTEGRATIONS=1000 EVERGREEN_FLEET_LIFE_S=120
//! EVERGREEN_FLEET_WATCH_S=600 EVERGREEN_FLEET_LEASE_S=15 cargo nextest run --release -E
//! 'binary(fleet)'` is the full size.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use evergreen_tests::Signal;
use evergreen_tests::fleet::{Fleet, Plan};
use serde_json::Value;

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("not a number: {value}"))
}

/// What the simulator has seen of one integration, checked against the life of its tokens.
fn summary(chains: &[Value]) -> String {
    let all = |name: &str| -> Vec<u64> { chains.iter().map(|c| number(&c[name])).collect() };
    let (least, most) = all("refreshes_succeeded")
        .into_iter()
        .fold((u64::MAX, 0), |(least, most), n| {
            (least.min(n), most.max(n))
        });
    format!(
        "{} integrations, {least} to {most} refreshes each, {} in all; double sends {}, of them after \
         an answer {}; longest gap without a valid token {} ms",
        chains.len(),
        all("refreshes_succeeded").iter().sum::<u64>(),
        all("double_sends").iter().sum::<u64>(),
        all("double_sends_after_answer").iter().sum::<u64>(),
        all("longest_gap_ms").iter().max().unwrap_or(&0),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_refreshes_every_integration_once_a_cycle_and_none_is_ever_without_a_token() {
    let plan = Plan::from_env();
    let mut fleet = Fleet::start(plan).await;
    fleet.watch(|_, _| {}).await;

    let all = fleet.settled().await;
    let sick: Vec<&Value> = all
        .iter()
        .filter(|one| one["state"] != "Scheduled")
        .collect();
    assert!(sick.is_empty(), "{sick:#?}");

    let ledger = fleet.ledger().await;
    let chains = ledger["chains"].as_array().unwrap();
    println!("{}", summary(chains));
    println!("requests {}", ledger["totals"]);
    for chain in chains {
        assert_eq!(
            number(&chain["longest_gap_ms"]),
            0,
            "without a valid token: {chain}"
        );
        assert_eq!(
            number(&chain["open_gap_ms"]),
            0,
            "without a valid token: {chain}"
        );
        assert_eq!(
            number(&chain["double_sends"]),
            0,
            "a refresh token was sent twice: {chain}"
        );
        assert_eq!(number(&chain["refreshes_refused"]), 0, "{chain}");
        // A cycle is 40 to 50 % of a life (the buffer is half of it, jitter a tenth), so this many
        // and no more fit into the time; one more for the import, which may find a token dying.
        let cycle_ms = plan.life_s * 400;
        let time_ms = number(&chain["last_at_ms"]).saturating_sub(number(&chain["first_at_ms"]));
        let refreshes = number(&chain["refreshes_succeeded"]);
        assert!(refreshes >= 1, "never refreshed: {chain}");
        assert!(
            refreshes - 1 <= time_ms / cycle_ms + 1,
            "more than one a cycle: {chain}"
        );
    }

    // `redis-cli` is enough to understand any one of them.
    let name = format!("{}@user", all[0]["integration"].as_str().unwrap());
    let keys: Vec<String> = fleet.redis.cli(&["KEYS", &format!("*:wf:*{name}")]).await;
    let hash = &keys[0];
    let state: String = fleet.redis.cli(&["HGET", hash, "state"]).await;
    assert_eq!(state, "Scheduled");
    let data: String = fleet.redis.cli(&["HGET", hash, "data"]).await;
    let data: Value = serde_json::from_str(&data).expect("readable JSON");
    assert_eq!(data["phase"]["purpose"], "refresh");
    let due = format!("{}due", &hash[..hash.find("wf:").unwrap()]);
    let wake_at: f64 = fleet.redis.cli(&["HGET", hash, "wake_at"]).await;
    let score: f64 = fleet
        .redis
        .cli(&["ZSCORE", &due, &format!("ninjaone.credential:{name}")])
        .await;
    assert!(
        (wake_at - score).abs() < 1.0,
        "the index is a copy of the record"
    );
    let log: Vec<String> = fleet
        .redis
        .cli(&["LRANGE", &hash.replace(":wf:", ":log:"), "0", "-1"])
        .await;
    assert!(
        log.iter()
            .any(|line| line.contains("Refreshed") && line.contains("Scheduled")),
        "{log:#?}"
    );

    let arguments = fleet.arguments();
    let output = fleet.stop().await;
    let dump = fleet.dump().await;
    for secret in fleet.secrets() {
        for (place, text) in [
            ("arguments", &arguments),
            ("output", &output),
            ("Redis", &dump),
        ] {
            assert!(!text.contains(secret), "a secret in the {place}");
        }
    }
}

/// When workers were killed or stopped, in milliseconds since 1970.
#[derive(Default)]
struct BrokenOff(Vec<(u64, u64)>);

impl BrokenOff {
    fn begins(&mut self) {
        let now = now_ms();
        self.0.push((now, now));
    }

    fn ends(&mut self) {
        self.0.last_mut().expect("it began").1 = now_ms();
    }

    /// Whether a request that arrived then may have been under way at a kill or a stop: from when it
    /// left, a little before, until its answer was in the journal, a little after the answer.
    fn may_have_hit(&self, arrived: u64, answer_ms: u64) -> bool {
        let (left, done) = (arrived - 1_000, arrived + answer_ms + 1_000);
        self.0.iter().any(|(from, to)| *from <= done && *to >= left)
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    u64::try_from(now.as_millis()).expect("in range")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_whose_workers_are_killed_and_stopped_loses_only_unread_answers_and_says_so() {
    // Slow answers, so that a kill finds requests under way.
    let plan = Plan {
        answer_ms: 300,
        ..Plan::from_env()
    };
    let mut fleet = Fleet::start(plan).await;
    let every = if plan.watch.as_secs() >= 120 { 20 } else { 6 };
    let stopped_for = plan.lease_s + 3;
    let mut kills = 0;
    let mut broken_off = BrokenOff::default();
    fleet
        .watch(|fleet, second| {
            if second % every == every - 1 {
                // The third is the one that is stopped, so that it is not killed while it stands.
                broken_off.begins();
                fleet.kill_and_restart(usize::try_from(second / every).unwrap_or(0) % 2);
                broken_off.ends();
                kills += 1;
            }
            let pause = second % (stopped_for * 3);
            if pause == stopped_for {
                broken_off.begins();
                fleet.signal(2, Signal::STOP);
                broken_off.ends();
            } else if pause == stopped_for * 2 {
                fleet.signal(2, Signal::CONT);
            }
        })
        .await;
    fleet.signal(2, Signal::CONT);

    let all = fleet.settled().await;
    let ledger = fleet.ledger().await;
    let chains = ledger["chains"].as_array().unwrap();
    println!("{kills} kills; {}", summary(chains));
    let mut lost = 0;
    for one in all.iter().filter(|one| one["state"] != "Scheduled") {
        assert_eq!(one["state"], "ReconnectRequired", "{one}");
        assert_eq!(one["reason"], "rotation_lost", "{one}");
        lost += 1;
    }
    println!("rotation_lost: {lost}");
    // To the simulator an answer that a dead or stopped process will not read has been given. So what
    // counts is each refresh token: it comes again only after a request that a kill or a stop broke
    // off, and then once at once; a third time only where that retry was broken off as well.
    let mut presented: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for entry in fleet.entries().await {
        if let Some(token) = entry["fingerprint"].as_str() {
            let at = number(&entry["at_ms"]);
            presented.entry(token.to_owned()).or_default().push(at);
        }
    }
    let most = presented.values().map(Vec::len).max().unwrap_or_default();
    println!(
        "{} refresh tokens presented, each {most} times at most",
        presented.len()
    );
    for (token, times) in &presented {
        let (_, before) = times.split_last().expect("a time");
        for at in before {
            assert!(
                broken_off.may_have_hit(*at, plan.answer_ms),
                "{token} came again though nothing broke off the request at {at}: {times:?}"
            );
        }
    }
    // A loss is an answer that was never read. One that was read late, by a worker that had been
    // stopped, heals what was condemned meanwhile: so more may have been resent than were lost.
    let resent = chains
        .iter()
        .filter(|chain| number(&chain["double_sends"]) > 0)
        .count();
    println!("resent once: {resent}");
    assert!(
        lost <= resent,
        "{lost} lost, but only {resent} refresh tokens were ever sent twice"
    );
    fleet.stop().await;
}
