//! Commits and signals that must be safe before anybody acts on them: one connection, one task.
//!
//! `WAIT` and `WAITAOF` speak of the last write of the *connection that asks*. On another connection
//! of a pool they answer at once, whatever the replicas have. And they block what is queued behind
//! them. So everything durable goes through one connection to each server, which belongs to one task: it takes what
//! has been queued, sends it together with one wait behind it, in one pipeline, and the one
//! acknowledgement covers all before it. What comes meanwhile is the next group. A thousand durable
//! commits at once cost a few dozen waits.
//!
//! The writes are answered at once, or the server is gone; the wait may take as long as a file takes to
//! reach the disk, and has a timeout of its own.
//!
//! Only a reply with the wanted numbers confirms. An error, a timeout, a new connection do not: the
//! write may be there all the same, so its sender asks again with the same commit id.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{
    Cmd, ParsingError, Pipeline, RedisResult, Value, cmd, from_redis_value,
};
use tokio::sync::{mpsc, oneshot};

use super::connection::Connector;
use super::errors::Fault;
use super::info::Info;
use super::options::RedisOptions;
use super::scripts::{self, Call};
use crate::store::clock::millis;

/// What may wait in the queue before callers wait for a place in it.
const QUEUE: usize = 1024;
/// What one acknowledgement covers at most, so that a group is written well within its deadline. A
/// server with `appendfsync everysec` confirms one group a second, however small.
const GROUP: usize = 1024;

/// A connection that was not used for so long is asked whether it is still there, so that a restarted
/// server is noticed before anything is sent to it.
const IDLE: Duration = Duration::from_millis(50);
/// How often a server that does not confirm is complained of.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// What one caller wants to be written, and to know whether the servers confirmed it.
struct Errand {
    call: Arc<Call>,
    /// The slot is on its way to this server.
    asking: bool,
    reply: oneshot::Sender<RedisResult<(Value, bool)>>,
}

impl Errand {
    fn answer(self, answer: RedisResult<(Value, bool)>) {
        // A receiver that is gone does not want to know.
        drop(self.reply.send(answer));
    }
}

/// The callers' end of the queue to one server. When it is dropped, the task ends.
pub(super) struct Durable {
    queue: mpsc::Sender<Errand>,
    patience: Duration,
    disks: Arc<AtomicBool>,
}

impl Durable {
    pub(super) fn start(connector: Arc<Connector>, options: &RedisOptions) -> Self {
        let (queue, errands) = mpsc::channel(QUEUE);
        let terms = Terms {
            replicas: options.replicas,
            reply: options.reply_timeout,
            confirm: options.confirm_timeout,
        };
        let patience = options.durable_timeout();
        let disks = Arc::new(AtomicBool::new(false));
        tokio::spawn(run(connector, terms, errands, Arc::clone(&disks)));
        Self {
            queue,
            patience,
            disks,
        }
    }

    /// Whether a confirmation says that the write is on a disk, as far as the last connection told.
    pub(super) fn confirms_disks(&self) -> bool {
        self.disks.load(Ordering::Relaxed)
    }

    /// Makes a call, and tells whether the servers confirmed that it is safe.
    pub(super) async fn call(&self, call: Arc<Call>, asking: bool) -> Result<(Value, bool), Fault> {
        let (reply, answer) = oneshot::channel();
        let errand = Errand {
            call,
            asking,
            reply,
        };
        let asked = async {
            self.queue.send(errand).await.ok()?;
            answer.await.ok()
        };
        match tokio::time::timeout(self.patience, asked).await {
            Ok(Some(answer)) => Ok(answer?),
            Ok(None) => Err(Fault::Away("the connection's task is gone".to_owned())),
            Err(_) => Err(Fault::Away(format!("no answer within {:?}", self.patience))),
        }
    }
}

/// What a confirmation must say, and how long everything may take.
#[derive(Debug, Clone, Copy)]
struct Terms {
    replicas: u32,
    reply: Duration,
    confirm: Duration,
}

/// How this server confirms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// Its own file and so many replicas' files: `WAITAOF`, since 7.2.
    Files(u32),
    /// So many replicas' memory.
    Replicas(u32),
    /// Nothing can be asked that would say more than its reply.
    Nothing,
}

impl Wait {
    fn of(info: &Info, replicas: u32) -> Self {
        match replicas {
            _ if info.tells_of_its_file() => Self::Files(replicas),
            0 => Self::Nothing,
            _ => Self::Replicas(replicas),
        }
    }

    fn command(self, patience: Duration) -> Option<Cmd> {
        let mut command = match self {
            Self::Files(replicas) => cmd("WAITAOF").arg(1).arg(replicas).take(),
            Self::Replicas(replicas) => cmd("WAIT").arg(replicas).take(),
            Self::Nothing => return None,
        };
        command.arg(millis(patience));
        Some(command)
    }

