//! Everything that only looks: in plain commands, because none of it has to be one reading.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use deadpool_redis::redis::{Cmd, cmd};

use super::batch::{Answer, Question, Whole, read, whole_ms};
use super::errors::refused;
use super::keys::{Keys, slot_of};
use super::node::Node;
use super::reply;
use super::run::Runs;
use super::ways::Ways;
use crate::id::WorkflowId;
use crate::limits::HEADS;
use crate::machine::Millis;
use crate::record::{Envelope, Record};
use crate::store::{Look, OutboxEntry, Peek, StoreError, StreamEntry};

const PEEKING: &str = "peeking";

/// Records, and from where to go on.
type Page = (Vec<(WorkflowId, Record)>, Option<String>);
/// Positions of a stream, each with its fields in the order in which they were written.
pub(super) type Entries = Vec<(String, Vec<String>)>;

/// The heads of several partitions and the time, in one round trip to each server. The servers of a
/// cluster have clocks of their own, and what is due is due by the clock of its server; so the heads
/// are told as if all went by one.
pub(super) async fn peek(
    ways: &Ways,
    keys: &Keys,
    dictated: Option<Millis>,
    partitions: &[u16],
) -> Result<Peek, StoreError> {
    let questions = ask_for_heads(keys, partitions)?;
    let answers = ways.batch(PEEKING, &questions, Whole::No).await?;
    heads(ways, keys, dictated, partitions, answers).await
}

/// All partitions, and what the same servers say of themselves in the same breath.
pub(super) async fn look(
    ways: &Ways,
    keys: &Keys,
    runs: &Runs,
    dictated: Option<Millis>,
) -> Result<Look, StoreError> {
    let all: Vec<u16> = (0..keys.partitions()).collect();
    let (homes, mut questions) = runs.questions(ways, keys).await?;
    let servers = questions.len();
    questions.extend(ask_for_heads(keys, &all)?);
    let mut answers = ways.batch(PEEKING, &questions, Whole::No).await?;
    let told = answers.split_off(servers.min(answers.len()));
    Ok(Look {
        run: runs.told(&homes, answers)?,
        peek: heads(ways, keys, dictated, &all, told).await?,
    })
}

fn ask_for_heads(keys: &Keys, partitions: &[u16]) -> Result<Vec<Question>, StoreError> {
    let question = |partition: &u16| {
        let key = keys.due(*partition)?;
        let mut command = cmd("ZRANGE");
        command.arg(&key).arg(0).arg(HEADS - 1).arg("WITHSCORES");
        Ok(Question::of(&key, command))
    };
    partitions.iter().map(question).collect()
}

async fn heads(
    ways: &Ways,
    keys: &Keys,
    dictated: Option<Millis>,
    partitions: &[u16],
    answers: Vec<Option<Answer>>,
) -> Result<Peek, StoreError> {
    let doing = PEEKING;
    let base = match dictated {
        Some(now) => now,
        None => match answers.iter().flatten().next() {
            Some(answer) => answer.now,
            None => time(ways, keys).await?,
        },
    };
    let mut heads = Vec::with_capacity(partitions.len());
    for (partition, answer) in partitions.iter().zip(answers) {
        let Some(answer) = answer else { continue };
        let flat: Vec<String> = read(doing, answer.value)?;
        let found = reply::heads(&flat).ok_or_else(|| refused(doing, format!("{flat:?}")))?;
        let now = dictated.unwrap_or(answer.now);
        let shifted = found
            .into_iter()
            .map(|(member, at)| (member, at.saturating_add(base).saturating_sub(now)));
        heads.push((*partition, shifted.collect()));
    }
    Ok(Peek {
        now: base,
        partitions: heads,
    })
}

/// The clock of the server that holds what the key space says of itself.
pub(super) async fn time(ways: &Ways, keys: &Keys) -> Result<Millis, StoreError> {
    let (key, command) = (keys.meta(), cmd("TIME"));
    let time = ways
        .steady_query("asking for the time", &key, &command)
        .await?;
    Ok(whole_ms(time))
}

pub(super) async fn due_members(
    ways: &Ways,
    keys: &Keys,
    partition: u16,
    from: usize,
    count: usize,
) -> Result<Vec<String>, StoreError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let key = keys.due(partition)?;
    let mut command = cmd("ZRANGE");
    command.arg(&key).arg(from).arg(from + count - 1);
    ways.query("listing what is due", &key, &command).await
}

/// One step of a walk over the whole key space. A record that is removed between the two round trips
/// is left out, and a workflow whose slot moves meanwhile may be.
pub(super) async fn walk(
    ways: &Ways,
    keys: &Keys,
    kind: &str,
    cursor: Option<String>,
    count: usize,
) -> Result<Page, StoreError> {
    let doing = format!("walking through {kind}");
    let Some(turn) = turn(ways, keys, kind, cursor.as_deref(), count).await? else {
        return Ok((Vec::new(), None));
    };
    let (next, found): (String, Vec<String>) =
        ways.query_at(&doing, &turn.node, &turn.scan).await?;
    let page = records(ways, keys, kind, &doing, found).await?;
    Ok((page, turn.next(next)))
}

/// Whose turn it is in a walk, and what to ask.
pub(super) struct Turn {
    node: Arc<Node>,
    here: Place,
    after: Option<u16>,
    pub(super) scan: Cmd,
    /// How many servers there are.
    pub(super) servers: usize,
}

impl Turn {
    /// A slot that the server holds.
    pub(super) fn slot(&self) -> u16 {
        self.here.first
    }

