//! The smallest real deployment: a Redis, the simulator and one `evergreen serve`, as processes.

use std::path::PathBuf;
use std::time::Duration;

use ninjaone::provider::{HostPolicy, HttpOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::RedisServer;
use crate::process::{Evergreen, Finished, Invocation};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The app at the simulator.
const CLIENT_ID: &str = "site";

/// Everything that runs.
pub struct Site {
    /// The store.
    pub redis: RedisServer,
    /// The provider.
    pub simulator: Evergreen,
    /// Where the provider is.
    pub simulator_url: String,
    /// API and worker.
    pub server: Evergreen,
    /// Where the API is.
    pub url: String,
    /// The seal keys, as the environment holds them.
    pub seal_keys: String,
    files: TempDir,
    client_secret: String,
    http: reqwest::Client,
}

impl Site {
    /// Starts all of it; the app at the simulator gets this secret.
    pub async fn start(client_secret: &str) -> Self {
        let redis = RedisServer::start_own().await;
        let arguments = ["simulator", "--listen", "127.0.0.1:0", "--lifetime", "10m"];
        let mut simulator = Evergreen::with(arguments.iter().chain(&["--json"])).spawn();
        let line = simulator.wait_for_line("\"url\"", PATIENCE).await;
        let told: Value = serde_json::from_str(&line).expect("one line of JSON");
        let simulator_url = told["url"].as_str().expect("its address").to_owned();
        let keys = Evergreen::with(["keys", "generate"]).run(PATIENCE).await;
        let keys = keys.expect_code(0).stdout;
        let http = HttpOptions {
            policy: HostPolicy::new().with_loopback(),
            ..HttpOptions::default()
        };
        let mut site = Self {
            server: Evergreen::with(["--version"]).spawn(),
            redis,
            simulator,
            simulator_url,
            url: String::new(),
            seal_keys: keys.lines().last().expect("the key").to_owned(),
            files: TempDir::with_prefix("evergreen-site-").expect("a directory"),
            client_secret: client_secret.to_owned(),
            http: http.build().expect("an HTTP client"),
        };
        site.simulated(
            "clients",
            &json!({"client_id": CLIENT_ID, "client_secret": client_secret}),
        )
        .await;
        site.server = site
            .here(&["serve"])
            .env("EVERGREEN_LISTEN", "127.0.0.1:0")
            .env("EVERGREEN_LOG", "trace")
            .env("EVERGREEN_LOG_FORMAT", "json")
            .spawn();
        let line = site
            .server
            .wait_for_line("serving the API and the dashboard", PATIENCE)
            .await;
        let line: Value = serde_json::from_str(&line).expect("one line of JSON");
        let find = |v: &Value| v["address"].as_str().map(str::to_owned);
        let address = find(&line).or_else(|| find(&line["fields"]));
        site.url = format!("http://{}", address.expect("its address"));
        site
    }

    /// A command that works on Redis itself.
    pub fn here(&self, arguments: &[&str]) -> Invocation {
        let host = self.simulator_url.trim_start_matches("http://");
        Evergreen::with(arguments)
            .redis(&self.redis)
            .env("EVERGREEN_SEAL_KEYS", &self.seal_keys)
            .env("EVERGREEN_JOURNAL_DIR", self.journal())
            .env("EVERGREEN_NINJAONE_CLIENT_ID", CLIENT_ID)
            .env("EVERGREEN_NINJAONE_CLIENT_SECRET", &self.client_secret)
            .env("EVERGREEN_NINJAONE_HOSTS", host)
    }

    /// A command that asks the API, with this key.
    pub fn from_afar(&self, key: &str, arguments: &[&str]) -> Invocation {
        Evergreen::with(arguments)
            .env("EVERGREEN_URL", &self.url)
            .env("EVERGREEN_API_KEY", key)
            .env("EVERGREEN_LOG", "trace")
    }

    /// Runs a command to its end.
    pub async fn run(&self, invocation: Invocation) -> Finished {
        invocation.run(PATIENCE).await
    }

    /// An API key made on Redis itself.
    pub async fn key(&self, scopes: &[&str]) -> String {
        let mut arguments = vec!["apikeys", "create", "--name", "site", "--json"];
        for scope in scopes {
            arguments.extend(["--scope", scope]);
        }
        let made = self.run(self.here(&arguments)).await.expect_code(0).json();
        made["key"].as_str().expect("the key").to_owned()
    }

    /// Asks the simulator's admin endpoint.
    pub async fn simulated(&self, what: &str, body: &Value) -> Value {
        let url = format!("{}/simulator/{what}", self.simulator_url);
        let answer = self.http.post(url).json(body).send().await;
        let answer = answer.expect("the simulator answers");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert!(status.is_success(), "{what}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Asks the API and shows status, headers and body as one text.
    pub async fn page(&self, path: &str, key: &str) -> (u16, String) {
        let request = self.http.get(format!("{}{path}", self.url));
        let answer = request.bearer_auth(key).send().await.expect("an answer");
        let (status, headers) = (answer.status().as_u16(), format!("{:?}", answer.headers()));
        let body = answer.text().await.expect("a text");
        (status, format!("{headers}\n{body}"))
    }

    /// Where the journal is.
    pub fn journal(&self) -> PathBuf {
        self.files.path().join("journal")
    }

    /// A place for files of the test.
    pub fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }
}
