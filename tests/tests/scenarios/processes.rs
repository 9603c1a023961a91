//! Real processes of the program over the Redis of a bench, with the bench's simulator as provider.

use std::time::Duration;

use evergreen_engine::Limits;
use evergreen_tests::process::Invocation;
use evergreen_tests::{Bench, Evergreen, RedisServer, eventually};
use ninjaone::simulator::SimulatorOptions;
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take.
pub(crate) const SOON: Duration = Duration::from_secs(60);

pub(crate) struct Beside {
    pub(crate) redis: RedisServer,
    pub(crate) bench: Bench,
    disks: TempDir,
}

impl Beside {
    /// A key space of one partition, which a reconciler is soon round.
    pub(crate) async fn new(simulator: SimulatorOptions) -> Self {
        let redis = RedisServer::start_own().await;
        let made = Evergreen::with(["migrate", "--partitions", "1"]).redis(&redis);
        made.run(SOON).await.expect_code(0);
        Self {
            bench: Bench::beside_processes(&redis, simulator)
                .await
                .with_limits(Limits::default()),
            redis,
            disks: TempDir::with_prefix("evergreen-disks-").unwrap(),
        }
    }

    /// A command of the fleet.
    pub(crate) fn program(&self, arguments: &[&str]) -> Invocation {
        let host = self.bench.simulator.addr().to_string();
        Evergreen::with(arguments)
            .redis(&self.redis)
            .env("EVERGREEN_SEAL_KEYS", self.bench.keys())
            .env("EVERGREEN_JOURNAL_DIR", self.disks.path())
            .env("EVERGREEN_NINJAONE_CLIENT_ID", "evergreen-demo")
            .env("EVERGREEN_NINJAONE_CLIENT_SECRET", "evergreen-demo-secret")
            .env("EVERGREEN_NINJAONE_HOSTS", host)
            .env("EVERGREEN_LISTEN", "127.0.0.1:0")
            .env("EVERGREEN_LOG_FORMAT", "json")
    }

    /// A worker, and where its metrics are.
    pub(crate) async fn worker(&self) -> Server {
        Server::of(self.program(&["worker"]), "metrics").await
    }

    /// An API with a worker.
    pub(crate) async fn serve(&self) -> Server {
        Server::of(self.program(&["serve"]), "address").await
    }

    /// An API key with these scopes.
    pub(crate) async fn key(&self, scopes: &[&str]) -> String {
        let mut arguments = vec!["apikeys", "create", "--name", "tests", "--json"];
        for scope in scopes {
            arguments.extend(["--scope", scope]);
        }
        let made = self.program(&arguments).run(SOON).await;
        let made = made.expect_code(0).json();
        made["key"].as_str().unwrap().to_owned()
    }
}

/// A process that listens.
pub(crate) struct Server {
    pub(crate) process: Evergreen,
    pub(crate) url: String,
}

impl Server {
    async fn of(program: Invocation, field: &str) -> Self {
        let mut process = program.spawn();
        let line = process.wait_for_line(&format!("\"{field}\":"), SOON).await;
        let line: Value = serde_json::from_str(&line).unwrap();
        let address = line[field].as_str().unwrap();
        Self {
            url: format!("http://{address}"),
            process,
        }
    }

    /// What it counts under this name, labels included; 0 where it tells nothing.
    pub(crate) async fn counts(&self, name: &str) -> f64 {
        let page = reqwest::get(format!("{}/metrics", self.url)).await.unwrap();
        let page = page.text().await.unwrap();
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |number| number.parse().unwrap())
    }

    /// Waits until it counts so many.
    pub(crate) async fn see(&self, name: &str, wanted: f64) {
        eventually(name, SOON, async || {
            (self.counts(name).await >= wanted).then_some(())
        })
        .await;
    }
}