    /// Where to go on, by the cursor that the server told.
    pub(super) fn next(&self, cursor: String) -> Option<String> {
        let next = match (cursor.as_str(), self.after) {
            ("0", None) => return None,
            ("0", Some(first)) => Place {
                first,
                ..Place::default()
            },
            _ => Place {
                cursor,
                ..self.here.clone()
            },
        };
        Some(next.to_string())
    }
}

/// `None` where everybody has had a turn.
pub(super) async fn turn(
    ways: &Ways,
    keys: &Keys,
    kind: &str,
    cursor: Option<&str>,
    count: usize,
) -> Result<Option<Turn>, StoreError> {
    let doing = format!("walking through {kind}");
    let place = match cursor {
        Some(cursor) => Place::parse(cursor)
            .ok_or_else(|| refused(&doing, format!("{cursor:?} is no place to go on from")))?,
        None => Place::default(),
    };
    let firsts = ways.table(&doing).await?.firsts();
    // If nobody is left, what was to come has been taken over by those who had their turn.
    let Some(here) = firsts.iter().position(|(first, _)| *first >= place.first) else {
        return Ok(None);
    };
    let (first, node) = &firsts[here];
    let mark = slot_of(&node.at.to_string());
    // A cursor means something to the server that gave it, and nothing to another.
    let same = (*first, mark) == (place.first, place.mark);
    let mut scan = cmd("SCAN");
    scan.arg(if same { place.cursor.as_str() } else { "0" });
    scan.arg("MATCH").arg(keys.records_of(kind));
    scan.arg("COUNT").arg(count.max(1));
    Ok(Some(Turn {
        node: Arc::clone(node),
        here: Place {
            first: *first,
            mark,
            cursor: place.cursor,
        },
        after: firsts.get(here + 1).map(|(first, _)| *first),
        scan,
        servers: firsts.len(),
    }))
}

/// How far a walk has come: the first slot of the server that has its turn, a mark of that server, and
/// its own cursor.
#[derive(Clone)]
struct Place {
    first: u16,
    mark: u16,
    cursor: String,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            first: 0,
            mark: 0,
            cursor: "0".to_owned(),
        }
    }
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '-');
        Some(Self {
            first: parts.next()?.parse().ok()?,
            mark: parts.next()?.parse().ok()?,
            cursor: parts.next()?.parse::<u64>().ok()?.to_string(),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.first, self.mark, self.cursor)
    }
}

/// The records under these keys, as far as they are of this kind.
async fn records(
    ways: &Ways,
    keys: &Keys,
    kind: &str,
    doing: &str,
    found: Vec<String>,
) -> Result<Vec<(WorkflowId, Record)>, StoreError> {
    let (mut ids, mut questions) = (Vec::new(), Vec::new());
    for key in found {
        if let Some(id) = keys.workflow(&key).filter(|id| id.kind() == kind) {
            let mut command = cmd("HGETALL");
            command.arg(&key);
            ids.push(id);
            questions.push(Question::of(&key, command));
        }
    }
    let mut page = Vec::with_capacity(ids.len());
    if ids.is_empty() {
        return Ok(page);
    }
    let answers = ways.batch(doing, &questions, Whole::Yes).await?;
    for (id, answer) in ids.into_iter().zip(answers) {
        let Some(answer) = answer else { continue };
        let fields: BTreeMap<String, String> = read(doing, answer.value)?;
        if !fields.is_empty() {
            match reply::record(fields) {
                Ok(record) => page.push((id, record)),
                // One record that somebody has damaged must not hide all others.
                Err(why) => {
                    tracing::warn!(%id, %why, "a record that cannot be read is passed over");
                }
            }
        }
    }
    Ok(page)
}

pub(super) async fn log(
    ways: &Ways,
    keys: &Keys,
    id: &WorkflowId,
) -> Result<Vec<String>, StoreError> {
    let key = keys.log(id);
    let mut command = cmd("LRANGE");
    command.arg(&key).arg(0).arg(-1);
    ways.query("reading a log", &key, &command).await
}

pub(super) async fn inbox(
    ways: &Ways,
    keys: &Keys,
    id: &WorkflowId,
) -> Result<Vec<Envelope>, StoreError> {
    let doing = "looking into an inbox";
    let key = keys.inbox(id);
    let mut command = cmd("LRANGE");
    command.arg(&key).arg(0).arg(-1);
    let told: Vec<String> = ways.query(doing, &key, &command).await?;
    let parsed = told.iter().map(|text| Envelope::parse(text));
    // What it says stays here: it is sealed, and still nobody's business.
    let whole: Option<Vec<Envelope>> = parsed.collect();
    whole.ok_or_else(|| refused(doing, "an entry without its time"))
}

pub(super) async fn events(
    ways: &Ways,
    keys: &Keys,
    partition: u16,
    after: Option<&str>,
    count: usize,
) -> Result<Vec<StreamEntry>, StoreError> {
    let key = keys.events(partition)?;
    let mut command = cmd("XRANGE");
    command.arg(&key);
    command.arg(after.map_or_else(|| "-".to_owned(), |position| format!("({position}")));
    command.arg("+").arg("COUNT").arg(count);
    let entries: Entries = ways.query("reading events", &key, &command).await?;
    entries.into_iter().map(entry).collect()
}

pub(super) async fn events_end(
    ways: &Ways,
    keys: &Keys,
    partition: u16,
) -> Result<Option<String>, StoreError> {
    let key = keys.events(partition)?;
    let mut command = cmd("XREVRANGE");
    command.arg(&key).arg("+").arg("-").arg("COUNT").arg(1);
    let last: Entries = ways.query("reading events", &key, &command).await?;
    Ok(last.into_iter().next().map(|(position, _)| position))
}

/// The third field is the subject's, under a name that each kind of workflow chooses.
pub(super) fn entry((position, fields): (String, Vec<String>)) -> Result<StreamEntry, StoreError> {
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
