#![doc = include_str!("../README.md")]
//!
//! # Modules
//!
//! | read | to learn |
//! |---|---|
//! | [`guide`] | how to write a workflow of your own, step by step |
//! | [`machine`] | what a workflow is and how it says what it wants |
//! | [`activities`] | the impure edge: performing, admitting, sealing |
//! | [`turn`] | what happens between a claim and the commit that ends it |
//! | [`trust`] | how long a holder may believe in its lease |
//! | [`worker`] | when a worker looks, and for what; how it stops |
//! | [`engine`] | signals, reading, and the one path by which a caller gets work done |
//! | [`record`] | what is stored, field by field |
//! | [`store`] | the seven operations of the protocol, and the two stores |
//! | [`pending`] | which outcomes are in no store yet, and who has them |
//! | [`reconciler`] | why an entry of the index cannot be missing for long |
//! | [`limits`] | every bound, and the relations between them |
//! | [`transition`] | what is told of a transition once it is written |
//! | [`platform`] | the time of day and randomness, as values |
//! | [`testing`] | days in milliseconds |

#[doc = include_str!("../docs/guide.md")]
///
/// # The workflow, whole
///
/// ```rust,no_run
#[doc = include_str!("../docs/renewal.rs")]
/// # fn main() {}
/// ```
pub mod guide {}

pub mod activities;
mod advance;
mod agenda;
mod backoff;
mod caution;
pub mod counters;
mod deliver;
pub mod engine;
pub mod heartbeat;
pub mod id;
pub mod limits;
mod load;
pub mod machine;
mod news;
pub mod pending;
pub mod platform;
mod queue;
pub mod reconciler;
pub mod record;
pub mod store;
pub mod testing;
pub mod time;
pub mod transition;
pub mod trust;
pub mod turn;
pub mod worker;
mod writing;

pub use activities::{Activities, Admission, Call, Pass, SealError};
pub use engine::{Delivery, Driven, Engine, View, WeakEngine};
pub use id::WorkflowId;
pub use limits::Limits;
pub use machine::{Context, Effects, Input, Millis, Step, Workflow, dispatch};
pub use platform::Platform;
pub use transition::Transition;
