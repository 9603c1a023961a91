//! What is allowed of each setting, and what must hold between them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use evergreen_engine::Limits;
use tracing_subscriber::EnvFilter;

use super::duration::written;
use super::keys::{self, Key};
use super::reader::{Problems, Reader};
use super::secrets::{client, missing_redis, ring, store};
use super::urls;
use super::webhook::webhook;
use super::{Config, DurationRange, Log, LogFormat, Role, Sources, StoreConfig};
use crate::lifecycle::Settings;
use crate::provider::HostPolicy;

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
        ..Settings::default()
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
    let (public_url, redirect_uri) = urls::read(&mut reader, role);
    let journal_dir = path(&mut reader, keys::JOURNAL_DIR)
        .or((role != Role::Dev).then(|| PathBuf::from(DEFAULT_JOURNAL)));
    let api_keys_file = path(&mut reader, keys::API_KEYS_FILE);
    let webhook = webhook(&mut reader);
    let log = log(&mut reader, role);
    let mut warnings = reader.slips();
    warnings.extend(without_effect(&mut reader, role));
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
        webhook,
        log,
        warnings,
    });
    reader.finish(config)
}

/// What was set and does nothing, so that nobody relies on it.
fn without_effect(reader: &mut Reader<'_>, role: Role) -> Vec<String> {
    let mut told = Vec::new();
    let mut tell = |key, why: &str| {
        if let Some(found) = reader.found(key).filter(|found| !found.text.is_empty()) {
            told.push(format!("{} has no effect: {why}", found.name));
        }
    };
    if role == Role::Dev {
        let here = "all addresses that dev prints are those that it listens on (--listen)";
        tell(keys::PUBLIC_URL, here);
        tell(keys::REDIRECT_URI, here);
    }
    told
}

pub(super) fn store_alone(sources: &Sources) -> Result<StoreConfig, Problems> {
    let mut reader = Reader::new(sources);
    let config = store(&mut reader);
    if config.is_none() && reader.found(keys::REDIS_URL).is_none() {
        missing_redis(&mut reader);
    }
    reader.finish(config)
}

pub(super) fn store_if_named(sources: &Sources) -> Result<Option<StoreConfig>, Problems> {
    let mut reader = Reader::new(sources);
    let config = store(&mut reader);
    reader.finish(Some(config))
}

pub(super) fn journal_dir_alone(sources: &Sources) -> Result<PathBuf, Problems> {
    let mut reader = Reader::new(sources);
    let path = path(&mut reader, keys::JOURNAL_DIR).unwrap_or_else(|| DEFAULT_JOURNAL.into());
    reader.finish(Some(path))
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

fn log(reader: &mut Reader<'_>, role: Role) -> Log {
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
        filter: filter.unwrap_or_else(|| {
            // A visitor reads what `dev` says, not what it does.
            let usual = if role == Role::Dev { "warn" } else { "info" };
            usual.to_owned()
        }),
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

pub(super) fn number(reader: &mut Reader<'_>, key: Key, min: u32, max: u32) -> Option<u32> {
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
