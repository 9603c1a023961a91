//! One queue an integration: its first event is the only one that may be under way.
//!
//! A receiver may be away for days, so what waits is kept small: the events themselves only while there are
//! few, else their places in the stream, which are read again when it is their turn; and of places no more
//! than [`PLACES_MAX`]: what is not taken yet is safe in the stream.
//!
//! Those that fail do not take the room of those that do not: they come after them, and a quarter of what
//! may be under way at once is never theirs.

use std::collections::{BTreeMap, VecDeque};

use evergreen_engine::store::OutboxEntry;
use evergreen_engine::store::outbox::Position;
use tokio::time::Instant;

/// Events that are kept in memory as they are; of what waits beyond them only the places are.
const KEPT_MAX: usize = 4096;

/// Places that are kept; one is some thirty bytes.
const PLACES_MAX: usize = 200_000;
/// Integrations under way at once whose last attempt failed.
const FAILING_MAX: usize = 12;

/// Whose queue: a partition and an integration.
pub(super) type Key = (u16, String);

/// An event that waits.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) position: Position,
    /// Itself, if it was kept.
    pub(super) entry: Option<Box<OutboxEntry>>,
}

#[derive(Debug)]
struct Lane {
    queue: VecDeque<Held>,
    /// Attempts that failed since the last success.
    failures: u32,
    /// Not before.
    ready_at: Instant,
    busy: bool,
}

/// All queues.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: BTreeMap<Key, Lane>,
    kept: usize,
    waiting: usize,
}

impl Lane {
    /// Whether its first may leave, where those that fail have room or have none.
    fn may_leave(&self, room_for_failing: bool) -> bool {
        !self.busy && !self.queue.is_empty() && (self.failures == 0 || room_for_failing)
    }
}

impl Lanes {
    /// An event at the end of its integration's queue.
    pub(super) fn push(&mut self, partition: u16, position: Position, entry: OutboxEntry) {
        let lane = self
            .lanes
            .entry((partition, entry.subject.clone()))
            .or_insert_with(|| Lane {
                queue: VecDeque::new(),
                failures: 0,
                ready_at: Instant::now(),
                busy: false,
            });
        let entry = (self.kept < KEPT_MAX).then(|| Box::new(entry));
        self.kept += usize::from(entry.is_some());
        self.waiting += 1;
        lane.queue.push_back(Held { position, entry });
    }

    /// The next event whose turn it is, with how often its integration has failed in a row. Its queue
    /// is busy from now on.
    pub(super) fn take(&mut self, now: Instant) -> Option<(Key, Held, u32)> {
        let room = self.has_room_for_failing();
        let ready = self
            .lanes
            .iter_mut()
            .filter(|(_, lane)| lane.ready_at <= now && lane.may_leave(room));
        // The oldest event first, so that none waits behind luckier ones.
        let (key, lane) = ready.min_by_key(|(_, lane)| {
            (
                lane.failures > 0,
                lane.queue.front().map(|held| held.position),
            )
        })?;
        lane.busy = true;
        let held = lane.queue.front()?.clone();
        Some((key.clone(), held, lane.failures))
    }

    /// When the next one's turn comes, if nothing else happens.
    pub(super) fn next_at(&self) -> Option<Instant> {
        let room = self.has_room_for_failing();
        let waiting = self.lanes.values().filter(|lane| lane.may_leave(room));
        waiting.map(|lane| lane.ready_at).min()
    }

    /// So many wait that no more are to be taken.
    pub(super) fn is_full(&self) -> bool {
        self.waiting >= PLACES_MAX
    }

    fn has_room_for_failing(&self) -> bool {
        let failing = self
            .lanes
            .values()
            .filter(|lane| lane.busy && lane.failures > 0);
        failing.count() < FAILING_MAX
    }

    /// The first of a queue has been dealt with. After a success the next may leave at once, after
    /// having been given up it has to wait as it would have.
    pub(super) fn dealt_with(&mut self, key: &Key, ready_at: Option<Instant>) {
        let Some(lane) = self.lanes.get_mut(key) else {
            return;
        };
        let done = lane.queue.pop_front();
        self.waiting -= usize::from(done.is_some());
        self.kept -= usize::from(done.is_some_and(|held| held.entry.is_some()));
        if ready_at.is_none() {
            lane.failures = 0;
        }
        lane.ready_at = ready_at.unwrap_or(lane.ready_at);
        lane.busy = false;
        if lane.queue.is_empty() {
            self.lanes.remove(key);
        }
    }

