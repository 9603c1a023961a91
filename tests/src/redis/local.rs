//! Redis as a process of this machine, with its files in a directory of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use tempfile::TempDir;

use crate::group::Group;
use crate::process::binary;

/// The `redis-server` that `scripts/test` fetched, and those in `PATH`, as far as they exist.
pub(super) fn programs() -> impl Iterator<Item = PathBuf> {
    let fetched = binary::target_directory().join("test-redis/redis-server");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path: Vec<PathBuf> = std::env::split_paths(&path)
        .map(|directory| directory.join("redis-server"))
        .collect();
    std::iter::once(fetched)
        .chain(in_path)
        .filter(|candidate| candidate.is_file())
}

#[derive(Debug)]
pub(super) struct Local {
    command: Command,
    // Before the directory, so that the process is gone when its files go.
    group: Group,
    port: u16,
    directory: TempDir,
}

impl Local {
    pub(super) fn start(program: &Path, port: u16, settings: &[&str]) -> Result<Self, String> {
        let directory = TempDir::with_prefix("evergreen-redis-")
            .map_err(|error| format!("a temporary directory: {error}"))?;
        // Who is not to write any further is told so by the error, and not ended by the signal.
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", r#"trap '' XFSZ; exec "$0" "$@""#])
            .arg(program)
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .arg("--dir")
            .arg(directory.path())
            .args(settings)
            .stdin(Stdio::null());
        Self::run(command, port, directory)
    }

    /// A Sentinel. It writes what it learns into its configuration.
    pub(super) fn sentinel(program: &Path, port: u16, configuration: &str) -> Result<Self, String> {
        let directory = TempDir::with_prefix("evergreen-sentinel-")
            .map_err(|error| format!("a temporary directory: {error}"))?;
        let file = directory.path().join("sentinel.conf");
        std::fs::write(&file, configuration)
            .map_err(|error| format!("the configuration of a Sentinel: {error}"))?;
        let mut command = Command::new(program);
        command
            .arg(file)
            .args(["--sentinel", "--dir"])
            .arg(directory.path())
            .stdin(Stdio::null());
        Self::run(command, port, directory)
    }

    fn run(mut command: Command, port: u16, directory: TempDir) -> Result<Self, String> {
        let group = spawn(&mut command, directory.path())
            .map_err(|error| format!("starting {command:?}: {error}"))?;
        Ok(Self {
            command,
            group,
            port,
            directory,
        })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn id(&self) -> u32 {
        self.group.id()
    }

    /// Why it is gone, with the end of its log; `None` while it runs.
    pub(super) fn ended(&mut self) -> Option<String> {
        let status = self.group.exit().expect("a child can be waited for")?;
        let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(5).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        Some(format!(
            "redis-server ended ({status}):\n{}",
            tail.join("\n")
        ))
    }

    pub(super) fn pause(&mut self) {
        self.group
            .signal(Signal::STOP)
            .expect("a running Redis can be stopped");
    }

    pub(super) fn resume(&mut self) {
        self.group
            .signal(Signal::CONT)
            .expect("a stopped Redis can go on");
    }

    /// Lets it write up to this place of any file and not beyond; `None`: wherever there is room.
    pub(super) fn may_write(&self, up_to: Option<u64>) {
        let pid = Pid::from_raw(self.id().cast_signed());
        let limit = Rlimit {
            current: up_to,
            maximum: None,
        };
        prlimit(pid, Resource::Fsize, limit).expect("a process of one's own can be limited");
    }

    pub(super) fn kill(&mut self) {
        self.group
            .kill()
            .expect("a Redis of one's own can be killed");
    }

    pub(super) fn start_again(&mut self) {
        let group = spawn(&mut self.command, self.directory.path());
        self.group = group.expect("what started once starts again");
    }
}

/// Starts it with a new log; what it said before is of no use to a reader of a failure.
fn spawn(command: &mut Command, directory: &Path) -> std::io::Result<Group> {
    let log = File::create(directory.join("log"))?;
    command.stdout(log.try_clone()?).stderr(log);
    Group::spawn(command)
}
