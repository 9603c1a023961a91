//! One child process with a token in its environment: `evergreen exec ID -- CMD`.
//!
//! The token is in the environment of the child alone, never in an argument; Evergreen's own variables
//! are not. The child has our standard streams, gets the signals that we get, and its end is our end.

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use futures::stream::{self, Stream, StreamExt};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::env::{self, Names};
use super::{Handed, RefreshToken};

/// What the names of Evergreen's own variables begin with.
const OWN: &str = "EVERGREEN_";

/// Why there was no child.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing to run.
    #[error("no command given")]
    NoCommand,
    /// There is no such program.
    #[error("command not found: {program}")]
    NotFound {
        /// The program as given.
        program: String,
    },
    /// The program is there, but will not start.
    #[error("cannot start {program}")]
    NotStarted {
        /// The program as given.
        program: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// Signals could not be caught, or the child not be waited for.
    #[error("watching the command")]
    Watch(#[source] io::Error),
    /// The token cannot be put into an environment.
    #[error("preparing the environment")]
    Environment(#[source] env::Error),
}

impl Error {
    /// What a shell would exit with: 127 not found, 126 not startable, 2 for wrong usage.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoCommand => 2,
            Self::NotFound { .. } => 127,
            Self::NotStarted { .. } => 126,
            Self::Watch(_) | Self::Environment(_) => 1,
        }
    }
}

/// Runs a command to its end and gives its exit code, 128 + n if signal n ended it.
///
/// # Errors
/// When the command cannot be started; [`Error::exit_code`] says how to exit then.
pub async fn run(
    command: &[OsString],
    handed: &Handed,
    refresh: RefreshToken,
) -> Result<u8, Error> {
    // Caught before there is a child, so that none arrives in between and ends us alone.
    let signals = caught().map_err(Error::Watch)?;
    run_with(command, handed, refresh, signals).await
}

async fn run_with(
    command: &[OsString],
    handed: &Handed,
    refresh: RefreshToken,
    signals: impl Stream<Item = Signal>,
) -> Result<u8, Error> {
    let mut child = start(command, handed, refresh)?;
    let mut signals = std::pin::pin!(signals);
    loop {
        tokio::select! {
            ended = child.wait() => return ended.map(exit_code).map_err(Error::Watch),
            Some(signal) = signals.next() => forward(&child, signal),
        }
    }
}

fn start(command: &[OsString], handed: &Handed, refresh: RefreshToken) -> Result<Child, Error> {
    let (program, arguments) = command.split_first().ok_or(Error::NoCommand)?;
    let mut child = Command::new(program);
    child
        .args(arguments)
        .stdin(Stdio::inherit())
        .stdout(Stdio::inherit())
        .stderr(Stdio::inherit());
    let names = Names::of(handed.grant);
    child.env_clear();
    child.envs(passed_on(std::env::vars_os(), names));
    for variable in env::variables(handed, refresh).map_err(Error::Environment)? {
        child.env(variable.name, variable.value.expose_secret());
    }
    child.spawn().map_err(|source| {
        let program = program.to_string_lossy().escape_debug().collect();
        match source.kind() {
            io::ErrorKind::NotFound => Error::NotFound { program },
            _ => Error::NotStarted { program, source },
        }
    })
}

/// What the child inherits of our environment.
///
/// Nothing of Evergreen's own: with our API key it could take every other token, with our seal keys
/// open what is stored. And no refresh token: it would be another pair's, and spent beside our
/// access token.
fn passed_on(
    ours: impl IntoIterator<Item = (OsString, OsString)>,
    names: Names,
) -> impl Iterator<Item = (OsString, OsString)> {
    let withheld = move |name: &OsString| {
        name.as_encoded_bytes().starts_with(OWN.as_bytes()) || *name == *names.refresh_token
    };
    ours.into_iter().filter(move |(name, _)| !withheld(name))
}

/// The signals that are the child's business.
///
/// A terminal sends its interrupt and quit keys to the whole foreground group, so the child has
/// them already; sent again, they would look like the second press that means "at once".
fn caught() -> io::Result<impl Stream<Item = Signal>> {
    let interactive = io::stdin().is_terminal();
    let mut all = Vec::new();
    for (kind, number, by_key) in [
        (SignalKind::terminate(), Signal::TERM, false),
        (SignalKind::hangup(), Signal::HUP, false),
        (SignalKind::interrupt(), Signal::INT, true),
        (SignalKind::quit(), Signal::QUIT, true),
    ] {
        // Caught in any case: we stay until the child has ended, or its exit code would be lost.
        let mut arrivals = signal(kind)?;
        let stream = stream::poll_fn(move |cx| arrivals.poll_recv(cx));
        all.push(
            stream
                .filter_map(move |()| async move { (!(by_key && interactive)).then_some(number) })
                .boxed(),
        );
    }
    Ok(stream::select_all(all))
}

fn forward(child: &Child, signal: Signal) {
    // No id once it was waited for: then the number may be another process's.
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    if let Some(pid) = pid
        && let Err(e) = kill_process(pid, signal)
    {
        tracing::warn!(signal = signal.as_raw(), error = %e, "signal not forwarded");
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 1,
    };
    u8::try_from(code).unwrap_or(1)
}
