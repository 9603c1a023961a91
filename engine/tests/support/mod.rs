//! A private Redis for the tests of the stores, and the two stores side by side.
//!
//! `EVERGREEN_TEST_REDIS_URL` names a server to use instead; `EVERGREEN_TEST_REDIS_SERVER` the program
//! to start, where it is neither the one that `scripts/test-redis` has fetched nor that of the path.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod forming;
mod topology;
pub(crate) mod wire;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use evergreen_engine::id::WorkflowId;
use evergreen_engine::machine::Millis;
use evergreen_engine::store::Store;
use evergreen_engine::store::clock::ManualClock;
use evergreen_engine::store::memory::{MemoryStore, Set};
use evergreen_engine::store::redis::{RedisOptions, RedisStore};
use redis::aio::MultiplexedConnection;

#[allow(unused_imports, reason = "each test binary uses a part of it")]
pub(crate) use self::forming::{tell, until};
#[allow(unused_imports, reason = "each test binary uses a part of it")]
pub(crate) use self::topology::{Cluster, Place, Watched, holder, sentinels_url};

/// When every test begins: a time whose digits all count.
pub(crate) const BEGIN: Millis = 1_763_700_000_123;

/// A Redis server that ends with the test.
pub(crate) struct Server {
    child: Option<Child>,
    url: String,
    own: Option<Own>,
}

/// What a server of our own is started with.
struct Own {
    folder: tempfile::TempDir,
    port: u16,
    settings: Vec<String>,
    /// It is a Sentinel of the master at this port.
    watches: Option<u16>,
}

impl Own {
    /// The running server; `None` where it would not start, because the port is taken.
    fn run(&self) -> Option<Child> {
        let program = program();
        let mut command = Command::new(&program);
        if let Some(master) = self.watches {
            // A Sentinel writes what it learns into its configuration.
            let file = self.folder.path().join("sentinel.conf");
            if !file.exists() {
                std::fs::write(&file, forming::sentinel(self.port, master)).unwrap();
            }
            command.arg(file).arg("--sentinel");
        } else {
            command
                .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
                .args(["--save", "", "--logfile", ""])
                .args(&self.settings);
        }
        let mut child = command
            .arg("--dir")
            .arg(self.folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program:?}: {error}; scripts/test-redis fetches one"));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| {
            line.contains("Ready to accept connections") || line.contains("+monitor master")
        });
        if !ready {
            child.wait().unwrap();
            return None;
        }
        // A pipe that nobody reads would fill up and stop the server.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Some(child)
    }
}

impl Server {
    /// The server that the environment names, or one with an append-only file.
    pub(crate) fn any() -> Self {
        match std::env::var("EVERGREEN_TEST_REDIS_URL") {
            Ok(url) => Self {
                child: None,
                url,
                own: None,
            },
            Err(_) => Self::start(&["--appendonly", "yes"]),
        }
    }

    /// A server of our own with these settings.
    pub(crate) fn start(settings: &[&str]) -> Self {
        Self::try_hard(settings, None)
    }

    /// A Sentinel of our own that watches this server.
    pub(crate) fn sentinel(master: u16) -> Self {
        Self::try_hard(&[], Some(master))
    }

    fn try_hard(settings: &[&str], watches: Option<u16>) -> Self {
        // Another process may take the port between our looking and the server's.
        for _ in 0..10 {
            if let Some(server) = Self::try_start(settings, watches) {
                return server;
            }
        }
        panic!("redis-server would not start");
    }

    fn try_start(settings: &[&str], watches: Option<u16>) -> Option<Self> {
        let port = free_port();
        let own = Own {
            folder: tempfile::tempdir().unwrap(),
            port,
            settings: settings.iter().map(|text| (*text).to_owned()).collect(),
            watches,
        };
        Some(Self {
            child: Some(own.run()?),
            url: format!("redis://127.0.0.1:{port}/0"),
            own: Some(own),
        })
    }

    /// Kills it and starts it again on the same files.
    pub(crate) fn restart(&mut self) {
        self.end();
        let own = self.own.as_ref().expect("a server of our own");
        self.child = Some(own.run().expect("its port was free a moment ago"));
    }

    /// It answers nothing from now on.
    pub(crate) fn stop(&self) {
        self.signal("-STOP");
    }

