//! A worker process from inside.

use std::sync::Arc;
use std::time::Duration;

use evergreen_engine::Limits;
use evergreen_engine::store::Store;
use evergreen_engine::store::redis::{RedisOptions, RedisStore};
use evergreen_engine::worker::{self, WorkerOptions};
use tokio::io::AsyncReadExt;

use super::{BenchError, space};
use crate::lifecycle::Settings;
use crate::provider::HostPolicy;
use crate::service::{App, AppOptions};
use crate::telemetry::Telemetry;
use crate::vault::KeyRing;

/// What a worker is to do.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Duty {
    /// What every key begins with
    #[arg(long)]
    pub prefix: String,
    /// Its name
    #[arg(long)]
    pub name: String,
    /// Its lease, in milliseconds
    #[arg(long, value_name = "MS")]
    pub lease_ms: u64,
    /// Do not listen to wake-up messages
    #[arg(long)]
    pub deaf: bool,
    /// Be a worker of the fleet in every respect, instead of one that runs the measured workflow
    #[arg(long)]
    pub whole: bool,
}

/// The seal key of a fleet that has nothing to seal.
const SEAL_KEY: &str = "bench:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

impl Duty {
    /// The same as arguments.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut all = vec![
            format!("--prefix={}", self.prefix),
            format!("--name={}", self.name),
            format!("--lease-ms={}", self.lease_ms),
        ];
        all.extend(self.deaf.then(|| "--deaf".to_owned()));
        all.extend(self.whole.then(|| "--whole".to_owned()));
        all
    }

    /// The bounds that go with the lease.
    #[must_use]
    pub fn limits(&self) -> Limits {
        limits(Duration::from_millis(self.lease_ms))
    }
}

/// The bounds that go with a lease: an activity takes what there is room for.
#[must_use]
pub fn limits(lease: Duration) -> Limits {
    Limits {
        lease,
        activity: lease * 4 / 5,
        activity_min: lease / 15,
        shutdown_grace: Duration::from_secs(5),
        ..Limits::default()
    }
}

/// Works until standard input ends. Says so when it begins, by `ready`.
///
/// # Errors
/// The store's, or what is wrong with the machine it runs on.
pub async fn run(
    options: RedisOptions,
    duty: &Duty,
    ready: impl FnOnce() -> Result<(), BenchError>,
) -> Result<(), BenchError> {
    let options = RedisOptions {
        prefix: duty.prefix.clone(),
        create: false,
        allow_volatile: true,
        wakes: !duty.deaf,
        ..options
    };
    let store = Arc::new(RedisStore::connect(options).await?);
    let until_the_end = async {
        let mut input = tokio::io::stdin();
        let mut byte = [0];
        while let Ok(1..) = input.read(&mut byte).await {}
    };
    let host = "bench".to_owned();
    if duty.whole {
        let salt = store.meta().await?.salt;
        let journal = tempfile::tempdir().map_err(|e| BenchError::Worker(e.to_string()))?;
        let app = whole(duty, store, salt, journal.path())?;
        ready()?;
        app.work(host, until_the_end).await;
    } else {
        let engine = space::engine(store, duty.limits(), &duty.name)?;
        ready()?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        worker::run(engine, WorkerOptions { host, version }, until_the_end).await;
    }
    Ok(())
}

/// The application as `evergreen worker` runs it, with a journal and seal keys of its own.
fn whole(
    duty: &Duty,
    store: Arc<dyn Store>,
    salt: String,
    journal: &std::path::Path,
) -> Result<App, BenchError> {
    let failed = |e: &dyn std::error::Error| BenchError::Worker(e.to_string());
    // One for all, as in a fleet: a worker with another ring has everything looked at again. It seals nothing.
    let ring = KeyRing::parse(SEAL_KEY).map_err(|e| failed(&e))?;
    let options = AppOptions {
        worker_id: duty.name.clone(),
        limits: duty.limits(),
        settings: Settings::default(),
        ring,
        client: None,
        hosts: HostPolicy::new(),
        journal_dir: Some(journal.to_owned()),
        public_url: "http://127.0.0.1:8080".to_owned(),
        redirect_uri: "http://127.0.0.1:8080/oauth/callback".to_owned(),
        salt,
        connect_timeout: Duration::from_secs(3),
    };
    App::start(store, options, Arc::new(Telemetry::default())).map_err(|e| failed(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        duty: Duty,
    }

    #[test]
    fn a_duty_survives_the_command_line() {
        for (deaf, whole) in [(false, false), (true, true)] {
            let duty = Duty {
                prefix: "evergreen:bench:0123".to_owned(),
                name: "hand-1".to_owned(),
                lease_ms: 3000,
                deaf,
                whole,
            };
            let words = std::iter::once("bench".to_owned()).chain(duty.arguments());
            let line = <Line as clap::Parser>::try_parse_from(words).unwrap();
            assert_eq!(line.duty, duty);
        }
    }

    #[test]
    fn the_bounds_hold_for_every_lease_that_may_be() {
        for seconds in [3, 10, 15, 300] {
            let limits = limits(Duration::from_secs(seconds));
            limits.check().unwrap();
            let trust = limits.lease - limits.margin();
            assert!(limits.activity_within(trust).is_some(), "{seconds}");
        }
    }
}
