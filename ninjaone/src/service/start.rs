//! Putting an [`App`] together, and what it does in the background.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use evergreen_engine::limits::LimitsError;
use evergreen_engine::store::Store;
use evergreen_engine::worker::{self, Stopped, WorkerOptions};
use evergreen_engine::{Activities, Engine, Limits, Platform};
use tokio_util::sync::CancellationToken;

use super::fleet::Glance;
use super::follow::Hub;
use super::memory::Memory;
use super::stamp::Stamping;
use super::waiting::Waiting;
use crate::journal::{self, Entry, Journal, JournalError, MemoryDisk};
use crate::lifecycle::{Credential, Settings};
use crate::provider::{
    BuildFailed, ClientApp, HostPolicy, HttpOptions, TokenEndpoint, TokenEndpointOptions,
};
use crate::refresher::{Delivered, Gate, Keeper, Parts, Refresher, Replay};
use crate::telemetry::Telemetry;
use crate::vault::{FingerprintKey, HexError, KeyRing};

/// How often it is looked whether the store is still the same run of the same server.
const RUN_CHECK: Duration = Duration::from_secs(5);
/// How long the journal's disk may take at the end.
const CLOSING: Duration = Duration::from_secs(5);

/// What an app needs to know.
pub struct AppOptions {
    /// Names this process, for people and for its journal.
    pub worker_id: String,
    /// The engine's bounds.
    pub limits: Limits,
    /// What the machine is told.
    pub settings: Settings,
    /// The seal keys.
    pub ring: KeyRing,
    /// The fleet's client app.
    pub client: Option<ClientApp>,
    /// Which hosts may be spoken to.
    pub hosts: HostPolicy,
    /// Where rotated pairs are kept between reply and commit; `None` keeps them in memory only, which
    /// is for demonstrations.
    pub journal_dir: Option<PathBuf>,
    /// Where this API is reached from outside.
    pub public_url: String,
    /// The redirect URI as it is registered with NinjaOne.
    pub redirect_uri: String,
    /// The salt of the fleet's fingerprints, 64 hexadecimal digits, from the key space.
    pub salt: String,
    /// How long connecting to a host may take.
    pub connect_timeout: Duration,
}

/// Why an app could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The bounds contradict each other.
    #[error("the limits contradict each other: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Limits(Vec<LimitsError>),
    /// The key space's salt is damaged.
    #[error("reading the key space's salt")]
    Salt(#[source] HexError),
    /// The HTTP client could not be built.
    #[error("preparing to speak to NinjaOne")]
    Http(#[source] BuildFailed),
    /// The journal's directory cannot be used.
    #[error(
        "opening the journal in {directory}: make it writable for this process, or set EVERGREEN_JOURNAL_DIR"
    )]
    Journal {
        /// Where.
        directory: String,
        /// Why.
        #[source]
        source: JournalError,
    },
}

/// What an app has to do with beside its store: the way to the provider, the disk, the machine that it
/// runs on. [`App::start`] takes the real ones.
pub struct Surroundings {
    /// The token endpoints.
    pub endpoint: TokenEndpoint,
    /// Rotated pairs between reply and commit.
    pub journal: Journal,
    /// The time of day, and randomness.
    pub platform: Platform,
}

/// The application: the engine with the grants' machine, and everything around it. Cheap to clone.
#[derive(Clone)]
pub struct App(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) engine: Engine,
    pub(super) refresher: Refresher,
    pub(super) public_url: String,
    pub(super) redirect_uri: String,
    pub(super) worker_id: String,
    pub(super) memory: Memory,
    pub(super) waiting: Waiting,
    pub(super) hub: Hub,
    pub(super) glance: Glance,
}

