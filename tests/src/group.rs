//! Processes that cannot outlive the test that started them.
//!
//! A test may be killed without running any of its destructors (a time limit, Ctrl-C). So beside
//! each process stands a *guard*: a shell that does nothing but read from a pipe whose other end
//! the test holds. When the test is gone, however it went, the pipe ends, and the guard kills.
//! It runs in a process group of its own, because what kills a test kills the group of that test.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// A process, the children it may have started, and the guard over them.
#[derive(Debug)]
pub struct Group {
    child: Child,
    killed: bool,
    _guard: Guard,
}

impl Group {
    /// Starts `command` as the leader of a new process group.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let mut child = command.process_group(0).spawn()?;
        let guard = Guard::new(r#"kill -KILL "-$0""#, &child.id().to_string());
        match guard {
            Ok(guard) => Ok(Self {
                child,
                killed: false,
                _guard: guard,
            }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// The id of the leader, which is also that of the group.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The leader's standard output and error, once, if they were piped.
    pub fn take_output(
        &mut self,
    ) -> (
        Option<std::process::ChildStdout>,
        Option<std::process::ChildStderr>,
    ) {
        (self.child.stdout.take(), self.child.stderr.take())
    }

    /// Sends `signal` to the leader alone. A leader that has ended takes none.
    pub fn signal(&mut self, signal: Signal) -> io::Result<()> {
        if self.exit()?.is_some() {
            return Ok(());
        }
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// How the leader ended, or `None` while it runs.
    pub fn exit(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Kills all of the group and waits for the leader's end.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        // Once only: afterwards the id may be somebody else's.
        if !std::mem::replace(&mut self.killed, true) {
            // The group may be gone already; that is what is wanted.
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        }
        self.child.wait()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Runs a line of shell with `$0` set to `subject` as soon as this process is gone.
#[derive(Debug)]
pub(crate) struct Guard {
    shell: Child,
}

impl Guard {
    pub(crate) fn new(last_will: &str, subject: &str) -> io::Result<Self> {
        let shell = Command::new("/bin/sh")
            .args(["-c", &format!("read -r _; {last_will}"), subject])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { shell })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Killed before the pipe closes, so that it does not carry out its will: an id that is
        // free by now may belong to somebody else.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
