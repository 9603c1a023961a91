//! The program `evergreen` as a real process: started, watched, signalled, never left behind.

pub mod binary;
mod output;

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

pub use rustix::process::Signal;
use tempfile::TempDir;

use crate::RedisServer;
use crate::group::Group;
use crate::wait::within;
use output::Output;

/// How to start `evergreen`: its arguments and its environment.
///
/// It inherits nothing that begins with `EVERGREEN_`, and runs in an empty directory of its own
/// which is also its home, so that no `evergreen.toml` of the developer takes part in a test.
#[derive(Debug)]
pub struct Invocation {
    command: Command,
    home: TempDir,
}

impl Invocation {
    /// `evergreen` with these arguments.
    pub fn new<I: AsRef<str>>(arguments: impl IntoIterator<Item = I>) -> Self {
        let home = TempDir::with_prefix("evergreen-home-").expect("a temporary directory");
        let mut command = Command::new(binary::path());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("EVERGREEN_") {
                command.env_remove(name);
            }
        }
        command
            .args(
                arguments
                    .into_iter()
                    .map(|argument| OsString::from(argument.as_ref())),
            )
            .current_dir(home.path())
            .env("HOME", home.path())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self { command, home }
    }

    /// Sets one variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Points it at `redis`.
    #[must_use]
    pub fn redis(self, redis: &RedisServer) -> Self {
        self.env("EVERGREEN_REDIS_URL", redis.url())
    }

    /// The directory that it runs in, to put files into before it starts.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Starts it.
    pub fn spawn(mut self) -> Evergreen {
        let mut group = Group::spawn(&mut self.command)
            .unwrap_or_else(|error| panic!("starting {:?}: {error}", self.command));
        let output = Output::collect(group.take_output());
        Evergreen {
            group,
            output,
            home: self.home,
        }
    }

    /// Starts it and waits for its end; panics if that does not come within `deadline`.
    pub async fn run(self, deadline: Duration) -> Finished {
        self.spawn().finished(deadline).await
    }
}

/// A running `evergreen`. Killed, with whatever it started, when dropped.
#[derive(Debug)]
pub struct Evergreen {
    group: Group,
    output: Output,
    home: TempDir,
}

impl Evergreen {
    /// Short for [`Invocation::new`].
    pub fn with<I: AsRef<str>>(arguments: impl IntoIterator<Item = I>) -> Invocation {
        Invocation::new(arguments)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.group.id()
    }

    /// The directory that it runs in.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Waits for a line that contains `pattern` on either stream; one that was already printed
    /// counts. Panics with all output if none comes in time or the process ends without it.
    pub async fn wait_for_line(&mut self, pattern: &str, deadline: Duration) -> String {
        let mut ended = None;
        let found = within(deadline, async || {
            // The exit is asked for first, so that output which came before it is not missed.
            let exit = self.group.exit().expect("a child can be waited for");
            if exit.is_some() {
                self.output.until_closed(deadline).await;
            }
            let line = self.output.find(pattern);
            ended = exit;
            if line.is_some() || exit.is_some() {
                Some(line)
            } else {
                None
            }
        })
        .await;
        match found.flatten() {
            Some(line) => line,
            None => {
                let state = ended.map_or("still running".to_owned(), |status| status.to_string());
                panic!(
                    "no line with {pattern:?} ({state}); it said:\n{}",
                    self.output()
                )
            }
        }
    }

    /// All it has printed so far on both streams, in the order in which it arrived.
    pub fn output(&self) -> String {
        self.output.text()
    }

    /// All it has printed so far on standard output.
    pub fn stdout(&self) -> String {
        self.output.stdout()
    }

    /// All it has printed so far on standard error.
    pub fn stderr(&self) -> String {
        self.output.stderr()
    }

    /// Sends it `signal`: `TERM` asks it to stop, `STOP` and `CONT` pause it and let it go on.
    pub fn signal(&mut self, signal: Signal) {
        self.group
            .signal(signal)
            .expect("a process of one's own takes signals");
    }

    /// Kills it without warning, with whatever it started.
    pub fn kill(&mut self) -> ExitStatus {
        self.group
            .kill()
            .expect("a process of one's own can be killed")
    }

    /// How it ended, or `None` while it runs.
    pub fn exit(&mut self) -> Option<ExitStatus> {
        self.group.exit().expect("a child can be waited for")
    }

    /// Asks it to stop (SIGTERM) and waits for its end.
    pub async fn stop(mut self, deadline: Duration) -> Finished {
        self.signal(Signal::TERM);
        self.finished(deadline).await
    }

    /// Waits for its end; panics with all output if that does not come within `deadline`.
    pub async fn finished(mut self, deadline: Duration) -> Finished {
        let Some(status) = within(deadline, async || self.exit()).await else {
            panic!(
                "still running after {deadline:?}; it said:\n{}",
                self.output()
            );
        };
        // A child that it left behind would keep the streams open; that one is not waited for.
        self.output.until_closed(Duration::from_secs(1)).await;
        Finished {
            status,
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }
}

/// What remains of an `evergreen` that ended.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// All it printed on standard output.
    pub stdout: String,
    /// All it printed on standard error.
    pub stderr: String,
}

impl Finished {
    /// The exit code; `None` if a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Panics with all output unless it ended with `code`.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert!(
            self.code() == Some(code),
            "ended with {}, not {code}\nstdout:\n{}\nstderr:\n{}",
            self.status,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Standard output, read as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(error) => panic!("not JSON ({error}):\n{}", self.stdout),
        }
    }
}
