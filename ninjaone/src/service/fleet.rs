//! The fleet at a glance: how many grants stand how, what is next, what is late, who works.
//!
//! One walk over all records, so it is shared: a reading counts for a few seconds, however many watch.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evergreen_engine::heartbeat::WorkerLine;
use evergreen_engine::record::Record;
use evergreen_engine::time::rfc3339;
use evergreen_engine::{Millis, WorkflowId};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::list::shown;
use super::{App, HostView, ServiceError, StatusView};
use crate::integration::GrantRef;
use crate::lifecycle::KIND;

/// How long a reading counts.
const FRESH: Duration = Duration::from_secs(3);
/// Records that a step of the walk brings.
const STEP: usize = 1_000;
/// A timer that came so long ago should have been heard.
const LATE_MS: Millis = 5_000;
/// Rows of each kind that are named.
const NAMED: usize = 10;
/// Events that count for the rates.
const WINDOW_MS: Millis = 60_000;
/// Events of one partition that are counted at most.
const EVENTS_MAX: usize = 2_000;

/// A grant and a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Moment {
    /// `TENANT/INTEGRATION@grant`.
    pub id: String,
    /// RFC 3339 in UTC.
    pub at: String,
}

/// A grant and what is the matter with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Trouble {
    /// `TENANT/INTEGRATION@grant`.
    pub id: String,
    /// The reason's or the attention's word, `parked`, `failing`, or `quarantined`.
    pub word: String,
}

/// A worker that says it lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerView {
    /// Its name.
    pub id: String,
    /// The machine it runs on.
    pub host: String,
    /// The version of the program.
    pub version: String,
    /// When it last said so.
    pub heartbeat_at: String,
    /// Grants whose rotated pair only it has.
    pub pending: usize,
}

/// The fleet at a glance. Times are RFC 3339 in UTC.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FleetStatus {
    /// The store's time of this reading.
    pub at: String,
    /// Grants by state.
    pub states: BTreeMap<String, usize>,
    /// Grants that a person must look at.
    pub attention: usize,
    /// Grants whose last attempt failed and that are tried again.
    pub failing: usize,
    /// Grants that wait for `requeue`.
    pub parked: usize,
    /// Grants with pairs of unknown worth.
    pub quarantined: usize,
    /// Grants that are due for more than five seconds and that nobody holds.
    pub overdue: usize,
    /// The one that has been due for the longest.
    pub oldest_overdue: Option<Moment>,
    /// The next requests, soonest first, ten at most.
    pub next: Vec<Moment>,
    /// What is the matter, ten at most.
    pub troubles: Vec<Trouble>,
    /// Refreshes that succeeded within the last minute.
    pub refreshed_last_minute: usize,
    /// Refreshes that failed within the last minute.
    pub failed_last_minute: usize,
    /// Workers that say they live.
    pub workers_alive: usize,
    /// Who they are; empty for a key that is bound to tenants.
    pub workers: Vec<WorkerView>,
    /// The provider's instances in use: scheme and host.
    pub instances: Vec<String>,
    /// How the fleet treats the hosts that it has spoken to; empty for a key that is bound to tenants.
    #[serde(default)]
    pub hosts: Vec<HostView>,
}

/// The last reading.
#[derive(Default)]
pub(super) struct Glance(Mutex<Option<(Instant, Arc<FleetStatus>)>>);

