//! A journal that cannot be written, or holds as much as it may: the worker is not ready, refreshes go on,
//! and it is well again as soon as there is room.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use evergreen_engine::Platform;
use evergreen_tests::Bench;
use evergreen_tests::bench::adopt;
use ninjaone::journal::{Disk, Entry, Journal, Limits, MemoryDisk, Orphans};
use ninjaone::provider::{HttpOptions, TokenEndpoint, TokenEndpointOptions};
use ninjaone::service::{App, Surroundings, TokenAsk};
use ninjaone::simulator::SeededGrant;
use ninjaone::telemetry::Telemetry;
use ninjaone::vault::KeyRing;
use secrecy::ExposeSecret;

use crate::keys::stranded;
use crate::support::{MINUTE, life, target};

/// `ENOSPC`.
const NO_SPACE: i32 = 28;

/// What there is no room for.
#[derive(Default)]
struct Room {
    /// Half of what is appended still fits.
    appending: AtomicBool,
    /// The file system promises room, and finds out at the sync that there is none.
    syncing: AtomicBool,
}

impl Room {
    fn lacks(&self, what: &AtomicBool) -> io::Result<()> {
        if what.load(Ordering::Relaxed) {
            return Err(io::Error::from_raw_os_error(NO_SPACE));
        }
        Ok(())
    }
}

/// A disk that may be full.
#[derive(Clone, Default)]
struct SmallDisk(MemoryDisk, Arc<Room>);

impl Disk for SmallDisk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.1.lacks(&self.1.appending) {
            self.0.append(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.0.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.1.lacks(&self.1.syncing)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.0.cut(length)
    }

    fn write_fresh(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.1.lacks(&self.1.appending)?;
        self.0.write_fresh(bytes)
    }

    fn sync_fresh(&mut self) -> io::Result<()> {
        self.1.lacks(&self.1.syncing)
    }

    fn install_fresh(&mut self) -> io::Result<()> {
        self.0.install_fresh()
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        self.0.sync_directory()
    }

    fn take_orphans(&mut self) -> io::Result<Orphans> {
        self.0.take_orphans()
    }

    fn delete_orphans(&mut self) -> io::Result<()> {
        self.0.delete_orphans()
    }
}

/// A process whose journal lies on this disk, and a grant of an hour.
async fn process(disk: &SmallDisk, limits: Limits) -> (Bench, App, SeededGrant) {
    let bench = Bench::with_a_clock(life(3600)).await;
    let options = bench.options("worker-1");
    let http = HttpOptions {
        policy: options.hosts.clone(),
        connect_timeout: options.connect_timeout,
        ..HttpOptions::default()
    };
    let endpoint = TokenEndpointOptions {
        http,
        ..TokenEndpointOptions::default()
    };
    let bytes = disk.0.bytes();
    let surroundings = Surroundings {
        endpoint: TokenEndpoint::new(endpoint).unwrap(),
        journal: Journal::over(Box::new(disk.clone()), &bytes, limits).unwrap(),
        platform: Platform::default(),
    };
    let store = Arc::clone(&bench.store);
    let telemetry = Arc::new(Telemetry::default());
    let app = App::start_in(store, options, telemetry, surroundings).unwrap();
    let grant = bench.seed(1).remove(0);
    adopt(&app, &grant).await;
    (bench, app, grant)
}

async fn generation(app: &App, grant: &SeededGrant) -> u64 {
    let token = app.token(&target(grant), &TokenAsk::default()).await;
    token.unwrap().generation
}

#[tokio::test]
async fn on_a_full_disk_a_worker_is_not_ready_and_refreshes_go_on_until_there_is_room() {
    for syncing in [false, true] {
        let disk = SmallDisk::default();
        let (bench, app, grant) = process(&disk, Limits::default()).await;
        app.ready().await.unwrap();
        let full = if syncing {
            &disk.1.syncing
        } else {
            &disk.1.appending
        };
        full.store(true, Ordering::Relaxed);
        bench.pass(&app, MINUTE * 50).await;
        assert_eq!(generation(&app, &grant).await, 1);
        let reasons = app.ready().await.unwrap_err();
        assert_eq!(reasons, ["the journal cannot be written"]);
        bench.pass(&app, MINUTE * 50).await;
        assert_eq!(
            generation(&app, &grant).await,
            2,
            "it does not get used to it either"
        );
        assert_eq!(
            app.status(&target(&grant)).await.unwrap().state,
            "Scheduled"
        );

        // What a crash would find now is no entry, or one of a pair that is known: nothing to adopt.
        let bytes = disk.0.bytes();
        let left = Journal::over(Box::new(MemoryDisk::default()), &bytes, Limits::default());
        for entry in left.unwrap().entries() {
            assert!(entry.base_generation < 2);
        }
        full.store(false, Ordering::Relaxed);
        bench.pass(&app, MINUTE * 50).await;
        assert_eq!(generation(&app, &grant).await, 3);
        app.ready().await.unwrap();
    }
}

#[tokio::test]
async fn a_journal_that_holds_as_much_as_it_may_stops_no_refresh() {
    let disk = SmallDisk::default();
    let one = stays();
    {
        let journal = Journal::over(Box::new(disk.clone()), &[], Limits::default()).unwrap();
        journal.put(one.clone()).await.unwrap();
    }
    let limits = Limits {
        entries_max: 1,
        ..Limits::default()
    };
    let (bench, app, grant) = process(&disk, limits).await;
    app.ready().await.unwrap();
    bench.pass(&app, MINUTE * 50).await;
    assert_eq!(generation(&app, &grant).await, 1);
    assert_eq!(
        app.ready().await.unwrap_err(),
        ["the journal cannot be written"]
    );
    let told = app.replay_journal().await;
    assert_eq!(
        (told.undecryptable, told.delivered),
        (1, 0),
        "nothing was pushed out"
    );
}

/// An entry that no key of the ring opens, so that it stays.
fn stays() -> Entry {
    stranded(KeyRing::generate().unwrap().printable.expose_secret())
}
