//! `evergreen serve`: the API and a worker in one process.

use super::failure::{Ended, Exit};
use super::fleet;
use crate::api::ServerOptions;
use crate::config::{Role, SettingFlags};

/// Runs the HTTP API, the dashboard and a worker, over Redis.
///
/// Any number of these and of `evergreen worker` form a fleet: they need nothing but the same Redis
/// and the same seal keys. SIGTERM lets what runs finish, then exits 0.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  export EVERGREEN_REDIS_URL=redis://127.0.0.1:6379\n  \
    export EVERGREEN_SEAL_KEYS=\"$(evergreen keys generate | tail -n 1)\"\n  \
    evergreen apikeys create --name ops --scope admin\n  evergreen serve"
)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: SettingFlags,
}

pub(super) async fn run(args: Args) -> Ended {
    let mut config = fleet::settings(&args.settings, Role::Serve)?;
    let stop = fleet::stop()?;
    let (store, salt, redis) = fleet::named_redis(&config).await?;
    let keys = fleet::keys(&config, &store)?;
    let mut options = ServerOptions::new(
        config
            .listen
            .unwrap_or_else(|| ([127, 0, 0, 1], 8080).into()),
    );
    options.grace = config.limits.shutdown_grace;
    let server = fleet::bind(options).await?;
    let address = server.address();
    let webhook = config.webhook.take();
    let app = fleet::app(config, address, store, salt)?;
    let webhooks = fleet::webhooks(&app, webhook)?;
    fleet::tell_of_foreign_keys(&app);
    // Before the first consent or import is sealed here. Whoever works asks again.
    if let Err(error) = app.agree_on_seal_key().await {
        tracing::warn!(%error, "which key every worker has is not known yet");
    }
    tracing::info!(
        worker = app.worker_id(),
        %address,
        public_url = app.public_url(),
        %redis,
        version = env!("CARGO_PKG_VERSION"),
        "serving the API and the dashboard, with a worker"
    );
    let working = fleet::work(&app, webhooks, &stop);
    let serving = async {
        let ended = server
            .run(app.clone(), keys, stop.clone().cancelled_owned())
            .await;
        // A server that failed takes the worker along, so that somebody starts both anew.
        stop.cancel();
        ended
    };
    let ((), served) = tokio::join!(working, serving);
    fleet::served(served)?;
    tracing::info!("stopped");
    Ok(Exit::Ok)
}
