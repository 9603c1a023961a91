//! What is sealed anew: what is kept, where it can be opened, and nothing else.

use evergreen_engine::Driven;
use evergreen_engine::turn::TurnEnd;

use crate::machine::{Signal, UNOPENABLE};
use crate::world::{World, id};

/// Hears these signals in one turn; what is kept then, and how many commits that took.
async fn kept(world: &World, signals: &[Signal]) -> Option<String> {
    let id = id("a");
    for signal in signals {
        world.send(&id, signal.clone()).await;
    }
    let driven = world.drive(&id).await;
    assert!(
        matches!(driven, Driven::Turned(TurnEnd::Finished { .. })),
        "{driven:?}"
    );
    let inspection = world.inspect(&id);
    assert_eq!(inspection.inbox, []);
    inspection.sealed.get("kept").cloned()
}

fn keep(text: &str) -> Signal {
    Signal::Keep(text.to_owned())
}

fn renew(text: &str) -> Signal {
    Signal::Renew(text.to_owned())
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_sealed_anew_and_nothing_is_made_of_nothing() {
    let world = World::new();
    assert_eq!(kept(&world, &[renew("0")]).await, None);
    assert_eq!(kept(&world, &[keep("1")]).await.unwrap(), "sealed 1");
    assert_eq!(kept(&world, &[renew("2")]).await.unwrap(), "sealed 2");
    // In one turn, each on what the one before left.
    let both = [keep("3"), renew("4")];
    assert_eq!(kept(&world, &both).await.unwrap(), "sealed 4");
    let both = [renew("5"), keep("6")];
    assert_eq!(kept(&world, &both).await.unwrap(), "sealed 6");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_opened_stays_and_fails_no_turn() {
    let world = World::new();
    kept(&world, &[keep("1")]).await;
    let left = kept(&world, &[renew(UNOPENABLE)]).await;
    assert_eq!(left.unwrap(), "sealed 1");
    assert_eq!(world.inspect(&id("a")).record.unwrap().attempt, 0);
}
