//! What `serve`, `worker` and `dev` have in common: settings, log, store, application, an end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use evergreen_engine::store::Store;
use evergreen_engine::store::redis::{Meta, RedisOptions, RedisStore};
use tokio_util::sync::CancellationToken;

use super::failure::{Exit, Failure, chain};
use super::{logging, settings_failure, shutdown, store_failure};
use crate::api::{KeyStore, Server, ServerOptions};
use crate::config::{self, Config, Role, SettingFlags, StoreConfig};
use crate::service::{App, AppOptions, StartError};
use crate::telemetry::Telemetry;
use crate::webhook::{Dispatcher, WebhookOptions};

/// Stored pairs that are opened at the start.
const LOOKED_AT: usize = 8;
/// How long connecting to a host of NinjaOne may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Reads the settings, for a command that tells by itself what is odd about them.
pub(super) fn quiet_settings(flags: &SettingFlags, role: Role) -> Result<Config, Failure> {
    let sources = flags
        .sources()
        .map_err(|e| Failure::of(Exit::Usage, "reading the settings", &e))?;
    config::load(&sources, role).map_err(|e| settings_failure(&e))
}

/// Reads the settings and starts the log.
pub(super) fn settings(flags: &SettingFlags, role: Role) -> Result<Config, Failure> {
    let config = quiet_settings(flags, role)?;
    logging::start(&config.log)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if config.client.is_none() && role != Role::Dev {
        // Said here, because the browser in which a consent fails is somebody else's.
        tracing::warn!(
            "EVERGREEN_NINJAONE_CLIENT_ID is not set: nobody can consent, and only grants imported \
             with an app of their own are refreshed"
        );
    }
    Ok(config)
}

/// Connects to Redis; what is odd about it goes to the log. With the store comes the salt of its
/// fingerprints, and its address without password.
pub(super) async fn redis(
    config: &StoreConfig,
) -> Result<(Arc<dyn Store>, String, String), Failure> {
    let found = look_at_redis(config.options()).await?;
    for warning in &found.warnings {
        tracing::warn!("{warning}");
    }
    Ok((found.store, found.meta.salt, found.place))
}

/// A Redis that is as it must be.
pub(super) struct FoundRedis {
    pub(super) store: Arc<dyn Store>,
    /// What the key space says of itself.
    pub(super) meta: Meta,
    /// Its address without password.
    pub(super) place: String,
    /// What is not forbidden but should be known.
    pub(super) warnings: Vec<String>,
}

/// Connects, and tells what is odd.
pub(super) async fn look_at_redis(options: RedisOptions) -> Result<FoundRedis, Failure> {
    let doing = "connecting to Redis";
    let store = RedisStore::connect(options)
        .await
        .map_err(|e| store_failure(doing, &e))?;
    let meta = store.meta().await.map_err(|e| store_failure(doing, &e))?;
    Ok(FoundRedis {
        place: store.masked_url(),
        warnings: store.warnings().to_vec(),
        meta,
        store: Arc::new(store),
    })
}

/// The store that the settings name.
pub(super) async fn named_redis(
    config: &Config,
) -> Result<(Arc<dyn Store>, String, String), Failure> {
    match &config.store {
        Some(store) => redis(store).await,
        None => Err(Failure::usage("reading the settings", "no Redis is named")),
    }
}

/// Puts the application together.
pub(super) fn app(
    config: Config,
    listen: SocketAddr,
    store: Arc<dyn Store>,
    salt: String,
) -> Result<App, Failure> {
    let options = AppOptions {
        worker_id: worker_id(),
        public_url: config.public_url(listen),
        redirect_uri: config.redirect_uri(listen),
        connect_timeout: CONNECT_TIMEOUT.min(config.limits.activity),
        limits: config.limits,
        settings: config.settings,
        ring: config.ring,
        client: config.client,
        hosts: config.hosts,
        journal_dir: config.journal_dir,
        salt,
    };
    App::start(store, options, Arc::new(Telemetry::default())).map_err(|error| {
        let exit = match error {
            StartError::Journal { .. } | StartError::Limits(_) => Exit::Usage,
            StartError::Salt(_) | StartError::Http(_) => Exit::Failed,
        };
        Failure::of(exit, "starting", &error)
    })
}

