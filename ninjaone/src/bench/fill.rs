//! Many workflows that sleep, made by the scripts that make any other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use evergreen_engine::store::redis::RedisStore;
use evergreen_engine::store::{
    Claim, ClaimMode, Claimed, Commit, Committed, Creation, SealedOp, Signal, Signalled, Store,
};
use evergreen_engine::{Limits, Millis, WorkflowId};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::BenchError;
use super::numbers::Spread;

/// The first of them is due so long after it was made; nothing fires while anything is measured.
const FAR: Duration = Duration::from_hours(24 * 30);
/// They are due a millisecond apart, and after an hour of that from the beginning again.
const SPREAD_MS: u64 = 3_600_000;
/// Longer than filling takes, so that a claim is still a claim when its commit comes.
const LEASE: Duration = Duration::from_mins(5);

/// What is made.
#[derive(Clone)]
pub struct Plan {
    /// Of which kind.
    pub kind: &'static str,
    /// How many.
    pub count: u64,
    /// How many calls at once.
    pub at_once: u64,
    /// What each keeps as its data.
    pub data: String,
    /// Bytes of one sealed blob; none where it is 0.
    pub sealed_bytes: usize,
    /// When this began, by the store's clock.
    pub now: Millis,
}

impl Plan {
    /// The name of one of them.
    ///
    /// # Errors
    /// The kind is none that may be.
    pub fn id(&self, number: u64) -> Result<WorkflowId, BenchError> {
        let id = WorkflowId::new(self.kind, &format!("bench/w{number:08}@user"));
        id.map_err(|why| BenchError::Overdue(why.to_string()))
    }

    /// The id of each claim and commit of one of them.
    #[must_use]
    pub fn claim_id(number: u64) -> String {
        format!("{number:016x}")
    }

    /// Queues the signal that creates it.
    ///
    /// # Errors
    /// The store's.
    pub async fn signal(&self, store: &RedisStore, number: u64) -> Result<(), BenchError> {
        let signal = Signal {
            id: self.id(number)?,
            payload: "{}".to_owned(),
            preemptive: false,
            once: None,
            unless_it_waits: false,
            ends_claim: None,
            create: Some(Creation {
                state: "Waiting".to_owned(),
                data: self.data.clone(),
                schema: 1,
            }),
            durable: false,
        };
        match store.signal(&signal).await? {
            Signalled::Queued { .. } => Ok(()),
            other => Err(unexpected("a signal", &other)),
        }
    }

    /// Claims it.
    ///
    /// # Errors
    /// The store's.
    pub async fn claim(&self, store: &RedisStore, number: u64) -> Result<u64, BenchError> {
        let claim = Claim {
            id: self.id(number)?,
            claim: Self::claim_id(number),
            owner: "bench".to_owned(),
            lease: LEASE,
            mode: ClaimMode::Drive,
            spare_owned: false,
        };
        match store.claim(&claim).await?.answer {
            Claimed::Claimed { record, .. } => Ok(record.fence),
            other => Err(unexpected("a claim", &other)),
        }
    }

    /// Commits it to sleep.
    ///
    /// # Errors
    /// The store's.
    pub async fn commit(&self, store: &RedisStore, number: u64) -> Result<(), BenchError> {
        let far = u64::try_from(FAR.as_millis()).unwrap_or(u64::MAX);
        let wake_at = self.now + far + number % SPREAD_MS;
        let blob = |bytes| SealedOp::Put("pair".to_owned(), "x".repeat(bytes));
        let limits = Limits::default();
        let commit = Commit {
            id: self.id(number)?,
            // The first claim of a workflow mints 1.
            fence: 1,
            claim: Self::claim_id(number),
            commit: Self::claim_id(number),
            follows: None,
            strict: false,
            consumed: 1,
            last_heard: None,
            state: "Waiting".to_owned(),
            data: self.data.clone(),
            schema: 1,
            wake_at: Some(wake_at),
            visible_at: None,
            activity: None,
            keep: None,
            finish: false,
            park: None,
            sealed: (self.sealed_bytes > 0)
                .then(|| blob(self.sealed_bytes))
                .into_iter()
                .collect(),
            log: format!(
                r#"{{"at":"{}","attempt":1,"fence":1,"from":"Waiting","on":["Wait"],"to":"Waiting","wake_at":"{}"}}"#,
                evergreen_engine::time::rfc3339(self.now),
                evergreen_engine::time::rfc3339(wake_at),
            ),
            log_max: limits.log,
            events: Vec::new(),
            events_max: limits.events,
            durable: false,
        };
        match store.commit(&commit).await?.answer {
            Committed::Written { .. } => Ok(()),
            other => Err(unexpected("a commit", &other)),
        }
    }

