//! The machine's answers, one input at a time: no store, no clock, no provider.
//!
//! | file | holds |
//! |---|---|
//! | `bench.rs` | a life that is told inputs, and what it said |
//! | `totality.rs` | every state with every input has an answer |
//! | `stored.rs` | states as earlier versions stored them |
//! | `rescued.rs`, `adoption.rs` | which pair wins, as tables |
//! | `retries.rs` | the one immediate retry, back-off, pauses |
//! | `salvaged.rs` | refresh tokens saved from an answer that was cut |
//! | `verdicts.rs` | what a rejection is taken for, and what a reset permits |
//! | `reseal.rs` | sealing anew changes nothing else |
//! | `told.rs` | what is told to the outside, and how often |
//! | `records.rs` | what the log calls each transition |

mod adoption;
mod bench;
mod records;
mod rescued;
mod reseal;
mod retries;
mod salvaged;
mod stored;
mod told;
mod totality;
mod verdicts;
