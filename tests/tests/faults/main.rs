//! What happens when something is killed, stopped, cut off, filled up or put back, each at a named
//! place: real processes of the program, a real Redis, a strict provider, and proxies between them at
//! which a test can stand. Nothing in the program knows of it.
//!
//! | file | what is done |
//! |---|---|
//! | `points.rs` | a worker is killed at each point of a turn |
//! | `stopped.rs` | a worker is stopped past its lease |
//! | `commands.rs` | Redis forgets scripts, throws clients out, makes them wait |
//! | `restarts.rs` | Redis is restarted and killed, between commits and in the middle of one |
//! | `refusals.rs` | Redis or its disk is full, it is read-only, or cannot save |
//! | `emptied.rs` | Redis is emptied |
//! | `restored.rs` | Redis is put back to what it was |
//! | `callers.rs` | an API is killed while it does what somebody asked for |
//! | `cut.rs` | the network between one worker and Redis is cut |
//!
//! `stage.rs` and `machine.rs` are what they stand on, `checks.rs` what must have come of it.

#![expect(clippy::unwrap_used, reason = "all of it is a test, its helpers too")]

mod callers;
mod checks;
mod commands;
mod cut;
mod emptied;
mod machine;
mod points;
mod refusals;
mod restarts;
mod restored;
mod stage;
mod stopped;
