//! Which run of which servers this is.
//!
//! A lease is judged by the clock of the server that holds its partition. So what is told is the run
//! of each partition's server: it changes when that server restarts, when a replica takes over from
//! it, and when the partition moves to another. A server that does not answer keeps what was last
//! known of it: what happens to the others meanwhile must be seen, and what happened to it will be.

use std::sync::{Mutex, PoisonError};

use deadpool_redis::redis::cmd;

use super::batch::{Answer, Question, Whole, read};
use super::info::Info;
use super::keys::{Keys, slot_of};
use super::ways::Ways;
use crate::store::StoreError;

const DOING: &str = "asking for the run id";

/// For each partition, the place of its server among the answers.
pub(super) type Homes = Vec<Option<usize>>;

/// What was last known of each partition's server.
#[derive(Default)]
pub(super) struct Runs(Mutex<Vec<String>>);

impl Runs {
    /// Asks all servers.
    pub(super) async fn look(&self, ways: &Ways, keys: &Keys) -> Result<String, StoreError> {
        let (homes, questions) = self.questions(ways, keys).await?;
        let answers = ways.batch(DOING, &questions, Whole::No).await?;
        self.told(&homes, answers)
    }

    /// What to ask, and for each partition which of the answers is its server's.
    pub(super) async fn questions(
        &self,
        ways: &Ways,
        keys: &Keys,
    ) -> Result<(Homes, Vec<Question>), StoreError> {
        let table = ways.table(DOING).await?;
        // One question for each server, about one of its partitions.
        let (mut homes, mut asked, mut questions) = (Vec::new(), Vec::new(), Vec::new());
        for partition in 0..keys.partitions() {
            let key = keys.due(partition)?;
            let Some(node) = table.holder(slot_of(&key)) else {
                homes.push(None);
                continue;
            };
            let place = match asked.iter().position(|at| *at == node.at) {
                Some(place) => place,
                None => {
                    let mut command = cmd("INFO");
                    command.arg("server").arg("replication");
                    asked.push(node.at.clone());
                    questions.push(Question::of(&key, command));
                    asked.len() - 1
                }
            };
            homes.push(Some(place));
        }
        Ok((homes, questions))
    }

    /// What the answers come to, with what was known before of servers that gave none.
    pub(super) fn told(
        &self,
        homes: &[Option<usize>],
        answers: Vec<Option<Answer>>,
    ) -> Result<String, StoreError> {
        let mut runs = Vec::with_capacity(answers.len());
        for answer in answers {
            runs.push(match answer {
                Some(answer) => {
                    let text: String = read(DOING, answer.value)?;
                    Some(Info::parse(&text).run_id())
                }
                None => None,
            });
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.resize(homes.len(), String::new());
        for (known, home) in known.iter_mut().zip(homes) {
            if let Some(run) = home.and_then(|place| runs.get(place)?.as_ref()) {
                known.clone_from(run);
            }
        }
        Ok(told(&known))
    }
}

/// The run of each partition's server, or the one run of all.
fn told(known: &[String]) -> String {
    match known {
        [first, rest @ ..] if rest.iter().all(|run| run == first) => first.clone(),
        _ => {
            let runs = known.chunk_by(|one, next| one == next);
            let (mut from, mut parts) = (0, Vec::new());
            for same in runs {
                parts.push(format!("{from}={}", same[0]));
                from += same.len();
            }
            parts.join(" ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_run_is_told_as_it_is_and_several_by_partitions() {
        let known =
            |runs: &[&str]| told(&runs.iter().map(|run| (*run).to_owned()).collect::<Vec<_>>());
        assert_eq!(known(&["ab:cd", "ab:cd"]), "ab:cd");
        assert_eq!(known(&["a", "a", "b", "a"]), "0=a 2=b 3=a");
        assert_ne!(
            known(&["a", "b", "b"]),
            known(&["a", "a", "b"]),
            "a partition has moved"
        );
        assert_eq!(known(&["a", ""]), "0=a 1=");
    }
}
