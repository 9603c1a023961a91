//! Measurements for whoever sizes a deployment: against a real server, with the real scripts, engine
//! and worker processes, in a key space of the run's own.
//!
//! | file | holds |
//! |---|---|
//! | `timers.rs` | what a script costs, and a workflow's memory, with so many of them asleep |
//! | `takeover.rs` | how long after a worker's death another commits |
//! | `lateness.rs` | how late timers and signals are heard |
//! | `idle.rs` | what a fleet that has nothing to do asks of the server |
//! | `torture/` | whether a fleet loses anything while everything breaks |
//! | `space.rs` | the key space of one run |
//! | `fill.rs` | many workflows that sleep |
//! | `crew.rs`, `worker.rs` | worker processes, from outside and from inside |
//! | `meter.rs` | counts round trips on their way |
//! | `workflow.rs` | the small workflow that is measured |
//! | `numbers.rs` | medians and percentiles |

pub mod crew;
pub mod fill;
pub mod idle;
pub mod lateness;
pub mod meter;
pub mod numbers;
pub mod space;
pub mod takeover;
pub mod timers;
pub mod torture;
pub mod worker;
mod workflow;

use evergreen_engine::WorkflowId;
use evergreen_engine::limits::LimitsError;
use evergreen_engine::store::{Signalled, StoreError};

pub use self::space::Space;
pub use self::workflow::{Ended, FIRED, HEARD, Phase, Signal, TAKEN_OVER, Take, Time, Waiter};

/// A measurement that nobody takes part in would wait in vain.
fn queued(id: &WorkflowId, told: Signalled) -> Result<(), BenchError> {
    if told.is_queued() {
        return Ok(());
    }
    Err(BenchError::Process(format!(
        "{id}: the signal that it was to hear was not queued: {told:?}"
    )))
}

/// Why something could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The store did not answer, or refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// This server cannot be measured like that.
    #[error("this server does not suit: {0}")]
    Unsuitable(String),
    /// The bounds contradict each other.
    #[error("the limits contradict each other: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Limits(Vec<LimitsError>),
    /// A worker process could not be started, or ended by itself.
    #[error("a worker process: {0}")]
    Worker(String),
    /// A process of the run did not do what it is there for, or nothing could be done with it.
    #[error("{0}")]
    Process(String),
    /// What was waited for did not happen.
    #[error("{0}")]
    Overdue(String),
    /// Somebody told this process to stop.
    #[error("it was interrupted; the keys of the run are removed")]
    Interrupted,
    /// The key space could not be removed.
    #[error(
        "removing the keys of this run, which all begin with {prefix}: once the server answers, \
         remove them with redis-cli --scan --pattern '{prefix}:*' | xargs redis-cli UNLINK"
    )]
    LeftBehind {
        /// What they begin with.
        prefix: String,
        /// Why.
        #[source]
        source: StoreError,
    },
}
