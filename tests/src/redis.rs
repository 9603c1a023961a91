//! A Redis for one test.
//!
//! Which one, in this order:
//!
//! 1. `EVERGREEN_TEST_REDIS_URL`: that server, shared. Tests stay apart by [`RedisServer::prefix`].
//! 2. `EVERGREEN_TEST_REDIS_SERVER`: a private process of that program.
//! 3. A container of `EVERGREEN_TEST_REDIS_IMAGE` (default [`DEFAULT_IMAGE`]), where a Docker
//!    engine answers and has the image.
//! 4. A private process of the `redis-server` that `scripts/test` has left in the target
//!    directory, or of the one in `PATH`.
//!
//! Where none can be had, the test fails and says what would help. All but the first belong to
//! the test alone: AOF on with `appendfsync always` (so `WAITAOF` answers at once and a killed
//! server has lost nothing it acknowledged), no eviction, no snapshots.

mod container;
mod disk;
mod dump;
mod local;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisResult};

use crate::Tls;
use crate::wait::within;
use container::Container;
use local::Local;

/// The image of the tests, unless `EVERGREEN_TEST_REDIS_IMAGE` names another.
pub const DEFAULT_IMAGE: &str = "redis:7.0-bookworm";

/// How long a Redis may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// How long one call of [`RedisServer::cli`] may take.
const CALL_WITHIN: Duration = Duration::from_secs(10);

/// Ports tried before giving up.
const PORTS_TRIED: usize = 8;

const HELP: &str = "no Redis for this test. Any one of these will do:
  - scripts/test                      finds or fetches one, then runs the tests
  - redis-server in PATH              apt-get install redis-server, brew install redis
  - EVERGREEN_TEST_REDIS_SERVER=PATH  a redis-server program, 7.0 or later
  - docker pull redis:7.0-bookworm    and a Docker engine that answers
  - EVERGREEN_TEST_REDIS_URL=URL      a Redis that the tests may write to";

/// What every private Redis is started with, before the arguments of the test.
const SETTINGS: [&str; 14] = [
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--save",
    "",
    "--maxmemory-policy",
    "noeviction",
    "--protected-mode",
    "no",
    "--enable-debug-command",
    "yes",
    "--repl-diskless-sync-delay",
    "0",
];

#[derive(Debug)]
enum Backend {
    Shared,
    Container(Box<Container>),
    Local(Box<Local>),
}

impl Backend {
    fn local(program: &Path, port: u16, settings: &[&str]) -> Result<Self, String> {
        Ok(Self::Local(Box::new(Local::start(
            program, port, settings,
        )?)))
    }
}

/// A Redis, private to one test unless `EVERGREEN_TEST_REDIS_URL` is set. Ends when dropped.
#[derive(Debug)]
pub struct RedisServer {
    backend: Backend,
    url: String,
    prefix: String,
}

impl RedisServer {
    /// A Redis for a test that only reads and writes.
    pub async fn start() -> Self {
        match variable("EVERGREEN_TEST_REDIS_URL") {
            Some(url) => {
                let mut shared = Self::new(Backend::Shared, url);
                match shared.ready().await {
                    Ok(()) => shared,
                    Err(why) => panic!("EVERGREEN_TEST_REDIS_URL={}: {why}", shared.url),
                }
            }
            None => Self::start_own().await,
        }
    }

    /// A Redis for a test that pauses, kills or restarts it, flushes it, or depends on its
    /// settings: never a shared one.
    pub async fn start_own() -> Self {
        Self::start_with(&[]).await
    }

    /// Like [`RedisServer::start_own`], with more arguments for `redis-server`, such as
    /// `["--maxmemory", "8mb"]` or `["--replicaof", host, port]` with another server's
    /// [`RedisServer::peer_address`].
    pub async fn start_with(arguments: &[&str]) -> Self {
        let settings: Vec<&str> = SETTINGS.iter().chain(arguments).copied().collect();
        let mut failures = Vec::new();
        for _ in 0..PORTS_TRIED {
            let port = free_port();
            match Self::start_on(port, &settings).await {
                Ok(server) => return server,
                Err(why) => failures.push(format!("port {port}: {why}")),
            }
        }
        panic!("no Redis would start:\n{}", failures.join("\n"));
    }

