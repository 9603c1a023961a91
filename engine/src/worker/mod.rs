//! When to look for due workflows, and how many at once. What happens to one of them is in `turn/`.
//!
//! # When
//! A worker keeps an agenda: the heads of each partition's `due` set, as the last reply told them. Every
//! reply of a claim and of a commit brings them along, so a busy worker never asks. An idle one sleeps
//! until the next due time, a wake-up message, or the cap, whichever is first. Messages may be lost; then
//! it finds out when it looks at all partitions, which nothing puts off for longer than the cap.
//!
//! # How many
//! A permit comes before a claim: what is held is being worked on, and what cannot start now is left for
//! others. Among the due entries of a partition it takes any, so that workers that were told the same do
//! not all want the same. Where activities wait for a place elsewhere ([`Activities::admit`]), it claims
//! few at a time and strictly what comes first: while eight claims are under way or turns wait, nothing is
//! claimed, since what waits under a lease is kept from others, and what is left in the index keeps its
//! order.
//!
//! [`Activities::admit`]: crate::Activities::admit
//!
//! # What it leaves alone
//! Kinds that it does not run. What it is at already. What another owns, for one lease after the store has
//! become another run (`caution.rs`). What it cannot read, it gives back without counting where a newer
//! worker may be able to.
//!
//! # How it stops
//! It claims no more, ends its helpers at once, and waits for the turns that run, no longer than the grace.
//! Activities that are still running then are broken off: their machines hear that nobody knows how they
//! ended, and others may have them at once. Only what the store does not answer for is left to its lease.
//! An engine that has broken off performs nothing more: it is for a process that ends.
//!
//! # How you could get this wrong
//! By running workers of one key space that do not know all of its kinds: each reply tells of sixteen
//! entries a partition, and where none of these is for it a worker finds the others only when it looks at
//! all partitions, sixteen at a time. Give such kinds a prefix of their own.

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
    /// Turns that could not be ended even by breaking off; their leases run out.
    pub unfinished: usize,
}

/// Runs a worker until `shutdown` resolves, then lets the turns that run end within the grace time.
pub async fn run(
    engine: Engine,
    options: WorkerOptions,
    shutdown: impl Future<Output = ()> + Send,
) -> Stopped {
    let stop = CancellationToken::new();
    // Also when nobody waits for this any more.
    let _stopped = stop.clone().drop_guard();
    let helpers = TaskTracker::new();
    helpers.spawn(heartbeat::run(engine.clone(), options, stop.clone()));
    helpers.spawn(reconciler::run(engine.clone(), stop.clone()));

    let mut poller = Poller::new(engine.clone()).await;
    tokio::select! {
        biased;
        () = shutdown => {}
        () = poller.run() => {}
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
    if tokio::time::timeout(grace, all).await.is_err() {
        // What is broken off becomes known to its machine, and is due at once for others.
        engine.break_off();
        let commit = engine.limits().lease / 15;
        let _ = tokio::time::timeout(commit, engine.turns().wait()).await;
    }
    Stopped {
        unfinished: engine.turns().len(),
    }
}
