//! A place that an activity takes up: asked for before the intent, given back however the turn goes.

use std::sync::Arc;

use evergreen_engine::Limits;
use evergreen_engine::testing::{Fault, Op};
use tokio::sync::Semaphore;

use crate::machine::{Chore, Phase, Script, Signal};
use crate::workers::Running;
use crate::world::{BEGIN, World, id};

fn world_with(places: &Arc<Semaphore>) -> World {
    let mut script = Script::default();
    script.places = Some(Arc::clone(places));
    World::with(script, Limits::default())
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_while_a_place_is_waited_for() {
    let places = Arc::new(Semaphore::new(0));
    let (world, id) = (world_with(&places), id("a"));
    world.send(&id, Signal::Begin(1)).await;
    let engine = world.engine.clone();
    let driven = {
        let id = id.clone();
        tokio::spawn(async move { engine.drive(&id).await })
    };
    while world.store.calls(Op::Claim) == 0 {
        tokio::task::yield_now().await;
    }
    tokio::time::advance(std::time::Duration::from_secs(3)).await;
    let record = world.inspect(&id).record.unwrap();
    assert_eq!((record.state.as_str(), record.activity), ("Idle", None));
    places.add_permits(1);
    driven.await.unwrap();
    assert_eq!(world.script.performed(), [1]);
    assert_eq!(places.available_permits(), 1, "given back at its end");
}

#[tokio::test(start_paused = true)]
async fn whoever_finds_no_place_in_half_of_its_trust_leaves_it_for_another_turn() {
    let places = Arc::new(Semaphore::new(0));
    let (world, id) = (world_with(&places), id("a"));
    world.send(&id, Signal::Begin(1)).await;
    world.drive(&id).await;
    assert_eq!(world.heard(&id).await, ["Begin(1)", "Held"]);
    assert_eq!(world.machine(&id).await.1, Phase::Idle {});
    assert!(world.now().await < BEGIN + 7_000);
    assert_eq!(world.script.performed(), [] as [u32; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_place_is_given_back_where_the_activity_never_begins() {
    let places = Arc::new(Semaphore::new(1));
    let (world, id) = (world_with(&places), id("a"));
    world.send(&id, Signal::Begin(1)).await;
    let engine = world.engine.clone();
    world.store.before_next(Op::Commit, async move {
        let id = crate::world::id("a");
        let calm = engine.signal::<Chore>(&id, &Signal::Calm, Default::default());
        assert!(calm.await.unwrap().is_queued());
    });
    world.drive(&id).await;
    assert_eq!(world.script.performed(), [] as [u32; 0]);
    assert_eq!(places.available_permits(), 1);
    // Neither where the intent is not confirmed.
    world.send(&id, Signal::Begin(2)).await;
    world.store.next(Op::Commit, Fault::Unconfirmed);
    world.drive(&id).await;
    assert_eq!(world.heard(&id).await.last().unwrap(), "NotSent");
    assert_eq!(places.available_permits(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_claims_no_more_than_can_soon_begin() {
    let places = Arc::new(Semaphore::new(0));
    let world = world_with(&places);
    let all: Vec<_> = (0..60).map(|n| id(&format!("w{n:02}"))).collect();
    for (n, id) in (1..).zip(&all) {
        world.send(id, Signal::Begin(n)).await;
        // Each is due a little later than the one before.
        tokio::time::advance(std::time::Duration::from_millis(5)).await;
    }
    let held = || {
        let owned = |id: &&evergreen_engine::WorkflowId| {
            let record = world.inspect(id).record;
            record.is_some_and(|record| record.owner.is_some())
        };
        all.iter().filter(owned).count()
    };
    let running = Running::start(&world);
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(held(), 8, "there was room for 32");
    // One place for all: from here on what has been due for the longest comes first.
    places.add_permits(1);
    while world.script.performed().len() < all.len() {
        tokio::task::yield_now().await;
    }
    let later = &world.script.performed()[8..];
    assert!(later.is_sorted(), "{later:?}");
    running.stop().await;
}
