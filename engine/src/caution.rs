//! After the store has become another run, or another server, two things are not what they were.
//!
//! *Leases are judged by another clock.* A lease's end was computed by the clock of the server that
//! granted it. A replica that takes over, or a machine that comes back, may be ahead of that clock,
//! and would let a second worker in while the first still rightly trusts its window. So for one lease,
//! by this process' own clock, nothing is claimed that another owns; what nobody owns is claimed as
//! ever.
//!
//! *What was written last may be lost.* An intent that went down with the old server has left no trace,
//! and what it announced may have happened. So for the same time the machine is told that the store is
//! in doubt ([`Context::store_in_doubt`](crate::Context::store_in_doubt)).
//!
//! # When it is looked
//! Each look of the worker brings along which run told it. Others who want to know it, or the store's
//! time, take it from there, so that an idle worker asks once. Where that was not just now it is asked
//! for in a task of its own with claims, so that no claim waits for it: the
//! answer comes over the connection of durable commits, behind whatever is being confirmed there. And it
//! is waited for where acting on old knowledge would do harm: after a claim that took something over, and
//! before a verdict is committed. Both then speak of a run that answered later than the claim was granted.
//!
//! # What it cannot know
//! A process that has never looked before takes the run that it meets first for the one that was always
//! there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits;
use crate::machine::Millis;
use crate::store::clock::millis;
use crate::store::{Look, Store, StoreError};
use crate::trust::Trust;

/// Which run of the store was seen last, and how long to be careful.
pub(crate) struct Caution {
    store: Arc<dyn Store>,
    /// For how long.
    lease: Duration,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    run: Option<String>,
    until: Option<Instant>,
    /// When the last look aside began; nothing before the first.
    asked: Option<Instant>,
    looking: bool,
    /// When a look of the worker was answered, by our clock and by the store's.
    told: Option<(Instant, Millis)>,
}

impl Caution {
    pub(crate) fn new(store: Arc<dyn Store>, lease: Duration) -> Self {
        Self {
            store,
            lease,
            seen: Mutex::default(),
        }
    }

    /// Asks which run answers, and takes in what it hears.
    pub(crate) async fn look(&self) -> Result<(), StoreError> {
        let run = self.store.run_id().await?;
        self.seen().met(&run, self.lease);
        Ok(())
    }

    /// Takes in what a look of the worker brought along.
    pub(crate) fn saw(&self, look: &Look) {
        let now = Instant::now();
        let mut seen = self.seen();
        seen.met(&look.run, self.lease);
        seen.asked = Some(now);
        seen.told = Some((now, look.peek.now));
    }

    /// Which run answered a look of the worker, and what its time is now, if that was not longer ago
    /// than `age`.
    pub(crate) fn seen_within(&self, age: Duration) -> Option<(String, Millis)> {
        let seen = self.seen();
        let (at, now) = seen.told.filter(|(at, _)| at.elapsed() <= age)?;
        Some((seen.run.clone()?, now.saturating_add(millis(at.elapsed()))))
    }

    /// As [`Caution::look`], again and again until there is an answer or patience ends.
    pub(crate) async fn look_within(&self, patience: &Trust) -> Result<(), StoreError> {
        let mut pause = limits::COMMIT_RETRY_FIRST;
        loop {
            match self.look().await {
                Err(StoreError::Away { .. }) if patience.left() > pause => {}
                told => return told,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(limits::COMMIT_RETRY_MAX);
        }
    }

    /// Asks in a task of its own, unless that is being done or was done a moment ago.
    pub(crate) fn look_aside(self: &Arc<Self>, every: Duration) {
        {
            let mut seen = self.seen();
            if seen.looking || seen.asked.is_some_and(|at| at.elapsed() < every) {
                return;
            }
            seen.looking = true;
            seen.asked = Some(Instant::now());
        }
        let this = Looking(Arc::clone(self));
        tokio::spawn(async move {
            if let Err(error) = this.0.look().await {
                tracing::debug!(%error, "the store's run is not known");
            }
        });
    }

    /// Whether what others own is to be left alone, and what was written last may be lost.
    pub(crate) fn advised(&self) -> bool {
        self.seen()
            .until
            .is_some_and(|until| Instant::now() < until)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn met(&mut self, run: &str, lease: Duration) {
        if self.run.as_ref().is_some_and(|known| known != run) {
            tracing::warn!(%run, "the store is another run; for one lease nothing is taken over, and what it lacks may have happened");
            self.until = Some(Instant::now() + lease);
        }
        self.run = Some(run.to_owned());
    }
}

/// A look aside that goes on. However it ends, the next may begin.
struct Looking(Arc<Caution>);

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.seen().looking = false;
    }
}
