//! The outbox as a feed of events.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{App, ServiceError};

/// How far a reader has come in the streams of all partitions. Its text is opaque.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct EventCursor(BTreeMap<u16, String>);

impl fmt::Display for EventCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (partition, position) in &self.0 {
            write!(f, "{separator}{partition}.{position}")?;
            separator = "_";
        }
        Ok(())
    }
}

impl From<EventCursor> for String {
    fn from(cursor: EventCursor) -> Self {
        cursor.to_string()
    }
}

impl TryFrom<String> for EventCursor {
    type Error = ServiceError;

    fn try_from(text: String) -> Result<Self, ServiceError> {
        text.parse()
    }
}

impl FromStr for EventCursor {
    type Err = ServiceError;

    fn from_str(text: &str) -> Result<Self, ServiceError> {
        let wrong = || ServiceError::Invalid {
            field: "after".to_owned(),
            rule: "the id of an event that this API has told, unchanged".to_owned(),
        };
        let mut places = BTreeMap::new();
        for part in text.split('_').filter(|part| !part.is_empty()) {
            let (partition, position) = part.split_once('.').ok_or_else(wrong)?;
            let plain = position.bytes().all(|b| b.is_ascii_digit() || b == b'-');
            if !plain || position.is_empty() {
                return Err(wrong());
            }
            places.insert(partition.parse().map_err(|_| wrong())?, position.to_owned());
        }
        Ok(Self(places))
    }
}

impl EventCursor {
    /// Moves on behind an event.
    pub(super) fn pass(&mut self, event: &Placed) {
        self.0.insert(event.partition, event.position.clone());
    }

    /// Whether an event lies ahead.
    pub(super) fn is_before(&self, event: &Placed) -> bool {
        let place = self.0.get(&event.partition);
        place.is_none_or(|place| key(place) < key(&event.position))
    }

    /// Whether it has come as far as another in every partition.
    pub(super) fn reaches(&self, other: &Self) -> bool {
        other.0.iter().all(|(partition, there)| {
            let here = self.0.get(partition);
            here.is_some_and(|here| key(here) >= key(there))
        })
    }

    /// Moves on to where another is, in every partition where that is further.
    pub(super) fn advance_to(&mut self, other: &Self) {
        for (partition, there) in &other.0 {
            let here = self.0.entry(*partition).or_insert_with(|| there.clone());
            if key(here) < key(there) {
                here.clone_from(there);
            }
        }
    }
}

/// An event and where it lies.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) partition: u16,
    pub(super) position: String,
    /// Its cursor is for whoever reads it to set.
    pub(super) view: EventView,
}

/// An event, as it is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EventView {
    /// To go on from here.
    #[schema(value_type = String)]
    pub cursor: EventCursor,
    /// Commit id and index: the same however often it is delivered.
    pub id: String,
    /// Its name.
    pub event: String,
    /// `TENANT/INTEGRATION`.
    pub integration: String,
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// What it tells.
    #[schema(value_type = Object)]
    pub payload: serde_json::Value,
}

impl App {
    /// Events after a place, in the order of their integrations; `count` a partition at most.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn events(
        &self,
        after: &EventCursor,
        count: usize,
    ) -> Result<Vec<EventView>, ServiceError> {
        let mut cursor = after.clone();
        let placed = self.placed_events(after, count).await?;
        Ok(placed
            .into_iter()
            .map(|event| {
                cursor.pass(&event);
                EventView {
                    cursor: cursor.clone(),
                    ..event.view
                }
            })
            .collect())
    }

    pub(super) async fn placed_events(
        &self,
        after: &EventCursor,
        count: usize,
    ) -> Result<Vec<Placed>, ServiceError> {
        let mut found = Vec::new();
        for partition in 0..self.store().partitions() {
            let position = after.0.get(&partition).map(String::as_str);
            for stream in self.store().events(partition, position, count).await? {
                found.push(Placed {
                    partition,
                    position: stream.position,
                    view: EventView {
                        cursor: EventCursor::default(),
                        id: stream.entry.id,
                        event: stream.entry.event,
                        integration: stream.entry.subject,
                        at: stream.entry.at,
                        payload: serde_json::from_str(&stream.entry.payload).unwrap_or_default(),
                    },
                });
            }
        }
        // Positions begin with the server's time, so this is the order in which things happened,
        // and within a partition it is the order of the stream.
        found.sort_by_cached_key(|event| (key(&event.position), event.partition));
        Ok(found)
    }

    /// Where the streams end now, to follow from.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn events_end(&self) -> Result<EventCursor, ServiceError> {
        let mut cursor = EventCursor::default();
        for partition in 0..self.store().partitions() {
            if let Some(position) = self.store().events_end(partition).await? {
                cursor.0.insert(partition, position);
            }
        }
        Ok(cursor)
    }
}

/// A stream position as two numbers.
fn key(position: &str) -> (u64, u64) {
    let (ms, n) = position.split_once('-').unwrap_or((position, "0"));
    (ms.parse().unwrap_or(0), n.parse().unwrap_or(0))
}
