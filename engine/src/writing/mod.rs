//! Building commits, and sending them until they are answered.

mod send;

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub(crate) use self::send::{Patience, send};
use crate::activities::SealError;
use crate::advance::{Advanced, Base};
use crate::load::{self, LoadError};
use crate::machine::{Millis, SealedChange, Workflow};
use crate::record::{Envelope, Record, SealedBlobs};
use crate::store::{Commit, OutboxEntry, SealedOp};
use crate::time::rfc3339;
use crate::turn::{Env, Holding};

/// The signals that a turn has heard: what the commit takes out of the inbox.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// How many.
    pub(crate) count: usize,
    /// The last one, as it was read.
    pub(crate) last: Option<Envelope>,
}

impl Heard {
    /// Counts those that were read after the ones before.
    pub(crate) fn add(&mut self, envelopes: &[Envelope]) {
        self.count += envelopes.len();
        if let Some(last) = envelopes.last() {
            self.last = Some(last.clone());
        }
    }
}

/// Which of the two commits of a turn.
pub(crate) enum End<'a, W: Workflow> {
    /// Writes the activity down and keeps the lease.
    Intent(&'a W::Activity),
    /// Frees the workflow.
    Final,
}

/// Why a commit could not be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl From<BuildError> for crate::turn::Trouble {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Load(error) => error.into(),
            BuildError::Seal(error) => Self::Poison(error.to_string()),
        }
    }
}

/// Builds the commit of what a turn arrived at.
pub(crate) fn commit<W: Workflow>(
    env: &Env<W>,
    holding: &Holding,
    base: &Base<W>,
    run: &Advanced<W>,
    heard: &Heard,
    erase_first: bool,
    end: End<'_, W>,
) -> Result<Commit, BuildError> {
    let (state, data) = load::store(&run.data, &run.phase)?;
    let (before, _) = load::store(&base.data, &base.phase)?;
    let commit = env.platform.id();
    let at = rfc3339(run.now);
    let (subject_field, subject) = W::subject(&holding.id);
    let events: Vec<OutboxEntry> = run
        .effects
        .events
        .iter()
        .enumerate()
        .map(|(index, event)| OutboxEntry {
            id: format!("{commit}-{index}"),
            event: event.name.clone(),
            subject_field: subject_field.to_owned(),
            subject: subject.clone(),
            at: at.clone(),
            payload: event.payload.to_string(),
        })
        .collect();
    let (activity, keep) = match end {
        End::Intent(activity) => {
            let activity = serde_json::to_string(activity).map_err(|e| LoadError::Damaged {
                what: "the activity",
                why: e.to_string(),
            })?;
            (Some(activity), Some(env.limits.lease))
        }
        End::Final => (None, None),
    };
    let mut sealed = seal_all(env, holding, &base.sealed, run)?;
    if erase_first {
        sealed.insert(0, SealedOp::Clear);
    }
    Ok(Commit {
        id: holding.id.clone(),
        fence: holding.record.fence,
        claim: holding.claim.clone(),
        follows: base.commit.clone(),
        strict: false,
        consumed: heard.count,
        last_heard: heard.last.clone(),
        wake_at: run.wake_at,
        visible_at: run.effects.visible_at,
        // What writes an intent or touches what is sealed must not be lost by a failover.
        durable: keep.is_some() || !sealed.is_empty(),
        activity,
        keep,
        finish: run.effects.finish,
        park: None,
        log: log_entry(holding, &before, &state, run, &at),
        log_max: env.limits.log,
        events,
        events_max: env.limits.events,
        sealed,
        schema: W::SCHEMA,
        state,
        data,
        commit,
    })
}

/// The commit that leaves a workflow as it is and takes it out of `due`. What a pre-emptive signal that
/// nobody could hear was to end is erased all the same.
///
/// `record`: as it was read, or as this turn has written it since.
pub(crate) fn park<W: Workflow>(
    env: &Env<W>,
    holding: &Holding,
    record: &Record,
    reason: String,
) -> Commit {
    let unheard = record.unheard().is_some();
    Commit {
        id: holding.id.clone(),
        fence: record.fence,
        claim: holding.claim.clone(),
        commit: env.platform.id(),
        follows: record.commit.clone(),
        strict: false,
        consumed: 0,
        last_heard: None,
        state: record.state.clone(),
        data: record.data.clone(),
        schema: record.schema,
        wake_at: record.wake_at,
        visible_at: None,
        activity: record.activity.clone(),
        keep: None,
        finish: false,
        log: json!({"v": record.v + 1, "at": rfc3339(holding.store_now()), "parked": reason})
            .to_string(),
        park: Some(reason),
        sealed: unheard.then_some(SealedOp::Clear).into_iter().collect(),
        log_max: env.limits.log,
        events: Vec::new(),
        events_max: env.limits.events,
        durable: unheard,
    }
}

