//! The event stream of a partition, and those who read it: the twin of `drain.lua`, `settle.lua` and
//! `reader.lua`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::machine::Millis;
use crate::store::clock::millis;
use crate::store::outbox::{Dealt, Drain, Drained, Position, Progress, Settle, Take, gap};
use crate::store::{OutboxEntry, StoreError, StreamEntry};
use crate::time::rfc3339;

/// Entries by position: the time they were appended, and a number among those of one millisecond.
#[derive(Clone, Default)]
pub(super) struct Stream {
    entries: BTreeMap<Position, OutboxEntry>,
    last: Position,
    /// Entries that it ever had.
    added: u64,
    readers: BTreeMap<String, Reader>,
}

/// Somebody who takes events and settles them.
#[derive(Clone, Default)]
struct Reader {
    /// How many of all entries lie behind it.
    read: u64,
    /// The last that it was given.
    delivered: Position,
    /// Given and not settled.
    pending: BTreeSet<Position>,
    lost: u64,
    abandoned: u64,
}

impl Stream {
    /// Positions only ever grow, also when the clock steps back.
    pub(super) fn append(&mut self, now: Millis, entry: OutboxEntry, keep: usize) {
        let Position { ms, number } = self.last;
        self.last = match now > ms {
            true => Position { ms: now, number: 0 },
            false => Position {
                ms,
                number: number + 1,
            },
        };
        self.entries.insert(self.last, entry);
        self.added += 1;
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
            Some(text) => {
                let place: Position = text.parse().map_err(|why| StoreError::Refused {
                    doing: "reading events".to_owned(),
                    why: format!("{text} is {why}"),
                })?;
                Bound::Excluded(place)
            }
        };
        let page = self.entries.range((from, Bound::Unbounded)).take(count);
        Ok(page.map(told).collect())
    }

    pub(super) fn end(&self) -> Option<String> {
        self.entries
            .last_key_value()
            .map(|(last, _)| last.to_string())
    }

    pub(super) fn drain(&mut self, now: Millis, ask: &Drain) -> Drained {
        let gone = self.added - self.entries.len() as u64;
        let nothing = Drained {
            events: Vec::new(),
            through: None,
            lost: 0,
        };
        if !self.readers.contains_key(&ask.reader) {
            if ask.take != Take::New {
                return nothing;
            }
            let new = Reader {
                read: self.added,
                delivered: self.last,
                ..Reader::default()
            };
            self.readers.insert(ask.reader.clone(), new);
        }
        let Some(reader) = self.readers.get_mut(&ask.reader) else {
            return nothing;
        };
        let drained = match ask.take {
            Take::New => reader.take_new(&self.entries, gone, ask.count),
            Take::Again { after } => reader.take_again(&self.entries, after, ask.count),
        };
        if drained.lost > 0 {
            reader.lost += drained.lost;
            let (lost, in_all) = (drained.lost, reader.lost);
            let at = (now, rfc3339(ask.at));
            let gap = gap(ask.partition, &ask.reader, (lost, in_all), at);
            self.append(now, gap, ask.events_max);
        }
        drained
    }

    pub(super) fn settle(&mut self, now: Millis, ask: &Settle) -> u64 {
        let mut settled = 0;
        if let Some(reader) = self.readers.get_mut(&ask.reader) {
            for position in &ask.positions {
                settled += u64::from(reader.pending.remove(position));
            }
            if ask.how == Dealt::Abandoned {
                reader.abandoned += settled;
            }
        }
        let old = Position {
            ms: now.saturating_sub(millis(ask.keep)),
            number: 0,
        };
        let needed = |reader: &Reader| *reader.pending.first().unwrap_or(&reader.delivered);
        let oldest = self.readers.values().map(needed).min().unwrap_or(old);
        self.entries = self.entries.split_off(&oldest.min(old));
        settled
    }

    pub(super) fn progress(&self, now: Millis, partition: u16, name: &str) -> Progress {
        let nobody = Reader::default();
        let found = self.readers.get(name);
        let reader = found.unwrap_or(&nobody);
        let unread = match found {
            Some(reader) => (self.added - reader.read).min(self.entries.len() as u64),
            None => 0,
        };
        let next = || {
            let behind = (Bound::Excluded(reader.delivered), Bound::Unbounded);
            self.entries.range(behind).next().map(|(next, _)| *next)
        };
        let first = reader.pending.first().copied();
        Progress {
            partition,
            now,
            joined: found.is_some(),
            unread,
            unsettled: reader.pending.len() as u64,
            oldest: first.or_else(|| (unread > 0).then(next).flatten()),
            lost: reader.lost,
            abandoned: reader.abandoned,
        }
    }
}

impl Reader {
    fn take_new(
        &mut self,
        entries: &BTreeMap<Position, OutboxEntry>,
        gone: u64,
        count: usize,
    ) -> Drained {
        let lost = gone.saturating_sub(self.read);
        let behind = (Bound::Excluded(self.delivered), Bound::Unbounded);
        let taken: Vec<_> = entries.range(behind).take(count).collect();
        let through = taken.last().map(|(last, _)| **last);
        self.pending.extend(taken.iter().map(|(one, _)| **one));
        self.delivered = through.unwrap_or(self.delivered);
        self.read += lost + taken.len() as u64;
        Drained {
            events: taken.into_iter().map(told).collect(),
            through,
            lost,
        }
    }

    fn take_again(
        &mut self,
        entries: &BTreeMap<Position, OutboxEntry>,
        after: Position,
        count: usize,
    ) -> Drained {
        let behind = (Bound::Excluded(after), Bound::Unbounded);
        let taken: Vec<_> = self.pending.range(behind).take(count).copied().collect();
        let mut drained = Drained {
            events: Vec::new(),
            through: taken.last().copied(),
            lost: 0,
        };
        for position in taken {
            match entries.get_key_value(&position) {
                Some(entry) => drained.events.push(told(entry)),
                None => {
                    self.pending.remove(&position);
                    drained.lost += 1;
                }
            }
        }
        drained
    }
}

fn told((position, entry): (&Position, &OutboxEntry)) -> StreamEntry {
    StreamEntry {
        position: position.to_string(),
        entry: entry.clone(),
    }
}
