//! Readers of the outbox: somebody who hears of every event, and says of each when it is dealt with.
//!
//! A reader is a consumer group on the stream of each partition, under one name. It takes what it has not
//! had yet ([`Take::New`]), deals with it, and settles it. What it has taken and not settled it can take
//! again ([`Take::Again`]): that is how whoever takes over from one that died goes on, and how an answer
//! that was lost on the way is asked for once more. Only one process at a time may be a reader: its
//! order is its own business, and a turnstile keeps the others out.
//!
//! The stream keeps what a reader has not settled, up to the ceiling of the commits
//! ([`Commit::events_max`](super::Commit::events_max)). What the ceiling pushed out before a reader had
//! settled it is lost to that reader; it is counted, and told as an event [`GAP`] at the end of the stream.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{OutboxEntry, StreamEntry};
use crate::machine::Millis;

/// The event by which a reader hears that events were lost to it. Its subject is empty; its payload has
/// `partition`, `reader`, `lost`, and `lostInAll` since the reader exists.
pub const GAP: &str = "gap";

/// A place in a stream: the time at which the entry was appended, and its number in that millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// The store's time at which it was appended.
    pub ms: Millis,
    /// Which one of that millisecond.
    pub number: u64,
}

impl Position {
    /// The last place before this one: whoever goes on after it meets this one first.
    #[must_use]
    pub fn before(self) -> Self {
        match (self.ms, self.number) {
            (ms, 1..) => Self {
                ms,
                number: self.number - 1,
            },
            (1.., 0) => Self {
                ms: self.ms - 1,
                number: u64::MAX,
            },
            (0, 0) => self,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.number)
    }
}

/// The text is no place in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no position in a stream: allowed is milliseconds, a hyphen and a number")]
pub struct NoPosition;

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let (ms, number) = text.split_once('-').ok_or(NoPosition)?;
        Ok(Self {
            ms: ms.parse().map_err(|_| NoPosition)?,
            number: number.parse().map_err(|_| NoPosition)?,
        })
    }
}

/// What a reader asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// What it has not had yet. The first time this makes it a reader, of what comes from then on.
    New,
    /// What it has had and not settled, once more, after a place.
    Again {
        /// The default begins at the beginning.
        after: Position,
    },
}

/// A reader asks for events of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drain {
    /// Which partition.
    pub partition: u16,
    /// The reader's name, one word.
    pub reader: String,
    /// New ones, or some once more.
    pub take: Take,
    /// How many at most.
    pub count: usize,
    /// When a loss that is found now is told to have been found.
    pub at: Millis,
    /// Events that the stream keeps at most.
    pub events_max: usize,
}

/// What a reader is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drained {
    /// The events, in the order of the stream.
    pub events: Vec<StreamEntry>,
    /// Up to where this goes, lost ones included; `None` if there was nothing.
    pub through: Option<Position>,
    /// Events that are gone and that the reader had not settled. Counted and told already.
    pub lost: u64,
}

/// How a reader has dealt with events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dealt {
    /// As it was meant to.
    Done,
    /// It has given them up; that is counted.
    Abandoned,
}

/// A reader has dealt with events of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settle {
    /// Which partition.
    pub partition: u16,
    /// The reader's name.
    pub reader: String,
    /// Which events.
    pub positions: Vec<Position>,
    /// How.
    pub how: Dealt,
    /// For how long events stay in the stream that every reader has settled.
    pub keep: Duration,
}

/// How far a reader has come in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Which partition.
    pub partition: u16,
    /// The store's time.
    pub now: Millis,
    /// Whether it is a reader there; all counts are 0 where it never was.
    pub joined: bool,
    /// Events that it has not had.
    pub unread: u64,
    /// Events that it has had and not settled.
    pub unsettled: u64,
    /// The oldest of both.
    pub oldest: Option<Position>,
    /// Events that were lost to it.
    pub lost: u64,
    /// Events that it has given up.
    pub abandoned: u64,
}

/// The event that tells of a loss. The script `drain.lua` makes the same. Its id names the time, too:
/// whoever sets the counts back does not get known ids again.
pub(crate) fn gap(
    partition: u16,
    reader: &str,
    (lost, in_all): (u64, u64),
    (now, at): (Millis, String),
) -> OutboxEntry {
    OutboxEntry {
        id: format!("{GAP}-{reader}-{partition}-{now}-{in_all}"),
        event: GAP.to_owned(),
        subject_field: "subject".to_owned(),
        subject: String::new(),
        at,
        payload: format!(
            r#"{{"partition":{partition},"reader":"{reader}","lost":{lost},"lostInAll":{in_all}}}"#
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_and_has_one_before_it() {
        let position: Position = "1763700000123-4".parse().unwrap();
        assert_eq!(position.to_string(), "1763700000123-4");
        assert_eq!(position.before().to_string(), "1763700000123-3");
        let first: Position = "1763700000123-0".parse().unwrap();
        assert_eq!(
            first.before().to_string(),
            "1763700000122-18446744073709551615"
        );
        assert_eq!(Position::default().before(), Position::default());
        for text in ["", "1", "1-", "-1", "a-1", "1-1-1"] {
            assert_eq!(text.parse::<Position>(), Err(NoPosition), "{text}");
        }
    }
}