/// What the record is once an intent has been written. It is strict, so all that waited has been heard.
pub(crate) fn written(before: &Record, commit: &Commit, v: u64) -> Record {
    Record {
        v,
        commit: Some(commit.commit.clone()),
        state: commit.state.clone(),
        data: commit.data.clone(),
        schema: commit.schema,
        wake_at: commit.wake_at,
        visible_at: commit.visible_at,
        activity: commit.activity.clone(),
        barrier: false,
        ahead: None,
        ..before.clone()
    }
}

/// What the blobs are once a commit's changes have been written.
pub(crate) fn applied(before: &SealedBlobs, ops: &[SealedOp]) -> SealedBlobs {
    let mut blobs = before.clone();
    for op in ops {
        match op {
            SealedOp::Put(name, text) => {
                blobs.insert(name.clone(), text.clone());
            }
            SealedOp::Erase(name) => {
                blobs.remove(name);
            }
            SealedOp::Clear => blobs.clear(),
        }
    }
    blobs
}

/// Seals what is to be sealed, each change on what those before it left. The store erases first and
/// puts afterwards, so a blob that a later change erases again is left out here.
fn seal_all<W: Workflow>(
    env: &Env<W>,
    holding: &Holding,
    before: &SealedBlobs,
    run: &Advanced<W>,
) -> Result<Vec<SealedOp>, SealError> {
    let mut clear = false;
    let mut blobs = before.clone();
    let mut kept: BTreeMap<String, Option<String>> = BTreeMap::new();
    for change in &run.effects.sealed {
        match change {
            SealedChange::Put(slot, secret) => {
                let text = env.activities.seal(&holding.id, secret, &blobs)?;
                blobs.insert(slot.clone(), text.clone());
                kept.insert(slot.clone(), Some(text));
            }
            SealedChange::Anew(slot, secret) => {
                let Some(before) = blobs.get(slot) else {
                    continue;
                };
                match env.activities.seal(&holding.id, secret, &blobs) {
                    // Nothing is written for what is as it should be.
                    Ok(text) if text == *before => {}
                    Ok(text) => {
                        blobs.insert(slot.clone(), text.clone());
                        kept.insert(slot.clone(), Some(text));
                    }
                    Err(error) => tracing::warn!(%error, slot, "a sealed blob stays as it is"),
                }
            }
            SealedChange::Erase(slot) => {
                blobs.remove(slot);
                kept.insert(slot.clone(), None);
            }
            SealedChange::Clear => {
                clear = true;
                blobs.clear();
                kept.clear();
            }
        }
    }
    let mut ops: Vec<SealedOp> = clear.then_some(SealedOp::Clear).into_iter().collect();
    ops.extend(kept.into_iter().map(|(slot, text)| match text {
        Some(text) => SealedOp::Put(slot, text),
        None => SealedOp::Erase(slot),
    }));
    Ok(ops)
}

/// A line for people: what was heard, from where to where, and when it goes on.
fn log_entry<W: Workflow>(
    holding: &Holding,
    before: &str,
    after: &str,
    run: &Advanced<W>,
    at: &str,
) -> String {
    let mut entry = serde_json::Map::new();
    entry.insert("at".to_owned(), at.into());
    entry.insert("from".to_owned(), before.into());
    entry.insert("to".to_owned(), after.into());
    entry.insert("on".to_owned(), run.heard.clone().into());
    let wake = run
        .wake_at
        .map_or(Value::Null, |at: Millis| rfc3339(at).into());
    entry.insert("wake_at".to_owned(), wake);
    if let Some(at) = run.effects.visible_at {
        entry.insert("visible_at".to_owned(), rfc3339(at).into());
    }
    entry.insert("attempt".to_owned(), holding.record.attempt.into());
    entry.insert("fence".to_owned(), holding.record.fence.into());
    for (field, value) in &run.effects.notes {
        entry.insert((*field).to_owned(), value.clone());
    }
    Value::Object(entry).to_string()
}
