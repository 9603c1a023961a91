//! The flags of those commands that take settings: every one that is not a secret.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::keys::{self, Key};
use super::sources::{Sources, SourcesError};

/// Which Redis, as flags: all that `migrate` and `apikeys` need to know.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Settings")]
pub struct StoreFlags {
    /// The configuration file; without it ./evergreen.toml, if there is one
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// The Redis, without a password: one with a password goes into EVERGREEN_REDIS_URL
    #[arg(long, value_name = "URL")]
    pub redis_url: Option<String>,
    /// How many partitions the key space has or gets [default: what is there, or 16]
    #[arg(long, value_name = "N")]
    pub partitions: Option<String>,
    /// How many replicas must confirm what must not be lost [default: 0]
    #[arg(long, value_name = "N")]
    pub replicas: Option<String>,
    /// What every key begins with; fleets that share a Redis need one each [default: evergreen]
    #[arg(long, value_name = "TEXT")]
    pub key_prefix: Option<String>,
}

impl StoreFlags {
    fn given(&self) -> BTreeMap<&'static str, String> {
        named([
            (keys::REDIS_URL, &self.redis_url),
            (keys::PARTITIONS, &self.partitions),
            (keys::REPLICAS, &self.replicas),
            (keys::KEY_PREFIX, &self.key_prefix),
        ])
    }

    /// These flags with the environment and the file of this process.
    ///
    /// # Errors
    /// When the configuration file cannot be read.
    pub fn sources(&self) -> Result<Sources, SourcesError> {
        Sources::of_process(self.given(), self.config.as_deref())
    }
}

fn named<const N: usize>(flags: [(Key, &Option<String>); N]) -> BTreeMap<&'static str, String> {
    flags
        .into_iter()
        .filter_map(|(key, value)| Some((key.0, value.clone()?)))
        .collect()
}

/// Settings as flags. Each is read from its variable `EVERGREEN_…` or from `evergreen.toml` when
/// the flag is not given.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Settings")]
pub struct SettingFlags {
    /// Which Redis.
    #[command(flatten)]
    pub store: StoreFlags,
    /// A file with the seal keys, as `evergreen keys generate` prints them
    #[arg(long, value_name = "PATH")]
    pub seal_keys_file: Option<String>,
    /// A JSON file with API keys beside those in the store
    #[arg(long, value_name = "PATH")]
    pub api_keys_file: Option<String>,
    /// Where rotated tokens wait, sealed, until Redis has them [default: ./evergreen-journal]
    #[arg(long, value_name = "PATH")]
    pub journal_dir: Option<String>,
    /// The client app registered at NinjaOne
    #[arg(long, value_name = "ID")]
    pub ninjaone_client_id: Option<String>,
    /// A file with the app's secret
    #[arg(long, value_name = "PATH")]
    pub ninjaone_client_secret_file: Option<String>,
    /// Hosts allowed beside NinjaOne's regions, separated by commas
    #[arg(long, value_name = "HOST[:PORT],…")]
    pub ninjaone_hosts: Option<String>,
    /// How long before its expiry a token is refreshed [default: a quarter of its life, 1m to 15m]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub refresh_buffer: Option<String>,
    /// From one refresh to the next at least [default: 30s, or a third of the life]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub refresh_min_delay: Option<String>,
    /// How long a worker holds a workflow without renewing [default: 15s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub lease: Option<String>,
    /// How long a token request may take [default: 10s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub token_timeout: Option<String>,
    /// How long to finish what runs when told to stop [default: 20s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub shutdown_grace: Option<String>,
    /// How long a disconnected integration is remembered [default: 30d]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub retention: Option<String>,
    /// How browsers reach this server [default: made from the listen address]
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// Where NinjaOne sends browsers back to, as registered there [default: PUBLIC_URL/oauth/callback]
    #[arg(long, value_name = "URL")]
    pub redirect_uri: Option<String>,
    /// Where events are posted to, signed; one with a token in it goes into EVERGREEN_WEBHOOK_URL [default: nowhere]
    #[arg(long, value_name = "URL")]
    pub webhook_url: Option<String>,
    /// A file with the secret that webhooks are signed with
    #[arg(long, value_name = "PATH")]
    pub webhook_secret_file: Option<String>,
    /// Where to listen [default: 127.0.0.1:8080; `worker` does not listen]
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<String>,
    /// What is logged: error, warn, info, debug, or a tracing filter [default: info]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
    /// How it is logged: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

impl SettingFlags {
    /// The flags that were given, by the setting's name.
    #[must_use]
    pub fn given(&self) -> BTreeMap<&'static str, String> {
        let mut given = self.store.given();
        given.extend(named([
            (keys::SEAL_KEYS_FILE, &self.seal_keys_file),
            (keys::API_KEYS_FILE, &self.api_keys_file),
            (keys::JOURNAL_DIR, &self.journal_dir),
            (keys::CLIENT_ID, &self.ninjaone_client_id),
            (keys::CLIENT_SECRET_FILE, &self.ninjaone_client_secret_file),
            (keys::HOSTS, &self.ninjaone_hosts),
            (keys::REFRESH_BUFFER, &self.refresh_buffer),
            (keys::REFRESH_MIN_DELAY, &self.refresh_min_delay),
            (keys::LEASE, &self.lease),
            (keys::TOKEN_TIMEOUT, &self.token_timeout),
            (keys::SHUTDOWN_GRACE, &self.shutdown_grace),
            (keys::RETENTION, &self.retention),
            (keys::PUBLIC_URL, &self.public_url),
            (keys::REDIRECT_URI, &self.redirect_uri),
            (keys::WEBHOOK_URL, &self.webhook_url),
            (keys::WEBHOOK_SECRET_FILE, &self.webhook_secret_file),
            (keys::LISTEN, &self.listen),
            (keys::LOG, &self.log),
            (keys::LOG_FORMAT, &self.log_format),
        ]));
        given
    }

    /// These flags with the environment and the file of this process.
    ///
    /// # Errors
    /// When the configuration file cannot be read.
    pub fn sources(&self) -> Result<Sources, SourcesError> {
        Sources::of_process(self.given(), self.store.config.as_deref())
    }
}
