//! Turns, callers and workers over a store that fails on demand, in a time that only the test moves.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod callers;
mod doubt;
mod faults;
mod index;
mod long;
mod machine;
mod order;
mod places;
mod poison;
mod reconciling;
mod sandbox;
mod sealing;
mod strict;
mod workers;
mod world;
