//! Everything that only looks: in plain commands, because none of it has to be one reading.

use std::collections::BTreeMap;

use deadpool_redis::redis::{Pipeline, Value, cmd, from_redis_value};

use super::connection::Connector;
use super::errors::refused;
use super::keys::Keys;
use super::reply;
use crate::id::WorkflowId;
use crate::limits::HEADS;
use crate::machine::Millis;
use crate::record::Record;
use crate::store::{OutboxEntry, Peek, StoreError, StreamEntry};

/// Records, and from where to go on.
type Page = (Vec<(WorkflowId, Record)>, Option<String>);
/// Positions of a stream, each with its fields in the order in which they were written.
type Entries = Vec<(String, Vec<String>)>;

/// The heads of several partitions and the time, in one round trip.
pub(super) async fn peek(
    connector: &Connector,
    keys: &Keys,
    now: Option<Millis>,
    partitions: &[u16],
) -> Result<Peek, StoreError> {
    let doing = "peeking";
    let mut commands = Pipeline::with_capacity(partitions.len() + 1);
    commands.cmd("TIME");
    for partition in partitions {
        let heads = commands.cmd("ZRANGE").arg(keys.due(*partition)?);
        heads.arg(0).arg(HEADS - 1).arg("WITHSCORES");
    }
    let answers: Vec<Value> = connector.pipeline(doing, &commands).await?;
    let mut answers = answers.into_iter();
    let strange = |why: String| refused(doing, why);
    let time = answers.next().unwrap_or(Value::Nil);
    let time = from_redis_value(time).map_err(|why| strange(why.to_string()))?;
    let mut heads = Vec::with_capacity(partitions.len());
    for (partition, answer) in partitions.iter().zip(answers) {
        let flat: Vec<String> = from_redis_value(answer).map_err(|why| strange(why.to_string()))?;
        let found = reply::heads(&flat).ok_or_else(|| strange(format!("{flat:?}")))?;
        heads.push((*partition, found));
    }
    Ok(Peek {
        now: now.unwrap_or_else(|| whole_ms(time)),
        partitions: heads,
    })
}

/// The server's clock.
pub(super) async fn time(connector: &Connector) -> Result<Millis, StoreError> {
    let time = connector.query("asking for the time", &cmd("TIME")).await?;
    Ok(whole_ms(time))
}

pub(super) async fn due_members(
    connector: &Connector,
    keys: &Keys,
    partition: u16,
    from: usize,
    count: usize,
) -> Result<Vec<String>, StoreError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut command = cmd("ZRANGE");
    command.arg(keys.due(partition)?);
    command.arg(from).arg(from + count - 1);
    connector.query("listing what is due", &command).await
}

/// One step of a walk over the whole key space. A record that is removed between the two round trips
/// is left out.
pub(super) async fn walk(
    connector: &Connector,
    keys: &Keys,
    kind: &str,
    cursor: Option<String>,
    count: usize,
) -> Result<Page, StoreError> {
    let doing = format!("walking through {kind}");
    let mut scan = cmd("SCAN");
    scan.arg(cursor.as_deref().unwrap_or("0"));
    scan.arg("MATCH").arg(keys.records_of(kind));
    scan.arg("COUNT").arg(count.max(1));
    let (next, found): (String, Vec<String>) = connector.query(&doing, &scan).await?;
    let found: Vec<_> = found
        .iter()
        .filter_map(|key| Some((key, keys.workflow(key)?)))
        .filter(|(_, id)| id.kind() == kind)
        .collect();

    let mut page = Vec::with_capacity(found.len());
    if !found.is_empty() {
        let mut commands = Pipeline::with_capacity(found.len());
        for (key, _) in &found {
            commands.cmd("HGETALL").arg(key);
        }
        let records: Vec<BTreeMap<String, String>> = connector.pipeline(&doing, &commands).await?;
        for ((_, id), fields) in found.into_iter().zip(records) {
            if !fields.is_empty() {
                match reply::record(fields) {
                    Ok(record) => page.push((id, record)),
                    // One record that somebody has damaged must not hide all others.
                    Err(why) => {
                        tracing::warn!(%id, %why, "a record that cannot be read is passed over")
                    }
                }
            }
        }
    }
    Ok((page, (next != "0").then_some(next)))
}

pub(super) async fn log(
    connector: &Connector,
    keys: &Keys,
    id: &WorkflowId,
) -> Result<Vec<String>, StoreError> {
    let mut command = cmd("LRANGE");
    command.arg(keys.log(id)).arg(0).arg(-1);
    connector.query("reading a log", &command).await
}

pub(super) async fn events(
    connector: &Connector,
    keys: &Keys,
    partition: u16,
    after: Option<&str>,
    count: usize,
) -> Result<Vec<StreamEntry>, StoreError> {
    let mut command = cmd("XRANGE");
    command.arg(keys.events(partition)?);
    command.arg(after.map_or_else(|| "-".to_owned(), |position| format!("({position}")));
    command.arg("+").arg("COUNT").arg(count);
    let entries: Entries = connector.query("reading events", &command).await?;
    entries.into_iter().map(entry).collect()
}

pub(super) async fn events_end(
    connector: &Connector,
    keys: &Keys,
    partition: u16,
) -> Result<Option<String>, StoreError> {
    let mut command = cmd("XREVRANGE");
    command.arg(keys.events(partition)?);
    command.arg("+").arg("-").arg("COUNT").arg(1);
    let last: Entries = connector.query("reading events", &command).await?;
    Ok(last.into_iter().next().map(|(position, _)| position))
}

/// The third field is the subject's, under a name that each kind of workflow chooses.
fn entry((position, fields): (String, Vec<String>)) -> Result<StreamEntry, StoreError> {
    let [_, id, _, event, subject_field, subject, _, at, _, payload] =
        <[String; 10]>::try_from(fields).map_err(|fields| {
            let why = format!("the entry {position} has {} parts, not 10", fields.len());
            refused("reading events", why)
        })?;
    Ok(StreamEntry {
        position,
        entry: OutboxEntry {
            id,
            event,
            subject_field,
            subject,
            at,
            payload,
        },
    })
}

/// Seconds and microseconds, as `TIME` tells them.
fn whole_ms((seconds, micros): (u64, u64)) -> Millis {
    seconds * 1000 + micros / 1000
}
