//! The event stream of a partition.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::machine::Millis;
use crate::store::{OutboxEntry, StoreError, StreamEntry};

/// Entries by position: the time they were appended, and a number among those of one millisecond.
#[derive(Clone, Default)]
pub(super) struct Stream {
    entries: BTreeMap<(Millis, u64), OutboxEntry>,
    last: (Millis, u64),
}

impl Stream {
    /// Positions only ever grow, also when the clock steps back.
    pub(super) fn append(&mut self, now: Millis, entry: OutboxEntry, keep: usize) {
        let (ms, number) = self.last;
        self.last = if now > ms { (now, 0) } else { (ms, number + 1) };
        self.entries.insert(self.last, entry);
        while self.entries.len() > keep {
            self.entries.pop_first();
        }
    }

    pub(super) fn after(
        &self,
        position: Option<&str>,
        count: usize,
    ) -> Result<Vec<StreamEntry>, StoreError> {
        let from = match position {
            None => Bound::Unbounded,
            Some(text) => Bound::Excluded(parse(text).ok_or_else(|| StoreError::Refused {
                doing: "reading events".to_owned(),
                why: format!("{text} is no position in a stream"),
            })?),
        };
        let page = self.entries.range((from, Bound::Unbounded)).take(count);
        Ok(page
            .map(|(position, entry)| StreamEntry {
                position: write(*position),
                entry: entry.clone(),
            })
            .collect())
    }

    pub(super) fn end(&self) -> Option<String> {
        self.entries.last_key_value().map(|(last, _)| write(*last))
    }
}

fn write((ms, number): (Millis, u64)) -> String {
    format!("{ms}-{number}")
}

fn parse(position: &str) -> Option<(Millis, u64)> {
    let (ms, number) = position.split_once('-')?;
    Some((ms.parse().ok()?, number.parse().ok()?))
}
