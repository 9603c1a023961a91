//! After the store has become another run, or another server, two things are not what they were.
//!
//! *Leases are judged by another clock.* A lease's end was computed by the clock of the server that
//! granted it. A replica that takes over, or a machine that comes back, may be ahead of that clock,
//! and would let a second worker in while the first still rightly trusts its window. So for one lease,
//! by this process' own clock, nothing is claimed that somebody owns, not even this process itself: a
//! second turn of it is a second worker. What nobody owns is claimed as ever.
//!
//! *What was written last may be lost.* An intent that went down with the old server has left no trace,
//! and what it announced may have happened. So for two leases the machine is told that the store is in
//! doubt ([`Context::store_in_doubt`](crate::Context::store_in_doubt)). For one of them what a holder has
//! left behind is spared, so whoever takes it over comes when one lease of doubt would just have ended: the
//! model check (`tests/model`) shows a spent token called revoked by a takeover of that moment.
//!
//! # When it is looked
//! Each look of the worker brings along which run told it. Others who want to know it, or the store's
//! time, take it from there, so that an idle worker asks once. Where that was not just now it is asked
//! for in a task of its own with claims, so that no claim waits for it: the
//! answer comes over the connection of durable commits, behind whatever is being confirmed there. And it
//! is waited for where acting on old knowledge would do harm: after a claim that took something over, and
//! before a verdict is committed. Both then speak of a run that answered later than the claim was granted.
//!
//! # Who has just started
//! has seen no other run. So the store itself carries a note of the run that was seen last, and since when:
//! the field `run` of the table `meta`. A process that meets its first run compares. Another run than the
//! note says is a change that nobody has noticed yet; the same run, noted a moment ago, is a change that
//! others have noticed, and what is left of their caution is its own. A failover cannot take the note along:
//! what it takes back is a note of an older run, which differs as well. Where there is no note, the key space
//! is new, and there is nothing to be careful of.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::machine::Millis;
use crate::store::clock::millis;
use crate::store::{Look, Store, StoreError};
use crate::trust::Trust;

/// The plain table that describes the key space.
const META: &str = "meta";
/// Its field with the run that was seen last: since when, in ms of the store's time (0 where no change of
/// runs was seen), a blank, and the run.
const RUN: &str = "run";
/// For how many leases after a new run what was written last may be lost.
const DOUBT_LEASES: u32 = 2;

/// Which run of the store was seen last, and how long to be careful.
pub(crate) struct Caution {
    store: Arc<dyn Store>,
    lease: Duration,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    run: Option<String>,
    /// Until then what somebody owns is left alone.
    spares_until: Option<Instant>,
    /// Until then what was written last may be lost.
    doubts_until: Option<Instant>,
    /// When the last look aside began; nothing before the first.
    asked: Option<Instant>,
    looking: bool,
    /// When a look of the worker was answered, by our clock and by the store's.
    told: Option<(Instant, Millis)>,
}

/// Which run there was before the one that answers.
enum Before {
    /// None that anybody knows of.
    Nothing,
    /// Another.
    Other,
    /// The same; a change to it was seen so long ago, if one was.
    Same { age: Option<Duration> },
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
        self.meet(run).await
    }

    /// Takes in what a look of the worker brought along.
    ///
    /// # Errors
    /// It is the first, and the store does not tell of what was before it.
    pub(crate) async fn saw(&self, look: &Look) -> Result<(), StoreError> {
        self.meet(look.run.clone()).await?;
        let now = Instant::now();
        let mut seen = self.seen();
        seen.asked = Some(now);
        seen.told = Some((now, look.peek.now));
        Ok(())
    }

    /// Compares a run with the one before it, as this process knows it or else as the store has noted it.
    async fn meet(&self, run: String) -> Result<(), StoreError> {
        let known = self.seen().run.clone();
        let before = match known {
            Some(known) if known == run => return Ok(()),
            Some(_) => Before::Other,
            None => self.noted(&run).await?,
        };
        let note = match before {
            Before::Nothing => Some(false),
            Before::Other => {
                tracing::warn!(%run, "the store is another run; for a while nothing is taken over, and what it lacks may have happened");
                self.careful(Duration::ZERO);
                Some(true)
            }
            Before::Same { age } => {
                if let Some(age) = age {
                    self.careful(age);
                }
                None
            }
        };
        self.seen().run = Some(run.clone());
        if let Some(changed) = note {
            self.note(&run, changed).await;
        }
        Ok(())
    }

    /// What the store has noted of the run before this one.
    async fn noted(&self, run: &str) -> Result<Before, StoreError> {
        let note = self.store.table_get(META, RUN).await?;
        let Some((since, noted)) = note.as_deref().and_then(|note| note.split_once(' ')) else {
            return Ok(Before::Nothing);
        };
        if noted != run {
            return Ok(Before::Other);
        }
        let since: Millis = since.parse().unwrap_or(0);
        let age = if since > 0 {
            let age = self.store.now().await?.saturating_sub(since);
            Some(Duration::from_millis(age))
        } else {
            None
        };
        Ok(Before::Same { age })
    }

    /// The run that answers has been new for so long.
    fn careful(&self, age: Duration) {
        let now = Instant::now();
        let left = |leases: u32| Some(now + (self.lease * leases).checked_sub(age)?);
        let mut seen = self.seen();
        seen.spares_until = left(1).or(seen.spares_until);
        seen.doubts_until = left(DOUBT_LEASES).or(seen.doubts_until);
    }

    /// Leaves a note for whoever starts later. Where that fails they find an older one, and are careful.
    async fn note(&self, run: &str, changed: bool) {
        let noted = async {
            let since = if changed { self.store.now().await? } else { 0 };
            let note = format!("{since} {run}");
            self.store.table_put(META, RUN, &note).await
        };
        if let Err(error) = noted.await {
            tracing::debug!(%error, "the store's run is not noted");
        }
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
        let mut backoff = Backoff::of_calls();
        loop {
            match self.look().await {
                Err(StoreError::Away { .. }) if patience.left() > backoff.next() => {}
                told => return told,
            }
            backoff.pause().await;
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

    /// Whether what somebody owns is to be left alone.
    pub(crate) fn spares(&self) -> bool {
        let until = self.seen().spares_until;
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Whether what was written last may be lost.
    pub(crate) fn doubts(&self) -> bool {
        let until = self.seen().doubts_until;
        until.is_some_and(|until| Instant::now() < until)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A look aside that goes on. However it ends, the next may begin.
struct Looking(Arc<Caution>);

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.seen().looking = false;
    }
}
