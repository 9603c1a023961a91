//! Who asks for a place first, of those who wait in this process: soonest expiry first.
//!
//! One of them asks, for the others would get the same answer.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evergreen_engine::Millis;
use tokio::sync::Notify;

/// Those who wait: what they are ordered by, and a number that tells them apart.
#[derive(Default)]
pub(super) struct Line {
    waiting: Mutex<(BTreeSet<(Millis, u64)>, u64)>,
    moved: Notify,
}

/// One who waits, until it is dropped.
pub(super) struct InLine {
    line: Arc<Line>,
    place: (Millis, u64),
}

impl Line {
    /// Waits behind all that expire sooner, or as soon and came before.
    pub(super) fn join(self: &Arc<Self>, expires_at: Millis) -> InLine {
        let mut waiting = self.lock();
        let (all, next) = &mut *waiting;
        let place = (expires_at, *next);
        *next += 1;
        all.insert(place);
        InLine {
            line: Arc::clone(self),
            place,
        }
    }

    fn lock(&self) -> MutexGuard<'_, (BTreeSet<(Millis, u64)>, u64)> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InLine {
    /// How many are before it.
    pub(super) fn before(&self) -> usize {
        self.line.lock().0.range(..self.place).count()
    }

    /// Returns once nobody is before it.
    pub(super) async fn first(&self) {
        loop {
            // Made before looking, so that nothing that moves in between is missed.
            let moved = self.line.moved.notified();
            if self.line.lock().0.first() == Some(&self.place) {
                return;
            }
            moved.await;
        }
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        self.line.lock().0.remove(&self.place);
        self.line.moved.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn soonest_expiry_first_whoever_came_first() {
        let line = Arc::new(Line::default());
        let late = line.join(2);
        late.first().await;
        let soon = line.join(1);
        assert!(late.first().now_or_never().is_none(), "overtaken");
        let mut waits = Box::pin(late.first());
        assert!(waits.as_mut().now_or_never().is_none());
        soon.first().await;
        assert_eq!((soon.before(), late.before()), (0, 1));
        drop(soon);
        waits.await;
    }
}
