//! Which run of which servers this is.
//!
//! A lease is judged by the clock of the server that holds its partition. So what is told is the run
//! of each partition's server: it changes when that server restarts, when a replica takes over from
//! it, and when the partition moves to another. A server that does not answer keeps what was last
//! known of it: what happens to the others meanwhile must be seen, and what happened to it will be.

use std::sync::{Mutex, PoisonError};

use deadpool_redis::redis::cmd;

use super::batch::{Question, Whole, read};
use super::info::Info;
use super::keys::{Keys, slot_of};
use super::ways::Ways;
use crate::store::StoreError;

/// What was last known of each partition's server.
#[derive(Default)]
pub(super) struct Runs(Mutex<Vec<String>>);

impl Runs {
    /// Asks all servers.
    pub(super) async fn look(&self, ways: &Ways, keys: &Keys) -> Result<String, StoreError> {
        let doing = "asking for the run id";
        let table = ways.table(doing).await?;
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
                    questions.push(Question { key, command });
                    asked.len() - 1
                }
            };
            homes.push(Some(place));
        }
        let mut runs = Vec::with_capacity(questions.len());
        for answer in ways.batch(doing, &questions, Whole::No).await? {
            runs.push(match answer {
                Some(answer) => {
                    let text: String = read(doing, answer.value)?;
                    Some(Info::parse(&text).run_id())
                }
                None => None,
            });
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.resize(homes.len(), String::new());
        for (known, home) in known.iter_mut().zip(homes) {
            if let Some(run) = home.and_then(|place| runs[place].as_ref()) {
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
