//! The journal around a pair, on disks that fail in one way or another.

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

/// With a new key, over a disk that is none.
fn in_memory() -> Keeper {
    let key = KeyRing::generate().unwrap();
    let ring = KeyRing::parse(key.printable.expose_secret()).unwrap();
    let disk = crate::journal::MemoryDisk::default();
    let journal = Journal::over(Box::new(disk.clone()), &disk.bytes(), Limits::default());
    let salt = Arc::new(FingerprintKey::random());
    Keeper::new(Arc::new(ring), salt, journal.unwrap())
}

/// A disk of which nobody hears until it is let go on.
struct Hung(std::sync::mpsc::Receiver<()>, crate::journal::MemoryDisk);

impl crate::journal::Disk for Hung {
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        // Whoever lets it go on does so for good.
        let _ = self.0.recv();
        self.1.append(bytes)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        self.1.sync()
    }

    fn cut(&mut self, length: u64) -> std::io::Result<()> {
        self.1.cut(length)
    }

    fn write_fresh(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.1.write_fresh(bytes)
    }

    fn sync_fresh(&mut self) -> std::io::Result<()> {
        self.1.sync_fresh()
    }

    fn install_fresh(&mut self) -> std::io::Result<()> {
        self.1.install_fresh()
    }

    fn sync_directory(&mut self) -> std::io::Result<()> {
        self.1.sync_directory()
    }

    fn take_orphans(&mut self) -> std::io::Result<crate::journal::Orphans> {
        self.1.take_orphans()
    }

    fn delete_orphans(&mut self) -> std::io::Result<()> {
        self.1.delete_orphans()
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_keeps_no_pair_from_being_committed() {
    let key = KeyRing::generate().unwrap();
    let ring = KeyRing::parse(key.printable.expose_secret()).unwrap();
    let (let_go, waits) = std::sync::mpsc::channel();
    let disk = Hung(waits, crate::journal::MemoryDisk::default());
    let journal = Journal::start(Box::new(disk), &[], Limits::default()).unwrap();
    let keeper = Keeper::new(Arc::new(ring), Arc::new(FingerprintKey::random()), journal);
    let id = WorkflowId::new(crate::lifecycle::KIND, "acme/prod@user").unwrap();
    let began = Instant::now();
    let carried = keeper.put(&id, "claim", &issued()).await;
    let carried = carried.expect("it may be written yet");
    assert_eq!(began.elapsed(), DISK_PATIENCE);
    assert!(keeper.hangs());
    keeper.settled(carried.id(), true).await;
    assert_eq!(began.elapsed(), DISK_PATIENCE * 2, "nor its end");
    drop(let_go);
    keeper.journal().adopt().await.unwrap();
    assert_eq!(keeper.journal().entries(), [], "written, and taken out");
    // A thread keeps no virtual time.
    tokio::time::resume();
    keeper.adopt().await.unwrap();
    assert!(!keeper.hangs());
}

#[tokio::test(start_paused = true)]
async fn an_entry_ages_only_where_somebody_sees_that_the_store_is_there() {
    let keeper = in_memory();
    let id = WorkflowId::new(crate::lifecycle::KIND, "acme/prod@user").unwrap();
    for _ in 0..2 {
        let carried = keeper.put(&id, "claim", &issued()).await.unwrap();
        keeper.settled(carried.id(), false).await;
        tokio::time::advance(UNCONFIRMED).await;
    }
    assert_eq!(keeper.journal().len(), 2, "nothing goes by itself");
    keeper.sweep().await;
    assert!(keeper.journal().is_empty());
}

#[tokio::test]
async fn what_is_in_no_store_is_replayed_before_what_only_waits_for_a_disk() {
    let keeper = in_memory();
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
