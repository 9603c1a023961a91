//! The HTTP API, the dashboard and the metrics.
//!
//! | file | holds |
//! |---|---|
//! | `server` | [`Server`]: binding, serving, an end in bounded time |
//! | `routes` | every route, once |
//! | `layers` | what surrounds every request: log line, headers, a net under panics |
//! | `auth` | API keys: [`KeyStore`], scopes, tenants |
//! | `input`, `problem` | what callers send, and what they are told when it is wrong |
//! | `integrations`, `tokens`, `events`, `fleet`, `backfill`, `apikeys` | `/v1` |
//! | `consent` | a person's way to NinjaOne and back |
//! | `pages`, `assets/` | the dashboard |
//! | `health`, `metrics` | for whatever watches the fleet |
//! | `openapi` | the whole surface as a document |
//!
//! A handler reads its input, calls the service, shapes the answer. Nothing here knows Redis, and
//! no secret is in a log line, a page or an error: tokens leave by `tokens.rs` alone.

mod apikeys;
mod auth;
mod backfill;
mod consent;
mod events;
mod fleet;
mod health;
mod input;
mod integrations;
mod layers;
mod metrics;
mod openapi;
mod pages;
mod problem;
mod routes;
mod server;
#[cfg(test)]
pub(crate) mod tests;
mod tokens;

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use auth::{Key, KeyStore, KeysFileError, NewKey, Scope, TABLE};
pub use openapi::document as openapi_document;
pub use problem::{Problem, TYPE_PREFIX};
pub use server::{Server, ServerOptions, serve, serve_metrics_only};

use crate::service::App;

/// Event streams that one process serves at once.
const STREAMS_MAX: usize = 256;

/// What handlers share.
#[derive(Clone)]
pub(crate) struct Site(Arc<Shared>);

struct Shared {
    app: App,
    keys: KeyStore,
    open_connect: bool,
    streams: Arc<Semaphore>,
    ending: CancellationToken,
}

impl Site {
    fn new(app: App, keys: KeyStore, open_connect: bool, ending: CancellationToken) -> Self {
        let streams = Arc::new(Semaphore::new(STREAMS_MAX));
        Self(Arc::new(Shared {
            app,
            keys,
            open_connect,
            streams,
            ending,
        }))
    }

    fn app(&self) -> &App {
        &self.0.app
    }

    fn keys(&self) -> &KeyStore {
        &self.0.keys
    }

    /// Whether anybody may start a consent.
    fn open_connect(&self) -> bool {
        self.0.open_connect
    }

    /// One permit for each open event stream.
    fn streams(&self) -> &Arc<Semaphore> {
        &self.0.streams
    }

    /// Cancelled when the server begins to end.
    fn ending(&self) -> &CancellationToken {
        &self.0.ending
    }
}
