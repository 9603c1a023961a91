//! What is, what was, and why it did not fire: one grant in plain words.
//!
//! Everything that decides when a grant is refreshed is looked at together: its record and its entry in the
//! index, its inbox, its lease, what holds it back, and whether anybody is alive to do the work. What is
//! found is judged in `judge.rs`, which is a function of these facts.

mod judge;
#[cfg(test)]
mod tests;

use evergreen_engine::View;
use evergreen_engine::heartbeat::{PERIOD, WORKERS, WorkerLine};
use evergreen_engine::time::rfc3339;
use serde::{Deserialize, Serialize};

use super::{App, HostView, ServiceError, StatusView};
use crate::integration::Target;
use crate::lifecycle::Credential;
use judge::judge;

/// Heartbeats that a worker may miss and still be counted among the living.
const MISSED_MAX: u64 = 3;
/// Transitions that are told along.
const HISTORY: usize = 5;

/// One thing worth knowing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Finding {
    /// A stable word for it.
    pub word: String,
    /// `stops` (nothing happens until it is dealt with), `delays`, or `info`.
    pub weight: Weight,
    /// In plain words, with times in UTC.
    pub says: String,
}

/// How much a finding matters.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// Nothing happens until somebody deals with it.
    Stops,
    /// It happens later than was planned.
    Delays,
    /// Good to know.
    Info,
}

/// When the store lets a worker see the grant. Times are RFC 3339 in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TimerView {
    /// The timer that the machine asked for.
    pub wake_at: Option<String>,
    /// Held back until then.
    pub visible_at: Option<String>,
    /// Its entry in the index: when a worker may see it.
    pub due_at: Option<String>,
    /// What that entry should be, by the record.
    pub due_wanted_at: Option<String>,
    /// Signals that wait.
    pub inbox: u64,
    /// Claims since the last finished turn.
    pub attempt: u32,
    /// Who holds it; in brackets, if it is kept away from everybody.
    pub owner: Option<String>,
    /// Until when.
    pub lease_until: Option<String>,
    /// The store's time at which all this was read.
    pub now: String,
}

/// The fleet, as far as it matters to one grant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FleetView {
    /// Workers that have said within half a minute that they live.
    pub workers_alive: usize,
    /// Their versions.
    pub versions: Vec<String>,
    /// By how many seconds the store's clock is ahead of this server's.
    pub clock_skew_s: f64,
}

/// One grant explained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Explanation {
    /// What happens next, in one sentence.
    pub summary: String,
    /// What stops it first, then what delays it, then what is good to know.
    pub findings: Vec<Finding>,
    /// How it stands.
    pub status: StatusView,
    /// When it is seen.
    pub timer: TimerView,
    /// How the fleet treats its host.
    #[serde(default)]
    pub host: Option<HostView>,
    /// Who could see it.
    pub fleet: FleetView,
    /// Its last transitions, oldest first.
    #[schema(value_type = Vec<Object>)]
    pub history: Vec<serde_json::Value>,
}

/// What is judged.
struct Facts<'a> {
    name: String,
    status: &'a StatusView,
    view: &'a View<Credential>,
    fleet: &'a FleetView,
    /// How the fleet treats the provider's host.
    host: Option<&'a HostView>,
    /// Whether whoever holds the grant still says that it lives.
    owner_lives: bool,
}

impl App {
    /// Explains one grant.
    ///
    /// # Errors
    /// There is none, or the store does not answer.
    pub async fn explain(&self, target: &Target) -> Result<Explanation, ServiceError> {
        let found = self.meant(target).await?;
        let status = self.shown(&found).await;
        let workers = self.workers().await?;
        let fleet = FleetView {
            workers_alive: workers.len(),
            versions: versions(&workers),
            clock_skew_s: self.clock_skew_s().await?,
        };
        let log = self.store().log(&found.id).await?;
        let recent = log.len().saturating_sub(HISTORY);
        let history = log[recent..]
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let reading = &found.view.reading;
        let owner = reading.record.owner.as_ref();
        let host = match &status.instance_url {
            Some(instance) => Some(self.host_of(instance, reading.now).await),
            None => None,
        };
        let facts = Facts {
            name: found.grant.to_string(),
            status: &status,
            view: &found.view,
            fleet: &fleet,
            host: host.as_ref(),
            owner_lives: owner.is_some_and(|owner| workers.iter().any(|(id, _)| id == owner)),
        };
        let (summary, findings) = judge(&facts);
        Ok(Explanation {
            summary,
            findings,
            timer: timer(&found.view),
            status,
            host,
            fleet,
            history,
        })
    }

    /// The workers that live, by name.
    pub(super) async fn workers(&self) -> Result<Vec<(String, WorkerLine)>, ServiceError> {
        let now = self.store().now().await?;
        let lines = self.store().table_all(WORKERS).await?;
        let patience = u64::try_from(PERIOD.as_millis()).unwrap_or(0) * MISSED_MAX;
        let mut alive: Vec<(String, WorkerLine)> = lines
            .into_iter()
            .filter_map(|(id, line)| Some((id, serde_json::from_str::<WorkerLine>(&line).ok()?)))
            .filter(|(_, line)| line.heartbeat.saturating_add(patience) >= now)
            .collect();
        alive.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(alive)
    }

    /// By how many seconds the store's clock is ahead of this process's. The time that the question
    /// took is shared out evenly.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn clock_skew_s(&self) -> Result<f64, ServiceError> {
        let before = chrono::Utc::now().timestamp_millis();
        let store = self.store().now().await?;
        let after = chrono::Utc::now().timestamp_millis();
        let here = before.midpoint(after);
        let ahead = i64::try_from(store)
            .unwrap_or(i64::MAX)
            .saturating_sub(here);
        // Exact up to many thousand years.
        #[expect(clippy::cast_precision_loss)]
        Ok(ahead as f64 / 1_000.0)
    }
}

/// Which versions run, each once.
pub(super) fn versions(workers: &[(String, WorkerLine)]) -> Vec<String> {
    let mut versions: Vec<String> = workers
        .iter()
        .map(|(_, line)| line.version.clone())
        .collect();
    versions.sort();
    versions.dedup();
    versions
}

fn timer(view: &View<Credential>) -> TimerView {
    let reading = &view.reading;
    let record = &reading.record;
    let wanted = record.wanted_score(reading.inbox_len == 0, reading.now);
    TimerView {
        wake_at: record.wake_at.map(rfc3339),
        visible_at: record.visible_at.map(rfc3339),
        due_at: reading.score.map(rfc3339),
        due_wanted_at: wanted.map(rfc3339),
        inbox: reading.inbox_len,
        attempt: record.attempt,
        owner: record.owner.clone(),
        lease_until: record.lease_until.map(rfc3339),
        now: rfc3339(reading.now),
    }
}
