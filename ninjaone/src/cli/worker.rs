//! `evergreen worker`: a worker alone.

use super::failure::{Ended, Exit};
use super::fleet;
use crate::api::ServerOptions;
use crate::config::{Role, SettingFlags};

/// Runs a worker without the API, over Redis.
///
/// It listens on EVERGREEN_LISTEN, if that is set, for /metrics, /healthz and /readyz only. SIGTERM
/// lets what runs finish, then exits 0.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  export EVERGREEN_REDIS_URL=redis://127.0.0.1:6379\n  \
    export EVERGREEN_SEAL_KEYS_FILE=/etc/evergreen/seal-keys\n  evergreen worker"
)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: SettingFlags,
}

pub(super) async fn run(args: Args) -> Ended {
    let mut config = fleet::settings(&args.settings, Role::Worker)?;
    let stop = fleet::stop()?;
    let (store, salt, redis) = fleet::named_redis(&config).await?;
    let server = match config.listen {
        Some(listen) => {
            let mut options = ServerOptions::new(listen);
            options.grace = config.limits.shutdown_grace;
            Some(fleet::bind(options).await?)
        }
        None => None,
    };
    let address = server.as_ref().map(crate::api::Server::address);
    // It starts no consent, so nobody asks for its address.
    let public = address.unwrap_or_else(|| ([127, 0, 0, 1], 8080).into());
    let webhook = config.webhook.take();
    let app = fleet::app(config, public, store, salt)?;
    let webhooks = fleet::webhooks(&app, webhook)?;
    fleet::tell_of_foreign_keys(&app);
    tracing::info!(
        worker = app.worker_id(),
        metrics = address.map(|address| address.to_string()),
        %redis,
        version = env!("CARGO_PKG_VERSION"),
        "working"
    );
    let working = fleet::work(&app, webhooks, &stop);
    let serving = async {
        let Some(server) = server else {
            return Ok(());
        };
        let ended = server
            .run_metrics_only(app.clone(), stop.clone().cancelled_owned())
            .await;
        stop.cancel();
        ended
    };
    let ((), served) = tokio::join!(working, serving);
    fleet::served(served)?;
    tracing::info!("stopped");
    Ok(Exit::Ok)
}