impl App {
    /// Puts an app together over a store. Opens the journal, which may block on the disk.
    ///
    /// # Errors
    /// What is wrong with the options, or with the disk.
    pub fn start(
        store: Arc<dyn Store>,
        options: AppOptions,
        telemetry: Arc<Telemetry>,
    ) -> Result<Self, StartError> {
        let limits = journal::Limits::default();
        let opened = match &options.journal_dir {
            Some(directory) => Journal::open(directory, &options.worker_id, limits),
            None => Journal::over(Box::new(MemoryDisk::default()), &[], limits),
        };
        let journal = opened.map_err(|source| StartError::Journal {
            directory: match &options.journal_dir {
                Some(directory) => directory.display().to_string(),
                None => "memory".to_owned(),
            },
            source,
        })?;
        let http = HttpOptions {
            policy: options.hosts.clone(),
            connect_timeout: options.connect_timeout,
            ..HttpOptions::default()
        };
        let endpoint = TokenEndpoint::new(TokenEndpointOptions {
            http,
            ..TokenEndpointOptions::default()
        })
        .map_err(StartError::Http)?;
        let surroundings = Surroundings {
            endpoint,
            journal,
            platform: Platform::default(),
        };
        Self::start_in(store, options, telemetry, surroundings)
    }

    /// Puts an app together in surroundings of its own, a simulated fleet's for example. What the
    /// options say of the journal's place and of connecting has then been dealt with.
    ///
    /// # Errors
    /// What is wrong with the options.
    pub fn start_in(
        store: Arc<dyn Store>,
        options: AppOptions,
        telemetry: Arc<Telemetry>,
        surroundings: Surroundings,
    ) -> Result<Self, StartError> {
        let ring = Arc::new(options.ring);
        let fingerprints =
            Arc::new(FingerprintKey::from_hex(&options.salt).map_err(StartError::Salt)?);
        let gate = Gate::new(&store, options.limits.lease, &surroundings.platform);
        let refresher = Refresher(Arc::new(Parts {
            keeper: Arc::new(Keeper::new(
                Arc::clone(&ring),
                Arc::clone(&fingerprints),
                surroundings.journal,
            )),
            ring,
            fingerprints,
            endpoint: surroundings.endpoint,
            policy: options.hosts,
            client: options.client,
            settings: Arc::new(options.settings),
            gate,
            telemetry,
            restored_at: AtomicU64::new(0),
            engine: std::sync::OnceLock::new(),
        }));
        let activities: Arc<dyn Activities<Credential>> = Arc::new(refresher.clone());
        let engine = Engine::builder(store, options.limits, options.worker_id.clone())
            .map_err(StartError::Limits)?
            .on(surroundings.platform)
            .with(activities)
            .build();
        // Set once, here: the refresher was made two statements above.
        let _ = refresher.engine.set(engine.downgrade());
        Ok(Self(Arc::new(Inner {
            engine,
            refresher,
            public_url: options.public_url,
            redirect_uri: options.redirect_uri,
            worker_id: options.worker_id,
            memory: Memory::default(),
            waiting: Waiting::default(),
            hub: Hub::default(),
            glance: Glance::default(),
        })))
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// Which hosts may be spoken to.
    #[must_use]
    pub fn host_policy(&self) -> &HostPolicy {
        &self.0.refresher.policy
    }

    /// Where this API is reached from outside.
    #[must_use]
    pub fn public_url(&self) -> &str {
        &self.0.public_url
    }

    /// What the application counts.
    #[must_use]
    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.0.refresher.telemetry
    }

    pub(super) fn store(&self) -> &Arc<dyn Store> {
        self.0.engine.store()
    }

