//! Sentinels and clusters: that everything is found where it lies, and that workers lose nothing when a
//! server is replaced under their hands.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod failover;
mod fleet;
mod moving;
mod pulse;
mod startup;
#[allow(dead_code, reason = "shared with the tests of one server")]
#[path = "../redis_store/steps.rs"]
mod steps;
#[path = "../support/mod.rs"]
mod support;
mod ways;
