//! What only the Redis store can do wrong: the server it is given, connections that end, replies that
//! do not come, confirmations that are not given.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod connections;
mod durable;
mod memory;
mod reconciling;
mod server;
mod steps;
#[path = "../support/mod.rs"]
mod support;
