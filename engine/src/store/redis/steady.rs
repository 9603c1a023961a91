//! Connections that are kept, for what may be asked twice.
//!
//! The pool asks every connection whether it is still there before it hands it out, because a call
//! whose answer is lost must not be sent again by us. That makes two round trips of one. A worker
//! that has nothing to do only asks what may be asked again without harm: which heads there are, which
//! run answers, whether index and records agree, and it says that it lives. All of this goes over a
//! connection that is used as it is. Where it has ended, the same is sent once more over a new one.

use std::sync::{Mutex, MutexGuard, PoisonError};

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{Pipeline, RedisResult, Value};
use tokio::sync::Semaphore;

use super::connection::{Ask, Connector};
use super::errors::Fault;
use super::scripts;

/// Connections in use at most; who comes then waits for one of them.
const IN_USE: usize = 16;
/// Connections kept at most. One is in use nearly always, and a second now and then.
const KEPT: usize = 4;

/// Connections that nobody uses at the moment. One that is in use when its user gives up is not put
/// back, so none is here on which somebody else's answer is still to come.
pub(super) struct Steady {
    kept: Mutex<Vec<MultiplexedConnection>>,
    places: Semaphore,
}

impl Default for Steady {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            places: Semaphore::new(IN_USE),
        }
    }
}

impl Steady {
    fn all(&self) -> MutexGuard<'_, Vec<MultiplexedConnection>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<MultiplexedConnection> {
        self.all().pop()
    }

    fn keep(&self, connection: MultiplexedConnection) {
        let mut all = self.all();
        if all.len() < KEPT {
            all.push(connection);
        }
    }

    /// Where one has ended, the others are not trusted either.
    fn forget(&self) {
        self.all().clear();
    }
}

/// What may be sent twice.
enum What<'a> {
    Commands(&'a Pipeline),
    One(&'a Ask<'a>, bool),
}

type Answers = Vec<RedisResult<Value>>;

impl Connector {
    /// Sends several commands in one round trip; each has an answer of its own. They may be sent
    /// twice.
    pub(super) async fn pipeline(&self, commands: &mut Pipeline) -> Result<Answers, Fault> {
        commands.ignore_errors();
        self.steadily(&What::Commands(commands)).await
    }

    /// Asks what may be asked twice.
    pub(super) async fn ask_steadily(&self, what: &Ask<'_>, asking: bool) -> Result<Value, Fault> {
        let answers = self.steadily(&What::One(what, asking)).await?;
        let answer = answers.into_iter().next();
        Ok(answer.unwrap_or(Ok(Value::Nil))?)
    }

    async fn steadily(&self, what: &What<'_>) -> Result<Answers, Fault> {
        // Never closed, so there is nothing to be told of.
        let _place = self.steady.places.acquire().await;
        if let Some(mut known) = self.steady.take() {
            match send(what, &mut known).await {
                Ok(answers) => {
                    self.steady.keep(known);
                    return Ok(answers);
                }
                Err(error) if error.is_connection_dropped() => self.steady.forget(),
                Err(error) => return Err(error.into()),
            }
        }
        let mut new = self.alone("steady").await?;
        let answers = send(what, &mut new).await?;
        self.steady.keep(new);
        Ok(answers)
    }
}

async fn send(what: &What<'_>, connection: &mut MultiplexedConnection) -> RedisResult<Answers> {
    match what {
        What::Commands(commands) => commands.query_async(connection).await,
        What::One(Ask::Script(call), asking) => Ok(vec![Ok(call.on(connection, *asking).await?)]),
        What::One(Ask::Command(command), asking) => {
            Ok(vec![Ok(scripts::send(command, connection, *asking).await?)])
        }
    }
}
