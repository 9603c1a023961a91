//! Which key a grant uses where, as its blobs and signals say without being opened.

use evergreen_engine::WorkflowId;

use super::super::{App, ServiceError};
use super::{Use, UsePlace};
use crate::lifecycle::{Credential, Signal, is_quarantine};
use crate::vault::Sealed;

/// A grant as one reading showed it.
pub(super) struct Look {
    pub(super) id: WorkflowId,
    /// Where it uses another key than the one that seals.
    pub(super) uses: Vec<Found>,
    /// Signals that wait for it.
    pub(super) waiting: u64,
    parked: bool,
}

/// One use.
pub(super) struct Found {
    place: UsePlace,
    /// `None` for what no key can be read of.
    key: Option<String>,
    what: String,
    /// Whether the ring has that key.
    known: bool,
}

impl Look {
    /// Whether a turn would change nothing: nobody takes it, or no key opens any of it.
    pub(super) fn is_beyond_reach(&self) -> bool {
        self.parked || self.uses.iter().all(|found| !found.known)
    }

    /// What is told of it; `why` where nothing better is known.
    pub(super) fn told(&self, why: Option<&str>) -> Vec<Use> {
        let told = |found: &Found| {
            let why = match (&found.key, found.known, self.parked) {
                (None, ..) => {
                    "no key can be read of it: it is damaged, or of another release".to_owned()
                }
                (Some(key), false, _) => format!(
                    "the key {key} is not in this ring: put it back behind the others, everywhere"
                ),
                (_, _, true) => format!(
                    "it waits for a human: evergreen requeue {}, then run this again",
                    self.id.id()
                ),
                _ => why
                    .unwrap_or("it was only counted; run this again")
                    .to_owned(),
            };
            Use {
                place: found.place,
                id: Some(self.id.id().to_owned()),
                worker: None,
                key: found.key.clone(),
                what: Some(found.what.clone()),
                why,
            }
        };
        self.uses.iter().map(told).collect()
    }
}

impl App {
    /// Looks at a grant; `None` if it does not exist.
    pub(super) async fn uses_of(
        &self,
        id: WorkflowId,
        key: &str,
    ) -> Result<Option<Look>, ServiceError> {
        let Some(reading) = self.store().read(&id, true).await? else {
            return Ok(None);
        };
        let mut uses = Vec::new();
        for (slot, text) in &reading.sealed {
            let sealed: Option<Sealed> = text.parse().ok();
            let place = if is_quarantine(slot) {
                UsePlace::Quarantine
            } else {
                UsePlace::Sealed
            };
            uses.extend(self.use_of(sealed.as_ref(), place, slot, key));
        }
        if reading.inbox_len > 0 {
            for signal in self.engine().waiting::<Credential>(&id).await? {
                match signal {
                    Ok(signal) => {
                        let word = word(&signal);
                        for sealed in signal.sealed() {
                            uses.extend(self.use_of(Some(sealed), UsePlace::Inbox, word, key));
                        }
                    }
                    Err(_) => uses.extend(self.use_of(None, UsePlace::Inbox, "a signal", key)),
                }
            }
        }
        Ok(Some(Look {
            id,
            uses,
            waiting: reading.inbox_len,
            parked: reading.record.parked.is_some(),
        }))
    }

    fn use_of(
        &self,
        sealed: Option<&Sealed>,
        place: UsePlace,
        what: &str,
        key: &str,
    ) -> Option<Found> {
        let used = sealed.map(Sealed::key_id);
        if used == Some(key) {
            return None;
        }
        let known = used.is_some_and(|used| self.0.refresher.ring.ids().any(|id| id == used));
        Some(Found {
            place,
            key: used.map(str::to_owned),
            what: what.to_owned(),
            known,
        })
    }
}

fn word(signal: &Signal) -> &'static str {
    match signal {
        Signal::Connect(_) => "Connect",
        Signal::Adopt(_) => "Adopt",
        Signal::Rescued(_) => "Rescued",
        _ => "a signal",
    }
}
