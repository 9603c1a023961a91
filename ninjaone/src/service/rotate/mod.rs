//! Rotating seal keys while the fleet works: everything that is sealed with an older key is sealed anew
//! with the first of the ring (PROTOCOL 22).
//!
//! # Inside turns
//! Nothing is written beside a turn. Each grant that still uses an older key gets the signal `Reseal`, and
//! whichever worker has the grant next seals anew in the very commit that consumes it. So a rotation
//! fights with no refresh, and one that is broken off anywhere has changed nothing but which key seals.
//!
//! # Not before everybody can open it
//! A worker without the new key could open nothing any more. So it is asked first what the workers have,
//! and if one lacks the key nothing is begun.
//!
//! # When it is done
//! When no sealed blob, no waiting signal and no live worker's journal uses another key than the first.
//! What still does is told, by grant or by worker, with what keeps it.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | the rotation from its first look to its last |
//! | `uses.rs` | which key a grant uses where |
//! | `workers.rs` | what the workers must have before, and their journals afterwards |

mod uses;
mod workers;

use std::collections::BTreeSet;
use std::time::Duration;

use evergreen_engine::store::Signalled;
use evergreen_engine::{Delivery, WorkflowId};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use self::uses::Look;
use super::{App, ServiceError};
use crate::lifecycle::{Credential, KIND, Signal};

/// Grants that are looked at, and that wait to be heard, at once.
const STEP: usize = 200;
/// Grants that are read at once.
const READS: usize = 16;
/// How long it is waited for the workers to hear of a step. Longer than the longest request.
const HEARD_WITHIN: Duration = Duration::from_secs(20);
/// The first pause between two looks at a step; doubles up to [`LOOK_MAX`].
const LOOK_FIRST: Duration = Duration::from_millis(20);
const LOOK_MAX: Duration = Duration::from_millis(500);
/// Steps in a row of which the workers hear nothing, after which the rest is only counted.
const DEAF_STEPS_MAX: usize = 2;
/// Walks over all grants, at most.
const WALKS_MAX: usize = 5;
/// Uses that are told one by one.
pub const STILL_MAX: usize = 1_000;

/// What a rotation came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Rotation {
    /// The key that seals.
    pub key: String,
    /// Whether anything was done; not if a worker cannot use the key yet.
    pub begun: bool,
    /// Whether nothing uses another key any more.
    pub done: bool,
    /// Grants that were looked at.
    pub grants: usize,
    /// Grants of which something was sealed anew.
    pub resealed: usize,
    /// What still uses another key, or keeps the rotation from beginning, as many as are told.
    pub still: Vec<Use>,
    /// How many there are.
    pub still_count: usize,
    /// Keys of the ring that nothing uses any more.
    pub unused: Vec<String>,
}

/// One use of a key that is not the one that seals, or one worker that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Use {
    /// Where.
    pub place: UsePlace,
    /// `TENANT/INTEGRATION@grant`, where it is a grant's.
    pub id: Option<String>,
    /// The worker, where it is a worker's.
    pub worker: Option<String>,
    /// The key's id, where it is known.
    pub key: Option<String>,
    /// Under which name it is sealed, or in which signal.
    pub what: Option<String>,
    /// What keeps it, and what helps.
    pub why: String,
}

/// Where a key is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UsePlace {
    /// A sealed blob of a grant.
    Sealed,
    /// A pair that a grant keeps apart.
    Quarantine,
    /// A signal that waits for a grant.
    Inbox,
    /// A worker's journal.
    Journal,
    /// A worker's ring.
    Worker,
}

/// How far a rotation has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RotationProgress {
    /// Grants looked at.
    pub grants: usize,
    /// Grants of which something was sealed anew.
    pub resealed: usize,
}

impl App {
    /// Has everything sealed anew with the first key of the ring, by the workers of the fleet. It is told
    /// on the way how far that is.
    ///
    /// # Errors
    /// The store does not answer. What was sealed anew stays so; the next rotation goes on from there.
    pub async fn rotate_seal_keys(
        &self,
        mut progress: impl FnMut(RotationProgress),
    ) -> Result<Rotation, ServiceError> {
        let key = self.0.refresher.ring.first().to_owned();
        let mut told = Rotation {
            key: key.clone(),
            ..Rotation::default()
        };
        let in_the_way = self.workers_in_the_way(&key).await?;
        if !in_the_way.is_empty() {
            told.keep(in_the_way);
            return Ok(told);
        }
        told.begun = true;
        // Until a walk finds nothing to do: a worker that lacks the key may have come and gone meanwhile, and
        // as long as it was there all sealed with the old one.
        for walk in 1..=WALKS_MAX {
            let before = told.resealed;
            self.walk_anew(&key, walk, &mut told, &mut progress).await?;
            if told.resealed == before || told.still_count > 0 {
                break;
            }
            if walk == WALKS_MAX {
                told.keep(vec![workers::restless(&key)]);
            }
        }
        let journals = self.journals_drained(&key).await?;
        told.keep(journals);
        // Who came meanwhile must have the key as well.
        told.keep(self.workers_in_the_way(&key).await?);
        told.done = told.still_count == 0;
        if told.done {
            let ids = self.0.refresher.ring.ids().skip(1);
            told.unused = ids.map(str::to_owned).collect();
        }
        Ok(told)
    }