    /// The first of a queue has failed, and is not to be tried before then.
    pub(super) fn failed(&mut self, key: &Key, ready_at: Instant) {
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.failures = lane.failures.saturating_add(1);
            lane.ready_at = ready_at;
            lane.busy = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entry(subject: &str, n: u64) -> (Position, OutboxEntry) {
        let entry = OutboxEntry {
            id: format!("c-{n}"),
            event: "E".to_owned(),
            subject_field: "integration".to_owned(),
            subject: subject.to_owned(),
            at: String::new(),
            payload: "{}".to_owned(),
        };
        (Position { ms: n, number: 0 }, entry)
    }

    fn lanes(events: &[(&str, u64)]) -> Lanes {
        let mut lanes = Lanes::default();
        for (subject, n) in events {
            let (position, entry) = entry(subject, *n);
            lanes.push(0, position, entry);
        }
        lanes
    }

    fn taken(lanes: &mut Lanes) -> Option<(Key, u64)> {
        let (key, held, _) = lanes.take(Instant::now())?;
        Some((key, held.position.ms))
    }

    #[tokio::test(start_paused = true)]
    async fn one_event_of_an_integration_is_under_way_and_the_rest_waits_in_order() {
        let mut lanes = lanes(&[("a", 1), ("a", 2), ("b", 3)]);
        let (a, first) = taken(&mut lanes).unwrap();
        assert_eq!((a.1.as_str(), first), ("a", 1));
        let (b, third) = taken(&mut lanes).unwrap();
        assert_eq!((b.1.as_str(), third), ("b", 3), "behind a's second");
        assert_eq!(taken(&mut lanes), None);
        lanes.dealt_with(&a, None);
        assert_eq!(taken(&mut lanes), Some((a.clone(), 2)));
        lanes.dealt_with(&a, None);
        lanes.dealt_with(&b, None);
        assert!(lanes.lanes.is_empty() && lanes.kept == 0 && lanes.waiting == 0);
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_fail_come_last_and_leave_room() {
        let names: Vec<String> = (0..20).map(|n| format!("f{n:02}")).collect();
        let mut all: Vec<(&str, u64)> = names.iter().map(String::as_str).zip(1..).collect();
        all.extend([("well", 90), ("well", 91)]);
        let mut lanes = lanes(&all);
        for _ in &names {
            let (key, _) = taken(&mut lanes).unwrap();
            lanes.failed(&key, Instant::now());
        }
        // Its events are the youngest of all.
        let (well, first) = taken(&mut lanes).unwrap();
        assert_eq!((well.1.as_str(), first), ("well", 90));
        let failing: Vec<Key> = (0..FAILING_MAX)
            .map(|_| taken(&mut lanes).unwrap().0)
            .collect();
        assert_eq!(taken(&mut lanes), None, "no more of them at once");
        assert_eq!(lanes.next_at(), None, "until one has ended");
        lanes.dealt_with(&well, None);
        assert_eq!(taken(&mut lanes), Some((well, 91)));
        lanes.failed(&failing[0], Instant::now() + Duration::from_secs(60));
        assert!(lanes.next_at().is_some() && taken(&mut lanes).is_some());
    }

    #[test]
    fn what_is_not_taken_yet_is_left_where_it_is_once_very_many_wait() {
        assert!(size_of::<Held>() <= 24);
        let lanes = |waiting| Lanes {
            waiting,
            ..Lanes::default()
        };
        assert!(!lanes(PLACES_MAX - 1).is_full() && lanes(PLACES_MAX).is_full());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_one_holds_back_its_own_integration_alone() {
        let mut lanes = lanes(&[("a", 1), ("b", 2), ("a", 3), ("b", 4)]);
        let (a, _) = taken(&mut lanes).unwrap();
        let later = Instant::now() + Duration::from_secs(60);
        lanes.failed(&a, later);
        for n in [2, 4] {
            let (b, place) = taken(&mut lanes).unwrap();
            assert_eq!(place, n);
            lanes.dealt_with(&b, None);
        }
        assert_eq!(taken(&mut lanes), None);
        assert_eq!(lanes.next_at(), Some(later));
        tokio::time::advance(Duration::from_secs(60)).await;
        let (_, held, failures) = lanes.take(Instant::now()).unwrap();
        assert_eq!((held.position.ms, failures), (1, 1), "the same one again");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_up_does_not_make_the_next_one_hurry() {
        let mut lanes = lanes(&[("a", 1), ("a", 2)]);
        let (a, _) = taken(&mut lanes).unwrap();
        let later = Instant::now() + Duration::from_secs(60);
        lanes.failed(&a, Instant::now());
        taken(&mut lanes).unwrap();
        lanes.dealt_with(&a, Some(later));
        assert_eq!(taken(&mut lanes), None);
        tokio::time::advance(Duration::from_secs(60)).await;
        let (_, held, failures) = lanes.take(Instant::now()).unwrap();
        assert_eq!((held.position.ms, failures), (2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn of_very_many_only_the_places_are_kept() {
        let mut lanes = Lanes::default();
        for n in 0..=KEPT_MAX as u64 {
            let (position, entry) = entry("a", n);
            lanes.push(0, position, entry);
        }
        let bare = lanes.lanes.values().next().unwrap().queue.back().unwrap();
        assert!(bare.entry.is_none());
        let (a, _) = taken(&mut lanes).unwrap();
        lanes.dealt_with(&a, None);
        assert_eq!(lanes.kept, KEPT_MAX - 1);
    }
}
