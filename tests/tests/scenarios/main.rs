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
mod hosts;
mod index;
mod instances;
mod moved_on;
mod processes;
mod reading;
mod records;
mod full_disk;
mod keys;
mod politeness;
mod scheduling;
mod secrecy;
mod startup;
mod success;
mod support;
mod takeover;
