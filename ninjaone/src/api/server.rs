//! Binding, serving, and an end in bounded time.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::auth::KeyStore;
use super::{Site, layers, routes};
use crate::service::App;

/// How a server is to be run.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Where to listen; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// Anybody may start a consent. For `evergreen dev` on a loopback address, and nowhere else.
    pub open_connect: bool,
    /// How long requests under way may take to end once the server is told to.
    pub grace: Duration,
}

impl ServerOptions {
    /// The defaults at an address.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            open_connect: false,
            grace: Duration::from_secs(20),
        }
    }
}

/// A server that holds its address and does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    options: ServerOptions,
}

impl Server {
    /// Takes the address.
    ///
    /// # Errors
    /// When it is taken or not ours; the message names it.
    pub async fn bind(options: ServerOptions) -> io::Result<Self> {
        let listen = options.listen;
        let listener = TcpListener::bind(listen).await.map_err(|error| {
            io::Error::new(error.kind(), format!("listening on {listen}: {error}"))
        })?;
        let address = listener.local_addr()?;
        Ok(Self {
            listener,
            address,
            options,
        })
    }

    /// The address that was taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves API, dashboard and metrics until `shutdown` resolves; then ends event streams at once
    /// and other requests within the grace time.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn run(
        self,
        app: App,
        keys: KeyStore,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let ending = CancellationToken::new();
        let site = Site::new(app, keys, self.options.open_connect, ending.clone());
        self.until(router(site), ending, shutdown).await
    }

    /// Serves `/metrics`, `/healthz` and `/readyz` until `shutdown` resolves: for workers.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn run_metrics_only(
        self,
        app: App,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let ending = CancellationToken::new();
        let keys = KeyStore::new(app.engine().store().clone());
        let site = Site::new(app, keys, false, ending.clone());
        self.until(
            layers::around(routes::watched().into_router(site)),
            ending,
            shutdown,
        )
        .await
    }

    async fn until(
        self,
        router: Router,
        ending: CancellationToken,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let told = ending.clone();
        let serving = axum::serve(self.listener, router).with_graceful_shutdown(async move {
            shutdown.await;
            told.cancel();
        });
        let grace = self.options.grace;
        let too_long = async {
            ending.cancelled().await;
            tokio::time::sleep(grace).await;
        };
        tokio::select! {
            served = serving => served,
            () = too_long => {
                tracing::warn!(?grace, "requests were still under way when the grace time ended");
                Ok(())
            }
        }
    }
}

/// Everything, with what surrounds it.
pub(super) fn router(site: Site) -> Router {
    layers::around(routes::all().into_router(site))
}

/// Binds, and serves API, dashboard and metrics until `shutdown` resolves.
///
/// # Errors
/// When the address cannot be taken, or the listener fails.
pub async fn serve(
    app: App,
    keys: KeyStore,
    options: ServerOptions,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let server = Server::bind(options).await?;
    tracing::info!(address = %server.address(), "serving the API and the dashboard");
    server.run(app, keys, shutdown).await
}

/// Binds, and serves what a worker shows of itself until `shutdown` resolves.
///
/// # Errors
/// When the address cannot be taken, or the listener fails.
pub async fn serve_metrics_only(
    app: App,
    options: ServerOptions,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let server = Server::bind(options).await?;
    tracing::info!(address = %server.address(), "serving metrics");
    server.run_metrics_only(app, shutdown).await
}
