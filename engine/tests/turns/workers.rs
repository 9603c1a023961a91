//! When a worker looks, for what, how many turns it runs at once, and how it stops.

use std::sync::Arc;
use std::time::Duration;

use evergreen_engine::store::Store;
use evergreen_engine::worker::{self, Stopped, WorkerOptions};
use evergreen_engine::{Limits, WorkflowId, heartbeat};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::machine::{Ended, Phase, Script, Signal};
use crate::world::{BEGIN, World, count, id};
use evergreen_engine::testing::{Fault, Op};

/// A worker in a task, and the way to stop it.
pub(crate) struct Running {
    pub(crate) stop: oneshot::Sender<()>,
    task: JoinHandle<Stopped>,
}

impl Running {
    pub(crate) fn start(world: &World) -> Self {
        let (stop, stopped) = oneshot::channel();
        let options = WorkerOptions {
            host: "here".to_owned(),
            version: "1".to_owned(),
        };
        let run = worker::run(world.engine.clone(), options, async {
            let _ = stopped.await;
        });
        Self {
            stop,
            task: tokio::spawn(run),
        }
    }

    /// It dies, and says nothing to anybody.
    pub(crate) fn kill(self) {
        self.task.abort();
    }

    pub(crate) async fn stop(self) -> Stopped {
        self.stop.send(()).unwrap();
        self.task.await.unwrap()
    }
}

/// Lets the worker come to rest without time passing.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Two workflows in different partitions, of two.
pub(crate) fn in_two_partitions() -> (WorkflowId, WorkflowId) {
    let of = |p| {
        let mut names = (0..).map(|n| id(&format!("w{n}")));
        names.find(|id| id.partition(2) == p).unwrap()
    };
    (of(0), of(1))
}

#[tokio::test(start_paused = true)]
async fn a_timer_fires_when_it_has_come_and_not_before() {
    let world = World::new();
    let running = Running::start(&world);
    world.send(&id("a"), Signal::Wake(BEGIN + 90_000)).await;
    tokio::time::sleep(Duration::from_millis(89_900)).await;
    assert_eq!(world.script.performed(), [] as [u32; 0]);
    world.script.begun.notified().await;
    let now = world.now().await;
    assert!(
        (BEGIN + 90_000..BEGIN + 90_010).contains(&now),
        "{}",
        now - BEGIN
    );
    running.stop().await;
    let (_, late_ms, fired) = world.engine.counters().lateness();
    assert_eq!(fired, 1);
    assert!(late_ms < 10, "{late_ms}");
}

