//! Webhooks from outside: a receiver on a socket, real events, real processes.

#![expect(clippy::unwrap_used, reason = "all of it is a test, its helpers too")]

mod processes;
mod receiver;
mod told;