impl App {
    /// The fleet at a glance: all of it, or these tenants' part.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn fleet(
        &self,
        tenants: Option<&[String]>,
    ) -> Result<Arc<FleetStatus>, ServiceError> {
        if tenants.is_some() {
            return Ok(Arc::new(self.look_at_all(tenants).await?));
        }
        let lock = || {
            self.0
                .glance
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some((at, known)) = lock().as_ref()
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(known));
        }
        let seen = Arc::new(self.look_at_all(None).await?);
        *lock() = Some((Instant::now(), Arc::clone(&seen)));
        Ok(seen)
    }

    async fn look_at_all(&self, tenants: Option<&[String]>) -> Result<FleetStatus, ServiceError> {
        let now = self.store().now().await?;
        let mut count = Count::new(now);
        let mut cursor = None;
        loop {
            let (some, next) = self.store().walk(KIND, cursor, STEP).await?;
            for (id, record) in some {
                count.take(&id, record, tenants);
            }
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        let mut fleet = count.finish();
        self.rates(&mut fleet, now, tenants).await?;
        let workers = self.workers().await?;
        fleet.workers_alive = workers.len();
        if tenants.is_none() {
            fleet.workers = workers.into_iter().map(worker).collect();
            fleet.hosts = self.hosts().await?;
        }
        Ok(fleet)
    }

    /// What the outbox tells of the last minute.
    async fn rates(
        &self,
        fleet: &mut FleetStatus,
        now: Millis,
        tenants: Option<&[String]>,
    ) -> Result<(), ServiceError> {
        let since = format!("{}-0", now.saturating_sub(WINDOW_MS));
        for partition in 0..self.store().partitions() {
            let events = self.store().events(partition, Some(&since), EVENTS_MAX);
            for event in events.await? {
                if !belongs(&event.entry.subject, tenants) {
                    continue;
                }
                match event.entry.event.as_str() {
                    "INTEGRATION_TOKEN_REFRESHED" => fleet.refreshed_last_minute += 1,
                    "INTEGRATION_TOKEN_REFRESH_FAILED" => fleet.failed_last_minute += 1,
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn belongs(integration: &str, tenants: Option<&[String]>) -> bool {
    let tenant = integration.split('/').next().unwrap_or_default();
    tenants.is_none_or(|all| all.iter().any(|one| one == tenant))
}

fn worker((id, line): (String, WorkerLine)) -> WorkerView {
    WorkerView {
        id,
        host: line.host,
        version: line.version,
        heartbeat_at: rfc3339(line.heartbeat),
        pending: line.pending.len(),
    }
}

/// What is counted on the way.
struct Count {
    now: Millis,
    fleet: FleetStatus,
    seen: std::collections::HashSet<String>,
    next: Vec<(String, String)>,
    overdue: Vec<(Millis, String)>,
    instances: std::collections::BTreeSet<String>,
}

impl Count {
    fn new(now: Millis) -> Self {
        Self {
            now,
            fleet: FleetStatus {
                at: rfc3339(now),
                ..FleetStatus::default()
            },
            seen: Default::default(),
            next: Vec::new(),
            overdue: Vec::new(),
            instances: Default::default(),
        }
    }

    fn take(&mut self, id: &WorkflowId, record: Record, tenants: Option<&[String]>) {
        let Ok(grant) = id.id().parse::<GrantRef>() else {
            return;
        };
        let name = grant.to_string();
        // A walk may tell of a workflow twice.
        if !belongs(&name, tenants) || !self.seen.insert(name.clone()) {
            return;
        }
        if record.owner.is_none()
            && let Some(due) = record.wanted_score(true, self.now)
            && due.saturating_add(LATE_MS) < self.now
        {
            self.overdue.push((due, name.clone()));
        }
        let view = shown(&grant, record, self.now);
        *self.fleet.states.entry(view.state.clone()).or_default() += 1;
        self.instances.extend(view.instance_url.clone());
        self.fleet.attention += usize::from(view.needs_attention());
        self.fleet.parked += usize::from(view.parked.is_some());
        self.fleet.quarantined += usize::from(view.quarantined > 0);
        let failing = view.consecutive_failures > 0 && !view.needs_attention();
        self.fleet.failing += usize::from(failing);
        if self.fleet.troubles.len() < NAMED
            && let Some(word) = trouble(&view)
        {
            let id = name.clone();
            self.fleet.troubles.push(Trouble { id, word });
        }
        if let Some(at) = view.next_refresh_at {
            self.next.push((at, name));
        }
    }

    fn finish(mut self) -> FleetStatus {
        // RFC 3339 in UTC sorts as time does.
        self.next.sort_unstable();
        self.next.truncate(NAMED);
        self.fleet.next = self
            .next
            .into_iter()
            .map(|(at, id)| Moment { id, at })
            .collect();
        self.fleet.overdue = self.overdue.len();
        self.fleet.oldest_overdue = self.overdue.into_iter().min().map(|(at, id)| Moment {
            id,
            at: rfc3339(at),
        });
        self.fleet.instances = self.instances.into_iter().collect();
        self.fleet
    }
}

/// The one thing that matters most.
fn trouble(view: &StatusView) -> Option<String> {
    let word = view.reason.clone().or_else(|| view.attention.clone());
    word.or_else(|| {
        let word = if view.parked.is_some() {
            "parked"
        } else if view.consecutive_failures > 0 {
            "failing"
        } else if view.quarantined > 0 {
            "quarantined"
        } else {
            return None;
        };
        Some(word.to_owned())
    })
}
