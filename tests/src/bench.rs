//! An app over a store, with the simulator as its provider: everything in this process, everything real.

mod host;
mod skip;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use evergreen_engine::store::Store;
use evergreen_engine::store::clock::{self, Clock, ManualClock};
use evergreen_engine::store::memory::MemoryStore;
use evergreen_engine::store::redis::{RedisOptions, RedisStore};
use evergreen_engine::{Limits, Platform};
use ninjaone::integration::{GrantKind, IntegrationId};
use ninjaone::journal::{self, Journal};
use ninjaone::lifecycle::Settings;
use ninjaone::provider::{ClientApp, HostPolicy, HttpOptions, TokenEndpoint, TokenEndpointOptions};
use ninjaone::service::{AdoptOptions, Adopted, App, AppOptions, Offer, StatusView, Surroundings};
use ninjaone::simulator::{SeedRequest, SeededGrant, Simulator, SimulatorOptions};
use ninjaone::telemetry::Telemetry;
use ninjaone::vault::{FingerprintKey, KeyRing};
use secrecy::ExposeSecret;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::RedisServer;
use crate::wait::eventually;

pub use host::Host;

/// How long anything that is waited for may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A simulator, a store and apps over it.
pub struct Bench {
    /// The provider.
    pub simulator: Simulator,
    /// The store that all apps share.
    pub store: Arc<dyn Store>,
    /// The time that the store goes by, if it stands still until it is moved.
    pub clock: Option<ManualClock>,
    /// That store, for what no operation shows.
    pub memory: Option<MemoryStore>,
    redis: Option<RedisOptions>,
    salt: String,
    keys: String,
    journals: tempfile::TempDir,
    limits: Limits,
    settings: Settings,
}

/// A worker that runs until it is stopped.
pub struct RunningWorker {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl RunningWorker {
    /// Drains and ends it.
    pub async fn stop(self) {
        // A worker that has ended already need not be told.
        let _ = self.stop.send(());
        self.task.await.expect("the worker must not panic");
    }
}

impl Bench {
    /// Over the store in memory.
    pub async fn in_memory(simulator: SimulatorOptions) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        Self::over(store, FingerprintKey::random().to_hex(), simulator).await
    }

    /// Over the store in memory, whose clock stands still but for [`Bench::pass`]. No worker is
    /// needed: what becomes due is done as the time passes.
    pub async fn with_a_clock(simulator: SimulatorOptions) -> Self {
        let now = chrono::Utc::now().timestamp_millis();
        let clock = ManualClock::at(u64::try_from(now).expect("after 1970"));
        let store = MemoryStore::with_clock(clock.clock());
        let salt = FingerprintKey::random().to_hex();
        let mut bench = Self::over(Arc::new(store.clone()), salt, simulator).await;
        bench.clock = Some(clock);
        bench.memory = Some(store);
        bench
    }

    /// Over the store in memory, whose clock runs, and is as far ahead of this machine's as the clock
    /// that is given along shows: so that all may have slept for hours, and then work in real time.
    pub async fn with_a_clock_ahead(simulator: SimulatorOptions) -> (Self, ManualClock) {
        let ahead = ManualClock::at(0);
        let (here, by) = (clock::system(), ahead.clone());
        let store = MemoryStore::with_clock(Arc::new(move || here() + by.now()));
        let salt = FingerprintKey::random().to_hex();
        let bench = Self::over(Arc::new(store), salt, simulator).await;
        (bench, ahead)
    }

    /// Over a Redis.
    pub async fn on_redis(redis: &RedisServer, simulator: SimulatorOptions) -> Self {
        let mut options = RedisOptions::new(redis.url());
        options.prefix = redis.prefix().to_owned();
        Self::in_key_space(options, simulator).await
    }

    /// Over a Redis, in the key space that processes of the program use there.
    pub async fn beside_processes(redis: &RedisServer, simulator: SimulatorOptions) -> Self {
        let mut options = RedisOptions::new(redis.url());
        // It only looks; on a busy machine it waits rather than fails.
        options.reply_timeout = PATIENCE / 2;
        Self::in_key_space(options, simulator).await
    }

    async fn in_key_space(options: RedisOptions, simulator: SimulatorOptions) -> Self {
        let store = RedisStore::connect(options.clone())
            .await
            .expect("the test's Redis must be usable");
        let salt = store.meta().await.expect("a key space has its salt").salt;
        let mut bench = Self::over(Arc::new(store), salt, simulator).await;
        bench.redis = Some(options);
        bench
    }

    async fn over(store: Arc<dyn Store>, salt: String, simulator: SimulatorOptions) -> Self {
        let key = KeyRing::generate().expect("randomness");
        Self {
            simulator: Simulator::start(simulator)
                .await
                .expect("the simulator must start"),
            store,
            clock: None,
            memory: None,
            redis: None,
            salt,
            keys: key.printable.expose_secret().to_owned(),
            journals: tempfile::tempdir().expect("a directory for journals"),
            limits: Limits {
                lease: Duration::from_secs(6),
                ..Limits::default()
            },
            settings: Settings::default(),
        }
    }