    /// What is lacking for a confirmation.
    fn lacks(self, answer: RedisResult<Value>) -> Result<(), String> {
        let answer = answer.map_err(|error| error.to_string())?;
        let odd = |error: ParsingError| format!("the answer cannot be read: {error}");
        match self {
            Self::Files(wanted) => {
                let (local, replicas): (u32, u32) = from_redis_value(answer).map_err(odd)?;
                if local < 1 {
                    return Err("its own append-only file is not on the disk yet \
                                (appendfsync, no-appendfsync-on-rewrite)"
                        .to_owned());
                }
                let there =
                    "replicas have it in an append-only file (appendonly must be on there, too)";
                enough(replicas, wanted, there)
            }
            Self::Replicas(wanted) => {
                let replicas = from_redis_value(answer).map_err(odd)?;
                enough(replicas, wanted, "replicas have it")
            }
            Self::Nothing => Ok(()),
        }
    }
}

fn enough(there: u32, wanted: u32, what: &str) -> Result<(), String> {
    if there >= wanted {
        return Ok(());
    }
    Err(format!("{there} of {wanted} {what}"))
}

/// The connection, and what was learnt about the server when it was made.
struct Line {
    connection: MultiplexedConnection,
    wait: Wait,
    /// Whether a confirmed write is on a disk.
    disk: bool,
    terms: Terms,
    used: Instant,
}

/// Whoever wonders why nothing begins should find the reason in the log, and not a thousand times.
#[derive(Default)]
struct Complaint {
    made: Option<Instant>,
}

impl Complaint {
    fn make(&mut self, server: &str, why: &str) {
        if self.made.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
            self.made = Some(Instant::now());
            tracing::warn!(
                server,
                why,
                "a write that must not be lost is not confirmed; until writes are, no activity begins and \
                 outcomes are sent again"
            );
        }
    }
}

async fn run(
    connector: Arc<Connector>,
    terms: Terms,
    mut errands: mpsc::Receiver<Errand>,
    disks: Arc<AtomicBool>,
) {
    let mut line: Option<Line> = None;
    let mut complaint = Complaint::default();
    let mut group = Vec::new();
    while errands.recv_many(&mut group, GROUP).await > 0 {
        // Whoever gave up is not surprised by a write that comes late, nor by none.
        let wanted: Vec<_> = group.drain(..).filter(|e| !e.reply.is_closed()).collect();
        if wanted.is_empty() {
            continue;
        }
        let kept = match line.take() {
            Some(line) => line.still_there().await,
            None => Ok(None),
        };
        let ready = match kept {
            Ok(Some(line)) => Ok(line),
            Ok(None) => Line::open(&connector, terms).await,
            Err(silent) => Err(silent),
        };
        match ready {
            Ok(mut ready) => {
                disks.store(ready.disk, Ordering::Relaxed);
                match ready.serve(wanted).await {
                    Some(Ok(())) => line = Some(ready),
                    // It may have changed its ways; a new connection asks.
                    Some(Err(why)) => complaint.make(&connector.place(), &why),
                    None => {}
                }
            }
            Err(error) => wanted
                .into_iter()
                .for_each(|e| e.answer(Err(error.clone()))),
        }
    }
}

impl Line {
    async fn open(connector: &Connector, terms: Terms) -> RedisResult<Self> {
        let mut connection = connector.alone("durable").await?;
        let info = Info::ask(&mut connection).await?;
        let wait = Wait::of(&info, terms.replicas);
        let disk = match wait {
            Wait::Files(_) => true,
            Wait::Replicas(_) => false,
            // A server that syncs before every reply has confirmed with the reply itself. One that
            // does not tell its settings may do so or not.
            Wait::Nothing if !info.is("aof_enabled", "1") => false,
            Wait::Nothing => cmd("CONFIG")
                .arg("GET")
                .arg("appendfsync")
                .query_async::<Vec<String>>(&mut connection)
                .await
                .is_ok_and(|told| told.get(1).is_some_and(|value| value == "always")),
        };
        tracing::debug!(?wait, disk, "a new connection for durable commits");
        Ok(Self {
            connection,
            wait,
            disk,
            terms,
            used: Instant::now(),
        })
    }

