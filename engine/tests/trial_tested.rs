//! How one tests a workflow of thirty days: the one of `examples/trial_expiry`, with everything that
//! can befall it. Read it beside [`evergreen_engine::testing`].

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]
#![allow(dead_code, reason = "the example uses what this does not")]

use std::sync::Arc;
use std::time::Duration;

use evergreen_engine::store::memory::MemoryStore;
use evergreen_engine::testing::{
    BEGIN, Endings, Fault, FaultyStore, Odds, Op, Sandbox, Scripted, runtime_clock, seeded,
};
use evergreen_engine::worker::{self, WorkerOptions};
use evergreen_engine::{Delivery, Engine, Limits, WorkflowId};

#[path = "../examples/trial_expiry/trial.rs"]
mod trial;

use self::trial::{Ended, Phase, Signal, Terms, Trial};

const DAY: u64 = 24 * 60 * 60 * 1000;

fn days(n: u64) -> Duration {
    Duration::from_millis(n * DAY)
}

/// A post office that delivers whatever nothing else is said about.
fn post_office() -> Arc<Scripted<Trial>> {
    in_days_of(DAY)
}

fn in_days_of(day: u64) -> Arc<Scripted<Trial>> {
    let terms = Terms {
        day,
        remind_days: 7,
        keep_days: 30,
    };
    let endings = Endings {
        unknown: Ended::Unknown,
        not_sent: Ended::NotSent,
    };
    Arc::new(Scripted::new(terms, endings).always(|_| Ended::Sent))
}

fn ada() -> WorkflowId {
    WorkflowId::new("trial", "ada").unwrap()
}

async fn begin(engine: &Engine) {
    let begin = Signal::Begin {
        email: "ada@example.com".to_owned(),
        days: 30,
    };
    let delivery = Delivery::creating();
    assert!(
        engine
            .signal::<Trial>(&ada(), &begin, delivery)
            .await
            .unwrap()
            .is_queued()
    );
}

async fn state(engine: &Engine) -> (Trial, Phase) {
    let view = engine.read::<Trial>(&ada(), false).await.unwrap();
    view.unwrap().machine.unwrap()
}

/// A sandbox in which a trial has begun.
async fn sandbox(office: &Arc<Scripted<Trial>>) -> Sandbox {
    let activities = Arc::clone(office);
    let sandbox = Sandbox::new(|engine| engine.with::<Trial>(activities));
    begin(sandbox.engine()).await;
    sandbox.settle().await;
    sandbox
}

#[tokio::test(start_paused = true)]
async fn a_trial_reminds_in_time_and_expires() {
    let office = post_office();
    let sandbox = sandbox(&office).await;
    sandbox.skip(days(22)).await;
    assert_eq!(office.performed().len(), 0);
    sandbox.skip(days(7)).await;
    let letters = office.performed();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].at, BEGIN + 23 * DAY);
    assert_eq!(letters[0].activity.days_left, 7);
    sandbox.skip(days(1)).await;
    assert_eq!(state(sandbox.engine()).await.1, Phase::Expired {});
}

#[tokio::test(start_paused = true)]
async fn a_letter_of_which_nobody_knows_is_sent_again_with_its_key() {
    let office = post_office();
    let sandbox = sandbox(&office).await;
    office.then(Ended::Unknown);
    office.then(Ended::NotSent);
    sandbox.skip(days(24)).await;
    let keys: Vec<String> = office
        .performed()
        .into_iter()
        .map(|p| p.activity.key)
        .collect();
    assert_eq!(keys.len(), 3);
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert_eq!(state(sandbox.engine()).await.0.reminders, 1);
}

#[tokio::test(start_paused = true)]
async fn a_post_office_that_is_closed_is_left_alone() {
    let office = post_office();
    let sandbox = sandbox(&office).await;
    office.hold_until(BEGIN + 25 * DAY);
    sandbox.skip(days(30)).await;
    let letters = office.performed();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].at, BEGIN + 25 * DAY);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_or_loses_replies_costs_nothing_but_time() {
    let office = post_office();
    let sandbox = sandbox(&office).await;
    // On the day: the first intent's reply is lost, and then the store is away for a while.
    sandbox.faults().next(Op::Commit, Fault::ReplyLost);
    for _ in 0..3 {
        sandbox.faults().next(Op::Commit, Fault::Away);
    }
    sandbox.skip(days(30)).await;
    assert_eq!(office.performed().len(), 1);
    assert_eq!(sandbox.faults().calls(Op::Commit), 1 + 5 + 1 + 1);
    assert_eq!(state(sandbox.engine()).await.1, Phase::Expired {});
}

/// A worker of its own network over the one store.
fn worker(
    store: &MemoryStore,
    office: &Arc<Scripted<Trial>>,
    number: u64,
) -> (Engine, FaultyStore) {
    let odds = Odds {
        late_by: Duration::from_millis(300),
        ..Odds::default()
    };
    let network = FaultyStore::over(Arc::new(store.clone())).in_weather(seeded(number, odds));
    let name = format!("worker-{number}");
    let engine = Engine::builder(Arc::new(network.clone()), Limits::default(), name)
        .unwrap()
        .with::<Trial>(Arc::clone(office) as Arc<_>)
        .build();
    let options = WorkerOptions {
        host: "here".to_owned(),
        version: "1".to_owned(),
    };
    tokio::spawn(worker::run(engine.clone(), options, std::future::pending()));
    (engine, network)
}

#[tokio::test(start_paused = true)]
async fn in_bad_weather_two_workers_send_one_letter_between_them() {
    // Workers look every second, so let days be short: a minute each.
    let office = in_days_of(60_000);
    let store = MemoryStore::with_clock_and_partitions(runtime_clock(BEGIN), 1);
    let (first, network) = worker(&store, &office, 1);
    let (second, _) = worker(&store, &office, 2);
    network.next_goes_well(Op::Signal);
    begin(&first).await;
    // The first letter takes its time, and whoever carries it stands still until its lease is over.
    office.then_do(|_| async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        Ended::Sent
    });
    tokio::time::sleep(Duration::from_secs(25 * 60)).await;
    network.heal();
    let letters = office.performed();
    assert!(
        letters.len() >= 2,
        "the one that took too long was given up"
    );
    assert!(
        letters
            .iter()
            .all(|letter| letter.activity.key == letters[0].activity.key)
    );
    assert_eq!(state(&first).await.0.reminders, 1);
    drop(second);
}
