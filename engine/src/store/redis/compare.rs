//! A step of the reconciler: many comparisons, and what is to be compared next, in one round trip to each server.
//!
//! One call of the script compares at most [`BATCH`] workflows of one partition, so that each stays
//! far below a millisecond and others get their turn in between; the calls of a step travel together.

use std::collections::BTreeMap;

use deadpool_redis::redis::{Value, cmd};

use super::batch::{Question, Whole, read};
use super::calls::Calls;
use super::lists::{self, Turn};
use super::reply;
use super::ways::Ways;
use crate::id::WorkflowId;
use crate::store::{Compared, Page, Place, Reconciled, StoreError};

/// Workflows compared by one call of the script: half a millisecond on a slow core. What a step costs in round
/// trips does not depend on it, since the calls of a step travel together.
const BATCH: usize = 32;

const DOING: &str = "comparing the index with the records";

pub(super) async fn compare(
    ways: &Ways,
    calls: &Calls<'_>,
    ids: &[WorkflowId],
    then: &[Place],
) -> Result<Compared, StoreError> {
    let batches = batches(calls, ids);
    let mut questions = Vec::with_capacity(batches.len() + 2 * then.len());
    for (partition, places) in &batches {
        let some: Vec<_> = places.iter().map(|place| &ids[*place]).collect();
        questions.push(Question::call(calls.reconcile(*partition, &some)?));
    }
    let mut listings = Vec::with_capacity(then.len());
    for place in then {
        let listing = Listing::of(ways, calls, place).await?;
        questions.extend(listing.questions);
        listings.push((place, listing.turn));
    }
    if questions.is_empty() {
        let pages = listings.iter().map(|_| over()).collect();
        return Ok(Compared {
            found: Vec::new(),
            pages,
        });
    }
    let answers = ways.batch(DOING, &questions, Whole::Yes).await?;
    let mut answers = answers
        .into_iter()
        .map(|answer| answer.map(|told| told.value));

    let mut found = vec![Reconciled::Right; ids.len()];
    for (_, places) in &batches {
        let told = answers.next().flatten().unwrap_or(Value::Nil);
        for (place, what) in places.iter().zip(reply::compared(told, places.len())?) {
            found[*place] = what;
        }
    }
    let mut pages = Vec::with_capacity(then.len());
    for (place, turn) in listings {
        pages.push(match (place, turn) {
            (Place::Records { .. }, None) => over(),
            (_, turn) => page(calls, place, turn, &mut answers)?,
        });
    }
    Ok(Compared { found, pages })
}

/// Which places of `ids` each call compares: those of one partition, and not too many.
fn batches(calls: &Calls<'_>, ids: &[WorkflowId]) -> Vec<(u16, Vec<usize>)> {
    let mut homes: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for (place, id) in ids.iter().enumerate() {
        let home = id.partition(calls.keys.partitions());
        homes.entry(home).or_default().push(place);
    }
    homes
        .into_iter()
        .flat_map(|(home, places)| {
            let batches: Vec<_> = places.chunks(BATCH).map(<[_]>::to_vec).collect();
            batches.into_iter().map(move |batch| (home, batch))
        })
        .collect()
}

/// What is asked to list a place: what lies there, and how much there is.
struct Listing {
    questions: Vec<Question>,
    /// Whose turn it is, in a walk of all records.
    turn: Option<Turn>,
}

impl Listing {
    async fn of(ways: &Ways, calls: &Calls<'_>, place: &Place) -> Result<Self, StoreError> {
        match place {
            Place::Index {
                partition,
                rank,
                count,
            } => {
                let due = calls.keys.due(*partition)?;
                let mut range = cmd("ZRANGE");
                range.arg(&due).arg(*rank).arg(rank + count.max(&1) - 1);
                let mut size = cmd("ZCARD");
                size.arg(&due);
                Ok(Self {
                    questions: vec![Question::of(&due, range), Question::of(&due, size)],
                    turn: None,
                })
            }
            Place::Records {
                kind,
                cursor,
                count,
            } => {
                let turn = lists::turn(ways, calls.keys, kind, cursor.as_deref(), *count).await?;
                let questions = turn.as_ref().map_or_else(Vec::new, |turn| {
                    let scan = Question::at(turn.slot(), turn.scan.clone());
                    vec![scan, Question::at(turn.slot(), cmd("DBSIZE"))]
                });
                Ok(Self { questions, turn })
            }
        }
    }
}

/// A walk that has come to its end.
fn over() -> Page {
    Page {
        members: Vec::new(),
        next: None,
        of: 0,
    }
}

fn page(
    calls: &Calls<'_>,
    place: &Place,
    turn: Option<Turn>,
    answers: &mut impl Iterator<Item = Option<Value>>,
) -> Result<Page, StoreError> {
    let mut next = || answers.next().flatten().unwrap_or(Value::Nil);
    let (listed, size) = (next(), next());
    let of: u64 = read(DOING, size)?;
    Ok(match place {
        Place::Index {
            partition,
            rank,
            count,
        } => {
            let members: Vec<String> = read(DOING, listed)?;
            let next = (members.len() >= *count).then(|| Place::Index {
                partition: *partition,
                rank: rank + members.len(),
                count: *count,
            });
            Page { members, next, of }
        }
        Place::Records { kind, count, .. } => {
            let (cursor, keys): (String, Vec<String>) = read(DOING, listed)?;
            let ids = keys.iter().filter_map(|key| calls.keys.workflow(key));
            let members = ids.filter(|id| id.kind() == kind);
            let servers = turn.as_ref().map_or(1, |turn| turn.servers) as u64;
            Page {
                members: members.map(|id| id.to_string()).collect(),
                next: turn
                    .and_then(|turn| turn.next(cursor))
                    .map(|next| Place::Records {
                        kind: kind.clone(),
                        cursor: Some(next),
                        count: *count,
                    }),
                // Each holds about as much as the others.
                of: of.saturating_mul(servers),
            }
        }
    })
}
