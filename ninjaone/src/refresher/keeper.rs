//! The journal around a rotated pair: written between the reply and the commit, removed when the
//! commit is safe, replayed (`keeper/replay.rs`) when that is in doubt.

mod replay;

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evergreen_engine::WorkflowId;
use tokio::time::{Instant, timeout};

pub use self::replay::{Delivered, Replay};
use super::sealing::workflow;
use crate::journal::{Carried, Entry, EntryId, Journal, JournalError, UnderWay};
use crate::lifecycle::Issued;
use crate::vault::{FingerprintKey, KeyRing, Place};

/// How long the journal's disk may take to answer. One that hangs must not keep a pair from being committed
/// until its turn is over.
pub(crate) const DISK_PATIENCE: Duration = Duration::from_secs(1);
/// How long an entry is kept whose pair is in a store that cannot confirm it.
const UNCONFIRMED: Duration = Duration::from_secs(60);

/// Keeps rotated pairs on disk, or wherever the journal lies.
pub struct Keeper {
    ring: Arc<KeyRing>,
    fingerprints: Arc<FingerprintKey>,
    journal: Journal,
    /// Entries whose commit is being tried right now by this process: not to be replayed.
    under_way: UnderWay,
    /// Entries whose pair is in the store, which cannot say that it is on a disk.
    aging: Mutex<VecDeque<(Instant, EntryId)>>,
    /// The disk has not answered in time, and not since.
    hangs: AtomicBool,
}

impl Keeper {
    /// Around an opened journal.
    #[must_use]
    pub fn new(ring: Arc<KeyRing>, fingerprints: Arc<FingerprintKey>, journal: Journal) -> Self {
        Self {
            ring,
            fingerprints,
            journal,
            under_way: UnderWay::default(),
            aging: Mutex::default(),
            hangs: AtomicBool::new(false),
        }
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Whether the journal's disk did not answer when it was asked last.
    #[must_use]
    pub fn hangs(&self) -> bool {
        self.hangs.load(Ordering::Relaxed)
    }

    /// Waits for the journal, but not for ever; what it was told it still does when its disk is back.
    async fn patiently<T>(
        &self,
        doing: &str,
        asked: impl Future<Output = Result<T, JournalError>>,
    ) -> Option<Result<T, JournalError>> {
        let answer = timeout(DISK_PATIENCE, asked).await.ok();
        let hangs = answer.is_none();
        if !self.hangs.swap(hangs, Ordering::Relaxed) && hangs {
            tracing::error!(
                doing,
                "the journal's disk does not answer; pairs are committed without waiting for it"
            );
        }
        answer
    }

    /// Takes over what workers that have died beside this one have left.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) async fn adopt(&self) -> Result<(), JournalError> {
        match self
            .patiently("looking for orphans", self.journal.adopt())
            .await
        {
            Some(adopted) => adopted.map(drop),
            None => Ok(()),
        }
    }

    /// Writes a pair down before it is committed. `None` if it could not be: the commit goes on all
    /// the same, since the intent has just proved the store.
    pub(super) async fn put(
        &self,
        id: &WorkflowId,
        claim: &str,
        issued: &Issued,
    ) -> Option<Arc<Carried>> {
        let place = Place::Journal {
            workflow: workflow(id),
            grant: issued.grant,
            base_generation: issued.base_generation,
        };
        let entry = Entry {
            id: EntryId::random(),
            kind: id.kind().to_owned(),
            workflow: id.id().to_owned(),
            grant: issued.grant,
            base_generation: issued.base_generation,
            claim: claim.to_owned(),
            commit: None,
            written_at_ms: issued.obtained_at,
            expires_at_ms: issued.expires_at,
            bearer: issued.bearer,
            stamp: self.journal.newest_stamp(),
            sealed: self.ring.seal_pair(&place, &issued.pair),
        };
        let carried = self.under_way.carry(entry.id);
        match self
            .patiently("writing a pair down", self.journal.put(entry))
            .await
        {
            // Where the disk hangs, it may be written yet: it is taken out like any other.
            Some(Ok(_)) | None => Some(Arc::new(carried)),
            Some(Err(error)) => {
                tracing::error!(workflow = %id, %error, "a rotated pair could not be written to the journal; it is committed without");
                None
            }
        }
    }

    /// The pair is in the store. Its entry goes at once if that means on a disk, else after a while.
    pub(super) async fn settled(&self, entry: EntryId, on_disk: bool) {
        if on_disk {
            self.forget(entry).await;
        } else {
            let mut aging = self.aging();
            aging.retain(|(_, known)| *known != entry);
            aging.push_back((Instant::now(), entry));
        }
    }

    /// Takes out entries that have been in the store for long enough without a confirmation. Only while the
    /// store answers, and is the run that has them: one that is away may come back without.
    pub(crate) async fn sweep(&self) {
        loop {
            let old = self
                .aging()
                .pop_front_if(|(since, _)| since.elapsed() >= UNCONFIRMED);
            match old {
                Some((_, entry)) => self.forget(entry).await,
                None => return,
            }
        }
    }

    /// Seals anew the entries that are sealed with a key behind the one that seals now. Those that a turn
    /// is about to commit go by themselves; those that no key opens stay as they are.
    pub fn reseal(&self) {
        let sealing = self.ring.current();
        if self.journal.key_ids().iter().all(|id| id == sealing) {
            return;
        }
        let anew = |mut entry: Entry| match self.ring.seal_anew(&entry.place(), &entry.sealed) {
            Ok(sealed) if sealed != entry.sealed => {
                entry.sealed = sealed;
                Some(entry)
            }
            Ok(_) => None,
            Err(why) => {
                tracing::debug!(entry = %entry.id, %why, "an entry of the journal stays sealed as it is");
                None
            }
        };
        let anew: Vec<Entry> = self.idle().into_iter().filter_map(anew).collect();
        if !anew.is_empty() {
            self.journal.replace(anew);
        }
    }

    fn aging(&self) -> std::sync::MutexGuard<'_, VecDeque<(Instant, EntryId)>> {
        self.aging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn forget(&self, entry: EntryId) {
        let removing = self.patiently("taking an entry out", self.journal.remove(entry));
        if let Some(Err(error)) = removing.await {
            // It is replayed some day, and found to be known.
            tracing::warn!(%entry, %error, "an entry could not be taken out of the journal");
        }
    }

    /// Whether there are such entries.
    #[must_use]
    pub fn has_left_over(&self) -> bool {
        !self.left_over().is_empty()
    }

    /// The workflows of such entries.
    #[must_use]
    pub fn left_over_workflows(&self) -> Vec<WorkflowId> {
        let entries = self.left_over();
        let of = |entry: &Entry| WorkflowId::new(&entry.kind, &entry.workflow).ok();
        entries.iter().filter_map(of).collect()
    }

    fn idle(&self) -> Vec<Entry> {
        let mut entries = self.journal.entries();
        entries.retain(|entry| !self.under_way.contains(entry.id));
        entries
    }

    fn left_over(&self) -> Vec<Entry> {
        let mut entries = self.idle();
        if !entries.is_empty() {
            let aging: HashSet<_> = self.aging().iter().map(|(_, id)| *id).collect();
            entries.retain(|entry| !aging.contains(&entry.id));
        }
        entries
    }
}

#[cfg(test)]
mod tests;
