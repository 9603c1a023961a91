//! The table of live workers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::machine::Millis;
use crate::store::StoreError;
use crate::worker::WorkerOptions;

/// The plain table that holds a line for each worker.
pub const WORKERS: &str = "workers";
/// How often a worker says that it lives.
pub const PERIOD: Duration = Duration::from_secs(10);
/// How often it is looked whether there is more to say than that.
const LOOK: Duration = Duration::from_secs(1);
/// After how long without a word a worker's line is removed by another.
pub const STALE_AFTER: Duration = Duration::from_secs(60);

/// A worker's line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerLine {
    /// The machine it runs on.
    pub host: String,
    /// The version of the program.
    pub version: String,
    /// When it last said that it lives, by the store's clock, in ms.
    pub heartbeat: Millis,
    /// Workflows whose outcome this worker has and no store: it must not be killed. Only what has
    /// lasted for a second, and not all where there are very many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<String>,
    /// What the application says of its process; see [`Engine::tell_of_process`].
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}

/// What of a line is worth saying before the next heartbeat is due.
type News = (Vec<String>, BTreeMap<String, Value>);

/// Says that this worker lives until told to stop, then takes its line away.
pub(crate) async fn run(engine: Engine, options: WorkerOptions, stop: CancellationToken) {
    let mut said: Option<News> = None;
    let mut beat_at = Instant::now();
    let mut swept: Option<Instant> = None;
    loop {
        let news = (
            engine.counters().pending.lasting(LOOK),
            engine.told_of_process(),
        );
        if Instant::now() >= beat_at || said.as_ref().is_some_and(|said| *said != news) {
            beat_at = Instant::now() + PERIOD;
            match beat(&engine, &options, &news).await {
                Ok(()) => said = Some(news),
                Err(error) => tracing::debug!(%error, "no heartbeat"),
            }
        }
        // Rarely: a table of many workers is long, and all of them look after it.
        if swept.is_none_or(|at| at.elapsed() >= STALE_AFTER) {
            match sweep(&engine).await {
                Ok(()) => swept = Some(Instant::now()),
                Err(error) => tracing::debug!(%error, "the lines of the dead were not removed"),
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    if let Err(error) = engine.store().table_remove(WORKERS, engine.owner()).await {
        tracing::debug!(%error, "the line of this worker stays until another removes it");
    }
}

async fn beat(
    engine: &Engine,
    options: &WorkerOptions,
    (pending, more): &News,
) -> Result<(), StoreError> {
    let now = engine.store_now(PERIOD).await?;
    let line = WorkerLine {
        host: options.host.clone(),
        version: options.version.clone(),
        heartbeat: now,
        pending: pending.clone(),
        more: more.clone(),
    };
    let text = serde_json::json!(line).to_string();
    let store = engine.store();
    store.table_put(WORKERS, engine.owner(), &text).await
}

/// Removes the lines of those that have been silent for too long.
async fn sweep(engine: &Engine) -> Result<(), StoreError> {
    let store = engine.store();
    let now = engine.store_now(PERIOD).await?;
    let stale = u64::try_from(STALE_AFTER.as_millis()).unwrap_or(u64::MAX);
    for (owner, line) in store.table_all(WORKERS).await? {
        let heartbeat = serde_json::from_str::<WorkerLine>(&line).map_or(0, |l| l.heartbeat);
        if heartbeat.saturating_add(stale) < now {
            store.table_remove(WORKERS, &owner).await?;
        }
    }
    Ok(())
}
