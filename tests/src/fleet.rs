//! A fleet of real processes: one Redis, the simulator, an API for a while, and workers that may be
//! killed, stopped and restarted.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ninjaone::provider::{HostPolicy, HttpOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Evergreen, Finished, Invocation, Signal};
use crate::{RedisServer, eventually};

/// How long a step of setting up may take.
const SETUP: Duration = Duration::from_secs(180);

/// How large, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Integrations.
    pub integrations: usize,
    /// Workers.
    pub workers: usize,
    /// Life of an access token, in seconds.
    pub life_s: u64,
    /// How long the fleet is watched.
    pub watch: Duration,
    /// The workers' lease, in seconds.
    pub lease_s: u64,
    /// How long the provider takes to answer a request that it has carried out, in milliseconds.
    pub answer_ms: u64,
}

impl Plan {
    /// The plan that the environment asks for (`EVERGREEN_FLEET_INTEGRATIONS`, `…_LIFE_S`,
    /// `…_WATCH_S`, `…_LEASE_S`), else a small one for every run of the tests.
    pub fn from_env() -> Self {
        let number = |name: &str, default: u64| {
            std::env::var(format!("EVERGREEN_FLEET_{name}"))
                .map_or(default, |text| text.parse().expect("a number"))
        };
        Self {
            integrations: usize::try_from(number("INTEGRATIONS", 60)).expect("a count"),
            workers: 3,
            life_s: number("LIFE_S", 12),
            watch: Duration::from_secs(number("WATCH_S", 30)),
            lease_s: number("LEASE_S", 4),
            answer_ms: 0,
        }
    }
}

/// Everything that runs.
pub struct Fleet {
    /// The store.
    pub redis: RedisServer,
    /// What the fleet is measured against.
    pub plan: Plan,
    simulator: Evergreen,
    simulator_url: String,
    files: TempDir,
    seal_keys: String,
    api_key: String,
    workers: Vec<Option<Evergreen>>,
    http: reqwest::Client,
    secrets: Vec<String>,
    store: Vec<(&'static str, String)>,
}

impl Fleet {
    /// Starts Redis and the simulator, seeds live grants, imports them from Alga-style secrets
    /// through an API, and starts the workers.
    pub async fn start(plan: Plan) -> Self {
        let redis = RedisServer::start_own().await;
        let url = redis.url().to_owned();
        Self::over(plan, redis, vec![("EVERGREEN_REDIS_URL", url)]).await
    }

