//! The thread that owns the log. Whatever is waiting when it turns to write is one batch behind one
//! sync: the busier the worker, the fewer syncs an entry costs.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::log::{Adopted, Batch, Log};
use super::{Entry, EntryId, JournalError};

/// Commands behind one sync; bounds what one waits for.
const BATCH_MAX: usize = 1024;

pub(super) type Reply<T> = oneshot::Sender<Result<T, JournalError>>;

/// What the handle asks for. A caller that stopped waiting does not undo what it asked.
pub(super) enum Command {
    Put(Box<Entry>, Reply<()>),
    Remove(EntryId, Reply<()>),
    Anew(Vec<Entry>),
    SawStamp(u64),
    Adopt(Reply<Adopted>),
    Close(Reply<()>),
}

/// Serves commands until one says to close, or nobody is left to send any.
pub(super) fn run(mut log: Log, commands: &Receiver<Command>, linger: Duration) {
    let mut tidy_at: Option<Instant> = None;
    loop {
        if log.unsettled() {
            tidy_at = tidy_at.or_else(|| Instant::now().checked_add(linger));
        } else {
            tidy_at = None;
        }
        let wait = match tidy_at {
            Some(at) => at.saturating_duration_since(Instant::now()),
            None => Duration::MAX,
        };
        // Checked before anything is received: traffic without a pause must not put it off for ever.
        if wait.is_zero() {
            tidy(&mut log);
            tidy_at = None;
            continue;
        }
        match commands.recv_timeout(wait) {
            Ok(command) => {
                if let Some(close) = serve(&mut log, command, commands) {
                    let outcome = log.tidy();
                    // The lock is given back before the answer, so that the file can be opened then.
                    drop(log);
                    let _ = close.send(outcome);
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                tidy(&mut log);
                return;
            }
        }
    }
}

/// Serves one command and those already waiting behind it; returns the reply of a `Close`.
pub(super) fn serve(
    log: &mut Log,
    first: Command,
    commands: &Receiver<Command>,
) -> Option<Reply<()>> {
    let mut batch = Batch::default();
    let mut putters = Vec::new();
    let mut removers = Vec::new();
    let mut next = Some(first);
    let mut last = None;
    while let Some(command) = next {
        match command {
            Command::Put(entry, reply) => {
                batch.puts.push(*entry);
                putters.push(reply);
            }
            Command::Remove(id, reply) => {
                batch.gone.push(id);
                removers.push(reply);
            }
            Command::Anew(entries) => batch.anew.extend(entries),
            Command::SawStamp(stamp) => batch.stamp = batch.stamp.max(stamp),
            Command::Adopt(_) | Command::Close(_) => {
                last = Some(command);
                break;
            }
        }
        let room = putters.len() + removers.len() < BATCH_MAX;
        next = room.then(|| commands.try_recv().ok()).flatten();
    }
    for (reply, verdict) in putters.into_iter().zip(log.write(batch)) {
        let _ = reply.send(verdict);
    }
    // A removal that could not be written is remembered and written later.
    for reply in removers {
        let _ = reply.send(Ok(()));
    }
    match last {
        Some(Command::Adopt(reply)) => {
            let adopted = log.adopt();
            tidy(log);
            let _ = reply.send(adopted);
            None
        }
        Some(Command::Close(reply)) => Some(reply),
        _ => None,
    }
}

/// What fails here is kept as the journal's fault and tried again; the log hears of it once.
pub(super) fn tidy(log: &mut Log) {
    let known = log.faulty();
    if let Err(error) = log.tidy()
        && !known
    {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        tracing::warn!(%error, source, "the journal is in trouble");
    }
}
