//! The service over a store that fails when it is told to, in a time that only the test moves. Nothing
//! here sends a request.
//!
//! | file | holds |
//! |---|---|
//! | `stage.rs` | a store, and processes over it |
//! | `memory.rs` | what is served while the store is away, and for how long |
//! | `meant.rs` | which of two grants is meant |
//! | `rotate.rs` | rotating seal keys: what is refused, what is done, what is told |

mod meant;
mod memory;
mod rotate;
mod stage;
