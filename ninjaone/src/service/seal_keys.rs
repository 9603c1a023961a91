//! Which key seals, and what the workers of a fleet tell one another of their seal keys.
//!
//! A new ring reaches a fleet one worker after the other. Until all have it, a worker that has it seals
//! with the first key that every live worker has: what it seals must open everywhere, or the others would
//! call good credentials undecryptable. So each tells in its line of the table of workers which keys it
//! has, and looks at the lines of the others as long as its own ring leaves it a choice.

use evergreen_engine::Millis;
use evergreen_engine::heartbeat::{PERIOD, STALE_AFTER, WORKERS, WorkerLine};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{App, ServiceError};

/// The field of a worker's line.
const FIELD: &str = "seal_keys";

/// What a worker tells of its seal keys. Ids only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldKeys {
    /// The keys of its ring, in their order.
    pub ring: Vec<String>,
    /// The one that it seals with.
    pub seals: String,
    /// Those that entries of its journal are sealed with, besides that one.
    pub journal: Vec<String>,
}

impl ToldKeys {
    /// What a line tells; nothing if its worker does not know how to.
    #[must_use]
    pub fn of(line: &WorkerLine) -> Option<Self> {
        serde_json::from_value(line.more.get(FIELD)?.clone()).ok()
    }

    fn has(&self, id: &str) -> bool {
        self.ring.iter().any(|key| key == id)
    }
}

impl App {
    /// Seals from now on with the first key that every live worker has, and tells the others of this
    /// ring. Whoever serves or works does it before and ever again.
    ///
    /// # Errors
    /// The store does not answer: then the key stays the one that it was.
    pub async fn agree_on_seal_key(&self) -> Result<(), ServiceError> {
        let ring = &self.0.refresher.ring;
        if ring.ids().nth(1).is_some() {
            let others = self.told_keys().await?;
            let told: Vec<ToldKeys> = others.into_iter().filter_map(|(_, keys)| keys).collect();
            if ring.seal_with_first(|id| told.iter().all(|keys| keys.has(id))) {
                tracing::info!(key = ring.current(), "this key seals from now on");
            }
        }
        self.tell_seal_keys();
        Ok(())
    }

    /// Writes what is known of this process's keys into its line.
    pub(super) fn tell_seal_keys(&self) {
        let ring = &self.0.refresher.ring;
        let seals = ring.current();
        // An entry sealed as all are comes and goes with each refresh, and is nobody's news.
        let mut journal = self.0.refresher.keeper.journal().key_ids();
        journal.remove(seals);
        let told = ToldKeys {
            ring: ring.ids().map(str::to_owned).collect(),
            seals: seals.to_owned(),
            journal: journal.into_iter().collect(),
        };
        self.engine().tell_of_process(FIELD, json!(told));
    }

    /// The key that is meant to seal: the first of the ring.
    #[must_use]
    pub fn first_seal_key(&self) -> &str {
        self.0.refresher.ring.first()
    }

    /// The workers that may be alive, by name, and what each tells of its keys; nothing where it runs a
    /// version that tells nothing.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn told_keys(&self) -> Result<Vec<(String, Option<ToldKeys>)>, ServiceError> {
        let now = self.engine().store_now(PERIOD).await?;
        let patience = Millis::try_from(STALE_AFTER.as_millis()).unwrap_or(Millis::MAX);
        let lines = self.store().table_all(WORKERS).await?;
        let mut told: Vec<(String, Option<ToldKeys>)> = lines
            .into_iter()
            .filter_map(|(id, line)| Some((id, serde_json::from_str::<WorkerLine>(&line).ok()?)))
            .filter(|(_, line)| line.heartbeat.saturating_add(patience) >= now)
            .map(|(id, line)| (id, ToldKeys::of(&line)))
            .collect();
        told.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(told)
    }
}