    /// The same over the store that these settings name; `redis` is one of its servers.
    pub async fn over(plan: Plan, redis: RedisServer, store: Vec<(&'static str, String)>) -> Self {
        Self::asking("127.0.0.1:0", plan, redis, store).await
    }

    /// The same, with the provider at this address.
    pub async fn asking(
        provider: &str,
        plan: Plan,
        redis: RedisServer,
        store: Vec<(&'static str, String)>,
    ) -> Self {
        let mut simulator = Evergreen::with([
            "simulator",
            "--listen",
            provider,
            "--lifetime",
            &format!("{}s", plan.life_s),
            "--response-delay",
            &format!("{}ms", plan.answer_ms),
            "--json",
        ])
        .spawn();
        let line = simulator.wait_for_line("\"url\"", SETUP).await;
        let told: Value = serde_json::from_str(&line).expect("one line of JSON");
        let simulator_url = told["url"].as_str().expect("its address").to_owned();
        let keys = Evergreen::with(["keys", "generate"])
            .run(SETUP)
            .await
            .expect_code(0);
        let seal_keys = keys.stdout.lines().last().expect("the key").to_owned();
        let mut fleet = Self {
            redis,
            plan,
            simulator,
            simulator_url,
            files: TempDir::with_prefix("evergreen-fleet-").expect("a directory"),
            seal_keys,
            api_key: String::new(),
            workers: Vec::new(),
            http: HttpOptions {
                policy: HostPolicy::new().with_loopback(),
                ..HttpOptions::default()
            }
            .build()
            .expect("an HTTP client"),
            secrets: Vec::new(),
            store,
        };
        fleet.seed().await;
        let made = fleet
            .run(&[
                "apikeys", "create", "--name", "tests", "--scope", "admin", "--scope", "token",
                "--json",
            ])
            .await
            .expect_code(0)
            .json();
        fleet.api_key = made["key"].as_str().expect("the key").to_owned();

        let (mut api, url) = fleet.api().await;
        let report = fleet
            .client(
                &url,
                &[
                    "import",
                    "--format",
                    "alga",
                    fleet.files.path().join("secrets").to_str().expect("UTF-8"),
                    "--json",
                ],
            )
            .run(SETUP)
            .await
            .expect_code(0)
            .json();
        assert_eq!(report["adopted"], plan.integrations, "{report}");
        for _ in 0..plan.workers {
            let worker = fleet.start_worker();
            fleet.workers.push(Some(worker));
        }
        api.signal(Signal::TERM);
        api.finished(SETUP).await.expect_code(0);
        fleet
    }

    /// Live grants at the simulator, as Alga would have left them on disk.
    async fn seed(&mut self) {
        // Spread over as long as a token lives, the first of them soon.
        let life = self.plan.life_s;
        let spread = json!({"min": (life / 4).max(4), "max": life + life / 4});
        let grants: Value = self
            .http
            .post(format!("{}/simulator/seed", self.simulator_url))
            .json(&json!({"count": self.plan.integrations, "expires_in": spread}))
            .send()
            .await
            .expect("the simulator answers")
            .json()
            .await
            .expect("JSON");
        let base = self.files.path().join("secrets");
        let all = grants["grants"].as_array();
        for grant in all.unwrap_or_else(|| panic!("no grants: {grants}")) {
            let text = |name: &str| grant[name].as_str().unwrap_or_default().to_owned();
            let tenant = base.join("tenants").join(text("tenant"));
            fs::create_dir_all(&tenant).expect("a directory");
            let expires_at = chrono::DateTime::parse_from_rfc3339(&text("expires_at"))
                .expect("a time")
                .timestamp_millis();
            let credentials = json!({
                "access_token": text("access_token"), "refresh_token": text("refresh_token"),
                "expires_at": expires_at, "instance_url": text("instance_url"),
            });
            write(&tenant, "ninjaone_credentials", &credentials.to_string());
            write(&tenant, "ninjaone_client_id", &text("client_id"));
            write(&tenant, "ninjaone_client_secret", &text("client_secret"));
            self.secrets
                .extend([text("access_token"), text("refresh_token")]);
        }
        self.secrets.push("evergreen-demo-secret".to_owned());
    }

    fn with(&self, arguments: &[&str]) -> Invocation {
        let host = self.simulator_url.trim_start_matches("http://");
        let started = Evergreen::with(arguments);
        let store = self.store.iter();
        store
            .fold(started, |started, (name, value)| started.env(name, value))
            .env("EVERGREEN_SEAL_KEYS", &self.seal_keys)
            .env("EVERGREEN_JOURNAL_DIR", self.files.path().join("journal"))
            .env("EVERGREEN_NINJAONE_CLIENT_ID", "evergreen-demo")
            .env("EVERGREEN_NINJAONE_CLIENT_SECRET", "evergreen-demo-secret")
            .env("EVERGREEN_NINJAONE_HOSTS", host)
            .env("EVERGREEN_LEASE", format!("{}s", self.plan.lease_s))
    }

    async fn run(&self, arguments: &[&str]) -> Finished {
        self.with(arguments).run(SETUP).await
    }

    /// A command that speaks to an API.
    pub fn client(&self, url: &str, arguments: &[&str]) -> Invocation {
        Evergreen::with(arguments)
            .env("EVERGREEN_URL", url)
            .env("EVERGREEN_API_KEY", &self.api_key)
    }

    /// An API, and where it is.
    pub async fn api(&self) -> (Evergreen, String) {
        let mut api = self
            .with(&["serve"])
            .env("EVERGREEN_LISTEN", "127.0.0.1:0")
            .spawn();
        let line = api.wait_for_line("http://", SETUP).await;
        let url = line
            .split_whitespace()
            .find_map(|word| word.find("http://").map(|at| &word[at..]));
        let url = url
            .expect("an address")
            .trim_end_matches(['/', '.', ',', '"'])
            .to_owned();
        (api, url)
    }

    fn start_worker(&self) -> Evergreen {
        self.with(&["worker"]).spawn()
    }

    /// Kills a worker in the middle of whatever it does, and starts another.
    pub fn kill_and_restart(&mut self, place: usize) {
        if let Some(mut worker) = self.workers[place].take() {
            worker.kill();
        }
        let worker = self.start_worker();
        self.workers[place] = Some(worker);
    }

    /// Stops a worker's process where it stands, or lets it go on.
    pub fn signal(&mut self, place: usize, signal: Signal) {
        if let Some(worker) = self.workers[place].as_mut() {
            worker.signal(signal);
        }
    }

    /// What the simulator has seen.
    pub async fn ledger(&self) -> Value {
        let url = format!("{}/simulator/ledger", self.simulator_url);
        self.http
            .get(url)
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON")
    }

    /// Every token request that the simulator has seen, in order.
    pub async fn entries(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let mut after = 0;
        loop {
            let url = format!(
                "{}/simulator/ledger/entries?after={after}&limit=1000",
                self.simulator_url
            );
            let page: Value = self
                .http
                .get(url)
                .send()
                .await
                .expect("an answer")
                .json()
                .await
                .expect("JSON");
            let entries = page["entries"].as_array().cloned().unwrap_or_default();
            if entries.is_empty() {
                return all;
            }
            after = page["next_after"].as_u64().expect("a number");
            all.extend(entries);
        }
    }

    /// Waits until as much time has passed as was planned, calling `tick` once a second.
    pub async fn watch(&mut self, mut tick: impl FnMut(&mut Self, u64)) {
        let began = Instant::now();
        let mut second = 0;
        while began.elapsed() < self.plan.watch {
            tick(self, second);
            second += 1;
            eventually("the next second", Duration::from_secs(2), async || {
                (began.elapsed() >= Duration::from_secs(second)).then_some(())
            })
            .await;
        }
    }

    /// All integrations, each as it was seen when it was not in the middle of something. In a large fleet
    /// there is no moment at which nobody is.
    pub async fn settled(&mut self) -> Vec<Value> {
        let (mut api, url) = self.api().await;
        let mut at_rest = BTreeMap::new();
        let all = eventually(
            "every integration at rest",
            Duration::from_secs(120),
            async || {
                let listed = self
                    .client(&url, &["list", "--json"])
                    .run(SETUP)
                    .await
                    .json();
                for one in listed["integrations"].as_array().into_iter().flatten() {
                    if one["state"] != "Refreshing" && one["purpose"] != "retry" {
                        let name = one["integration"].to_string();
                        at_rest.insert(name, one.clone());
                    }
                }
                (at_rest.len() == self.plan.integrations)
                    .then(|| at_rest.values().cloned().collect::<Vec<_>>())
            },
        )
        .await;
        api.signal(Signal::TERM);
        api.finished(SETUP).await.expect_code(0);
        all
    }

    /// Drains all workers; each must end in order. Answers everything that they printed.
    pub async fn stop(&mut self) -> String {
        let mut output = String::new();
        for mut worker in self.workers.drain(..).flatten() {
            worker.signal(Signal::TERM);
            let finished = worker.finished(SETUP).await.expect_code(0);
            output.push_str(&finished.stdout);
            output.push_str(&finished.stderr);
        }
        output
    }

    /// Everything that Redis holds, as text.
    pub async fn dump(&self) -> String {
        String::from_utf8_lossy(&self.redis.dump().await).into_owned()
    }

    /// Everything secret that was ever given to the fleet by us.
    pub fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// Arguments of every process of the fleet, as the system shows them to everybody.
    pub fn arguments(&self) -> String {
        let ids = self
            .workers
            .iter()
            .flatten()
            .map(Evergreen::id)
            .chain([self.simulator.id()]);
        ids.filter_map(|id| fs::read(format!("/proc/{id}/cmdline")).ok())
            .map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "))
            .collect()
    }
}

fn write(directory: &Path, name: &str, text: &str) {
    fs::write(directory.join(name), text).expect("a file");
}
