//! What Redis calls a sorted set: members by score, equal scores by the bytes of the member.

use std::collections::{BTreeSet, HashMap};

use crate::machine::Millis;
use crate::store::Heads;

#[derive(Clone, Default)]
pub(super) struct SortedSet {
    order: BTreeSet<(Millis, String)>,
    scores: HashMap<String, Millis>,
}

impl SortedSet {
    pub(super) fn put(&mut self, member: &str, score: Millis) {
        self.remove(member);
        self.order.insert((score, member.to_owned()));
        self.scores.insert(member.to_owned(), score);
    }

    pub(super) fn remove(&mut self, member: &str) {
        if let Some(score) = self.scores.remove(member) {
            self.order.remove(&(score, member.to_owned()));
        }
    }

    /// Puts it at the score, or takes it out.
    pub(super) fn set(&mut self, member: &str, score: Option<Millis>) {
        match score {
            Some(score) => self.put(member, score),
            None => self.remove(member),
        }
    }

    pub(super) fn score(&self, member: &str) -> Option<Millis> {
        self.scores.get(member).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn is_first(&self, member: &str) -> bool {
        self.order.first().is_some_and(|(_, first)| first == member)
    }

    pub(super) fn heads(&self, count: usize) -> Heads {
        let heads = self.order.iter().take(count);
        heads
            .map(|(score, member)| (member.clone(), *score))
            .collect()
    }

    pub(super) fn members(&self, from: usize, count: usize) -> Vec<String> {
        let part = self.order.iter().skip(from).take(count);
        part.map(|(_, member)| member.clone()).collect()
    }
}
