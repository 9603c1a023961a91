//! Who serves the log: a thread of its own, because a real disk blocks, or whoever asks.

use std::fmt;
use std::io;
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;

use super::JournalError;
use super::log::Log;
use super::writer::{self, Command};

pub(super) enum Service {
    Thread {
        commands: Sender<Command>,
        thread: Option<JoinHandle<()>>,
    },
    /// Nothing once it is closed.
    Here(Mutex<Option<Log>>),
}

impl Service {
    pub(super) fn thread(log: Log, linger: Duration) -> io::Result<Self> {
        let (commands, inbox) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer::run(log, &inbox, linger))?;
        Ok(Self::Thread {
            commands,
            thread: Some(thread),
        })
    }

    pub(super) fn here(log: Log) -> Self {
        Self::Here(Mutex::new(Some(log)))
    }

    /// Hands a command over. Whoever is served here has the answer when this returns.
    pub(super) fn ask(&self, command: Command) -> Result<(), JournalError> {
        match self {
            Self::Thread { commands, .. } => {
                commands.send(command).map_err(|_| JournalError::Closed)
            }
            Self::Here(place) => {
                let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
                let log = place.as_mut().ok_or(JournalError::Closed)?;
                // Nobody else's command can be waiting behind this one.
                let (_, none) = mpsc::channel();
                if let Some(close) = writer::serve(log, command, &none) {
                    let outcome = log.tidy();
                    *place = None;
                    // Nobody waits where the journal was dropped.
                    let _ = close.send(outcome);
                } else {
                    writer::tidy(log);
                }
                Ok(())
            }
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let (reply, _nobody_waits) = oneshot::channel();
        let _ = self.ask(Command::Close(reply));
        if let Self::Thread { thread, .. } = self
            && let Some(thread) = thread.take()
        {
            // A panic of the thread has been reported by its own hook.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Thread { .. } => "Thread",
            Self::Here(_) => "Here",
        })
    }
}
