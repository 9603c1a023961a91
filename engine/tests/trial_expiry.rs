//! The example is told word for word, so that its tutorial stays true.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]
#![allow(dead_code, reason = "the example uses what this does not")]

#[path = "../examples/trial_expiry"]
mod trial_expiry {
    #[path = "mail.rs"]
    pub(crate) mod mail;
    #[path = "story.rs"]
    pub(crate) mod story;
    #[path = "trial.rs"]
    pub(crate) mod trial;
    #[path = "world.rs"]
    pub(crate) mod world;
}

use self::trial_expiry::story;
use self::trial_expiry::world::World;

#[tokio::test]
async fn the_story_is_told_as_it_was_written_down() {
    let mut told = Vec::new();
    story::tell(&World::in_memory(), &mut told).await.unwrap();
    let told = String::from_utf8(told).unwrap();
    let written = include_str!("trial_expiry.out");
    assert_eq!(told, written, "if it is meant, write it down:\n{told}");
}
