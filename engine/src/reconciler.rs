//! The record is the truth, the sorted set an index: this compares the two all the time.
//!
//! Both are written by the same scripts, so a difference means that somebody else wrote, that a
//! backup was restored in parts, or that there is a defect. Each repair is counted; the count must
//! stay 0.
//!
//! # Two directions
//! The index is walked for ever, and each entry compared with its record: that finds strays and wrong
//! scores. The records are walked at the start and once an hour, and each compared with its entry:
//! that finds what is missing. Both go on in the same steps.
//!
//! # What it costs
//! One worker of the fleet is the reconciler, of every partition; another takes the part over when it
//! falls silent. A step is one round trip: it compares what the step before has listed, and lists what
//! the next one is to compare. There is a step every two and a half seconds, so a fleet that has nothing to do is
//! not kept busy by looking after itself. Only where the key space is so large that a pass would take
//! longer than an hour do the steps follow each other faster.
//!
//! Many workers that share the partitions would be done sooner, but every one of them would cost those
//! round trips, and nothing waits for the end of a pass: what is claimed is judged by its record, and
//! what is signalled gets its entry with the signal.

mod piecemeal;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::piecemeal::compare;
use crate::counters::Counters;
use crate::engine::Engine;
use crate::id::WorkflowId;
use crate::store::{Place, Reconciled, StoreError};

/// Between two steps, unless the key space is too large for it.
const STEP: Duration = Duration::from_millis(2500);
/// Between two steps, however large the key space is.
const STEP_MIN: Duration = Duration::from_millis(50);
/// In what time a pass in either direction should be done.
const PASS: Duration = Duration::from_secs(3600);
/// Entries of the index listed in a step.
const STEP_ENTRIES: usize = 800;
/// Keys looked at in a step of the walk of all records: a server that is asked for many more is busy
/// with nothing else for a millisecond.
const STEP_KEYS: usize = 2000;
/// How long a worker that has fallen silent stays the reconciler.
const PART: Duration = Duration::from_secs(60);
/// How often the reconciler says that it still is, and the others ask whether they can be.
const PART_AGAIN: Duration = Duration::from_secs(20);
/// A reconciler whose last steps were not answered, so many of them, leaves the part to whoever reaches more.
const IN_VAIN: u32 = 4;
/// How long a worker that has fallen silent in a walk of all records is waited for: less than it stays the
/// reconciler, so that whoever takes the part over begins the walk anew at once.
const WALKING: Duration = Duration::from_secs(30);
/// How often it says that it still walks.
const WALKING_AGAIN: Duration = Duration::from_secs(10);
/// Between two walks of all records.
const WALK: Duration = Duration::from_secs(3600);
/// Until a walk that somebody else may have begun is asked for again.
const WALK_AGAIN: Duration = Duration::from_secs(60);
/// For how long nothing more of a walk is listed after a step that was not answered.
const WALK_RESTS: Duration = Duration::from_secs(60);

/// What a comparison of everything found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Records compared with the index.
    pub compared: u64,
    /// Entries of the index compared with their records.
    pub entries: u64,
    /// Entries put right.
    pub repaired: u64,
    /// Members or records that are none of ours and were left alone.
    pub unreadable: u64,
}

/// Walks until told to stop; then at once, even in the midst of a walk, because each comparison
/// stands for itself.
pub(crate) async fn run(engine: Engine, stop: CancellationToken) {
    stop.run_until_cancelled(walk_for_ever(engine)).await;
}

async fn walk_for_ever(engine: Engine) {
    let mut round = Round::new(engine);
    let mut part: Option<Instant> = None;
    let mut pause = STEP;
    let mut in_vain = 0;
    loop {
        tokio::time::sleep(pause).await;
        pause = STEP;
        if part.is_none_or(|since| since.elapsed() >= PART_AGAIN) {
            if in_vain >= IN_VAIN {
                // It ends by itself meanwhile, and the others have asked for it.
                (part, in_vain, pause) = (None, 0, PART + PART_AGAIN);
                continue;
            }
            match round.is_ours().await {
                Ok(true) => part = Some(Instant::now()),
                Ok(false) => {
                    (part, pause) = (None, PART_AGAIN);
                    continue;
                }
                Err(error) => {
                    tracing::debug!(%error, "nobody says who the reconciler is");
                    continue;
                }
            }
        }
        match round.step().await {
            Ok(next) => (pause, in_vain) = (next, 0),
            Err(error) => {
                in_vain += 1;
                tracing::debug!(%error, "a step of the reconciler was not answered");
            }
        }
    }
}

