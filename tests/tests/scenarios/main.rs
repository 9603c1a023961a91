//! What must hold, seen from outside: the acceptance scenarios by their numbers, each against the
//! real client, machine, vault and journal and a strict provider. Time is the store's and passes in a
//! moment where it may; Redis is real where it matters.

#![expect(clippy::unwrap_used, reason = "all of it is a test, its helpers too")]

mod alga;
mod classification;
mod clocks;
mod concurrency;
mod connect;
mod crash_safety;
mod crowd;
mod full_disk;
mod hosts;
mod index;
mod instances;
mod key_commands;
mod keys;
mod moved_on;
mod politeness;
mod processes;
mod reading;
mod records;
mod scheduling;
mod secrecy;
mod startup;
mod success;
mod support;
mod takeover;
