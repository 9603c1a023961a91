//! Waiting for a condition instead of for a time.

use std::time::{Duration, Instant};

/// How long to leave between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until `condition` answers `Some`, and panics with `what` if it did not within `deadline`.
///
/// The condition is looked at once more when the deadline has passed, so a stalled machine does
/// not fail a test whose condition holds. One look that never ends is cut off, too.
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn example(redis: evergreen_tests::RedisServer) {
/// let ten = Duration::from_secs(10);
/// evergreen_tests::eventually("the workflow is gone", ten, async || {
///     let left: u64 = redis.cli(&["ZCARD", "evergreen:{07}:due"]).await;
///     (left == 0).then_some(())
/// })
/// .await;
/// # }
/// ```
pub async fn eventually<T>(
    what: &str,
    deadline: Duration,
    condition: impl AsyncFnMut() -> Option<T>,
) -> T {
    match within(deadline, condition).await {
        Some(found) => found,
        None => panic!("not within {deadline:?}: {what}"),
    }
}

/// Like [`eventually`], for callers that have more to say about a condition that never held.
pub async fn within<T>(
    deadline: Duration,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> Option<T> {
    let began = Instant::now();
    loop {
        let last = began.elapsed() >= deadline;
        // A look may hang, on a paused Redis for instance: it gets what is left and a little more.
        let patience = deadline.saturating_sub(began.elapsed()) + Duration::from_secs(1);
        let found = tokio::time::timeout(patience, condition()).await;
        match found {
            Ok(Some(found)) => return Some(found),
            Ok(None) if !last => tokio::time::sleep(LOOK_EVERY).await,
            Ok(None) | Err(_) => return None,
        }
    }
}
