//! The same promises, kept by both stores: each test here runs once over the memory and once over a
//! real Redis, on a clock of its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

/// Makes of each promise one test for each store.
macro_rules! both_stores {
    ($($(#[$doc:meta])* async fn $name:ident($world:ident) $body:block)*) => {
        $(
            mod $name {
                use super::*;

                $(#[$doc])*
                async fn promise($world: World) $body

                #[tokio::test]
                async fn memory() {
                    promise(World::memory().await).await;
                }

                #[tokio::test]
                async fn redis() {
                    promise(World::redis().await).await;
                }
            }
        )*
    };
}

mod claims;
mod commits;
mod index;
mod kept;
mod signals;
mod steps;
#[path = "../support/mod.rs"]
mod support;
mod tables;