    /// It answers again, also what was asked meanwhile.
    pub(crate) fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().expect("a server of our own").id();
        let done = Command::new("kill")
            .arg(signal)
            .arg(pid.to_string())
            .status();
        assert!(done.unwrap().success());
    }

    /// Kills it.
    pub(crate) fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Returns when so many replicas follow.
    pub(crate) async fn has_replicas(&self, count: u32) {
        let mut raw = self.raw().await;
        raw.set_response_timeout(Duration::from_secs(20));
        let mut wait = redis::cmd("WAIT");
        wait.arg(count).arg(15_000);
        let followers: u32 = wait.query_async(&mut raw).await.unwrap();
        assert!(followers >= count);
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn port(&self) -> u16 {
        self.own.as_ref().expect("a server of our own").port
    }

    /// Options of a fresh key space on it.
    pub(crate) fn options(&self) -> RedisOptions {
        fresh(&self.url)
    }

    /// A connection that blocks.
    pub(crate) fn blocking(&self) -> redis::Connection {
        let client = redis::Client::open(self.url.as_str()).unwrap();
        client.get_connection().unwrap()
    }

    pub(crate) async fn raw(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url.as_str()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// How often a command was called since the server started.
    pub(crate) async fn calls_of(&self, command: &str) -> u64 {
        let mut ask = redis::cmd("INFO");
        ask.arg("commandstats");
        let text: String = ask.query_async(&mut self.raw().await).await.unwrap();
        let head = format!("cmdstat_{command}:calls=");
        let line = text.lines().find_map(|line| line.strip_prefix(&head));
        let count = line.and_then(|line| line.split(',').next());
        count.map_or(0, |count| count.parse().unwrap())
    }
}

/// The `redis-server` to start.
fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("EVERGREEN_TEST_REDIS_SERVER") {
        return named.into();
    }
    // Cargo's target directory, in which this test lies.
    let test = std::env::current_exe().unwrap();
    let mut fetched = test
        .ancestors()
        .map(|above| above.join("test-redis/redis-server"));
    let fetched = fetched.find(|path| path.is_file());
    fetched.unwrap_or_else(|| "redis-server".into())
}

/// Options of a fresh key space at a URL.
pub(crate) fn fresh(url: &str) -> RedisOptions {
    RedisOptions {
        prefix: format!("test-{:016x}", rand::random::<u64>()),
        allow_volatile: true,
        // A machine that is busy with other tests is no reason to fail.
        reply_timeout: Duration::from_secs(20),
        ..RedisOptions::new(url)
    }
}

/// A port that is free now, and so is the one that a node of a cluster takes beside it. Both lie below
/// those that the kernel gives to outgoing connections: a client that knocks at a server that is gone
/// may end up connected to itself there.
fn free_port() -> u16 {
    loop {
        let port = rand::random_range(10_000..22_000);
        let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if is_free(port) && is_free(port + 10_000) {
            return port;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// A store, the time that it goes by, and a way to put its index in the wrong. One partition, so that
/// a test sees all of it.
pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: ManualClock,
    back: Back,
}

enum Back {
    Memory(MemoryStore),
    Redis { place: Rc<Place>, prefix: String },
}

impl World {
    pub(crate) async fn memory() -> Self {
        let clock = ManualClock::at(BEGIN);
        let store = MemoryStore::with_clock_and_partitions(clock.clock(), 1);
        Self {
            store: Arc::new(store.clone()),
            clock,
            back: Back::Memory(store),
        }
    }

    pub(crate) async fn redis() -> Self {
        Self::on(&Rc::new(Place::One(Server::any()))).await
    }

    /// A key space of its own on servers that others use, too.
    pub(crate) async fn on(place: &Rc<Place>) -> Self {
        let clock = ManualClock::at(BEGIN);
        let options = RedisOptions {
            partitions: Some(1),
            clock: Some(clock.clock()),
            ..place.options()
        };
        let prefix = options.prefix.clone();
        Self {
            store: Arc::new(RedisStore::connect(options).await.unwrap()),
            clock,
            back: Back::Redis {
                place: Rc::clone(place),
                prefix,
            },
        }
    }

    pub(crate) async fn break_index(&self, id: &WorkflowId, set: Set, score: Option<Millis>) {
        match &self.back {
            Back::Memory(store) => store.break_index(id, set, score),
            Back::Redis { place, prefix } => {
                let mut raw = place.raw("{00}").await;
                break_index(&mut raw, prefix, id, set, score).await;
            }
        }
    }

    /// How long a slip or a turnstile has still to live, where it lies in Redis.
    pub(crate) async fn life_of(&self, name: &str) -> Option<Millis> {
        let Back::Redis { place, prefix } = &self.back else {
            return None;
        };
        let key = format!("{prefix}:{name}");
        let mut ask = redis::cmd("PTTL");
        ask.arg(&key);
        let life: i64 = ask.query_async(&mut place.raw(&key).await).await.unwrap();
        u64::try_from(life).ok()
    }
}

pub(crate) async fn break_index(
    raw: &mut MultiplexedConnection,
    prefix: &str,
    id: &WorkflowId,
    set: Set,
    score: Option<Millis>,
) {
    let key = match set {
        Set::Due => format!("{prefix}:{{00}}:due"),
        Set::Parked => format!("{prefix}:{{00}}:parked"),
    };
    let mut command = redis::cmd(if score.is_some() { "ZADD" } else { "ZREM" });
    command.arg(key).arg(score).arg(id.to_string());
    command.exec_async(raw).await.unwrap();
}
