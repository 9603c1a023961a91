//! The server around the state: start, routes, shutdown.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State as Extract;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::{any, get};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::connection::{Connection, Cuttable};
use super::handle::Handle;
use super::options::{Refused, SimulatorOptions};
use super::reply::Reply;
use super::state::{Clock, State};
use super::{admin, api, authorize, front, mint, token};

/// Longest request body that is read.
pub(super) const BODY_MAX: usize = 64 * 1024;
/// How long a shutdown waits for answers that are on their way.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// Why a simulator did not start or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option is not allowed.
    #[error(transparent)]
    Option(#[from] Refused),
    /// The address cannot be listened on.
    #[error("listening on {addr}")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// What one needs to know could not be printed.
    #[error("writing to standard output")]
    Output(#[source] std::io::Error),
}

/// What all requests share.
pub(super) struct Shared {
    state: Mutex<State>,
    clock: Clock,
    /// Rung at every change of the ledger and the faults, for those who wait for one.
    pub changed: Notify,
    pub stopping: CancellationToken,
    at_work: AtomicU64,
}

impl Shared {
    /// Never held across an await.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> u64 {
        self.clock.now()
    }

    pub(super) fn started_at(&self) -> u64 {
        self.clock.started_at()
    }

    /// Counts a token request as at work until the guard is dropped.
    pub(super) fn at_work(self: &Arc<Self>) -> AtWork {
        let at_work = self.at_work.fetch_add(1, Ordering::Relaxed) + 1;
        self.lock().ledger.at_work(at_work);
        AtWork(self.clone())
    }

    /// Waits, but not longer than the server lives.
    pub(super) async fn unless_stopping(&self, wait: impl Future<Output = ()>) {
        tokio::select! {
            () = wait => {}
            () = self.stopping.cancelled() => {}
        }
    }
}

pub(super) struct AtWork(Arc<Shared>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A running simulator. Dropping it stops it.
pub struct Simulator {
    addr: SocketAddr,
    handle: Handle,
    served: JoinHandle<()>,
    stop: DropGuard,
}

impl Simulator {
    /// Listens and serves in the background.
    ///
    /// # Errors
    /// If an option is not allowed or the address cannot be had.
    pub async fn start(options: SimulatorOptions) -> Result<Self, Error> {
        options.check()?;
        let addr = options.listen;
        let failed = |source| Error::Listen { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let stopping = CancellationToken::new();
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(options)),
            clock: Clock::start(),
            changed: Notify::new(),
            stopping: stopping.clone(),
            at_work: AtomicU64::new(0),
        });
        let handle = Handle::new(shared, addr);
        let routes = routes(handle.clone()).into_make_service_with_connect_info::<Connection>();
        let signal = stopping.clone().cancelled_owned();
        let served = tokio::spawn(async move {
            let serving = axum::serve(Cuttable(listener), routes).with_graceful_shutdown(signal);
            if let Err(error) = serving.await {
                tracing::error!(%error, "the simulator stopped serving");
            }
        });
        Ok(Self {
            addr,
            handle,
            served,
            stop: stopping.drop_guard(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its instance URL, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> String {
        self.handle.url()
    }

    /// The admin endpoint without HTTP.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Serves until the signal comes, then shuts down.
    pub async fn run_until(self, signal: impl Future<Output = ()>) {
        signal.await;
        self.shutdown().await;
    }

    /// Stops listening, ends what hangs, lets answers on their way leave.
    pub async fn shutdown(self) {
        drop(self.stop);
        let mut served = self.served;
        let in_time = tokio::time::timeout(SHUTDOWN_GRACE, &mut served).await;
        if in_time.is_err() {
            served.abort();
        }
    }
}

fn routes(handle: Handle) -> Router {
    let shared = handle.shared();
    let host = Router::new()
        .route("/ws/oauth/token", any(token::endpoint))
        .route("/oauth/token", any(token::endpoint))
        .route(
            "/ws/oauth/authorize",
            get(authorize::ask).post(authorize::decide),
        )
        .route(
            "/oauth/authorize",
            get(authorize::ask).post(authorize::decide),
        )
        .merge(api::routes())
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(shared);
    let own = Router::new()
        .route("/", get(front::front_page))
        .nest("/simulator", admin::routes())
        .with_state(handle);
    own.merge(host)
        .layer(axum::middleware::map_response(with_request_id))
}

async fn with_request_id(mut response: Response) -> Response {
    if let Ok(id) = HeaderValue::try_from(mint::random_uuid()) {
        let name = HeaderName::from_static("x-nj-request-id");
        response.headers_mut().insert(name, id);
    }
    response
}

async fn unknown_path(shared: Extract<Arc<Shared>>) -> Reply {
    Reply::failure(StatusCode::NOT_FOUND, &shared.lock().mint.uuid())
}

async fn wrong_method(shared: Extract<Arc<Shared>>) -> Reply {
    Reply::failure(StatusCode::METHOD_NOT_ALLOWED, &shared.lock().mint.uuid())
}
