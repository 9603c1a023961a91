//! What is allowed of each setting, and what must hold between them.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use evergreen_engine::Limits;
use evergreen_engine::limits::PARTITIONS_MAX;
use secrecy::{ExposeSecret, SecretString};
use tracing_subscriber::EnvFilter;
use url::Url;

use super::duration::written;
use super::keys::{self, Key};
use super::reader::{Problems, Reader};
use super::{Config, DurationRange, Log, LogFormat, Role, Sources, StoreConfig};
use crate::lifecycle::Settings;
use crate::provider::{ClientApp, HostPolicy};
use crate::vault::{KeyRing, RingError};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// Below this a token request is not begun, by default.
const ACTIVITY_MIN: Duration = Duration::from_secs(4);
const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);
const DEFAULT_JOURNAL: &str = "evergreen-journal";

pub(super) fn all(sources: &Sources, role: Role) -> Result<Config, Problems> {
    let mut reader = Reader::new(sources);
    let store = store(&mut reader);
    if store.is_none() && role != Role::Dev && reader.found(keys::REDIS_URL).is_none() {
        missing_redis(&mut reader);
    }
    let (ring, ring_is_fresh) = ring(&mut reader, role);
    let client = client(&mut reader);
    let hosts = hosts(&mut reader);
    let limits = limits(&mut reader);
    let settings = Settings {
        refresh_buffer: span(&mut reader, keys::REFRESH_BUFFER, SECOND, DAY, "15m"),
        refresh_min_delay: span(&mut reader, keys::REFRESH_MIN_DELAY, SECOND, HOUR, "30s"),
        retention: span(&mut reader, keys::RETENTION, SECOND, DAY * 3650, "30d")
            .unwrap_or(Settings::default().retention),
        client_id: client.as_ref().map(|app| app.client_id.clone()),
    };
    let listen = reader
        .read(
            keys::LISTEN,
            "an address and a port, such as 127.0.0.1:8080",
            |text| {
                text.parse::<SocketAddr>()
                    .map_err(|_| "is not an address with a port")
            },
        )
        .or((role != Role::Worker).then_some(DEFAULT_LISTEN));
    let (public_url, redirect_uri) = urls(&mut reader, listen);
    let journal_dir = path(&mut reader, keys::JOURNAL_DIR)
        .or((role != Role::Dev).then(|| PathBuf::from(DEFAULT_JOURNAL)));
    let api_keys_file = path(&mut reader, keys::API_KEYS_FILE);
    let log = log(&mut reader);
    let warnings = reader.slips();
    let config = ring.map(|ring| Config {
        store,
        limits,
        settings,
        ring,
        ring_is_fresh,
        client,
        hosts,
        journal_dir,
        listen,
        public_url,
        redirect_uri,
        api_keys_file,
        log,
        warnings,
    });
    reader.finish(config)
}

pub(super) fn store_alone(sources: &Sources) -> Result<StoreConfig, Problems> {
    let mut reader = Reader::new(sources);
    let config = store(&mut reader);
    if config.is_none() && reader.found(keys::REDIS_URL).is_none() {
        missing_redis(&mut reader);
    }
    reader.finish(config)
}

fn missing_redis(reader: &mut Reader<'_>) {
    let wrong = "is missing; it says which Redis to use, such as redis://127.0.0.1:6379";
    reader.wrong(keys::REDIS_URL.variable(), wrong);
}

fn store(reader: &mut Reader<'_>) -> Option<StoreConfig> {
    let partitions = number(reader, keys::PARTITIONS, 1, u32::from(PARTITIONS_MAX));
    let replicas = number(reader, keys::REPLICAS, 0, 16).unwrap_or(0);
    let flag = keys::REDIS_URL.flag();
    let from_flag = reader
        .found(keys::REDIS_URL)
        .is_some_and(|found| found.name == flag);
    let allowed = "redis://[user:password@]host[:port][/db], also rediss:// for TLS, \
                   redis+sentinel:// and redis+cluster://";
    let url = reader.read(keys::REDIS_URL, allowed, |text| {
        let url = Url::parse(text).map_err(|_| "is not a URL")?;
        let schemes = ["redis", "rediss", "redis+sentinel", "redis+cluster"];
        if !schemes.contains(&url.scheme()) {
            return Err("has an unknown scheme");
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err("has no host");
        }
        if from_flag && (url.password().is_some() || !url.username().is_empty()) {
            return Err(
                "holds a login, which everybody on this machine can read on the command line \
                 (use EVERGREEN_REDIS_URL)",
            );
        }
        Ok(SecretString::from(text))
    })?;
    Some(StoreConfig {
        url,
        partitions: partitions.and_then(|number| u16::try_from(number).ok()),
        replicas,
    })
}