    /// Makes all of them, one after another as far as each is concerned.
    ///
    /// # Errors
    /// The store's, or [`BenchError::Interrupted`].
    pub async fn fill(
        &self,
        store: &Arc<RedisStore>,
        stop: &CancellationToken,
    ) -> Result<Spread, BenchError> {
        let (plan, store) = (self.clone(), Arc::clone(store));
        each(self.count, self.at_once, stop, move |number| {
            let (plan, store) = (plan.clone(), Arc::clone(&store));
            async move {
                plan.signal(&store, number).await?;
                plan.claim(&store, number).await?;
                plan.commit(&store, number).await
            }
        })
        .await
    }
}

/// Data of about so many bytes.
#[must_use]
pub fn data_of(bytes: usize) -> String {
    let text = "x".repeat(bytes.saturating_sub(r#"{"text":""}"#.len()));
    serde_json::json!({ "text": text }).to_string()
}

fn unexpected(what: &str, answer: &dyn std::fmt::Debug) -> BenchError {
    BenchError::Overdue(format!("{what} was answered {answer:?}, which must not be"))
}

/// Does something so many times, so many at once; tells how long each took, in microseconds.
///
/// # Errors
/// The first that anything ended with, or [`BenchError::Interrupted`].
pub async fn each<F, T, Done>(
    count: u64,
    at_once: u64,
    stop: &CancellationToken,
    act: F,
) -> Result<Spread, BenchError>
where
    F: Fn(u64) -> Done + Clone + Send + 'static,
    T: Send,
    Done: Future<Output = Result<T, BenchError>> + Send + 'static,
{
    let at_once = at_once.clamp(1, count.max(1));
    let mut lanes = JoinSet::new();
    for lane in 0..at_once {
        let (act, stop) = (act.clone(), stop.clone());
        lanes.spawn(async move {
            let mut took = Vec::new();
            let mut number = lane;
            while number < count {
                if stop.is_cancelled() {
                    return Err(BenchError::Interrupted);
                }
                let begun = Instant::now();
                act(number).await?;
                took.push(begun.elapsed().as_secs_f64() * 1e6);
                number += at_once;
            }
            Ok(took)
        });
    }
    let mut all = Vec::new();
    while let Some(lane) = lanes.join_next().await {
        let lane = lane.map_err(|e| BenchError::Overdue(format!("a lane ended: {e}")))?;
        all.extend(lane?);
    }
    Ok(Spread::of(all))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test]
    async fn each_is_done_once_and_an_end_is_an_end() {
        let sum = Arc::new(AtomicU64::new(0));
        let adding = Arc::clone(&sum);
        let stop = CancellationToken::new();
        let add = move |number| {
            let sum = Arc::clone(&adding);
            async move { Ok::<_, BenchError>(sum.fetch_add(number, Ordering::Relaxed)) }
        };
        let spread = each(101, 8, &stop, add.clone()).await.unwrap();
        assert_eq!((spread.count, sum.load(Ordering::Relaxed)), (101, 5050));
        assert_eq!(each(0, 8, &stop, add.clone()).await.unwrap().count, 0);
        stop.cancel();
        let ended = each(10, 2, &stop, add).await;
        assert!(matches!(ended, Err(BenchError::Interrupted)));
    }

    #[test]
    fn data_has_the_size_that_was_asked_for() {
        assert_eq!(data_of(400).len(), 400);
        assert_eq!(data_of(0), r#"{"text":""}"#);
    }
}
