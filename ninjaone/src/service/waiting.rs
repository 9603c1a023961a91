//! Which grants have a rotated pair that is in no store yet: only in a worker's memory or journal.
//!
//! What this process has, it knows. What others have, they tell in their lines of the table of workers
//! once it has lasted for a second; the table is read when somebody asks, and not again for two seconds,
//! so that a listing of thousands costs one reading and a fleet nobody looks at costs none.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evergreen_engine::WorkflowId;
use evergreen_engine::heartbeat::{WORKERS, WorkerLine};
use evergreen_engine::pending::PendingHold;
use tokio::time::Instant;

use super::find::Found;
use super::{App, StatusView};
use crate::lifecycle::{Grant, timing};

/// How long a reading of the table counts.
const FRESH: Duration = Duration::from_secs(2);

/// What the other processes have told.
#[derive(Default)]
pub(super) struct Waiting {
    told: Mutex<Option<(Instant, Arc<BTreeSet<String>>)>>,
    /// Entries of this process's journal that no turn is about to commit.
    left_over: Mutex<Vec<PendingHold>>,
}

impl App {
    /// A grant as it is shown, with what the store does not know of it.
    pub(super) async fn shown(&self, found: &Found) -> StatusView {
        let mut view = found.shown();
        let elsewhere = self.waiting().await;
        view.persist_pending = self.waits(&found.id, &elsewhere);
        if view.warning.is_none() && view.next_refresh_at.is_some() && self.is_hurried(found) {
            view.warning = Some("buffer_shortened".to_owned());
        }
        if let Some(instance) = &view.instance_url {
            let host = self.host_of(instance, found.view.reading.now).await;
            view.host_paused_until = host.paused_until;
            view.host_breaker = Some(host.breaker);
        }
        view
    }

    /// Whether its access token lives too short for the buffer that this process is set to.
    fn is_hurried(&self, found: &Found) -> bool {
        let grant = found
            .machine()
            .ok()
            .and_then(|(data, _)| data.grant.as_ref());
        let life = grant.and_then(Grant::life);
        life.is_some_and(|life| timing::buffer_is_shortened(life, &self.0.refresher.settings))
    }

    /// Whether a grant's pair waits here, or elsewhere by what was told.
    pub(super) fn waits(&self, id: &WorkflowId, elsewhere: &BTreeSet<String>) -> bool {
        let here = &self.engine().counters().pending;
        here.contains(id) || elsewhere.contains(&id.to_string())
    }

    /// What the fleet's workers have told, not older than two seconds.
    pub(super) async fn waiting(&self) -> Arc<BTreeSet<String>> {
        let told = &self.0.waiting.told;
        let lock = || told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, known)) = lock().as_ref()
            && at.elapsed() < FRESH
        {
            return Arc::clone(known);
        }
        let lines = match self.store().table_all(WORKERS).await {
            Ok(lines) => lines,
            Err(error) => {
                tracing::debug!(%error, "what waits elsewhere is not known");
                Vec::new()
            }
        };
        let all: BTreeSet<String> = lines
            .iter()
            .filter_map(|(_, line)| serde_json::from_str::<WorkerLine>(line).ok())
            .flat_map(|line| line.pending)
            .collect();
        let known = Arc::new(all);
        *lock() = Some((Instant::now(), Arc::clone(&known)));
        known
    }

    /// Marks the grants whose pairs stand in this process's journal and in no store.
    pub(super) fn mark_left_over(&self) {
        let pending = &self.engine().counters().pending;
        let grants = self.0.refresher.keeper.left_over_workflows();
        let holds = grants.iter().map(|id| pending.hold(id)).collect();
        let left_over = &self.0.waiting.left_over;
        // Marked anew before the old marks go: one that stays is never seen without.
        let old = std::mem::replace(
            &mut *left_over.lock().unwrap_or_else(PoisonError::into_inner),
            holds,
        );
        drop(old);
    }
}
