//! The Redis of a run: one of its own, which it can kill and start again, or one that it was given, which it
//! can only be cut off from.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use url::Url;

use super::troupe::{self, Troupe, failed};
use crate::bench::{BenchError, meter};

/// How long a server may take to answer after it was started.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);
/// Between two tries.
const LOOK: Duration = Duration::from_millis(20);
/// As `deploy/redis.conf` has it: it keeps what it was told, and throws nothing away.
const SETTINGS: [&str; 10] = [
    "--appendonly",
    "yes",
    "--appendfsync",
    "everysec",
    "--maxmemory-policy",
    "noeviction",
    "--save",
    "",
    "--hash-max-listpack-value",
    "1024",
];

/// Which Redis to use.
#[derive(Debug, Clone)]
pub enum Which {
    /// One that runs already. It is not killed: every connection of the fleet is cut instead.
    Given {
        /// Its URL, with its login.
        url: String,
    },
    /// One of the run's own, which is killed.
    Own {
        /// The program `redis-server`.
        program: PathBuf,
    },
}

/// The Redis of a run.
pub(super) struct Server {
    /// How this process reaches it.
    pub url: Url,
    /// Its address.
    pub address: String,
    own: Option<Own>,
}

struct Own {
    program: PathBuf,
    port: u16,
    // Before its files, so that it is gone when these go.
    process: Child,
    home: TempDir,
}

impl Server {
    /// Takes the one that was given, or starts one.
    ///
    /// # Errors
    /// The URL does not suit, or no server can be started.
    pub(super) async fn take(which: &Which, troupe: &Troupe) -> Result<Self, BenchError> {
        match which {
            Which::Given { url } => {
                let (address, url) = meter::plain(url)?;
                Ok(Self {
                    url,
                    address,
                    own: None,
                })
            }
            Which::Own { program } => {
                let home = tempfile::Builder::new()
                    .prefix("evergreen-torture-redis-")
                    .tempdir();
                let home = home.map_err(|e| failed("a directory for Redis", &e))?;
                let port = free_port().await?;
                let process = start(program, &home, port, troupe)?;
                let address = format!("127.0.0.1:{port}");
                let url = Url::parse(&format!("redis://{address}"));
                let server = Self {
                    url: url.map_err(|e| failed("naming Redis", &e))?,
                    address,
                    own: Some(Own {
                        program: program.clone(),
                        port,
                        process,
                        home,
                    }),
                };
                server.answers().await?;
                Ok(server)
            }
        }
    }

    /// Whether it is the run's own, and can be killed.
    #[must_use]
    pub(super) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Kills it, if it is the run's own.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) async fn kill(&mut self) -> Result<(), BenchError> {
        match &mut self.own {
            Some(own) => troupe::kill(&mut own.process).await,
            None => Ok(()),
        }
    }

    /// Starts it again, and waits until it answers.
    ///
    /// # Errors
    /// It does not come back.
    pub(super) async fn revive(&mut self, troupe: &Troupe) -> Result<(), BenchError> {
        if let Some(own) = &mut self.own {
            own.process = start(&own.program, &own.home, own.port, troupe)?;
            self.answers().await?;
        }
        Ok(())
    }

    async fn answers(&self) -> Result<(), BenchError> {
        let looking = async {
            loop {
                if matches!(ping(&self.address).await, Ok(true)) {
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let within = tokio::time::timeout(ANSWERS_WITHIN, looking).await;
        within.map_err(|_| {
            let why = format!("redis-server did not answer within {ANSWERS_WITHIN:?}");
            BenchError::Process(why)
        })
    }
}

/// A port that was free a moment ago.
async fn free_port() -> Result<u16, BenchError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await;
    let address = listener.and_then(|listener| listener.local_addr());
    Ok(address.map_err(|e| failed("a port for Redis", &e))?.port())
}

fn start(
    program: &PathBuf,
    home: &TempDir,
    port: u16,
    troupe: &Troupe,
) -> Result<Child, BenchError> {
    let mut command = Command::new(program);
    command
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"])
        .arg(home.path())
        .args(SETTINGS)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    troupe.start(&program.display().to_string(), &mut command)
}

/// Whether a server has loaded what it keeps, and answers.
async fn ping(address: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    Ok(&answer == b"+PONG")
}
