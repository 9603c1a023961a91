//! The processes of a run: each in one process group with a guard, which kills them all when this process is
//! gone, however it went. Of that group they also hear no Ctrl-C: what is to end is ended in order.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, ChildStdin, Command};

use crate::bench::BenchError;

/// How long a process may take to end after it was told to.
const ENDS_WITHIN: Duration = Duration::from_secs(40);
/// What the guard does: nothing, until nobody holds the other end of its input.
const GUARD: &str = "read -r _; kill -KILL 0";
/// A write beyond a limit on file sizes is refused, as one on a full disk is; by default the system would
/// end the process instead. What is ignored stays ignored in the program that takes the shell's place.
const PATIENT: &str = "trap '' XFSZ; exec \"$0\" \"$@\"";

/// All processes of one run.
pub(super) struct Troupe {
    guard: Child,
    group: i32,
    /// The guard lives as long as this.
    _leash: Option<ChildStdin>,
}

impl Troupe {
    /// Starts the guard.
    ///
    /// # Errors
    /// There is no shell.
    pub(super) fn assemble() -> Result<Self, BenchError> {
        let mut guard = Command::new("/bin/sh")
            .args(["-c", GUARD])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|e| failed("starting the guard", &e))?;
        let leash = guard.stdin.take();
        let group = guard.id().and_then(|id| i32::try_from(id).ok());
        let group = group.ok_or_else(|| BenchError::Process("the guard has ended".to_owned()))?;
        Ok(Self {
            guard,
            group,
            _leash: leash,
        })
    }

    /// This very program, with nothing of our own settings.
    ///
    /// # Errors
    /// It cannot be found.
    pub(super) fn program(&self, arguments: &[&str], home: &Path) -> Result<Command, BenchError> {
        let program = std::env::current_exe().map_err(|e| failed("finding this program", &e))?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", PATIENT]).arg(program).args(arguments);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("EVERGREEN_") {
                command.env_remove(name);
            }
        }
        // No evergreen.toml that lies about takes part.
        command.current_dir(home).env("NO_COLOR", "1");
        Ok(command)
    }

    /// Starts a process of the troupe.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn start(&self, what: &str, command: &mut Command) -> Result<Child, BenchError> {
        command
            .stdin(Stdio::null())
            .process_group(self.group)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| failed(&format!("starting {what}"), &e))
    }
}

impl Drop for Troupe {
    fn drop(&mut self) {
        // Before the guard was waited for, so the id is still the group's.
        let living = matches!(self.guard.try_wait(), Ok(None));
        if let Some(group) = Pid::from_raw(self.group).filter(|_| living) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Sends a signal to a process that has not been waited for yet.
///
/// # Errors
/// The system refuses.
pub(super) fn signal(child: &Child, signal: Signal) -> Result<(), BenchError> {
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    match pid {
        Some(pid) => kill_process(pid, signal).map_err(|e| failed("sending a signal", &e)),
        None => Ok(()),
    }
}

/// Kills a process where it stands, and waits until it is gone.
///
/// # Errors
/// The system refuses.
pub(super) async fn kill(child: &mut Child) -> Result<(), BenchError> {
    let killed = child.kill().await;
    killed.map_err(|e| failed("killing a process", &e))
}

/// Tells a process to stop (SIGTERM), and waits. Its exit code, if it ended by itself in time.
///
/// # Errors
/// The system refuses.
pub(super) async fn stop(child: &mut Child) -> Result<Option<i32>, BenchError> {
    signal(child, Signal::TERM)?;
    match tokio::time::timeout(ENDS_WITHIN, child.wait()).await {
        Ok(ended) => Ok(ended
            .map_err(|e| failed("waiting for a process", &e))?
            .code()),
        Err(_) => kill(child).await.map(|()| None),
    }
}

/// From now on no file of this process may grow beyond so many bytes; `None` for as long as it likes.
///
/// # Errors
/// The system refuses, or cannot.
#[cfg(target_os = "linux")]
pub(super) fn limit_files(child: &Child, bytes: Option<u64>) -> Result<(), BenchError> {
    use rustix::process::{Resource, Rlimit, getrlimit, prlimit};

    let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) else {
        return Ok(());
    };
    let limit = Rlimit {
        current: bytes,
        // What it inherited from us stays.
        maximum: getrlimit(Resource::Fsize).maximum,
    };
    let limited = prlimit(Some(pid), Resource::Fsize, limit);
    limited.map(drop).map_err(|e| failed("filling a disk", &e))
}

/// The same, where no process can limit another.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn limit_files(_child: &Child, _bytes: Option<u64>) -> Result<(), BenchError> {
    let why = "a full disk is made with prlimit(2), which only Linux has";
    Err(BenchError::Unsuitable(why.to_owned()))
}

pub(super) fn failed(doing: &str, error: &dyn std::fmt::Display) -> BenchError {
    BenchError::Process(format!("{doing}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn whoever_belongs_to_a_troupe_ends_with_it() {
        let troupe = Troupe::assemble().unwrap();
        let mut child = troupe.start("one", &mut shell("sleep 600")).unwrap();
        drop(troupe);
        let ended = tokio::time::timeout(ENDS_WITHIN, child.wait()).await;
        assert_eq!(ended.unwrap().unwrap().code(), None, "by a signal");
    }

    #[tokio::test]
    async fn a_full_disk_refuses_and_does_not_kill_and_has_room_again() {
        let troupe = Troupe::assemble().unwrap();
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new("/bin/sh");
        // Writes to a file whenever it is asked to, and says how that went.
        let script = "while read -r _; do echo x >file && echo ok || echo no; done";
        command
            .args(["-c", PATIENT, "/bin/sh", "-c", script])
            .current_dir(home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(troupe.group)
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let (mut ask, told) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut told = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(told));
        let mut said = async |limit| {
            limit_files(&child, limit).unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut ask, b"\n")
                .await
                .unwrap();
            told.next_line().await.unwrap().unwrap()
        };
        assert_eq!(said(None).await, "ok");
        assert_eq!(said(Some(0)).await, "no");
        assert_eq!(said(None).await, "ok");
    }

    #[tokio::test]
    async fn who_is_told_to_stop_says_how_it_ended() {
        let troupe = Troupe::assemble().unwrap();
        let mut one = troupe
            .start(
                "one",
                shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done")
                    .stdout(Stdio::piped()),
            )
            .unwrap();
        let up = one.stdout.take().unwrap();
        let mut up = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(up));
        assert_eq!(up.next_line().await.unwrap().as_deref(), Some("up"));
        assert_eq!(stop(&mut one).await.unwrap(), Some(7));
        assert_eq!(stop(&mut one).await.unwrap(), Some(7), "again");
    }
}