fn ring(reader: &mut Reader<'_>, role: Role) -> (Option<KeyRing>, bool) {
    let told = reader.found(keys::SEAL_KEYS);
    let file = reader.found(keys::SEAL_KEYS_FILE);
    let parsed = match (told, file) {
        (Some(told), Some(file)) => {
            let wrong = format!("is given beside {}; allowed is one of them", told.name);
            reader.wrong(file.name, wrong);
            return (None, false);
        }
        (Some(told), None) => KeyRing::parse(&told.text).map_err(|e| (told.name, e)),
        (None, Some(file)) if file.text.is_empty() => {
            reader.wrong(file.name, "is empty; allowed is the path of a file");
            return (None, false);
        }
        (None, Some(file)) => KeyRing::from_file(file.text.as_ref()).map_err(|e| (file.name, e)),
        (None, None) if role == Role::Dev => {
            return match fresh_ring() {
                Ok(ring) => (Some(ring), true),
                Err(e) => {
                    reader.wrong(keys::SEAL_KEYS.variable(), e.to_string());
                    (None, true)
                }
            };
        }
        (None, None) => {
            let wrong = "is missing, and so is EVERGREEN_SEAL_KEYS_FILE; without a key no \
                         credential can be stored. Make one: evergreen keys generate";
            reader.wrong(keys::SEAL_KEYS.variable(), wrong);
            return (None, false);
        }
    };
    match parsed {
        Ok(ring) => (Some(ring), false),
        Err((name, error)) => {
            reader.wrong(name, ring_problem(&error));
            (None, false)
        }
    }
}

fn fresh_ring() -> Result<KeyRing, RingError> {
    KeyRing::parse(KeyRing::generate()?.printable.expose_secret())
}

/// The setting's name is told already, so what remains is the rule.
fn ring_problem(error: &RingError) -> String {
    match error {
        RingError::Empty { .. } => {
            "holds no key; allowed is a list of id:base64, the current key first".to_owned()
        }
        RingError::Entry { position, rule, .. } => format!("entry {position}: {rule}"),
        RingError::File { source, .. } => format!("the file cannot be read: {source}"),
        RingError::Randomness(_) => error.to_string(),
    }
}

/// The fleet's app. An empty id is none at all: that is how orchestrators pass on what is not set.
fn client(reader: &mut Reader<'_>) -> Option<ClientApp> {
    let client_id = reader
        .found(keys::CLIENT_ID)
        .map(|found| found.text)
        .filter(|id| !id.is_empty());
    let secret = reader
        .found(keys::CLIENT_SECRET)
        .filter(|found| !found.text.is_empty());
    let file = reader
        .found(keys::CLIENT_SECRET_FILE)
        .filter(|found| !found.text.is_empty());
    let (name, client_secret) = match (secret, file) {
        (Some(secret), Some(file)) => {
            let wrong = format!("is given beside {}; allowed is one of them", secret.name);
            reader.wrong(file.name, wrong);
            return None;
        }
        (Some(secret), None) => (secret.name, Some(SecretString::from(secret.text))),
        (None, Some(file)) => match secret_file(&file.text) {
            Ok(secret) => (file.name, Some(secret)),
            Err(why) => {
                reader.wrong(
                    file.name,
                    format!("{why}; allowed is a file with the app's secret"),
                );
                return None;
            }
        },
        (None, None) => (String::new(), None),
    };
    match client_id {
        Some(client_id) => Some(ClientApp {
            client_id,
            client_secret,
        }),
        None if client_secret.is_some() => {
            let wrong =
                format!("is missing, although {name} is given; allowed are both, or the id alone");
            reader.wrong(keys::CLIENT_ID.variable(), wrong);
            None
        }
        None => None,
    }
}

fn secret_file(path: &str) -> Result<SecretString, String> {
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(64 * 1024).read_to_string(&mut text))
        .map_err(|e| format!("the file cannot be read: {e}"))?;
    let text = text.trim();
    if text.is_empty() {
        return Err("the file is empty".to_owned());
    }
    Ok(text.into())
}

fn hosts(reader: &mut Reader<'_>) -> HostPolicy {
    let Some(found) = reader.found(keys::HOSTS) else {
        return HostPolicy::new();
    };
    match HostPolicy::new().with_operator_list(&found.text) {
        Ok(policy) => policy,
        Err(refused) => {
            reader.wrong(found.name, refused.rule);
            HostPolicy::new()
        }
    }
}

