//! The journal around a rotated pair: written between the reply and the commit, removed when the
//! commit is safe, replayed when that is in doubt.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evergreen_engine::store::Signalled;
use evergreen_engine::{Delivery, Engine, WorkflowId};
use tokio::time::Instant;

use super::sealing::workflow;
use crate::journal::{Carried, Entry, EntryId, Journal, UnderWay};
use crate::lifecycle::{Credential, Issued, Rescued, Signal};
use crate::vault::{FingerprintKey, KeyRing, Place};

/// How long an entry is kept whose pair is in a store that cannot confirm it.
const UNCONFIRMED: Duration = Duration::from_secs(60);

/// What a replay of the journal came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Replay {
    /// Pairs delivered to their workflows, their entries removed.
    pub delivered: usize,
    /// Entries that stay: their workflow does not exist.
    pub without_workflow: usize,
    /// Entries that stay: no key of the ring opens them.
    pub undecryptable: usize,
    /// Entries that stay: the store did not answer, or did not confirm.
    pub unconfirmed: usize,
}

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

    /// Delivers every entry that no turn of this process is about to commit: at the start, and where
    /// the store may have lost what it had.
    pub async fn replay(&self, engine: &Engine) -> Replay {
        self.deliver_all(engine, self.idle()).await
    }

    /// Delivers the entries that a turn has left behind: their pair is in no store.
    pub async fn replay_left_over(&self, engine: &Engine) -> Replay {
        self.deliver_all(engine, self.left_over()).await
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

    async fn deliver_all(&self, engine: &Engine, entries: Vec<Entry>) -> Replay {
        let mut replay = Replay::default();
        for entry in entries {
            match self.deliver_and_forget(engine, &entry).await {
                Delivered::Delivered => replay.delivered += 1,
                Delivered::WithoutWorkflow => replay.without_workflow += 1,
                Delivered::Undecryptable => replay.undecryptable += 1,
                Delivered::Unconfirmed => replay.unconfirmed += 1,
            }
        }
        replay
    }

    /// The same as [`Keeper::replay`], told entry by entry.
    pub async fn replay_each(&self, engine: &Engine) -> Vec<(Entry, Delivered)> {
        let mut told = Vec::new();
        for entry in self.idle() {
            let delivered = self.deliver_and_forget(engine, &entry).await;
            told.push((entry, delivered));
        }
        told
    }

    async fn deliver_and_forget(&self, engine: &Engine, entry: &Entry) -> Delivered {
        let delivered = self.deliver(engine, entry).await;
        if delivered == Delivered::Delivered {
            // Where a confirmation says nothing of disks, it is kept for a while longer.
            self.settled(entry.id, engine.store().confirms_disks())
                .await;
        }
        delivered
    }

    async fn deliver(&self, engine: &Engine, entry: &Entry) -> Delivered {
        let Ok(pair) = self.ring.open_pair(&entry.place(), &entry.sealed) else {
            return Delivered::Undecryptable;
        };
        let Ok(id) = WorkflowId::new(&entry.kind, &entry.workflow) else {
            return Delivered::WithoutWorkflow;
        };
        let place = Place::Signal {
            workflow: workflow(&id),
            grant: entry.grant,
        };
        let rescued = Rescued {
            grant: entry.grant,
            base_generation: entry.base_generation,
            refresh_token: pair
                .refresh_token
                .as_ref()
                .map(|t| self.fingerprints.fingerprint(t)),
            pair: self.ring.seal_pair(&place, &pair),
            obtained_at: entry.written_at_ms,
            expires_at: entry.expires_at_ms,
            bearer: entry.bearer,
        };
        let delivery = Delivery {
            ends_claim: Some(entry.claim.clone()),
            durable: true,
            ..Delivery::default()
        };
        match engine
            .signal::<Credential>(&id, &Signal::Rescued(rescued), delivery)
            .await
        {
            Ok(Signalled::Queued {
                confirmed: true, ..
            }) => Delivered::Delivered,
            Ok(Signalled::Unknown) => Delivered::WithoutWorkflow,
            Ok(Signalled::Queued { .. } | Signalled::Full) | Err(_) => Delivered::Unconfirmed,
        }
    }
}

/// What became of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivered {
    /// It waits in its workflow's inbox, and its entry is gone.
    Delivered,
    /// It stays: its workflow does not exist.
    WithoutWorkflow,
    /// It stays: no key of the ring opens it.
    Undecryptable,
    /// It stays: the store did not answer, or did not confirm.
    Unconfirmed,
}

#[cfg(test)]
mod tests {
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