/// The API keys of the store and of the file, if there is one.
pub(super) fn keys(config: &Config, store: &Arc<dyn Store>) -> Result<KeyStore, Failure> {
    match &config.api_keys_file {
        None => Ok(KeyStore::new(Arc::clone(store))),
        Some(path) => KeyStore::with_file(Arc::clone(store), path.clone())
            .map_err(|e| Failure::usage("reading EVERGREEN_API_KEYS_FILE", chain(&e))),
    }
}

/// Takes the address.
pub(super) async fn bind(options: ServerOptions) -> Result<Server, Failure> {
    let port = options.listen.port();
    let taken = |error: &std::io::Error| error.kind() == std::io::ErrorKind::AddrInUse;
    Server::bind(options).await.map_err(|error| {
        let help = if taken(&error) {
            format!(
                "port {port} is in use; choose another: --listen 127.0.0.1:{} (or EVERGREEN_LISTEN)",
                port.checked_add(1).unwrap_or(8081)
            )
        } else {
            "choose an address of this machine: --listen 127.0.0.1:8080 (or EVERGREEN_LISTEN)"
                .to_owned()
        };
        Failure::usage("starting the server", error).help(help)
    })
}

/// This process, for people and for its journal: host, process, and a part that no other process
/// of that number has had.
pub(super) fn worker_id() -> String {
    let part: u16 = rand::random();
    format!("{}-{}-{part:04x}", host(), std::process::id())
}

/// The machine's name.
pub(super) fn host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// A token that is cancelled when somebody tells this process to stop.
pub(super) fn stop() -> Result<CancellationToken, Failure> {
    let signalled = shutdown::signalled()?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        signalled.await;
        tracing::info!("told to stop: nothing new is begun, what runs is finished");
        token.cancel();
    });
    Ok(stop)
}

/// What sends webhooks, if any are to be sent.
pub(super) fn webhooks(
    app: &App,
    options: Option<WebhookOptions>,
) -> Result<Option<Dispatcher>, Failure> {
    let Some(options) = options else {
        return Ok(None);
    };
    tracing::info!(receiver = options.url.host(), "webhooks are sent");
    let dispatcher = Dispatcher::new(app, options);
    let dispatcher =
        dispatcher.map_err(|e| Failure::of(Exit::Failed, "preparing to send webhooks", &e))?;
    Ok(Some(dispatcher))
}

/// Says at the start that the keys are not those of this key space, where they open nothing of it. Whoever has
/// lost the right ones has to run it all the same: it is how the integrations are connected anew.
pub(super) fn tell_of_foreign_keys(app: &App) {
    tokio::spawn(look_for_foreign_keys(app.clone()));
}

async fn look_for_foreign_keys(app: App) {
    match app.open_some(LOOKED_AT).await {
        Ok(found) if found.opened == 0 && !found.closed.is_empty() => tracing::error!(
            grants = ?found.closed,
            "EVERGREEN_SEAL_KEYS opens none of the stored pairs that were looked at: these are not this \
             fleet's keys. Whatever this worker takes up waits with `undecryptable`; stop it, and start it with the \
             fleet's keys"
        ),
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(%error, "whether the seal keys open what is stored is not known yet")
        }
    }
}

/// Works until told to stop, and finishes what runs.
pub(super) async fn work(app: &App, webhooks: Option<Dispatcher>, stop: &CancellationToken) {
    let working = app.work(host(), stop.clone().cancelled_owned());
    let sending = async {
        if let Some(webhooks) = webhooks {
            webhooks.run(stop.clone()).await;
        }
    };
    let (stopped, ()) = tokio::join!(working, sending);
    if stopped.unfinished > 0 {
        tracing::warn!(
            unfinished = stopped.unfinished,
            "the grace time is over; others take over what was left when its leases end"
        );
    }
}

/// A server that ended for another reason than being told to.
pub(super) fn served(result: std::io::Result<()>) -> Result<(), Failure> {
    result.map_err(|e| Failure::new(Exit::Failed, "serving", e))
}
