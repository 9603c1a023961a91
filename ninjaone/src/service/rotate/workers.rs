//! The workers' part in a rotation: their rings before it, their journals after it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::super::seal_keys::ToldKeys;
use super::super::{App, ServiceError};
use super::{Use, UsePlace};

/// How long it is waited for workers that have the key in front to seal with it: each looks at the
/// others every five seconds, and one that died is forgotten after a minute.
const AGREED_WITHIN: Duration = Duration::from_secs(75);
/// How long it is waited for journals: an entry that a turn carries goes with its commit.
const DRAINED_WITHIN: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(250);

impl App {
    /// What the workers still need before anything may be sealed with this key alone. Those that only
    /// have to notice that everybody has it are waited for.
    pub(super) async fn workers_in_the_way(&self, key: &str) -> Result<Vec<Use>, ServiceError> {
        let until = Instant::now() + AGREED_WITHIN;
        loop {
            let workers = self.told_keys().await?;
            if workers.is_empty() {
                let why =
                    "no worker is alive, and only workers seal anew: start one, evergreen worker";
                return Ok(vec![in_the_way(None, None, why.to_owned())]);
            }
            let lacking: Vec<Use> = workers
                .iter()
                .filter_map(|(id, told)| lacks(id, told.as_ref(), key))
                .collect();
            if !lacking.is_empty() {
                return Ok(lacking);
            }
            let sealing = |told: &ToldKeys| told.seals == key;
            let late = Instant::now() >= until;
            let waiting: Vec<Use> = workers
                .iter()
                .filter_map(|(id, told)| Some((id, told.as_ref().filter(|told| !sealing(told))?)))
                .map(|(id, told)| {
                    let why = format!(
                        "it has the key {key} in front and still seals with {}; run this again",
                        told.seals
                    );
                    in_the_way(Some(id), Some(&told.seals), why)
                })
                .collect();
            if waiting.is_empty() || late {
                return Ok(waiting);
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until no live worker's journal uses another key; tells which still do.
    pub(super) async fn journals_drained(&self, key: &str) -> Result<Vec<Use>, ServiceError> {
        let until = Instant::now() + DRAINED_WITHIN;
        loop {
            let workers = self.told_keys().await?;
            let used = |(id, told): &(String, Option<ToldKeys>)| -> Vec<Use> {
                let keys = told.as_ref().map(|told| told.journal.clone());
                let keys = keys.unwrap_or_default().into_iter();
                keys.filter(|used| used != key)
                    .map(|used| in_the_journal(id, used))
                    .collect()
            };
            let still: Vec<Use> = workers.iter().flat_map(used).collect();
            if still.is_empty() || Instant::now() >= until {
                return Ok(still);
            }
            sleep(LOOK).await;
        }
    }
}

/// Walk after walk somebody had sealed with another key again.
pub(super) fn restless(key: &str) -> Use {
    let why = format!(
        "grants keep being sealed with another key than {key}: a worker that lacks it starts again and \
         again; give it the new ring, and run this again"
    );
    in_the_way(None, None, why)
}

/// What a worker lacks.
fn lacks(id: &str, told: Option<&ToldKeys>, key: &str) -> Option<Use> {
    let why = match told {
        None => "it does not tell its seal keys: it runs an older version; finish the deployment"
            .to_owned(),
        Some(told) if !told.ring.iter().any(|id| id == key) => {
            format!("it does not have the key {key}: give it the ring first, with {key} in front")
        }
        Some(told) => match told.ring.first() {
            Some(first) if first != key => format!(
                "it has the key {key}, but not in front, so it goes on sealing with {first}: put {key} in front of its ring"
            ),
            _ => return None,
        },
    };
    Some(in_the_way(Some(id), None, why))
}

fn in_the_way(worker: Option<&str>, key: Option<&str>, why: String) -> Use {
    Use {
        place: UsePlace::Worker,
        id: None,
        worker: worker.map(str::to_owned),
        key: key.map(str::to_owned),
        what: None,
        why,
    }
}

fn in_the_journal(worker: &str, key: String) -> Use {
    let why = "entries stay in it: evergreen journal list, on its machine, says whose they are"
        .to_owned();
    Use {
        place: UsePlace::Journal,
        id: None,
        worker: Some(worker.to_owned()),
        key: Some(key),
        what: None,
        why,
    }
}
