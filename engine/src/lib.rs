//! Durable workflows as state machines: timers in Redis, leased workers, one atomic commit a transition.

pub mod id;
pub mod limits;
pub mod machine;
pub mod record;
pub mod store;
