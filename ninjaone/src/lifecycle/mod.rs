//! The life of one grant: the machine `ninjaone.credential`.
//!
//! | file | holds |
//! |---|---|
//! | `machine.rs` | the chart, and the answer of each state to each input: read this first |
//! | `data.rs` | what all states share, and the states |
//! | `inputs.rs` | signals, outcomes, the one activity, and what may be sealed |
//! | `grants.rs` | new grants and rotated pairs: which generation wins |
//! | `adoption.rs` | whether tokens from outside are better than what is stored |
//! | `rescue.rs` | pairs that could not be committed when they came |
//! | `reseal.rs` | sealing anew what a grant keeps |
//! | `failures.rs` | what follows from each way to fail |
//! | `timing.rs` | when the next request leaves, as arithmetic |
//! | `schedule.rs` | the one timer and the several deadlines behind it |
//! | `workflow.rs` | the machine as the engine sees it |
//! | `events.rs` | what is told to the outside |
//! | `record.rs` | what the log says of a transition |

mod adoption;
mod data;
mod events;
mod failures;
mod grants;
mod inputs;
mod machine;
mod record;
mod rescue;
mod reseal;
mod schedule;
#[cfg(test)]
mod tests;
pub mod timing;
mod workflow;

pub use adoption::{Adoption, adoption};
pub(crate) use data::is_quarantine;
pub use data::{Credential, Failures, Grant, Phase, Purpose, Quarantined, Source};

pub use inputs::{Issued, Kept, NewGrant, Outcome, Refresh, Rescued, Secret, Signal};
pub(crate) use record::record;
pub(crate) use schedule::{NO_PLACE, TURNED_AWAY_MAX};
pub use timing::Settings;

/// The name of the machine, as it is stored.
pub const KIND: &str = "ninjaone.credential";