    /// The connection if it can be used, nothing if it is broken. A server that does not answer is an
    /// error: a new connection to it would not be answered either.
    async fn still_there(mut self) -> RedisResult<Option<Self>> {
        if self.used.elapsed() < IDLE {
            return Ok(Some(self));
        }
        match cmd("PING").exec_async(&mut self.connection).await {
            Ok(()) => Ok(Some(self)),
            Err(error) if error.is_timeout() => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Serves one group. Returns whether it was confirmed, or nothing if the connection broke.
    async fn serve(&mut self, group: Vec<Errand>) -> Option<Confirmed> {
        match self.send(&group).await {
            Ok((answers, confirmed)) => {
                for (errand, answer) in group.into_iter().zip(answers) {
                    errand.answer(answer.map(|value| (value, confirmed.is_ok())));
                }
                self.used = Instant::now();
                Some(confirmed)
            }
            Err(error) => {
                for errand in group {
                    errand.answer(Err(error.clone()));
                }
                None
            }
        }
    }

    /// Sends the calls and the wait behind them; once more those that the node did not know the text
    /// of, with a wait of their own, which covers the others too.
    async fn send(&mut self, group: &[Errand]) -> RedisResult<(Vec<Answer>, Confirmed)> {
        let all: Vec<&Errand> = group.iter().collect();
        let (mut answers, mut confirmed) = self.write_and_wait(&all).await?;
        let unknown = |answer: &Answer| answer.as_ref().is_err_and(scripts::is_unknown_script);
        let again: Vec<usize> = (0..group.len()).filter(|i| unknown(&answers[*i])).collect();
        if !again.is_empty() {
            for script in [&*scripts::COMMIT, &*scripts::SIGNAL] {
                scripts::load(script, &mut self.connection).await?;
            }
            let group: Vec<&Errand> = again.iter().map(|i| &group[*i]).collect();
            let (later, later_confirmed) = self.write_and_wait(&group).await?;
            confirmed = later_confirmed;
            for (i, answer) in again.into_iter().zip(later) {
                answers[i] = answer;
            }
        }
        Ok((answers, confirmed))
    }

    async fn write_and_wait(&mut self, group: &[&Errand]) -> RedisResult<(Vec<Answer>, Confirmed)> {
        let mut writes = Pipeline::with_capacity(group.len());
        for errand in group {
            if errand.asking {
                writes.cmd("ASKING").ignore();
            }
            writes.add_command(errand.call.command());
        }
        writes.ignore_errors();
        let Some(wait) = self.wait.command(self.terms.confirm) else {
            let answers = writes.query_async(&mut self.connection).await?;
            return Ok((answers, Ok(())));
        };
        // Both leave at once, in this order, over the same socket; only their timeouts differ. The
        // server gives up waiting before we give up waiting for the server.
        let mut patient = self.connection.clone();
        patient.set_response_timeout(self.terms.confirm + self.terms.reply);
        let writing = writes.query_async(&mut self.connection);
        let waiting = async { Ok(wait.query_async(&mut patient).await) };
        let (answers, waited) = tokio::try_join!(biased; writing, waiting)?;
        Ok((answers, self.wait.lacks(waited)))
    }
}

/// How the server answered one call.
type Answer = RedisResult<Value>;

/// Whether the servers confirmed, or what was lacking.
type Confirmed = Result<(), String>;

#[cfg(test)]
mod tests {
    use super::*;

    fn info(version: &str, aof: &str) -> Info {
        Info::parse(&format!("redis_version:{version}\r\naof_enabled:{aof}\r\n"))
    }

    #[test]
    fn each_server_is_asked_what_it_can_answer() {
        assert_eq!(Wait::of(&info("8.2.3", "1"), 0), Wait::Files(0));
        assert_eq!(Wait::of(&info("7.2.0", "1"), 2), Wait::Files(2));
        assert_eq!(Wait::of(&info("8.2.3", "0"), 1), Wait::Replicas(1));
        assert_eq!(Wait::of(&info("7.0.15", "1"), 1), Wait::Replicas(1));
        assert_eq!(Wait::of(&info("7.0.15", "1"), 0), Wait::Nothing);
    }

    #[test]
    fn only_the_wanted_numbers_confirm_and_else_it_says_what_is_lacking() {
        let numbers =
            |local, replicas| Ok(Value::Array(vec![Value::Int(local), Value::Int(replicas)]));
        assert_eq!(Wait::Files(1).lacks(numbers(1, 1)), Ok(()));
        let files = Wait::Files(1).lacks(numbers(1, 0)).unwrap_err();
        assert!(files.starts_with("0 of 1 replicas"), "{files}");
        let own = Wait::Files(0).lacks(numbers(0, 3)).unwrap_err();
        assert!(own.contains("appendfsync"), "{own}");
        assert_eq!(Wait::Replicas(2).lacks(Ok(Value::Int(2))), Ok(()));
        let memory = Wait::Replicas(2).lacks(Ok(Value::Int(1))).unwrap_err();
        assert_eq!(memory, "1 of 2 replicas have it");
        let gone = Err(std::io::Error::other("gone").into());
        assert!(Wait::Replicas(1).lacks(gone).unwrap_err().contains("gone"));
        assert!(Wait::Files(0).lacks(Ok(Value::Nil)).is_err());
    }
}
