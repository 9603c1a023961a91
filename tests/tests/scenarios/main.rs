//! What must hold, seen from outside: the acceptance scenarios by their numbers, each against the
//! real client, machine, vault and journal and a strict provider. Time is the store's and passes in a
//! moment where it may; Redis is real where it matters.

#![expect(clippy::unwrap_used, reason = "all of it is a test, its helpers too")]

mod classification;
mod concurrency;
mod connect;
mod crash_safety;
mod full_disk;
mod hosts;
mod key_commands;
mod keys;
mod scheduling;
mod secrecy;
mod success;
mod support;
mod takeover;