#[tokio::test(start_paused = true)]
async fn a_signal_wakes_a_sleeping_worker_at_once() {
    let world = World::new();
    let running = Running::start(&world);
    tokio::time::sleep(Duration::from_millis(10_050)).await;
    let before = world.now().await;
    world.send(&id("a"), Signal::Begin(1)).await;
    world.script.begun.notified().await;
    assert_eq!(world.now().await, before);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_lost_costs_at_most_the_cap() {
    let world = World::new();
    world.store.lose_wakes();
    let running = Running::start(&world);
    tokio::time::sleep(Duration::from_millis(10_050)).await;
    let before = world.now().await;
    world.send(&id("a"), Signal::Begin(1)).await;
    world.script.begun.notified().await;
    assert!(world.now().await - before <= 1_000);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_busy_partition_does_not_hide_a_lost_message_of_another() {
    let world = World::new();
    let (busy, quiet) = in_two_partitions();
    let running = Running::start(&world);
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.store.lose_wakes();
    world.send(&quiet, Signal::Begin(1)).await;
    settle().await;
    world.store.hear_wakes();
    let before = world.now().await;
    for n in 0..30 {
        world.send(&busy, Signal::Note(n.to_string())).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        if !world.script.performed().is_empty() {
            break;
        }
    }
    let waited = world.now().await - before;
    assert!(waited <= 1_100, "{waited} ms");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_could_not_listen_at_first_listens_later() {
    let world = World::new();
    world.store.next(Op::Wakes, Fault::Away);
    let running = Running::start(&world);
    tokio::time::sleep(Duration::from_millis(10_050)).await;
    let before = world.now().await;
    world.send(&id("a"), Signal::Begin(1)).await;
    world.script.begun.notified().await;
    assert_eq!(world.now().await, before);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn no_more_is_claimed_than_can_start() {
    let limits = Limits {
        concurrency: 3,
        ..Limits::default()
    };
    let world = World::with(Script::default(), limits);
    let gate = Arc::new(Semaphore::new(0));
    for n in 0..10 {
        let gate = Arc::clone(&gate);
        world.script.next(move |n| async move {
            gate.acquire().await.unwrap().forget();
            Ended::Done(n)
        });
        world.send(&id(&n.to_string()), Signal::Begin(n)).await;
    }
    let running = Running::start(&world);
    settle().await;
    assert_eq!(world.script.performed().len(), 3);
    assert_eq!(
        world.store.calls(Op::Claim),
        3,
        "nothing is held that waits"
    );
    gate.add_permits(1);
    settle().await;
    assert_eq!(world.script.performed().len(), 4);
    gate.add_permits(20);
    settle().await;
    assert_eq!(world.script.performed().len(), 10);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_it_does_not_run_is_left_alone() {
    let world = World::new();
    let stranger = WorkflowId::new("stranger", "a").unwrap();
    world.store_raw(&stranger, 1, "{}", "{}").await;
    let running = Running::start(&world);
    world.send(&id("a"), Signal::Begin(1)).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(world.script.performed(), [1]);
    let left = world.inspect(&stranger);
    assert_eq!(left.record.unwrap().fence, 0);
    assert_eq!(world.store.calls(Op::Claim), 1, "it is not even asked for");
    assert_eq!(count(&world.engine.counters().store_away), 0);
    assert_eq!((left.due, left.inbox.len()), (Some(BEGIN), 1));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_panics_takes_no_place_away_and_may_come_again() {
    let limits = Limits {
        concurrency: 1,
        ..Limits::default()
    };
    let world = World::with(Script::default(), limits);
    let running = Running::start(&world);
    world.send(&id("a"), Signal::Panic).await;
    settle().await;
    assert!(
        world.inspect(&id("a")).record.unwrap().fence > 0,
        "it was tried"
    );
    world.send(&id("b"), Signal::Begin(1)).await;
    settle().await;
    assert_eq!(world.heard(&id("b")).await, ["Begin(1)", "Done(1)"]);
    let at_work = world
        .engine
        .counters()
        .running
        .load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(at_work, 0);
    // A human looks at it, and the same worker takes it again.
    world.preempt(&id("a"), Signal::Calm).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let fence = world.inspect(&id("a")).record.unwrap().fence;
    assert!(fence >= 3, "{fence}: the same process claimed it again");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_the_turns_that_run_and_claims_no_more() {
    let world = World::new();
    let (end, ended) = oneshot::channel();
    world.script.next(|_| async { ended.await.unwrap() });
    let running = Running::start(&world);
    world.send(&id("a"), Signal::Begin(1)).await;
    world.script.begun.notified().await;
    running.stop.send(()).unwrap();
    settle().await;
    assert!(!running.task.is_finished());
    world.send(&id("b"), Signal::Begin(2)).await;
    settle().await;
    end.send(Ended::Done(1)).unwrap();
    assert_eq!(running.task.await.unwrap(), Stopped { unfinished: 0 });
    assert_eq!(world.machine(&id("a")).await.1, Phase::Idle {});
    assert_eq!(world.script.performed(), [1]);
    let line = world.store.table_get(heartbeat::WORKERS, "worker-1").await;
    assert_eq!(line.unwrap(), None, "its line is gone");
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_no_longer_than_its_grace() {
    let limits = Limits {
        shutdown_grace: Duration::from_secs(2),
        ..Limits::default()
    };
    let world = World::with(Script::default(), limits);
    world.script.next(|_| std::future::pending());
    let running = Running::start(&world);
    world.send(&id("a"), Signal::Begin(1)).await;
    world.script.begun.notified().await;
    let before = world.now().await;
    assert_eq!(running.stop().await, Stopped { unfinished: 0 });
    assert_eq!(world.now().await - before, 2_000);
    // What was broken off is not left to its lease: the machine has heard that nobody knows.
    assert_eq!(world.heard(&id("a")).await, ["Begin(1)", "Unknown"]);
    let left = world.inspect(&id("a"));
    assert_eq!(left.record.unwrap().attempt, 0);
    assert!(
        left.due.is_some_and(|due| due <= before + 2_000),
        "due now, for others"
    );
}

#[tokio::test(start_paused = true)]
async fn stopping_does_not_wait_for_a_store_that_is_away() {
    let limits = Limits {
        shutdown_grace: Duration::from_secs(2),
        ..Limits::default()
    };
    let world = World::with(Script::default(), limits);
    let rest = std::future::pending();
    world.store.before_next(Op::Commit, rest);
    let running = Running::start(&world);
    world.send(&id("a"), Signal::Begin(1)).await;
    settle().await;
    let before = world.now().await;
    assert_eq!(running.stop().await, Stopped { unfinished: 1 });
    assert!(world.now().await - before <= 3_000);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_goes_away_and_comes_back_is_worked_for_again() {
    let world = World::new();
    let running = Running::start(&world);
    settle().await;
    for _ in 0..8 {
        world.store.next(Op::Peek, Fault::Away);
    }
    world.send(&id("a"), Signal::Begin(1)).await;
    tokio::time::timeout(Duration::from_secs(20), world.script.begun.notified())
        .await
        .unwrap();
    running.stop().await;
    assert!(count(&world.engine.counters().store_away) >= 8);
}

#[tokio::test(start_paused = true)]
async fn after_a_failover_nothing_is_taken_over_for_one_lease() {
    let world = World::new();
    let holder = world.second(Script::default());
    crate::callers::claim_in_the_name_of(&holder, Duration::from_secs(5)).await;
    let running = Running::start(&world);
    tokio::time::sleep(Duration::from_secs(4)).await;
    world.store.fail_over();
    // What nobody owns goes on as ever.
    tokio::time::sleep(Duration::from_secs(6)).await;
    world.send(&id("b"), Signal::Begin(2)).await;
    settle().await;
    assert_eq!(world.script.performed(), [2]);
    let claims = world.store.calls(Op::Claim);
    assert!(
        claims <= 3,
        "{claims}: what is spared is not asked for again and again"
    );
    world.script.begun.notified().await;
    world.script.begun.notified().await;
    assert_eq!(world.script.performed(), [2, 1]);
    let now = world.now().await;
    assert!(
        (BEGIN + 19_000..BEGIN + 22_000).contains(&now),
        "{}",
        now - BEGIN
    );
    assert_eq!(count(&world.engine.counters().takeovers), 1);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_say_who_it_is_delays_no_claim() {
    let world = World::new();
    world.store.before_next(Op::RunId, std::future::pending());
    let running = Running::start(&world);
    tokio::time::sleep(Duration::from_millis(10_050)).await;
    let before = world.now().await;
    world.send(&id("a"), Signal::Begin(1)).await;
    world.script.begun.notified().await;
    assert_eq!(world.now().await, before);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_process_says_of_itself_stands_in_its_line_within_a_second() {
    let world = World::new();
    let running = Running::start(&world);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for number in [1, 2] {
        world.engine.tell_of_process("shoes", number.into());
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let line = world.store.table_get(heartbeat::WORKERS, "worker-1").await;
        let line = line.unwrap().unwrap();
        let line: heartbeat::WorkerLine = serde_json::from_str(&line).unwrap();
        assert_eq!(
            line.more["shoes"], number,
            "not with the next heartbeat only"
        );
    }
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_line_of_a_worker_that_is_silent_is_removed_by_another() {
    let world = World::new();
    let dead = r#"{"host":"gone","version":"1","heartbeat":1}"#;
    world
        .store
        .table_put(heartbeat::WORKERS, "dead", dead)
        .await
        .unwrap();
    let running = Running::start(&world);
    tokio::time::sleep(Duration::from_secs(11)).await;
    let lines = world.store.table_all(heartbeat::WORKERS).await.unwrap();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0].0, "worker-1");
    running.stop().await;
}