    /// Runs a worker, with the journal's replay beside it, until `shutdown` resolves; then drains.
    pub async fn work(&self, host: String, shutdown: impl Future<Output = ()> + Send) -> Stopped {
        if let Err(error) = self.agree_on_seal_key().await {
            tracing::warn!(%error, "which key every worker has is not known; the last of the ring seals until it is");
            self.0.refresher.ring.seal_with_last();
        }
        let stop = CancellationToken::new();
        // Cut short wherever it is: what it does can be done again.
        let watch = tokio::spawn({
            let (app, stop) = (self.clone(), stop.clone());
            async move {
                let inner = stop.clone();
                stop.run_until_cancelled(app.watch_the_store(inner)).await;
            }
        });
        let options = WorkerOptions {
            host,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let stopped = worker::run(self.0.engine.clone(), options, shutdown).await;
        stop.cancel();
        // It ends by itself; if it panicked, that has been reported where it happened.
        let _ = watch.await;
        let closing = self.0.refresher.keeper.journal().close();
        match tokio::time::timeout(CLOSING, closing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the journal could not be closed; its entries are replayed at the next start");
            }
            Err(_) => tracing::warn!(
                "the journal's disk does not answer; its entries are replayed at the next start"
            ),
        }
        stopped
    }

    /// Delivers what the journal holds.
    pub async fn replay_journal(&self) -> Replay {
        self.0.refresher.keeper.replay(&self.0.engine).await
    }

    /// The same, told entry by entry.
    pub async fn replay_journal_each(&self) -> Vec<(Entry, Delivered)> {
        self.0.refresher.keeper.replay_each(&self.0.engine).await
    }

    /// Replays the journal at the start and whenever the store turns out to be another run or
    /// another server; moves timers that were computed with other settings.
    async fn watch_the_store(self, stop: CancellationToken) {
        let keeper = &self.0.refresher.keeper;
        let mut known: Option<String> = None;
        let mut last = Replay::default();
        let mut settings_told = false;
        let mut stamping = Stamping::default();
        loop {
            // What the worker beside us has seen will do, unless it has been too busy to look.
            match self.0.engine.run_id(RUN_CHECK).await {
                Ok(run) => {
                    // Entries of workers that have died beside us meanwhile.
                    if let Err(error) = keeper.adopt().await {
                        tracing::debug!(%error, "no orphans were looked for");
                    }
                    let same = known.as_ref() == Some(&run);
                    let replay = if !same {
                        self.replay_journal().await
                    } else if keeper.has_left_over() {
                        // With the same run too: a network cut may have left entries behind.
                        keeper.replay_left_over(&self.0.engine).await
                    } else {
                        Replay::default()
                    };
                    if replay != last {
                        tracing::info!(?replay, "the journal was replayed");
                        last = replay;
                    }
                    if same {
                        keeper.sweep().await;
                    }
                    known = (replay.unconfirmed == 0).then_some(run);
                }
                Err(error) => tracing::debug!(%error, "the store's run is not known"),
            }
            if let Err(error) = stamping.round(&self).await {
                tracing::debug!(%error, "the store's stamp was not compared");
            }
            if let Err(error) = self.agree_on_seal_key().await {
                tracing::debug!(%error, "the seal keys of the others are not known");
            }
            keeper.reseal();
            self.0.memory.sweep();
            self.mark_left_over();
            if !settings_told {
                match self.tell_settings().await {
                    Ok(()) => settings_told = true,
                    Err(error) => tracing::debug!(%error, "the settings were not compared"),
                }
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RUN_CHECK) => {}
            }
        }
    }

    /// Whether this process can do its work; every reason why not.
    ///
    /// # Errors
    /// The reasons.
    pub async fn ready(&self) -> Result<(), Vec<String>> {
        let mut reasons = Vec::new();
        if let Err(error) = self.store().now().await {
            tracing::warn!(%error, "not ready");
            reasons.push("the store does not answer".to_owned());
        }
        let journal = self.0.refresher.keeper.journal();
        if self.0.refresher.keeper.hangs() {
            reasons.push("the journal's disk does not answer".to_owned());
        } else if let Some(why) = journal.unhealthy() {
            tracing::warn!(%why, "not ready");
            reasons.push("the journal cannot be written".to_owned());
        }
        if reasons.is_empty() {
            Ok(())
        } else {
            Err(reasons)
        }
    }

    /// The name of this process.
    #[must_use]
    pub fn worker_id(&self) -> &str {
        &self.0.worker_id
    }
}