/// Where the reconciler has arrived.
struct Round {
    engine: Engine,
    /// Listed by the last step, each once.
    pending: Vec<WorkflowId>,
    index: Place,
    walk: VecDeque<Place>,
    walk_at: Instant,
    /// When this worker last said that it walks; `None` while it does not.
    walking: Option<Instant>,
    /// The last step was not answered, and what lay before it was passed over.
    passed_over: bool,
    /// Until when the walk rests, because a step was not answered.
    walk_rests: Instant,
}

impl Round {
    fn new(engine: Engine) -> Self {
        // Anywhere, so that a fleet whose workers never live long gets round all the same.
        let partitions = u64::from(engine.store().partitions().max(1));
        let partition = (engine.platform().random)() % partitions;
        Self {
            pending: Vec::new(),
            index: entries(u16::try_from(partition).unwrap_or(0)),
            walk: VecDeque::new(),
            walk_at: Instant::now(),
            walking: None,
            passed_over: false,
            walk_rests: Instant::now(),
            engine,
        }
    }

    /// A part of the store is away. It keeps nobody from looking at the rest: the place that was to be listed
    /// is passed over, and if that was not it, what was to be compared. Both come again in the next round.
    fn pass_over(&mut self) {
        self.walk_rests = Instant::now() + WALK_RESTS;
        self.passed_over = !self.passed_over || self.pending.is_empty();
        if self.passed_over {
            self.index = self.next_partition();
        } else {
            self.pending.clear();
        }
    }

    async fn is_ours(&self) -> Result<bool, StoreError> {
        let store = self.engine.store();
        store
            .turnstile("reconciler", self.engine.owner(), PART)
            .await
    }

    /// Compares what was listed, and lists what is next. Answers when the next step is to be.
    async fn step(&mut self) -> Result<Duration, StoreError> {
        // Where nobody says whose the walk is, the index is compared all the same.
        if let Err(error) = self.see_to_the_walk().await {
            tracing::debug!(%error, "nobody says who walks the records");
            (self.walking, self.walk_at) = (None, Instant::now() + WALK_AGAIN);
            self.walk.clear();
        }
        let ends = self.walking.is_some() && self.walk.is_empty();
        let mut places = vec![self.index.clone()];
        if Instant::now() >= self.walk_rests {
            places.extend(self.walk.front().cloned());
        }
        let store = self.engine.store();
        let compared = match compare(&self.engine, &self.pending, &places).await {
            Err(away @ StoreError::Away { .. }) => {
                self.pass_over();
                return Err(away);
            }
            compared => compared?,
        };
        self.passed_over = false;
        note(&self.engine, &self.pending, &compared.found);
        let mut pages = compared.pages.into_iter();
        let mut pause = STEP;
        let mut members = Vec::new();
        if let Some(page) = pages.next() {
            let partitions = u64::from(store.partitions());
            pause = pause.min(pace(STEP_ENTRIES, page.of.saturating_mul(partitions)));
            self.index = page.next.unwrap_or_else(|| self.next_partition());
            members = page.members;
        }
        if let Some(page) = pages.next() {
            pause = pause.min(pace(STEP_KEYS, page.of));
            self.walk.pop_front();
            if let Some(next) = page.next {
                self.walk.push_front(next);
            }
            members.extend(page.members);
        }
        self.pending = readable(members).0;
        if ends {
            // What was listed last has been compared: nobody needs to begin another for a while.
            self.walking = None;
            self.is_walk_ours(WALK / 2).await?;
        }
        Ok(pause)
    }

    async fn see_to_the_walk(&mut self) -> Result<(), StoreError> {
        if self.walking.is_none() && Instant::now() >= self.walk_at {
            self.begin_walk().await?;
        }
        self.go_on_walking().await
    }

    fn next_partition(&self) -> Place {
        let Place::Index { partition, .. } = self.index else {
            return entries(0);
        };
        entries((partition + 1) % self.engine.store().partitions().max(1))
    }

    /// Records are walked by one worker after another, not by each that becomes the reconciler.
    async fn begin_walk(&mut self) -> Result<(), StoreError> {
        if self.is_walk_ours(WALKING).await? {
            self.walk = self.engine.kinds().into_iter().map(records).collect();
            self.walk_at = Instant::now() + WALK;
            self.walking = Some(Instant::now());
        } else {
            self.walk_at = Instant::now() + WALK_AGAIN;
        }
        Ok(())
    }

