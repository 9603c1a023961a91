//! The journal around a rotated pair: written between the reply and the commit, removed when the
//! commit is safe, replayed (`keeper/replay.rs`) when that is in doubt.

mod replay;

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evergreen_engine::WorkflowId;
use tokio::time::Instant;

pub use self::replay::{Delivered, Replay};
use super::sealing::workflow;
use crate::journal::{Carried, Entry, EntryId, Journal, UnderWay};
use crate::lifecycle::Issued;
use crate::vault::{FingerprintKey, KeyRing, Place};

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
        }
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
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
        match self.journal.put(entry).await {
            Ok(_) => Some(Arc::new(carried)),
            Err(error) => {
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
        self.sweep().await;
    }

    /// Takes out entries that have been in the store for long enough without a confirmation.
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
        if let Err(error) = self.journal.remove(entry).await {
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
mod tests {
    use evergreen_engine::store::Store;
    use evergreen_engine::store::memory::MemoryStore;
    use evergreen_engine::{Engine, Limits as EngineLimits};
    use secrecy::ExposeSecret;

    use super::*;
    use crate::journal::Limits;
    use crate::provider::{Detail, TokenPath};
    use crate::vault::{GrantId, Pair};

    fn issued() -> Issued {
        Issued {
            grant: GrantId::random(),
            base_generation: 3,
            pair: Pair {
                access_token: "A1".into(),
                refresh_token: Some("R1".into()),
            },
            refresh_token: None,
            obtained_at: 1,
            expires_at: None,
            expiry_assumed: false,
            scopes: None,
            bearer: true,
            token_path: TokenPath::Ws,
            warning: None,
            salvaged: false,
            detail: Detail::default(),
            entry: None,
        }
    }

    #[tokio::test]
    async fn what_a_turn_leaves_behind_is_told_from_what_is_carried_and_what_is_stored() {
        let directory = tempfile::tempdir().unwrap();
        let key = KeyRing::generate().unwrap();
        let ring = KeyRing::parse(key.printable.expose_secret()).unwrap();
        let journal = Journal::open(directory.path(), "worker", Limits::default()).unwrap();
        let salt = Arc::new(FingerprintKey::random());
        let keeper = Keeper::new(Arc::new(ring), salt, journal);
        let id = WorkflowId::new(crate::lifecycle::KIND, "acme/prod@user").unwrap();

        let carried = keeper.put(&id, "claim", &issued()).await.unwrap();
        assert!(!keeper.has_left_over(), "a turn carries it");
        keeper.settled(carried.id(), false).await;
        drop(carried);
        assert!(!keeper.has_left_over(), "it is in the store, if on no disk");
        assert_eq!(keeper.idle().len(), 1, "and kept for a while");

        let carried = keeper.put(&id, "claim", &issued()).await.unwrap();
        keeper.settled(carried.id(), true).await;
        assert_eq!(keeper.idle().len(), 1, "on a disk: gone at once");

        // Whatever ends a turn, its pair is not forgotten.
        drop(keeper.put(&id, "claim", &issued()).await.unwrap());
        assert!(keeper.has_left_over());
    }

    #[tokio::test]
    async fn what_is_in_no_store_is_replayed_before_what_only_waits_for_a_disk() {
        let key = KeyRing::generate().unwrap();
        let ring = KeyRing::parse(key.printable.expose_secret()).unwrap();
        let disk = crate::journal::MemoryDisk::default();
        let journal = Journal::over(Box::new(disk.clone()), &disk.bytes(), Limits::default());
        let salt = Arc::new(FingerprintKey::random());
        let keeper = Keeper::new(Arc::new(ring), salt, journal.unwrap());
        let id = |name: &str| WorkflowId::new(crate::lifecycle::KIND, name).unwrap();
        for (at, name) in (1..).zip(["acme/a@user", "acme/c@user", "acme/b@user", "acme/c@user"]) {
            let issued = Issued {
                obtained_at: at,
                ..issued()
            };
            let carried = keeper.put(&id(name), "claim", &issued).await.unwrap();
            if at == 1 {
                keeper.settled(carried.id(), false).await;
            }
        }
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let engine = Engine::builder(store, EngineLimits::default(), "one".to_owned());
        let told = keeper.replay_each(&engine.unwrap().build()).await;
        // Those of one workflow in the order in which they were written.
        let order: Vec<u64> = told.iter().map(|(entry, _)| entry.written_at_ms).collect();
        assert_eq!(order, [3, 2, 4, 1]);
        assert!(told.iter().all(|(_, d)| *d == Delivered::WithoutWorkflow));
        assert_eq!(keeper.journal().entries().len(), 4, "they stay");
    }

    #[tokio::test]
    async fn what_waits_is_sealed_anew_and_still_opens_and_what_nobody_can_open_stays() {
        let key = || KeyRing::generate().unwrap().printable;
        let (old, new, lost) = (key(), key(), key());
        let ring = |keys: &[&secrecy::SecretString]| {
            let keys: Vec<_> = keys.iter().map(|key| key.expose_secret()).collect();
            Arc::new(KeyRing::parse(&keys.join(",")).unwrap())
        };
        let disk = crate::journal::MemoryDisk::default();
        let salt = Arc::new(FingerprintKey::random());
        let id = WorkflowId::new(crate::lifecycle::KIND, "acme/prod@user").unwrap();
        for key in [&old, &lost] {
            let journal = Journal::over(Box::new(disk.clone()), &disk.bytes(), Limits::default());
            let keeper = Keeper::new(ring(&[key]), Arc::clone(&salt), journal.unwrap());
            drop(keeper.put(&id, "claim", &issued()).await.unwrap());
        }
        let journal = Journal::over(Box::new(disk.clone()), &disk.bytes(), Limits::default());
        let both = ring(&[&new, &old]);
        let keeper = Keeper::new(Arc::clone(&both), salt, journal.unwrap());
        keeper.reseal();
        let keys = keeper.journal().key_ids();
        assert!(keys.contains(both.current()) && keys.len() == 2, "{keys:?}");
        let entries = keeper.journal().entries();
        let new_only = ring(&[&new]);
        let opened = entries
            .iter()
            .filter_map(|e| new_only.open_pair(&e.place(), &e.sealed).ok());
        let tokens: Vec<_> = opened
            .map(|p| p.access_token.expose_secret().to_owned())
            .collect();
        assert_eq!(tokens, ["A1"]);
    }
}