    /// With other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// With other settings.
    #[must_use]
    pub fn with_settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// A process's app; `name` names it and its journal.
    pub fn app(&self, name: &str) -> App {
        self.app_from(self.options(name))
    }

    /// The seal keys of all apps that are not told otherwise.
    pub fn keys(&self) -> &str {
        &self.keys
    }

    /// Where the journals of all apps lie that are not told otherwise.
    pub fn journals(&self) -> PathBuf {
        self.journals.path().to_owned()
    }

    /// The options of [`Bench::app`], for one that differs.
    pub fn options(&self, name: &str) -> AppOptions {
        let demo = ninjaone::simulator::ClientApp::demo();
        AppOptions {
            worker_id: name.to_owned(),
            limits: self.limits.clone(),
            settings: self.settings.clone(),
            ring: KeyRing::parse(&self.keys).expect("a key that was just made"),
            client: Some(ClientApp {
                client_id: demo.client_id,
                client_secret: demo.client_secret,
            }),
            hosts: HostPolicy::new().with_loopback(),
            journal_dir: Some(self.journals.path().to_owned()),
            public_url: "http://127.0.0.1:8080".to_owned(),
            redirect_uri: "http://127.0.0.1:8080/oauth/callback".to_owned(),
            salt: self.salt.clone(),
            connect_timeout: Duration::from_secs(3),
        }
    }

    /// An app with options of its own, over the store that all share.
    pub fn app_from(&self, options: AppOptions) -> App {
        start(Arc::clone(&self.store), options)
    }

    /// A process's app on a machine whose wall clock is this one.
    pub fn app_by(&self, name: &str, wall: Clock) -> App {
        let options = self.options(name);
        let directory = options.journal_dir.clone().expect("benches have one");
        let journal = Journal::open(&directory, name, journal::Limits::default());
        let http = HttpOptions {
            policy: options.hosts.clone(),
            ..HttpOptions::default()
        };
        let endpoint = TokenEndpoint::new(TokenEndpointOptions {
            http,
            ..TokenEndpointOptions::default()
        });
        let surroundings = Surroundings {
            endpoint: endpoint.expect("an HTTP client"),
            journal: journal.expect("a journal of its own"),
            platform: Platform {
                wall,
                ..Platform::default()
            },
        };
        let (store, telemetry) = (Arc::clone(&self.store), Arc::default());
        App::start_in(store, options, telemetry, surroundings).expect("the app must start")
    }

    /// Runs a worker in the background.
    pub fn worker(&self, app: &App) -> RunningWorker {
        let (stop, stopped) = oneshot::channel();
        let app = app.clone();
        let task = tokio::spawn(async move {
            app.work("test".to_owned(), async {
                // A bench that is dropped stops its workers too.
                let _ = stopped.await;
            })
            .await;
        });
        RunningWorker { stop, task }
    }

    /// Grants that are live at the simulator, as somebody else would have left them.
    pub fn seed(&self, count: usize) -> Vec<SeededGrant> {
        self.simulator
            .handle()
            .seed(SeedRequest::count(count))
            .expect("the request is right")
    }

    /// Waits until a grant is as wanted.
    pub async fn see(
        &self,
        app: &App,
        integration: &str,
        what: &str,
        wanted: impl Fn(&StatusView) -> bool,
    ) -> StatusView {
        let target = integration.parse().expect("a name");
        eventually(what, PATIENCE, async || {
            app.status(&target)
                .await
                .ok()
                .filter(|status| wanted(status))
        })
        .await
    }
}

fn start(store: Arc<dyn Store>, options: AppOptions) -> App {
    App::start(store, options, Arc::new(Telemetry::default())).expect("the app must start")
}

/// Hands a live grant to an app.
pub async fn adopt(app: &App, grant: &SeededGrant) -> Adopted {
    app.adopt(offer(grant), AdoptOptions::default())
        .await
        .expect("the store answers")
}

/// A live grant as it is offered.
pub fn offer(grant: &SeededGrant) -> Offer {
    let integration =
        IntegrationId::new(&grant.tenant, &grant.integration).expect("the simulator names well");
    Offer {
        grant: integration.grant(GrantKind::User),
        access_token: Some(grant.access_token.clone().into()),
        refresh_token: grant.refresh_token.clone().map(Into::into),
        expires_at: chrono::DateTime::parse_from_rfc3339(&grant.expires_at)
            .ok()
            .and_then(|at| u64::try_from(at.timestamp_millis()).ok()),
        instance_url: Some(grant.instance_url.clone()),
        client_id: Some(grant.client_id.clone()),
        client_secret: None,
        scopes: Some(grant.scope.clone()),
        legacy_token_path: false,
    }
}
