//! When to look for due workflows, and how many at once. What happens to one of them is in `turn.rs`.
//!
//! A worker keeps an agenda of what replies told it, claims what is due, one turn a permit, and
//! otherwise sleeps until the next due time, a wake-up message or the cap, whichever is first. A
//! message that is lost costs at most the cap.

mod place;
mod poller;

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::place::one;
use self::poller::Poller;
use crate::engine::Engine;
use crate::{heartbeat, reconciler};

/// How a worker describes itself to others.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// The machine it runs on.
    pub host: String,
    /// The version of the program.
    pub version: String,
}

/// What a worker left behind when it stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Turns that had not ended when the grace time was over; their leases run out.
    pub unfinished: usize,
}

/// Runs a worker until `shutdown` resolves, then lets the turns that run end within the grace time.
pub async fn run(
    engine: Engine,
    options: WorkerOptions,
    shutdown: impl Future<Output = ()> + Send,
) -> Stopped {
    let stop = CancellationToken::new();
    let helpers = TaskTracker::new();
    helpers.spawn(heartbeat::run(engine.clone(), options, stop.clone()));
    helpers.spawn(reconciler::run(engine.clone(), stop.clone()));

    let mut poller = Poller::new(engine.clone()).await;
    tokio::select! {
        () = poller.run() => {}
        () = shutdown => {}
    }
    // Nothing is claimed from here on, and what runs is waited for.
    drop(poller);
    stop.cancel();
    helpers.close();
    engine.turns().close();
    let grace = engine.limits().shutdown_grace;
    let all = async {
        helpers.wait().await;
        engine.turns().wait().await;
    };
    let _ = tokio::time::timeout(grace, all).await;
    Stopped {
        unfinished: engine.turns().len(),
    }
}