    /// Says that it still walks, so that a walker that dies is noticed soon. Where another has begun
    /// meanwhile, the walk is left to it.
    async fn go_on_walking(&mut self) -> Result<(), StoreError> {
        if self
            .walking
            .is_none_or(|since| since.elapsed() < WALKING_AGAIN)
        {
            return Ok(());
        }
        if self.is_walk_ours(WALKING).await? {
            self.walking = Some(Instant::now());
        } else {
            self.walking = None;
            self.walk.clear();
        }
        Ok(())
    }

    async fn is_walk_ours(&self, life: Duration) -> Result<bool, StoreError> {
        let (store, owner) = (self.engine.store(), self.engine.owner());
        store.turnstile("reconciler:walk", owner, life).await
    }
}

fn entries(partition: u16) -> Place {
    let (rank, count) = (0, STEP_ENTRIES);
    Place::Index {
        partition,
        rank,
        count,
    }
}

fn records(kind: &str) -> Place {
    Place::Records {
        kind: kind.to_owned(),
        cursor: None,
        count: STEP_KEYS,
    }
}

/// When the next step is to be, so that a pass over so many is done in time.
fn pace(a_step: usize, of: u64) -> Duration {
    let steps = of.div_ceil(a_step.max(1) as u64).max(1);
    let pause = PASS / u32::try_from(steps).unwrap_or(u32::MAX);
    pause.clamp(STEP_MIN, STEP)
}

/// The workflows that these are members for, each once, and how many are no workflows.
fn readable(members: Vec<String>) -> (Vec<WorkflowId>, u64) {
    let mut strange = 0;
    let mut ids = BTreeSet::new();
    for member in members {
        match WorkflowId::from_member(&member) {
            Ok(id) => {
                ids.insert(id);
            }
            Err(error) => {
                strange += 1;
                tracing::warn!(%member, %error, "an entry of the due set is no workflow");
            }
        }
    }
    (ids.into_iter().collect(), strange)
}

/// Counts what was put right, and names what it was. Answers how many were, and how many cannot be
/// read.
fn note(engine: &Engine, ids: &[WorkflowId], found: &[Reconciled]) -> (u64, u64) {
    let (mut repaired, mut unreadable) = (0, 0);
    for (id, what) in ids.iter().zip(found) {
        match what {
            Reconciled::Right => {}
            Reconciled::Unreadable => {
                unreadable += 1;
                tracing::warn!(workflow = %id, "a record that cannot be read is left alone");
            }
            _ => {
                repaired += 1;
                tracing::warn!(workflow = %id, ?what, "the index was put right");
            }
        }
    }
    Counters::add(&engine.counters().repairs, repaired);
    (repaired, unreadable)
}

/// Compares every record of the kinds that this process runs with the index, and every entry of the
/// index with its record, as fast as the store answers.
///
/// # Errors
/// When the store does not answer.
pub async fn compare_all(engine: &Engine) -> Result<Comparison, StoreError> {
    let store = engine.store();
    let mut found = Comparison::default();
    let walks = engine.kinds().into_iter().map(records);
    let indexes = (0..store.partitions()).map(entries);
    for begin in walks.chain(indexes) {
        let is_index = matches!(begin, Place::Index { .. });
        let mut place = Some(begin);
        let mut pending = Vec::new();
        while place.is_some() || !pending.is_empty() {
            let compared = compare(engine, &pending, place.as_slice()).await?;
            let (repaired, unreadable) = note(engine, &pending, &compared.found);
            let count = (pending.len() as u64).saturating_sub(unreadable);
            if is_index {
                found.entries += count;
            } else {
                found.compared += count;
            }
            found.repaired += repaired;
            found.unreadable += unreadable;
            let page = compared.pages.into_iter().next();
            let (members, next) = page.map_or((Vec::new(), None), |page| (page.members, page.next));
            let (ids, strange) = readable(members);
            found.unreadable += strange;
            (pending, place) = (ids, next);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_slow_until_a_pass_would_take_too_long() {
        assert_eq!(pace(800, 0), STEP);
        assert_eq!(pace(800, 1_000_000), STEP);
        assert_eq!(pace(2000, 2_880_000), STEP);
        assert_eq!(pace(2000, 36_000_000), Duration::from_millis(200));
        assert_eq!(pace(2000, u64::MAX), STEP_MIN);
    }

    #[test]
    fn what_is_listed_twice_is_compared_once() {
        let members = ["k:b", "k:a", "k:b", "no workflow"].map(str::to_owned);
        let (ids, strange) = readable(members.to_vec());
        let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
        assert_eq!(
            (ids, strange),
            (vec!["k:a".to_owned(), "k:b".to_owned()], 1)
        );
    }
}
