//! What a script costs, and how much memory a workflow takes, with so many of them asleep.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evergreen_engine::store::redis::{RedisStore, SlowCall};
use evergreen_engine::store::{Extend, Extended, Store};
use evergreen_engine::{Limits, Workflow, reconciler};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::fill::{Plan, data_of, each};
use super::numbers::{ServerTime, Spread};
use super::workflow::Waiter;
use super::{BenchError, Space};

/// Calls of what is measured on some of the workflows only.
const SAMPLE: u64 = 20_000;
/// Looks at all partitions.
const LOOKS: u64 = 2_000;
/// Entries of the slow log that are read, which is as many as a server keeps unless told otherwise.
const SLOW_MOST: usize = 128;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Workflows.
    pub count: u64,
    /// Calls at once.
    pub at_once: u64,
    /// Bytes of each one's data.
    pub data_bytes: usize,
    /// Bytes of each one's sealed blob.
    pub sealed_bytes: usize,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The server.
    pub server: String,
    /// Workflows.
    pub workflows: u64,
    /// Calls at once.
    pub at_once: u64,
    /// By script, and `peek` for the look of an idle worker.
    pub scripts: BTreeMap<&'static str, Cost>,
    /// Memory of the server.
    pub memory: Memory,
    /// Comparing everything, in both directions.
    pub reconcile: Reconcile,
    /// What the server itself found slow.
    pub slow: Slow,
}

/// What one call costs.
#[derive(Debug, Serialize)]
pub struct Cost {
    /// From sending to the answer, in microseconds.
    pub client_us: Spread,
    /// By the server's account; `null` where it does not tell.
    pub server: Option<ServerTime>,
}

/// Memory, in bytes.
#[derive(Debug, Serialize)]
pub struct Memory {
    /// What one idle workflow takes: record, entry in the index, blobs, log.
    pub bytes_per_workflow: u64,
    /// In use before.
    pub used_before: u64,
    /// In use with all of them asleep.
    pub used_after: u64,
    /// Bytes of each one's data.
    pub data_bytes: usize,
    /// Bytes of each one's sealed blob.
    pub sealed_bytes: usize,
}

/// A comparison of everything.
#[derive(Debug, Serialize)]
pub struct Reconcile {
    /// How long it took, one step after another without a pause.
    pub seconds: f64,
    /// Records compared with the index.
    pub records: u64,
    /// Entries of the index compared with their records.
    pub entries: u64,
    /// Put right: there must be none.
    pub repaired: u64,
}

/// What the server's slow log says of the run.
#[derive(Debug, Serialize)]
pub struct Slow {
    /// From how many microseconds on it takes a call for slow; `null` where it does not tell.
    pub from_us: Option<i64>,
    /// Calls of this run that were; `null` where it does not show them.
    pub calls: Option<Vec<SlowOne>>,
}

/// A call that was slow.
#[derive(Debug, Serialize)]
pub struct SlowOne {
    /// How long, in microseconds.
    pub us: u64,
    /// What.
    pub command: String,
}

/// Measures. `note` tells a person how far it is.
///
/// # Errors
/// The store's, or [`BenchError::Interrupted`].
pub async fn run(
    space: &Space,
    ask: &Ask,
    stop: &CancellationToken,
    mut note: impl FnMut(&str),
) -> Result<Report, BenchError> {
    let store = &space.store;
    space.has_room_for(ask.count).await?;
    let slow_before = newest(&store.slow_calls(1).await?);
    let used_before = used(store).await?;
    let plan = Plan {
        kind: Waiter::KIND,
        count: ask.count,
        at_once: ask.at_once,
        data: data_of(ask.data_bytes),
        sealed_bytes: ask.sealed_bytes,
        now: store.now().await?,
    };
    let mut scripts = BTreeMap::new();
    let bench = Bench { store, stop, ask };
    note("making them: signal, claim, commit");
    let p = plan.clone();
    let signal = bench.cost("evalsha", ask.count, move |store, n| {
        let plan = p.clone();
        async move { plan.signal(&store, n).await }
    });
    scripts.insert("signal", signal.await?);
    let p = plan.clone();
    let claim = bench.cost("evalsha", ask.count, move |store, n| {
        let plan = p.clone();
        async move { plan.claim(&store, n).await }
    });
    scripts.insert("claim", claim.await?);
    let p = plan.clone();
    let commit = bench.cost("evalsha", ask.count, move |store, n| {
        let plan = p.clone();
        async move { plan.commit(&store, n).await }
    });
    scripts.insert("commit", commit.await?);
    let used_after = used(store).await?;

    note("reading, renewing, looking");
    let some = SAMPLE.min(ask.count);
    let p = plan.clone();
    let read = bench.cost("evalsha_ro", some, move |store, n| {
        let plan = p.clone();
        async move { Ok(store.read(&plan.id(n)?, true).await.map(drop)?) }
    });
    scripts.insert("read", read.await?);
    let p = plan.clone();
    let anew = move |store: Arc<RedisStore>, n| {
        let plan = p.clone();
        async move { plan.claim(&store, n).await }
    };
    bench.cost("evalsha", some, anew).await?;
    let renew = Extend::Renew(Limits::default().lease);
    scripts.insert("extend", bench.extend(&plan, some, renew).await?);
    let (rest, counts) = (Duration::ZERO, false);
    let back = Extend::GiveBack { rest, counts };
    scripts.insert("give_back", bench.extend(&plan, some, back).await?);
    let peek = bench.cost("zrange", LOOKS.min(ask.count), |store, _| async move {
        Ok(store.look().await.map(drop)?)
    });
    scripts.insert("peek", peek.await?);

    note("comparing all of them with the index, and the index with them");
    let (cost, reconcile) = bench.reconcile(space).await?;
    scripts.insert("reconcile", cost);

    let calls = store.slow_calls(SLOW_MOST).await?;
    Ok(Report {
        server: space.server().await?,
        workflows: ask.count,
        at_once: ask.at_once,
        scripts,
        memory: Memory {
            bytes_per_workflow: used_after.saturating_sub(used_before) / ask.count.max(1),
            used_before,
            used_after,
            data_bytes: ask.data_bytes,
            sealed_bytes: ask.sealed_bytes,
        },
        reconcile,
        slow: Slow {
            from_us: store.slow_from().await?,
            calls: calls.map(|calls| since(slow_before, calls)),
        },
    })
}