    async fn start_on(port: u16, settings: &[&str]) -> Result<Self, String> {
        let backend = match variable("EVERGREEN_TEST_REDIS_SERVER") {
            Some(program) => Backend::local(program.as_ref(), port, settings)?,
            None => match container::image().await {
                Some((name, tag)) => {
                    let container = Container::start(&name, &tag, port, settings).await?;
                    Backend::Container(Box::new(container))
                }
                None => Backend::local(&program(), port, settings)?,
            },
        };
        let mut server = Self::new(backend, format!("redis://127.0.0.1:{port}"));
        server.ready().await?;
        Ok(server)
    }

    /// Like [`RedisServer::start_with`], and a process of this machine in any case: for servers that
    /// have to find each other.
    pub async fn start_process(arguments: &[&str]) -> Self {
        Self::start_process_of(&program(), arguments).await
    }

    /// The same, of this program.
    pub(crate) async fn start_process_of(program: &Path, arguments: &[&str]) -> Self {
        let settings: Vec<&str> = SETTINGS.iter().chain(arguments).copied().collect();
        let mut failures = Vec::new();
        for _ in 0..PORTS_TRIED {
            let port = free_port();
            let started = match Backend::local(program, port, &settings) {
                Ok(backend) => {
                    let mut server = Self::new(backend, format!("redis://127.0.0.1:{port}"));
                    server.ready().await.map(|()| server)
                }
                Err(why) => Err(why),
            };
            match started {
                Ok(server) => return server,
                Err(why) => failures.push(format!("port {port}: {why}")),
            }
        }
        panic!("no Redis would start:\n{}", failures.join("\n"));
    }

    /// A process of this machine that takes TLS as well, at this port. How the tests ask it stays as it is.
    pub async fn start_encrypted(tls: &Tls, port: u16, arguments: &[&str]) -> Self {
        let settings = tls.arguments(port);
        let settings = settings.iter().map(String::as_str);
        let settings: Vec<&str> = settings.chain(arguments.iter().copied()).collect();
        Self::start_process_of(tls.program(), &settings).await
    }

    /// The port of a process of this machine.
    pub fn port(&self) -> u16 {
        self.local().port()
    }

    fn local(&self) -> &Local {
        match &self.backend {
            Backend::Local(local) => local,
            Backend::Shared | Backend::Container(_) => panic!("{} is no process here", self.url),
        }
    }

    fn new(backend: Backend, url: String) -> Self {
        let prefix = format!("t{:08x}", rand::random::<u32>());
        Self {
            backend,
            url,
            prefix,
        }
    }

    /// The URL, as `EVERGREEN_REDIS_URL` wants it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A key prefix that no other test has.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Host and port under which another private server, say a replica, reaches this one.
    pub async fn peer_address(&self) -> (String, u16) {
        match &self.backend {
            Backend::Shared => panic!("{}", self.not_mine("be the peer of another")),
            Backend::Container(container) => container.peer_address().await,
            Backend::Local(local) => ("127.0.0.1".to_owned(), local.port()),
        }
    }

