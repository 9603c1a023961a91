//! How much of what this process has taken, or is about to take, has not begun yet.
//!
//! A claim is cheap and a wait under a lease is not: whoever waits keeps others from what they could
//! do at once, and where many wait, what was claimed last may be what should come first. So a worker
//! claims nothing more while enough claims are under way or turns wait until their activities may
//! begin, whatever places it has left; and it takes what is due strictly in its order as long as any
//! turn waits (`worker/poller.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::limits::AHEAD_MAX;

/// What has not begun.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Claims under way, and turns that wait.
    ahead: AtomicUsize,
    /// Turns that wait.
    waiting: AtomicUsize,
    shorter: Notify,
}

/// A claim that is under way, until it is dropped.
pub(crate) struct Claiming(Arc<Queue>);

/// A turn that waits until its activity may begin, until it is dropped.
pub(crate) struct Waiting(Claiming);

impl Queue {
    pub(crate) fn claiming(self: &Arc<Self>) -> Claiming {
        self.ahead.fetch_add(1, Ordering::AcqRel);
        Claiming(Arc::clone(self))
    }

    pub(crate) fn waiting(self: &Arc<Self>) -> Waiting {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        Waiting(self.claiming())
    }

    /// Nobody waits: what is claimed can begin as it comes.
    pub(crate) fn nobody_waits(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0
    }

    /// Enough is under way.
    pub(crate) fn is_long(&self) -> bool {
        self.ahead.load(Ordering::Acquire) >= AHEAD_MAX
    }

    /// Returns once it has become short enough, perhaps before.
    pub(crate) async fn shorter(&self) {
        self.shorter.notified().await;
    }
}

impl Drop for Claiming {
    fn drop(&mut self) {
        if self.0.ahead.fetch_sub(1, Ordering::AcqRel) == AHEAD_MAX {
            self.0.shorter.notify_one();
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn whoever_waits_for_room_hears_of_it() {
        let queue = Arc::new(Queue::default());
        let mut claims: Vec<_> = (0..AHEAD_MAX).map(|_| queue.claiming()).collect();
        assert!(queue.nobody_waits() && queue.is_long());
        let waits = queue.waiting();
        assert!(!queue.nobody_waits());
        claims.pop();
        assert!(queue.is_long() && queue.shorter().now_or_never().is_none());
        drop(waits);
        assert!(queue.nobody_waits() && !queue.is_long());
        assert!(queue.shorter().now_or_never().is_some());
    }
}
