//! Settings: flags over environment over `evergreen.toml`; every problem is told at once.
//!
//! Reading them is a function of what was given ([`Sources`]), so that nothing here depends on the
//! process it runs in. Two settings name files that are read, too: the seal keys' and the client
//! secret's.
//!
//! | file | holds |
//! |---|---|
//! | `keys.rs` | every setting there is, and how flag, variable and key of the file are called |
//! | `sources.rs` | what was given, and which of it counts |
//! | `file.rs` | `evergreen.toml` |
//! | `flags.rs` | the flags of those commands that take settings |
//! | `duration.rs` | `15m`, `1h30m`, and nothing else |
//! | `reader.rs` | reading one value, and remembering what is wrong with it |
//! | `secrets.rs` | Redis' URL, the seal keys, the client app |
//! | `urls.rs` | how browsers reach the API, and where they come back to |
//! | `webhook.rs` | where events are posted to, and what they are signed with |
//! | `values.rs` | what is allowed of every other setting, and what must hold between them |

mod duration;
mod file;
mod flags;
mod keys;
mod reader;
mod secrets;
mod sources;
#[cfg(test)]
mod tests;
mod urls;
mod values;
mod webhook;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use evergreen_engine::Limits;
use evergreen_engine::store::redis::RedisOptions;
use secrecy::{ExposeSecret, SecretString};

pub use self::duration::DurationRange;
pub use self::flags::{SettingFlags, StoreFlags};
pub use self::reader::{Problem, Problems};
pub use self::sources::{File, Sources, SourcesError};
use crate::lifecycle::Settings;
use crate::provider::{ClientApp, HostPolicy};
use crate::vault::KeyRing;
use crate::webhook::WebhookOptions;

/// Who reads the settings, which decides what may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `serve`: Redis and seal keys are needed; it listens in any case.
    Serve,
    /// `worker`: Redis and seal keys are needed; it listens if told to.
    Worker,
    /// `dev`: everything has a default.
    Dev,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A filter of `tracing-subscriber`, checked.
    pub filter: String,
    /// How the lines look.
    pub format: LogFormat,
}

/// Which Redis, and what is expected of it.
#[derive(Clone)]
pub struct StoreConfig {
    /// With its password, if it has one.
    pub url: SecretString,
    /// The number of partitions; `None` takes what is there.
    pub partitions: Option<u16>,
    /// How many replicas must confirm a durable commit.
    pub replicas: u32,
    /// What every key begins with; `None` for the usual.
    pub prefix: Option<String>,
}

impl StoreConfig {
    /// As the store wants it.
    #[must_use]
    pub fn options(&self) -> RedisOptions {
        let usual = RedisOptions::new(self.url.expose_secret());
        RedisOptions {
            partitions: self.partitions,
            replicas: self.replicas,
            prefix: self.prefix.clone().unwrap_or(usual.prefix),
            ..usual
        }
    }
}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options().fmt(f)
    }
}

/// Everything that `serve`, `worker` and `dev` are told.
#[derive(Debug)]
pub struct Config {
    /// The Redis; `None` only for [`Role::Dev`].
    pub store: Option<StoreConfig>,
    /// Bounds of the engine, their relations checked.
    pub limits: Limits,
    /// What the lifecycle machine goes by.
    pub settings: Settings,
    /// The seal keys.
    pub ring: KeyRing,
    /// The seal keys were made for this run, because none were given.
    pub ring_is_fresh: bool,
    /// The fleet's client app at NinjaOne, if there is one.
    pub client: Option<ClientApp>,
    /// Hosts that may be talked to.
    pub hosts: HostPolicy,
    /// Where rotated pairs wait for their commit.
    pub journal_dir: Option<PathBuf>,
    /// Where to listen; always there for [`Role::Serve`] and [`Role::Dev`].
    pub listen: Option<SocketAddr>,
    /// How browsers reach us, where that was said: scheme, host and perhaps port, nothing behind.
    pub public_url: Option<String>,
    /// Where NinjaOne sends browsers back to, as it is registered there, where that was said.
    pub redirect_uri: Option<String>,
    /// API keys beside those in the store.
    pub api_keys_file: Option<PathBuf>,
    /// Where events are posted to, if anywhere.
    pub webhook: Option<WebhookOptions>,
    /// What is logged.
    pub log: Log,
    /// What should be known although nothing is wrong.
    pub warnings: Vec<String>,
}

impl Config {
    /// How browsers reach a server at this address.
    #[must_use]
    pub fn public_url(&self, listen: SocketAddr) -> String {
        self.public_url.clone().unwrap_or_else(|| {
            if listen.ip().is_unspecified() {
                format!("http://127.0.0.1:{}", listen.port())
            } else {
                format!("http://{listen}")
            }
        })
    }

    /// Where NinjaOne sends browsers back to, for a server at this address.
    #[must_use]
    pub fn redirect_uri(&self, listen: SocketAddr) -> String {
        self.redirect_uri
            .clone()
            .unwrap_or_else(|| format!("{}{}", self.public_url(listen), urls::CALLBACK))
    }
}

/// Reads all settings.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn load(sources: &Sources, role: Role) -> Result<Config, Problems> {
    values::all(sources, role)
}

/// Reads which Redis it is, for commands that work on it and on nothing else.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn load_store(sources: &Sources) -> Result<StoreConfig, Problems> {
    values::store_alone(sources)
}

/// The same for commands that can do without one: `None` where no Redis is named.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn load_store_if_named(sources: &Sources) -> Result<Option<StoreConfig>, Problems> {
    values::store_if_named(sources)
}

/// Reads where the journal is, for commands that look into it and nowhere else.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn load_journal_dir(sources: &Sources) -> Result<PathBuf, Problems> {
    values::journal_dir_alone(sources)
}