    /// One walk over all grants, the first of which counts them.
    async fn walk_anew(
        &self,
        key: &str,
        walk: usize,
        told: &mut Rotation,
        progress: &mut impl FnMut(RotationProgress),
    ) -> Result<(), ServiceError> {
        let mut cursor = None;
        let mut deaf = 0;
        let mut seen = BTreeSet::new();
        loop {
            let (some, next) = self.store().walk(KIND, cursor, STEP).await?;
            // A walk may tell of a workflow twice.
            let ids = some.into_iter().map(|(id, _)| id);
            let ids: Vec<WorkflowId> = ids.filter(|id| seen.insert(id.clone())).collect();
            told.grants += if walk == 1 { ids.len() } else { 0 };
            let found = self.look_at(ids, key).await?;
            let wait = deaf < DEAF_STEPS_MAX;
            let step = self.reseal_step(found, key, wait).await?;
            deaf = match step {
                Step {
                    heard: 0,
                    deaf: 1..,
                    ..
                } => deaf + 1,
                Step { heard: 0, .. } => deaf,
                Step { .. } => 0,
            };
            told.resealed += step.resealed;
            told.keep(step.still);
            progress(RotationProgress {
                grants: told.grants,
                resealed: told.resealed,
            });
            cursor = next;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    async fn look_at(&self, ids: Vec<WorkflowId>, key: &str) -> Result<Vec<Look>, ServiceError> {
        let looks = ids.into_iter().map(|id| self.uses_of(id, key));
        let looks = stream::iter(looks).buffer_unordered(READS);
        let looks: Vec<Option<Look>> = looks.try_collect().await?;
        Ok(looks.into_iter().flatten().collect())
    }

    /// Tells these grants to seal anew, and waits until they have.
    async fn reseal_step(
        &self,
        found: Vec<Look>,
        key: &str,
        wait: bool,
    ) -> Result<Step, ServiceError> {
        let mut step = Step::default();
        let mut waiting = Vec::new();
        for look in found {
            if look.uses.is_empty() {
                continue;
            }
            if !wait || look.is_beyond_reach() {
                step.still.extend(look.told(None));
                continue;
            }
            let sent =
                self.engine()
                    .signal::<Credential>(&look.id, &Signal::Reseal, Delivery::default());
            match sent.await? {
                Signalled::Queued { .. } => waiting.push(look.id),
                Signalled::Full => {
                    let why = "too many signals wait for it already";
                    step.still.extend(look.told(Some(why)));
                }
                Signalled::Unknown => {}
            }
        }
        let until = Instant::now() + HEARD_WITHIN;
        let mut pause = LOOK_FIRST;
        while !waiting.is_empty() {
            sleep(pause).await;
            pause = (pause * 2).min(LOOK_MAX);
            let late = Instant::now() >= until;
            let mut later = Vec::new();
            let asked = waiting.len();
            let looks = self.look_at(waiting, key).await?;
            // Whoever is gone has nothing sealed any more.
            step.heard += asked - looks.len();
            for look in looks {
                if look.uses.is_empty() {
                    step.resealed += 1;
                    step.heard += 1;
                } else if look.waiting == 0 {
                    step.heard += 1;
                    let why = "the workers cannot open it: they lack that key, or have another under its id; or it was moved here";
                    step.still.extend(look.told(Some(why)));
                } else if late {
                    step.deaf += 1;
                    let why = "no worker has heard of it in time; run this again";
                    step.still.extend(look.told(Some(why)));
                } else {
                    later.push(look.id);
                }
            }
            waiting = later;
        }
        Ok(step)
    }
}

/// What became of one step.
#[derive(Debug, Default)]
struct Step {
    resealed: usize,
    /// Grants that a worker has heard of it for.
    heard: usize,
    /// Grants that none has.
    deaf: usize,
    still: Vec<Use>,
}

impl Rotation {
    fn keep(&mut self, uses: Vec<Use>) {
        self.still_count += uses.len();
        let room = STILL_MAX.saturating_sub(self.still.len());
        self.still.extend(uses.into_iter().take(room));
    }
}