    /// A new connection.
    pub async fn connection(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CALL_WITHIN))
            .set_response_timeout(Some(CALL_WITHIN));
        Client::open(self.url.as_str())?
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    /// Runs one command on a connection of its own, as `redis-cli` would. Panics if it fails.
    pub async fn cli<T: FromRedisValue>(&self, command: &[&str]) -> T {
        match self.try_cli(command).await {
            Ok(reply) => reply,
            Err(error) => panic!("{command:?} on {}: {error}", self.url),
        }
    }

    /// Like [`RedisServer::cli`], for commands that may fail.
    pub async fn try_cli<T: FromRedisValue>(&self, command: &[&str]) -> RedisResult<T> {
        let mut connection = self.connection().await?;
        let (name, arguments) = command.split_first().expect("a command has a name");
        ::redis::cmd(name)
            .arg(arguments)
            .query_async(&mut connection)
            .await
    }

    /// Stops it in its tracks: connections stay open, nothing is answered.
    pub async fn pause(&mut self) {
        let refusal = self.not_mine("be paused");
        match &mut self.backend {
            Backend::Shared => panic!("{refusal}"),
            Backend::Container(container) => container.pause().await,
            Backend::Local(local) => local.pause(),
        }
    }

    /// Lets it go on after [`RedisServer::pause`].
    pub async fn resume(&mut self) {
        let refusal = self.not_mine("be resumed");
        match &mut self.backend {
            Backend::Shared => panic!("{refusal}"),
            Backend::Container(container) => container.resume().await,
            Backend::Local(local) => local.resume(),
        }
    }

    /// Ends it in order: what it holds is on its disk. [`RedisServer::restart`] starts it again.
    pub async fn stop(&mut self) {
        let refusal = self.not_mine("be stopped");
        assert!(!matches!(self.backend, Backend::Shared), "{refusal}");
        // It hangs up instead of answering.
        let _ = self.try_cli::<()>(&["SHUTDOWN"]).await;
        let ended = within(READY_WITHIN, async || match &mut self.backend {
            Backend::Shared => Some(()),
            Backend::Container(container) => (!container.runs().await).then_some(()),
            Backend::Local(local) => local.ended().map(drop),
        })
        .await;
        assert!(ended.is_some(), "{} would not stop", self.url);
    }

    /// Kills it without warning (SIGKILL). Its files stay for [`RedisServer::restart`].
    pub async fn kill(&mut self) {
        let refusal = self.not_mine("be killed");
        match &mut self.backend {
            Backend::Shared => panic!("{refusal}"),
            Backend::Container(container) => container.kill().await,
            Backend::Local(local) => local.kill(),
        }
    }

    /// Starts it again on the same port, from its AOF; kills it first if it still runs.
    pub async fn restart(&mut self) {
        self.kill().await;
        match &mut self.backend {
            Backend::Shared => unreachable!("a shared server was not killed"),
            Backend::Container(container) => container.start_again().await,
            Backend::Local(local) => local.start_again(),
        }
        if let Err(why) = self.ready().await {
            panic!("{} after a restart: {why}", self.url);
        }
    }

    /// Waits until this very server answers and has its data.
    async fn ready(&mut self) -> Result<(), String> {
        let mut last = String::new();
        let answer = within(READY_WITHIN, async || {
            if let Backend::Local(local) = &mut self.backend
                && let Some(why) = local.ended()
            {
                return Some(Err(why));
            }
            match self.try_cli::<String>(&["INFO"]).await {
                Ok(info) => self.answers_as_itself(&info).then_some(Ok(())),
                Err(error) => {
                    last = error.to_string();
                    None
                }
            }
        })
        .await;
        answer.unwrap_or_else(|| Err(format!("no answer within {READY_WITHIN:?}: {last}")))
    }

    /// While it still reads its AOF it answers `INFO`, but nothing else. And as two tests may have
    /// drawn the same port, the loser must not talk to the winner's server.
    fn answers_as_itself(&self, info: &str) -> bool {
        let says = |wanted: &str| info.lines().any(|line| line.trim_end() == wanted);
        let mine = match &self.backend {
            Backend::Local(local) => says(&format!("process_id:{}", local.id())),
            Backend::Shared | Backend::Container(_) => true,
        };
        mine && says("loading:0")
    }

    fn not_mine(&self, what: &str) -> String {
        format!(
            "{} is shared and cannot {what}: start it with start_own()",
            self.url
        )
    }
}

/// A Sentinel, a process of this machine. Ends when dropped.
#[derive(Debug)]
pub struct Sentinel(Local);

impl Sentinel {
    /// Starts one with the configuration that is made for its port.
    pub fn start(configuration: impl Fn(u16) -> String) -> Self {
        Self::start_of(&program(), configuration)
    }

    /// The same, of this program.
    pub(crate) fn start_of(program: &Path, configuration: impl Fn(u16) -> String) -> Self {
        let port = free_port();
        let local = Local::sentinel(program, port, &configuration(port));
        Self(local.unwrap_or_else(|why| panic!("no Sentinel would start: {why}")))
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.0.port()
    }
}

/// The program that private processes are of.
pub fn program() -> PathBuf {
    let program = programs().into_iter().next();
    program.unwrap_or_else(|| panic!("{HELP}"))
}

/// All that there are, the one that is preferred first.
pub(crate) fn programs() -> Vec<PathBuf> {
    let named = variable("EVERGREEN_TEST_REDIS_SERVER").map(PathBuf::from);
    named.into_iter().chain(local::programs()).collect()
}

/// An environment variable that is set and not empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A port that is free now. It lies below the range from which the kernel takes the ports of
/// outgoing connections: a client that knocks at a dead server in that range may end up connected
/// to itself, or take the port away from the server that is about to restart.
pub fn free_port() -> u16 {
    loop {
        let port = rand::random_range(10_000..30_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
