//! What one process remembers of one host.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evergreen_engine::Millis;
use evergreen_engine::store::GateBounds;
use tokio::time::Instant;

use super::away::Away;
use super::line::Line;

/// How long a host counts as slow after it has kept somebody waiting too long.
const SLOW_FOR: Duration = Duration::from_secs(10);
/// The least that one stays away who is turned away.
const AWAY_MIN: Duration = Duration::from_millis(200);
/// And the most, however many are.
const AWAY_MAX: Duration = Duration::from_secs(300);

/// Whether a process reaches a host: like a breaker, by the store's time.
#[derive(Default)]
struct Reach {
    /// In a row.
    failed: u32,
    opened: u32,
    until: Millis,
}

pub(super) struct Host {
    pub(super) name: String,
    pub(super) line: Arc<Line>,
    /// Whether this process reaches it, as others may or may not.
    reach: Mutex<Reach>,
    /// Those that have a place, and how often this process had heard of a pause when they got it.
    entered: Mutex<HashMap<String, u64>>,
    /// The fleet's gate for it.
    pub(super) away: Away,
    /// When the next of those that are turned away may come again.
    next_turn: Mutex<Instant>,
    /// Until when it counts as slower than what is due.
    slow_until: Mutex<Option<Instant>>,
    /// The fleet's gate wants to hear of answers.
    pub(super) troubled: AtomicBool,
    /// The fleet does not know of a pause that this process knows of.
    pub(super) owes: AtomicBool,
    /// It is named in the table of gates.
    pub(super) named: AtomicBool,
    /// How many of this process it has let in.
    pub(super) let_in: AtomicU64,
    /// How often this process has heard of a pause.
    pauses: AtomicU64,
}

impl Host {
    pub(super) fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            line: Arc::default(),
            reach: Mutex::default(),
            entered: Mutex::default(),
            away: Away::default(),
            next_turn: Mutex::new(Instant::now()),
            slow_until: Mutex::default(),
            troubled: AtomicBool::new(false),
            owes: AtomicBool::new(false),
            named: AtomicBool::new(false),
            let_in: AtomicU64::new(0),
            pauses: AtomicU64::new(0),
        })
    }

    /// Somebody waited for a place as long as a turn may and got none, nor did many others.
    pub(super) fn kept_somebody_waiting(&self) {
        let until = Instant::now() + SLOW_FOR;
        *lock(&self.slow_until) = Some(until);
    }

    /// Whether that was lately.
    pub(super) fn is_slow(&self) -> bool {
        let until = *lock(&self.slow_until);
        until.is_some_and(|until| until > Instant::now())
    }

    /// How long one who finds others waiting stays away: as many as may begin in a second come again in one,
    /// so a long backlog lies in the index and is not claimed in vain.
    pub(super) fn turn_away(&self, spacing: Duration) -> Duration {
        let now = Instant::now();
        let mut next = lock(&self.next_turn);
        let turn = (*next).clamp(now + AWAY_MIN, now + AWAY_MAX);
        *next = turn + spacing;
        turn - now
    }

    /// One more that did not arrive, at this time of the store. For how long none is sent now, if that begins
    /// with this one, ms.
    pub(super) fn not_reached(&self, now: Millis, bounds: &GateBounds) -> Option<Millis> {
        let mut reach = lock(&self.reach);
        reach.failed = reach.failed.saturating_add(1);
        let opens = match reach.opened {
            0 => reach.failed >= bounds.opens_after,
            _ => now >= reach.until,
        };
        if !opens {
            return None;
        }
        let span = bounds.open_first * 2u32.saturating_pow(reach.opened.min(16));
        let span = Millis::try_from(span.min(bounds.open_max).as_millis()).unwrap_or(0);
        reach.opened += 1;
        reach.until = now.saturating_add(span);
        Some(span)
    }

    /// One has arrived.
    pub(super) fn reached(&self) {
        *lock(&self.reach) = Reach::default();
    }

    /// For how long none is sent from here, if none is, ms.
    pub(super) fn out_of_reach(&self, now: Millis) -> Option<Millis> {
        let left = lock(&self.reach).until.saturating_sub(now);
        (left > 0).then_some(left)
    }

    /// Somebody has a place from now on.
    pub(super) fn enters(&self, who: &str, pauses: u64) {
        lock(&self.entered).insert(who.to_owned(), pauses);
    }

    /// And has none any more.
    pub(super) fn leaves(&self, who: &str) {
        lock(&self.entered).remove(who);
    }

    /// Whether this process has heard of a pause since then.
    pub(super) fn was_told_to_stay_away(&self, who: &str) -> bool {
        let entered = lock(&self.entered);
        entered
            .get(who)
            .is_some_and(|pauses| *pauses != self.pauses())
    }

    pub(super) fn heard_of_a_pause(&self) {
        self.pauses.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn pauses(&self) -> u64 {
        self.pauses.load(Ordering::Relaxed)
    }
}

fn lock<T>(place: &Mutex<T>) -> MutexGuard<'_, T> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}