fn limits(reader: &mut Reader<'_>) -> Limits {
    let defaults = Limits::default();
    let lease = span(reader, keys::LEASE, SECOND * 3, SECOND * 300, "15s");
    let timeout = span(reader, keys::TOKEN_TIMEOUT, SECOND, SECOND * 240, "10s");
    let grace = span(reader, keys::SHUTDOWN_GRACE, SECOND, SECOND * 600, "20s");
    let limits = Limits {
        lease: lease.unwrap_or(defaults.lease),
        shutdown_grace: grace.unwrap_or(defaults.shutdown_grace),
        ..defaults
    };
    // What a request may take at most: the lease without its margin and the time for the commit.
    let room = limits
        .lease
        .saturating_sub(limits.margin())
        .saturating_sub(limits.lease / 15);
    // Whole milliseconds, as settings are written.
    let room = Duration::from_millis(u64::try_from(room.as_millis()).unwrap_or(u64::MAX));
    let activity = timeout.unwrap_or(limits.activity.min(room));
    let limits = Limits {
        activity,
        activity_min: ACTIVITY_MIN.min(activity),
        ..limits
    };
    let fits = limits.activity_within(limits.lease.saturating_sub(limits.margin()));
    if fits != Some(activity) && timeout.is_some() {
        // Rounded up to seconds, so that what is proposed is allowed.
        let needed = Duration::from_secs((activity * 5 / 4).as_millis().div_ceil(1000) as u64);
        let wrong = format!(
            "does not end within a lease of {}; allowed is at most {}, or a longer lease: {}={}",
            written(limits.lease),
            written(room),
            keys::LEASE.variable(),
            written(needed)
        );
        let name = reader.name(keys::TOKEN_TIMEOUT);
        reader.wrong(name, wrong);
    }
    if let Err(broken) = limits.check() {
        for one in broken {
            reader.wrong(one.setting, one.rule);
        }
    }
    limits
}

fn urls(reader: &mut Reader<'_>, listen: Option<SocketAddr>) -> (String, String) {
    let allowed = "http:// or https:// and a host, such as https://evergreen.example.com";
    let public = reader.read(keys::PUBLIC_URL, allowed, web_url);
    let public = public.unwrap_or_else(|| own_url(listen.unwrap_or(DEFAULT_LISTEN)));
    let redirect = reader.read(keys::REDIRECT_URI, allowed, |text| {
        web_url(text)?;
        // As it is registered: compared character by character by the provider.
        Ok::<_, &'static str>(text.to_owned())
    });
    let redirect = redirect.unwrap_or_else(|| format!("{public}/oauth/callback"));
    (public, redirect)
}

/// How a browser on this machine reaches a server that listens here.
pub(crate) fn own_url(listen: SocketAddr) -> String {
    if listen.ip().is_unspecified() {
        format!("http://127.0.0.1:{}", listen.port())
    } else {
        format!("http://{listen}")
    }
}

fn web_url(text: &str) -> Result<String, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("begins with neither http:// nor https://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a login");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or a fragment");
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn log(reader: &mut Reader<'_>) -> Log {
    let allowed = "error, warn, info, debug, trace, or a filter such as info,ninjaone=debug";
    let filter = reader.read(keys::LOG, allowed, |text| match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("is no filter"),
    });
    let format = reader.read(keys::LOG_FORMAT, "text or json", |text| match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("is neither"),
    });
    Log {
        filter: filter.unwrap_or_else(|| "info".to_owned()),
        format: format.unwrap_or_default(),
    }
}

fn span(
    reader: &mut Reader<'_>,
    key: Key,
    min: Duration,
    max: Duration,
    example: &'static str,
) -> Option<Duration> {
    let range = DurationRange { min, max, example };
    reader.read(key, &range.allowed(), |text| range.parse(text))
}

fn number(reader: &mut Reader<'_>, key: Key, min: u32, max: u32) -> Option<u32> {
    let allowed = format!("a whole number from {min} to {max}");
    reader.read(key, &allowed, |text| match text.parse::<u32>() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        Ok(0) => Err("is zero"),
        Ok(_) => Err("is out of range"),
        Err(_) if text.starts_with('-') => Err("is negative"),
        Err(_) => Err("is not a whole number"),
    })
}

fn path(reader: &mut Reader<'_>, key: Key) -> Option<PathBuf> {
    reader.read(key, "a path", |text| Ok::<_, &str>(PathBuf::from(text)))
}
