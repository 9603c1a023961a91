//! The same promises, kept by both stores: each test here runs once over the memory and once over a
//! real Redis, on a clock of its own; and all of them over a master that Sentinels watch, and over a
//! cluster.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::rc::Rc;

use self::support::Place;

/// Makes of each promise one test for each store, and of all of them a walk over one place.
macro_rules! both_stores {
    ($($(#[$doc:meta])* async fn $name:ident($world:ident) $body:block)*) => {
        $(
            mod $name {
                use super::*;

                $(#[$doc])*
                async fn promise($world: World) $body

                pub(super) async fn on(place: &std::rc::Rc<crate::support::Place>) {
                    promise(World::on(place).await).await;
                }

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

        pub(crate) async fn all(place: &std::rc::Rc<crate::support::Place>) {
            $(
                println!("{}", stringify!($name));
                $name::on(place).await;
            )*
        }
    };
}

mod claims;
mod commits;
mod gates;
mod index;
mod kept;
mod readers;
mod signals;
mod steps;
#[path = "../support/mod.rs"]
mod support;
mod tables;

async fn every_promise(place: &Rc<Place>) {
    claims::all(place).await;
    commits::all(place).await;
    gates::all(place).await;
    index::all(place).await;
    kept::all(place).await;
    readers::all(place).await;
    signals::all(place).await;
    tables::all(place).await;
}

#[tokio::test]
async fn every_promise_is_kept_where_sentinels_watch() {
    every_promise(&Place::watched().await).await;
}

#[tokio::test]
async fn every_promise_is_kept_in_a_cluster() {
    every_promise(&Place::cluster().await).await;
}