struct Bench<'a> {
    store: &'a Arc<RedisStore>,
    stop: &'a CancellationToken,
    ask: &'a Ask,
}

impl Bench<'_> {
    /// What so many calls cost here, and what their command cost at the server.
    async fn cost<F, T, Done>(&self, command: &str, count: u64, act: F) -> Result<Cost, BenchError>
    where
        F: Fn(Arc<RedisStore>, u64) -> Done + Clone + Send + 'static,
        T: Send,
        Done: Future<Output = Result<T, BenchError>> + Send + 'static,
    {
        let before = self.store.histogram(command).await?;
        let store = Arc::clone(self.store);
        let act = move |n| act(Arc::clone(&store), n);
        let client_us = each(count, self.ask.at_once, self.stop, act).await?;
        let after = self.store.histogram(command).await?;
        let between = |(before, after)| ServerTime::between(&before, &after);
        Ok(Cost {
            client_us,
            server: before.zip(after).and_then(between),
        })
    }

    /// Some are claimed anew; then `what` is done to the lease of each.
    async fn extend(&self, plan: &Plan, some: u64, what: Extend) -> Result<Cost, BenchError> {
        let p = plan.clone();
        let extend = move |store: Arc<RedisStore>, n: u64| {
            let plan = p.clone();
            async move {
                // The second claim of a workflow mints 2.
                let told = store
                    .extend(&plan.id(n)?, 2, &Plan::claim_id(n), what)
                    .await?;
                match told {
                    Extended::Renewed { .. } | Extended::GivenBack => Ok(()),
                    Extended::Fenced => {
                        let why =
                            "a lease was taken away during the run: is another at these keys?";
                        Err(BenchError::Overdue(why.to_owned()))
                    }
                }
            }
        };
        self.cost("evalsha", some, extend).await
    }

    async fn reconcile(&self, space: &Space) -> Result<(Cost, Reconcile), BenchError> {
        let engine = space.engine(Limits::default(), "bench")?;
        let before = self.store.histogram("evalsha").await?;
        let begun = Instant::now();
        let all = reconciler::compare_all(&engine);
        let found = self.stop.run_until_cancelled(all).await;
        let found = found.ok_or(BenchError::Interrupted)??;
        let seconds = begun.elapsed().as_secs_f64();
        let after = self.store.histogram("evalsha").await?;
        let between = |(before, after)| ServerTime::between(&before, &after);
        let cost = Cost {
            // What a caller waits for is the whole.
            client_us: Spread::of(vec![seconds * 1e6]),
            server: before.zip(after).and_then(between),
        };
        let reconcile = Reconcile {
            seconds,
            records: found.compared,
            entries: found.entries,
            repaired: found.repaired,
        };
        Ok((cost, reconcile))
    }
}

async fn used(store: &RedisStore) -> Result<u64, BenchError> {
    let info = store.info().await?;
    let used = info.get("used_memory").and_then(|text| text.parse().ok());
    used.ok_or_else(|| BenchError::Unsuitable("it does not tell its used_memory".to_owned()))
}

/// The number of the newest entry of the slow log.
fn newest(calls: &Option<Vec<SlowCall>>) -> Option<u64> {
    calls.as_ref()?.iter().map(|call| call.number).max()
}

/// What came after that entry, the slowest first.
fn since(before: Option<u64>, calls: Vec<SlowCall>) -> Vec<SlowOne> {
    let new = |call: &SlowCall| before.is_none_or(|before| call.number > before);
    let mut calls: Vec<_> = calls.into_iter().filter(new).collect();
    calls.sort_by_key(|call| std::cmp::Reverse(call.micros));
    let one = |call: SlowCall| SlowOne {
        us: call.micros,
        command: call
            .command
            .into_iter()
            .take(6)
            .collect::<Vec<_>>()
            .join(" "),
    };
    calls.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_after_the_run_began_is_told_and_the_slowest_first() {
        let call = |number, micros| SlowCall {
            number,
            micros,
            command: vec!["SCAN".to_owned(), number.to_string()],
        };
        let calls = vec![call(9, 6000), call(8, 7000), call(7, 9000)];
        assert_eq!(newest(&Some(calls.clone())), Some(9));
        let told = since(Some(7), calls.clone());
        let told: Vec<_> = told
            .iter()
            .map(|one| (one.us, one.command.as_str()))
            .collect();
        assert_eq!(told, [(7000, "SCAN 8"), (6000, "SCAN 9")]);
        assert_eq!(since(None, calls).len(), 3);
        assert_eq!(newest(&None), None);
    }
}
