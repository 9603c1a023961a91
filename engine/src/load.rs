//! From the stored record to the machine and back.

use serde_json::Value;

use crate::id::WorkflowId;
use crate::machine::{Stored, Workflow};
use crate::record::{Envelope, Record};

/// Why a record or a signal cannot be used by this worker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoadError {
    /// A newer worker wrote it: leave it to one.
    #[error("{what} has schema {found}, this worker reads up to {known}")]
    Newer {
        what: &'static str,
        found: u32,
        known: u32,
    },
    /// Nobody can read it.
    #[error("{what} cannot be read: {why}")]
    Damaged { what: &'static str, why: String },
}

/// What `data` holds: the part of the one state, and what all states share.
#[derive(serde::Serialize, serde::Deserialize)]
struct Data {
    phase: Value,
    data: Value,
}

/// Refuses a record that a newer worker wrote.
pub(crate) fn not_newer<W: Workflow>(record: &Record) -> Result<(), LoadError> {
    if record.schema > W::SCHEMA {
        return Err(LoadError::Newer {
            what: "the record",
            found: record.schema,
            known: W::SCHEMA,
        });
    }
    Ok(())
}

/// Reads the machine that a record holds.
pub(crate) fn machine<W: Workflow>(record: &Record) -> Result<(W, W::Phase), LoadError> {
    not_newer::<W>(record)?;
    let damaged = |why: String| LoadError::Damaged {
        what: "the record",
        why,
    };
    let data: Data = serde_json::from_str(&record.data).map_err(|e| damaged(place_of(&e)))?;
    let mut stored = Stored {
        name: record.state.clone(),
        phase: data.phase,
        data: data.data,
    };
    if record.schema < W::SCHEMA {
        stored = W::upgrade(record.schema, stored).map_err(damaged)?;
    }
    let phase = if stored.phase.is_null() {
        Value::String(stored.name)
    } else {
        Value::Object([(stored.name, stored.phase)].into_iter().collect())
    };
    Ok((
        serde_json::from_value(stored.data).map_err(|e| damaged(place_of(&e)))?,
        serde_json::from_value(phase).map_err(|e| damaged(place_of(&e)))?,
    ))
}

/// Writes a machine as `state` and `data`.
pub(crate) fn store<W: Workflow>(
    data: &W,
    phase: &W::Phase,
) -> Result<(String, String), LoadError> {
    let unwritable = |why: String| LoadError::Damaged {
        what: "the machine",
        why,
    };
    let phase = serde_json::to_value(phase).map_err(|e| unwritable(e.to_string()))?;
    let (state, phase) = match phase {
        Value::String(name) => (name, Value::Null),
        Value::Object(map) if map.len() == 1 => map
            .into_iter()
            .next()
            .ok_or_else(|| unwritable("no state".to_owned()))?,
        _ => {
            return Err(unwritable(
                "a state must be an externally tagged enum".to_owned(),
            ));
        }
    };
    let data = serde_json::to_value(data).map_err(|e| unwritable(e.to_string()))?;
    let data =
        serde_json::to_string(&Data { phase, data }).map_err(|e| unwritable(e.to_string()))?;
    Ok((state, data))
}

#[derive(serde::Serialize, serde::Deserialize)]
struct SignalPayload<S> {
    schema: u32,
    signal: S,
}

/// Writes a signal as it goes into an inbox.
pub(crate) fn signal_payload<W: Workflow>(signal: &W::Signal) -> Result<String, LoadError> {
    serde_json::to_string(&SignalPayload {
        schema: W::SCHEMA,
        signal,
    })
    .map_err(|e| LoadError::Damaged {
        what: "the signal",
        why: e.to_string(),
    })
}

/// Reads a signal from an inbox.
pub(crate) fn signal<W: Workflow>(envelope: &Envelope) -> Result<W::Signal, LoadError> {
    let damaged = |e: &serde_json::Error| LoadError::Damaged {
        what: "a signal",
        why: place_of(e),
    };
    let payload: SignalPayload<Value> =
        serde_json::from_str(&envelope.payload).map_err(|e| damaged(&e))?;
    if payload.schema > W::SCHEMA {
        return Err(LoadError::Newer {
            what: "a signal",
            found: payload.schema,
            known: W::SCHEMA,
        });
    }
    serde_json::from_value(payload.signal).map_err(|e| damaged(&e))
}

/// Reads the activity that a record says is in flight.
pub(crate) fn activity<W: Workflow>(record: &Record) -> Result<Option<W::Activity>, LoadError> {
    let Some(text) = &record.activity else {
        return Ok(None);
    };
    serde_json::from_str(text)
        .map(Some)
        .map_err(|e| LoadError::Damaged {
            what: "the activity",
            why: place_of(&e),
        })
}

/// A parser's complaint without the text it complains about, which may be anybody's.
fn place_of(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        serde_json::error::Category::Io => "reading",
        serde_json::error::Category::Syntax => "not JSON",
        serde_json::error::Category::Data => "JSON of another shape",
        serde_json::error::Category::Eof => "cut off",
    };
    format!("{kind} at line {} column {}", error.line(), error.column())
}

/// A workflow is only spoken to by its own kind: another's state could not be read again.
pub(crate) fn is_of_kind<W: Workflow>(id: &WorkflowId) -> Result<(), String> {
    if id.kind() == W::KIND {
        return Ok(());
    }
    Err(format!(
        "it is a {}, and this is for a {}",
        id.kind(),
        W::KIND
    ))
}
