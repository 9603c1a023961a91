//! What the HTTP API and the commands are made of: every verb of the product, once.
//!
//! | file | holds |
//! |---|---|
//! | `start.rs` | putting an [`App`] together, and what it does in the background |
//! | `settings.rs` | what timers and requests depend on, so that a change is noticed |
//! | `seal_keys.rs`, `rotate` | which key seals, and what the workers tell of it; rotating it |
//! | `stamp.rs` | by what a store is known that was restored from a backup |
//! | `find.rs` | which grant is meant, and reading it |
//! | `show.rs`, `list.rs` | status and history of one; all, page by page |
//! | `explain` | what is, what was, and why it did not fire |
//! | `fleet.rs`, `examine.rs` | the fleet at a glance; what `doctor` asks beyond that |
//! | `hosts.rs` | the provider's hosts, as the fleet treats them |
//! | `token.rs`, `handout.rs` | handing out tokens, the lazy refresh; what a grant has to give |
//! | `memory.rs` | what was read last, for while the store does not answer |
//! | `operate.rs` | refresh, reset, disconnect, backfill |
//! | `adopt.rs`, `offer.rs` | tokens from outside, and client grants |
//! | `consent` | a person's consent, from the ticket to the callback |
//! | `feed.rs` | the outbox as a feed of events |
//! | `follow.rs` | following it, with one poll a process |
//! | `waiting.rs` | which grants have a pair that is in no store yet |

mod adopt;
mod consent;
mod error;
mod examine;
mod explain;
mod feed;
mod find;
mod fleet;
mod follow;
mod handout;
mod hosts;
mod list;
mod memory;
mod offer;
mod operate;
mod rotate;
mod seal_keys;
mod settings;
mod show;
mod stamp;
mod start;
#[cfg(test)]
mod tests;
mod token;
mod view;
mod waiting;

pub(crate) use adopt::BUSY;
pub use consent::{Callback, Connected, ConsentAsk, ConsentError, ConsentStart};
pub use error::{Recovery, ServiceError};
pub use examine::Opened;
pub use explain::{Explanation, Finding, FleetView, TimerView, Weight};
pub use feed::{EventCursor, EventView};
pub use fleet::{FleetStatus, Moment, Trouble, WorkerView};
pub use follow::Follow;
pub use hosts::HostView;
pub use list::{ListQuery, Listing};
pub use offer::{AdoptOptions, Adopted, ClientConnect, Offer};
pub use operate::{BackfillAsk, RequeueAnswer};
pub use rotate::{Rotation, RotationProgress, STILL_MAX, Use, UsePlace};
pub use seal_keys::ToldKeys;
pub use start::{App, AppOptions, StartError, Surroundings};
pub use token::TokenAsk;
pub use view::{ProviderView, StatusView};

/// The scopes that a consent asks for.
pub const SCOPES: &str = "monitoring management offline_access";
