//! Many small questions at once, each about a key of its own: one round trip to each server that holds
//! some of them.

use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::{
    Cmd, FromRedisValue, Pipeline, RedisResult, Value, cmd, from_redis_value,
};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use super::connection::Ask;
use super::errors::{Fault, Hint, refused};
use super::keys::slot_of;
use super::node::Node;
use super::scripts::{self, Call};
use super::ways::{Errand, Ways};
use crate::machine::Millis;
use crate::store::StoreError;

/// How long the other servers are waited for once one has answered, where a part is of use.
const GRACE: Duration = Duration::from_millis(250);

/// One question: what to ask of the server that holds a slot. All of them may be asked twice.
pub(super) struct Question {
    slot: u16,
    command: Cmd,
    /// The call that it is, where it is one: its script may be unknown over there.
    call: Option<Call>,
}

impl Question {
    /// About a key.
    pub(super) fn of(key: &str, command: Cmd) -> Self {
        Self::at(slot_of(key), command)
    }

    /// To whoever holds a slot.
    pub(super) fn at(slot: u16, command: Cmd) -> Self {
        Self {
            slot,
            command,
            call: None,
        }
    }

    /// A call of a script.
    pub(super) fn call(call: Call) -> Self {
        Self {
            slot: call.slot(),
            command: call.command(),
            call: Some(call),
        }
    }
}

/// What a server answered, and the time by its clock when it did.
pub(super) struct Answer {
    pub(super) value: Value,
    pub(super) now: Millis,
}

/// Whether every question must be answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    /// A missing answer is an error.
    Yes,
    /// Questions to servers that are away, or slower than the others, are answered with `None`.
    No,
}

/// The questions that one server has to answer, by their places.
type Group = (Arc<Node>, Vec<usize>);

impl Ways {
    /// Asks everything at once. The answers come in the order of the questions.
    pub(super) async fn batch(
        &self,
        doing: &str,
        questions: &[Question],
        whole: Whole,
    ) -> Result<Vec<Option<Answer>>, StoreError> {
        let asking = self.ask_all(questions, whole);
        self.bounded(self.reply_timeout, || doing.to_owned(), asking)
            .await
    }

    async fn ask_all(
        &self,
        questions: &[Question],
        whole: Whole,
    ) -> Result<Vec<Option<Answer>>, Fault> {
        let mut answers: Vec<Option<Answer>> = Vec::new();
        answers.resize_with(questions.len(), || None);
        let (groups, mut fault) = self.groups(questions).await?;
        let mut asked: FuturesUnordered<_> = groups
            .into_iter()
            .map(|group| self.ask_group(questions, group))
            .collect();
        let mut until = None;
        while !asked.is_empty() {
            let next = match until {
                Some(until) if whole == Whole::No => {
                    tokio::time::timeout_at(until, asked.next()).await
                }
                _ => Ok(asked.next().await),
            };
            match next {
                Ok(Some(Ok(found))) => {
                    for (place, answer) in found {
                        answers[place] = Some(answer);
                    }
                    until.get_or_insert_with(|| Instant::now() + GRACE);
                }
                Ok(Some(Err(why))) => {
                    if why.hint() != Hint::Silent {
                        self.routes.suspect();
                    }
                    fault = Some(why);
                }
                Ok(None) => break,
                Err(_) => {
                    self.routes.suspect();
                    break;
                }
            }
        }
        let Some(fault) = fault else {
            return Ok(answers);
        };
        // What is refused today is refused tomorrow; nobody must wait for it to come back.
        let refused = matches!(self.as_told(&fault, ""), StoreError::Refused { .. });
        if refused || whole == Whole::Yes || answers.iter().all(Option::is_none) {
            return Err(fault);
        }
        tracing::debug!(?fault, "a part of the servers is away");
        Ok(answers)
    }

    /// The questions by the server that holds their keys, and what is wrong if nobody holds some.
    async fn groups(&self, questions: &[Question]) -> Result<(Vec<Group>, Option<Fault>), Fault> {
        let table = self.routes.table().await?;
        let (mut groups, mut fault): (Vec<Group>, _) = (Vec::new(), None);
        for (place, question) in questions.iter().enumerate() {
            let slot = question.slot;
            let Some(node) = table.holder(slot) else {
                self.routes.suspect();
                fault = Some(Fault::Away(format!("no server holds slot {slot}")));
                continue;
            };
            match groups.iter_mut().find(|(known, _)| known.at == node.at) {
                Some((_, places)) => places.push(place),
                None => groups.push((Arc::clone(node), vec![place])),
            }
        }
        Ok((groups, fault))
    }

    async fn ask_group(
        &self,
        questions: &[Question],
        (node, places): Group,
    ) -> Result<Vec<(usize, Answer)>, Fault> {
        let mut commands = Pipeline::with_capacity(places.len() + 1);
        commands.add_command(cmd("TIME"));
        for place in &places {
            commands.add_command(questions[*place].command.clone());
        }
        let told = node.pipeline(&mut commands).await?;
        let mut told = told.into_iter();
        let now = time(told.next())?;
        let mut found = Vec::with_capacity(places.len());
        for (place, value) in places.into_iter().zip(told) {
            let question = &questions[place];
            let unknown = value.as_ref().is_err_and(scripts::is_unknown_script);
            let value = match value.map_err(Fault::Said) {
                Ok(value) => value,
                // Alone it brings its text along, and the next one finds it there.
                Err(fault) if unknown => match &question.call {
                    Some(call) => {
                        let errand = Errand::Steady(Ask::Script(call));
                        self.go(question.slot, &errand).await?.0
                    }
                    None => return Err(fault),
                },
                // The slot went elsewhere; whoever holds it now is asked alone.
                Err(fault) if matches!(fault.hint(), Hint::Moved(_) | Hint::Ask(_)) => {
                    let errand = Errand::Ask(Ask::Command(&question.command));
                    self.go(question.slot, &errand).await?.0
                }
                Err(fault) => return Err(fault),
            };
            found.push((place, Answer { value, now }));
        }
        Ok(found)
    }
}

/// The answer to `TIME`.
fn time(told: Option<RedisResult<Value>>) -> Result<Millis, Fault> {
    let told = told.ok_or_else(|| Fault::Away("no answer".to_owned()))??;
    let told = from_redis_value(told).map_err(|why| Fault::Refused(why.to_string()))?;
    Ok(whole_ms(told))
}

/// Seconds and microseconds, as `TIME` tells them.
pub(super) fn whole_ms((seconds, micros): (u64, u64)) -> Millis {
    seconds * 1000 + micros / 1000
}

/// Reads what an answer holds.
pub(super) fn read<T: FromRedisValue>(doing: &str, value: Value) -> Result<T, StoreError> {
    from_redis_value(value).map_err(|why| refused(doing, why.to_string()))
}
