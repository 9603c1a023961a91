//! One worker's place in the fleet: its disk, its way to Redis, and the process that works there, which is the
//! very `evergreen worker`, with the settings of an operator. It supervises it, too, as a service manager
//! would: what ends while Redis cannot be reached is started again.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use secrecy::{ExposeSecret, SecretString};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::relay::Relay;
use super::troupe::{self, Troupe};
use super::voices::{self, Book};
use super::{NOT_LONG_AGO_MS, now_ms};
use crate::bench::BenchError;

/// How long a worker may take to say that it works, once Redis answers.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// What all workers of a fleet are told.
pub(super) struct Orders {
    /// What every key begins with.
    pub prefix: String,
    /// How many replicas must confirm what must not be lost.
    pub replicas: u32,
    /// The fleet's seal key.
    pub seal_key: SecretString,
    /// Where the provider is, as `host:port`.
    pub provider: String,
    /// The lease.
    pub lease: Duration,
    /// Where everything of the run lies.
    pub home: PathBuf,
    /// Where logs are kept, if they are to be.
    pub evidence: Option<PathBuf>,
}

/// See the module.
pub(super) struct Post {
    worker: usize,
    relay: Relay,
    journal: PathBuf,
    process: Option<Running>,
}

struct Running {
    child: Child,
    working: watch::Receiver<bool>,
    stopped: bool,
}

/// How a process ended that nobody had killed.
pub(super) struct Ended {
    /// What the system says.
    pub status: ExitStatus,
    /// Redis was out of its reach not long before: then it says so and ends, as it should.
    pub excused: bool,
}

impl Post {
    /// Prepares a place; nobody works there yet.
    ///
    /// # Errors
    /// There is no disk.
    pub(super) fn prepare(worker: usize, relay: Relay, home: &Path) -> Result<Self, BenchError> {
        let journal = home.join(format!("journal-{}", worker + 1));
        std::fs::create_dir_all(&journal).map_err(|e| troupe::failed("a worker's disk", &e))?;
        Ok(Self {
            worker,
            relay,
            journal,
            process: None,
        })
    }

    /// Starts its worker; what that says is listened to by a task of `listeners`.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn start(
        &mut self,
        troupe: &Troupe,
        orders: &Orders,
        book: &Book,
        listeners: &mut JoinSet<()>,
    ) -> Result<(), BenchError> {
        let demo = crate::simulator::ClientApp::demo();
        let secret = demo.client_secret.as_ref().map(ExposeSecret::expose_secret);
        let mut command = troupe.program(&["worker"], &orders.home)?;
        command
            .env("EVERGREEN_REDIS_URL", &self.relay.url)
            .env("EVERGREEN_KEY_PREFIX", &orders.prefix)
            .env("EVERGREEN_REPLICAS", orders.replicas.to_string())
            .env("EVERGREEN_SEAL_KEYS", orders.seal_key.expose_secret())
            .env("EVERGREEN_JOURNAL_DIR", &self.journal)
            .env("EVERGREEN_NINJAONE_CLIENT_ID", &demo.client_id)
            .env(
                "EVERGREEN_NINJAONE_CLIENT_SECRET",
                secret.unwrap_or_default(),
            )
            .env("EVERGREEN_NINJAONE_HOSTS", &orders.provider)
            .env("EVERGREEN_LEASE", format!("{}s", orders.lease.as_secs()))
            .env("EVERGREEN_LOG", "info")
            .env("EVERGREEN_LOG_FORMAT", "json")
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = troupe.start("a worker", &mut command)?;
        let voice = child.stderr.take();
        let voice = voice.ok_or_else(|| BenchError::Process("a worker is mute".to_owned()))?;
        let (says, working) = watch::channel(false);
        let file = orders.evidence.as_ref();
        let file = file.map(|all| all.join(format!("worker-{}.log", self.worker + 1)));
        listeners.spawn(voices::listen(self.worker, voice, book.clone(), says, file));
        self.process = Some(Running {
            child,
            working,
            stopped: false,
        });
        Ok(())
    }

    /// Whether somebody works here, or stands still.
    #[must_use]
    pub(super) fn is_manned(&self) -> bool {
        self.process.is_some()
    }

    /// Waits until its worker works.
    ///
    /// # Errors
    /// It does not.
    pub(super) async fn works(&mut self) -> Result<(), BenchError> {
        let late = || BenchError::Process(format!("worker {} does not work", self.worker + 1));
        let Some(running) = &mut self.process else {
            return Err(late());
        };
        let working = running.working.wait_for(|working| *working);
        match tokio::time::timeout(READY_WITHIN, working).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(late()),
        }
    }

    /// SIGKILL, also for one that stands still.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) async fn kill(&mut self, book: &Book) -> Result<(), BenchError> {
        let Some(mut running) = self.process.take() else {
            return Ok(());
        };
        let told = now_ms();
        troupe::kill(&mut running.child).await?;
        let mut pages = book.open();
        let since = if running.stopped {
            pages.diary.goes_on(self.worker, now_ms())
        } else {
            told
        };
        pages.diary.died(self.worker, since, now_ms());
        Ok(())
    }

    /// SIGSTOP.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn stop(&mut self, book: &Book) -> Result<(), BenchError> {
        if let Some(running) = &mut self.process {
            book.open().diary.stopped(self.worker, now_ms());
            troupe::signal(&running.child, Signal::STOP)?;
            running.stopped = true;
        }
        Ok(())
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn go_on(&mut self, book: &Book) -> Result<(), BenchError> {
        if let Some(running) = self.process.as_mut().filter(|running| running.stopped) {
            troupe::signal(&running.child, Signal::CONT)?;
            running.stopped = false;
            book.open().diary.goes_on(self.worker, now_ms());
        }
        Ok(())
    }

    /// Cuts its way to Redis, or mends it.
    pub(super) fn set_way(&self, open: bool) {
        self.relay.set_open(open);
    }

    /// Fills its disk up to files of so many bytes, or makes room again.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn fill_disk(&self, room: Option<u64>) -> Result<(), BenchError> {
        match &self.process {
            Some(running) => troupe::limit_files(&running.child, room),
            None => Ok(()),
        }
    }

    /// How its worker ended, if it did by itself.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn ended(&mut self, book: &Book) -> Result<Option<Ended>, BenchError> {
        let Some(running) = &mut self.process else {
            return Ok(None);
        };
        let ended = running.child.try_wait();
        let ended = ended.map_err(|e| troupe::failed("looking after a worker", &e))?;
        let Some(status) = ended else {
            return Ok(None);
        };
        self.process = None;
        let now = now_ms();
        let mut pages = book.open();
        pages.diary.died(self.worker, now, now);
        let away = pages
            .diary
            .out_of_reach(self.worker, now.saturating_sub(NOT_LONG_AGO_MS), now);
        // 5: not available, the same may work later.
        let excused = away && status.code() == Some(5);
        Ok(Some(Ended { status, excused }))
    }

    /// SIGTERM. Its exit code, if it ended by itself in time.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) async fn dismiss(&mut self) -> Result<Option<i32>, BenchError> {
        match &mut self.process {
            Some(running) => {
                let code = troupe::stop(&mut running.child).await?;
                self.process = None;
                Ok(code)
            }
            None => Ok(None),
        }
    }
}
