//! Pauses between two tries: each twice as long as the one before, up to the longest.

use std::time::Duration;

use crate::limits;

/// How long to wait before the next try.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            next: first,
            longest,
        }
    }

    /// Between two calls of a store that is away, where the call must not be lost.
    pub(crate) fn of_calls() -> Self {
        Self::new(limits::CALL_RETRY_FIRST, limits::CALL_RETRY_MAX)
    }

    /// The pause that comes next.
    pub(crate) fn next(&self) -> Duration {
        self.next
    }

    /// Waits for it.
    pub(crate) async fn pause(&mut self) {
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).min(self.longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_the_longest() {
        let begun = tokio::time::Instant::now();
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(250));
        let mut waited = Vec::new();
        for _ in 0..4 {
            backoff.pause().await;
            waited.push(begun.elapsed().as_millis());
        }
        assert_eq!(waited, [100, 300, 550, 800]);
        assert_eq!(backoff.next(), Duration::from_millis(250));
    }
}
