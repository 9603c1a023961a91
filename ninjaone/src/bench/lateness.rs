//! How late timers and signals are heard by a fleet that has nothing else to do.
//!
//! What counts is when the server wrote the commit that heard them, by its own clock, which also says
//! when they should have been heard. The timers are set by this process, which works for nobody: the
//! workers learn of them by wake-up messages, or when they look.

use std::collections::BTreeMap;
use std::time::Duration;

use evergreen_engine::store::{Claim, ClaimMode, Claimed, Commit, Committed};
use evergreen_engine::{Delivery, Engine, Limits, Millis, Workflow, WorkflowId};
use rand::RngExt;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::crew::{self, Hand};
use super::numbers::Spread;
use super::takeover::{until, written_at};
use super::worker::{Duty, limits};
use super::workflow::{FIRED, HEARD, Signal, Waiter};
use super::{BenchError, Space, queued};

/// How far ahead a timer is set: some beyond the next look of a worker, some before it.
const AHEAD_MS: std::ops::Range<u64> = 50..1500;
/// Between two signals, or two timers.
const APART_MS: std::ops::Range<u64> = 20..60;
/// How long after the last of them the others are waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to measure.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Timers, and as many signals.
    pub timers: u64,
    /// Workers.
    pub workers: usize,
    /// Whether the workers listen to wake-up messages.
    pub wakes: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The server.
    pub server: String,
    /// Workers.
    pub workers: usize,
    /// Whether they listened to wake-up messages.
    pub wakes: bool,
    /// The longest that a worker sleeps, in milliseconds: without messages nothing is later than that.
    pub cap_ms: u64,
    /// How late timers were heard, in milliseconds.
    pub timers_ms: Spread,
    /// How late signals were heard, in milliseconds.
    pub signals_ms: Spread,
}

/// Measures. `note` tells a person how far it is.
///
/// # Errors
/// The store's, a worker's, or [`BenchError::Interrupted`].
pub async fn run(
    space: &Space,
    ask: &Ask,
    stop: &CancellationToken,
    mut note: impl FnMut(&str),
) -> Result<Report, BenchError> {
    let lease = Limits::default().lease;
    let engine = space.engine(limits(lease), "bench")?;
    let mut hands = Vec::new();
    let measuring = async {
        for number in 1..=ask.workers {
            let duty = Duty {
                prefix: space.options.prefix.clone(),
                name: format!("hand-{number}"),
                lease_ms: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
                deaf: !ask.wakes,
                whole: false,
            };
            hands.push(Hand::hire(&duty, &space.options.url).await?);
        }
        note("signals");
        let signals = signals(&engine, ask.timers).await?;
        note("timers");
        let timers = timers(&engine, ask.timers).await?;
        Ok::<_, BenchError>((signals, timers))
    };
    let measured = stop.run_until_cancelled(measuring).await;
    crew::dismiss(hands).await;
    let (signals_ms, timers_ms) = measured.ok_or(BenchError::Interrupted)??;
    Ok(Report {
        server: space.server().await?,
        workers: ask.workers,
        wakes: ask.wakes,
        cap_ms: u64::try_from(engine.limits().poll_cap.as_millis()).unwrap_or(u64::MAX),
        timers_ms,
        signals_ms,
    })
}

fn id(number: u64) -> Result<WorkflowId, BenchError> {
    let id = WorkflowId::new(Waiter::KIND, &format!("w{number}"));
    id.map_err(|why| BenchError::Overdue(why.to_string()))
}

async fn signals(engine: &Engine, count: u64) -> Result<Spread, BenchError> {
    let mut sent = BTreeMap::new();
    for number in 0..count {
        let id = id(number)?;
        let sent_at = engine.store().now().await?;
        let (ping, delivery) = (Signal::Ping { sent_at }, Delivery::creating());
        queued(&id, engine.signal::<Waiter>(&id, &ping, delivery).await?)?;
        sent.insert(id, sent_at);
        apart().await;
    }
    late(engine, HEARD, &sent).await
}

async fn timers(engine: &Engine, count: u64) -> Result<Spread, BenchError> {
    let mut set = BTreeMap::new();
    for number in 0..count {
        let id = id(number)?;
        let at = set_timer(engine, &id, rand::rng().random_range(AHEAD_MS)).await?;
        set.insert(id, at);
        apart().await;
    }
    late(engine, FIRED, &set).await
}

async fn apart() {
    let pause = Duration::from_millis(rand::rng().random_range(APART_MS));
    tokio::time::sleep(pause).await;
}

/// Claims one that is idle, and commits it to wake so many milliseconds after the claim.
async fn set_timer(engine: &Engine, id: &WorkflowId, ahead_ms: u64) -> Result<Millis, BenchError> {
    let store = engine.store();
    let claim = Claim {
        id: id.clone(),
        claim: format!("{:016x}", rand::random::<u64>()),
        owner: engine.owner().to_owned(),
        lease: engine.limits().lease,
        mode: ClaimMode::Drive,
        spare_owned: false,
    };
    let told = store.claim(&claim).await?;
    let Claimed::Claimed { record, .. } = told.answer else {
        let why = format!("{id} should be idle, and was answered {:?}", told.answer);
        return Err(BenchError::Overdue(why));
    };
    let at = told.now + ahead_ms;
    let commit = Commit {
        id: id.clone(),
        fence: record.fence,
        claim: claim.claim,
        commit: format!("{:016x}", rand::random::<u64>()),
        follows: record.commit.clone(),
        strict: false,
        consumed: 0,
        last_heard: None,
        state: record.state,
        data: record.data,
        schema: record.schema,
        wake_at: Some(at),
        visible_at: None,
        activity: None,
        keep: None,
        finish: false,
        park: None,
        sealed: Vec::new(),
        log: String::new(),
        log_max: engine.limits().log,
        events: Vec::new(),
        events_max: engine.limits().events,
        durable: false,
    };
    match store.commit(&commit).await?.answer {
        Committed::Written { .. } => Ok(at),
        other => {
            let why = format!("the timer of {id} was answered {other:?}");
            Err(BenchError::Overdue(why))
        }
    }
}

/// Waits until each has an event of this name, and tells how late it was written.
async fn late(
    engine: &Engine,
    event: &str,
    due: &BTreeMap<WorkflowId, Millis>,
) -> Result<Spread, BenchError> {
    let store = engine.store();
    let mut heard: BTreeMap<String, Millis> = BTreeMap::new();
    let mut after: Vec<Option<String>> = vec![None; usize::from(store.partitions())];
    let missing = format!("not all {event} came");
    until(PATIENCE, &missing, async || {
        for (partition, after) in (0..store.partitions()).zip(after.iter_mut()) {
            let page = store.events(partition, after.as_deref(), 1000).await?;
            if let Some(last) = page.last() {
                *after = Some(last.position.clone());
            }
            for told in page {
                if told.entry.event == event
                    && let Some(at) = written_at(&told.position)
                {
                    heard.insert(told.entry.subject, at);
                }
            }
        }
        Ok((heard.len() >= due.len()).then_some(()))
    })
    .await?;
    let late = due.iter().filter_map(|(id, at)| {
        let heard = heard.get(id.id())?;
        Some(heard.saturating_sub(*at) as f64)
    });
    Ok(Spread::of(late.collect()))
}
