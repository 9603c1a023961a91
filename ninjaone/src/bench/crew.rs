//! Worker processes from outside: this very program, started, killed, and never left behind.
//!
//! A worker ends when its standard input does, so it also ends with whoever started it.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::BenchError;
use super::worker::Duty;

/// How long a worker may take to say that it works.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long it may take to end when it is told to.
const ENDS_WITHIN: Duration = Duration::from_secs(15);

/// A worker process. Killed when dropped.
pub struct Hand {
    /// Its name, under which it owns what it holds.
    pub name: String,
    child: Child,
    input: Option<ChildStdin>,
    _output: Lines<BufReader<ChildStdout>>,
}

impl Hand {
    /// Starts a worker, and waits until it works. The server's URL may hold a password, so it goes
    /// through the environment.
    ///
    /// # Errors
    /// It could not be started, or ended, or said nothing.
    pub async fn hire(duty: &Duty, url: &str) -> Result<Self, BenchError> {
        let failed = |what: &str, e: std::io::Error| BenchError::Worker(format!("{what}: {e}"));
        let program = std::env::current_exe().map_err(|e| failed("finding this program", e))?;
        let mut child = Command::new(program)
            .args(["bench", "worker"])
            .args(duty.arguments())
            .env("EVERGREEN_REDIS_URL", url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| failed("starting it", e))?;
        let input = child.stdin.take();
        let output = child.stdout.take();
        let output = output.ok_or_else(|| BenchError::Worker("it has no output".to_owned()))?;
        let mut output = BufReader::new(output).lines();
        match tokio::time::timeout(READY_WITHIN, output.next_line()).await {
            Ok(Ok(Some(_ready))) => Ok(Self {
                name: duty.name.clone(),
                child,
                input,
                _output: output,
            }),
            Ok(_) => Err(BenchError::Worker(
                "it ended before it worked; what it said is above".to_owned(),
            )),
            Err(_) => Err(BenchError::Worker(format!(
                "not ready within {READY_WITHIN:?}"
            ))),
        }
    }

    /// Kills it where it stands (SIGKILL), and waits until it is gone.
    ///
    /// # Errors
    /// The system refuses.
    pub async fn kill(mut self) -> Result<(), BenchError> {
        let killed = self.child.kill().await;
        killed.map_err(|e| BenchError::Worker(format!("killing it: {e}")))
    }

    /// Lets it finish what it does.
    ///
    /// # Errors
    /// It does not end in time; then it is killed.
    pub async fn dismiss(mut self) -> Result<(), BenchError> {
        drop(self.input.take());
        match tokio::time::timeout(ENDS_WITHIN, self.child.wait()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(e)) => Err(BenchError::Worker(format!("waiting for its end: {e}"))),
            Err(_) => {
                self.kill().await?;
                let why = format!("it did not end within {ENDS_WITHIN:?} and was killed");
                Err(BenchError::Worker(why))
            }
        }
    }
}

/// Lets all of them finish, whatever becomes of each.
pub async fn dismiss(hands: Vec<Hand>) {
    for ended in futures::future::join_all(hands.into_iter().map(Hand::dismiss)).await {
        if let Err(error) = ended {
            tracing::warn!(%error, "a worker was slow to end");
        }
    }
}
