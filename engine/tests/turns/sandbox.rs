//! The sandbox that users of the engine get: time passes timer by timer, and no sooner.

use std::sync::Arc;
use std::time::Duration;

use evergreen_engine::Delivery;
use evergreen_engine::testing::{BEGIN, Sandbox};

use crate::machine::{Chore, Ended, Script, Signal};
use crate::world::id;

fn sandbox(script: &Arc<Script>) -> Sandbox {
    let script = Arc::clone(script) as Arc<_>;
    Sandbox::new(|engine| engine.with::<Chore>(script))
}

async fn send(sandbox: &Sandbox, name: &str, signal: Signal) {
    let delivery = Delivery::creating();
    let engine = sandbox.engine();
    assert!(
        engine
            .signal::<Chore>(&id(name), &signal, delivery)
            .await
            .unwrap()
            .is_queued()
    );
}

#[tokio::test(start_paused = true)]
async fn each_timer_fires_at_its_own_time() {
    let script = Arc::new(Script::default());
    let sandbox = sandbox(&script);
    send(&sandbox, "late", Signal::Wake(BEGIN + 2_000)).await;
    send(&sandbox, "early", Signal::Wake(BEGIN + 1_000)).await;
    // The one that fires first asks for another minute.
    script.next_ends(Ended::NotSent);
    assert_eq!(sandbox.settle().await, 2);
    assert_eq!(sandbox.skip(Duration::from_millis(999)).await, 0);
    assert_eq!(sandbox.skip(Duration::from_secs(3_600)).await, 3);
    assert_eq!(sandbox.now(), BEGIN + 3_600_999);
    let log = sandbox.store().inspect(&id("early")).log;
    let at = evergreen_engine::time::rfc3339(BEGIN + 61_000);
    assert!(log[3].contains(&at), "{log:?}");
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "never rests")]
async fn a_workflow_that_never_rests_is_told_by_name() {
    let script = Arc::new(Script::default());
    let sandbox = sandbox(&script);
    for _ in 0..501 {
        script.next_ends(Ended::Unknown);
    }
    send(&sandbox, "a", Signal::Begin(1)).await;
    sandbox.settle().await;
}
