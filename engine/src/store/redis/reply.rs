//! What the scripts answer, read into the types of the trait. A word or a shape that the script's head
//! does not name is refused, with the script's name: the two are of different versions.

use std::collections::{BTreeMap, VecDeque};
use std::str::FromStr;

use deadpool_redis::redis::{FromRedisValue, Value};

use super::errors::refused;
use crate::machine::Millis;
use crate::record::{Envelope, Reading, Record};
use crate::store::{
    Claimed, Committed, Extended, Heads, Reconciled, Requeued, Signalled, Stamped, StoreError, Told,
};

/// A reply that is being read from its front.
pub(super) struct Reply {
    script: &'static str,
    pub(super) word: String,
    rest: VecDeque<Value>,
}

impl Reply {
    pub(super) fn new(script: &'static str, value: Value) -> Result<Self, StoreError> {
        let Value::Array(parts) = value else {
            return Err(strange(script, "it is no list"));
        };
        let mut reply = Self {
            script,
            word: String::new(),
            rest: parts.into(),
        };
        reply.word = reply.next()?;
        Ok(reply)
    }

    pub(super) fn next<T: FromRedisValue>(&mut self) -> Result<T, StoreError> {
        let value = self.rest.pop_front();
        let value = value.ok_or_else(|| strange(self.script, "it is too short"))?;
        T::from_redis_value(value).map_err(|why| strange(self.script, why))
    }

    /// A number that came as text.
    pub(super) fn number(&mut self) -> Result<u64, StoreError> {
        let text: String = self.next()?;
        score(&text).ok_or_else(|| strange(self.script, format!("{text} is no number")))
    }

    fn heads(&mut self) -> Result<Heads, StoreError> {
        let flat: Vec<String> = self.next()?;
        heads(&flat).ok_or_else(|| strange(self.script, "a score is no number"))
    }

    fn envelopes(&mut self) -> Result<Vec<Envelope>, StoreError> {
        let texts: Vec<String> = self.next()?;
        let parse = |text: &String| Envelope::parse(text);
        let envelopes: Option<_> = texts.iter().map(parse).collect();
        envelopes.ok_or_else(|| strange(self.script, "a signal does not begin with its time"))
    }

    fn record(&mut self) -> Result<Record, StoreError> {
        let fields: BTreeMap<String, String> = self.next()?;
        record(fields).map_err(|why| strange(self.script, why))
    }

    /// The answer to a word that the script's head does not name.
    pub(super) fn unknown_word<T>(&self) -> Result<T, StoreError> {
        Err(strange(
            self.script,
            format!("unknown word {:?}", self.word),
        ))
    }

    /// It has a part that cannot be read.
    pub(super) fn strange(&self, why: impl std::fmt::Display) -> StoreError {
        strange(self.script, why)
    }
}

fn strange(script: &str, why: impl std::fmt::Display) -> StoreError {
    refused(
        format!("reading the reply of {script}.lua"),
        why.to_string(),
    )
}

pub(super) fn claimed(value: Value) -> Result<Told<Claimed>, StoreError> {
    let mut reply = Reply::new("claim", value)?;
    let (now, heads) = (reply.number()?, reply.heads()?);
    let answer = match reply.word.as_str() {
        "claimed" => Claimed::Claimed {
            record: Box::new(reply.record()?),
            sealed: reply.next()?,
            inbox: reply.envelopes()?,
        },
        "held" => Claimed::Held {
            lease_until: reply.number()?,
            owner: reply.next()?,
        },
        "not_due" => Claimed::NotDue,
        "delayed" => Claimed::Delayed {
            until: reply.number()?,
        },
        "parked" => Claimed::Parked {
            reason: reply.next()?,
        },
        "unknown" => Claimed::Unknown,
        _ => return reply.unknown_word(),
    };
    Ok(Told { answer, now, heads })
}

/// `kept` says whether the commit asked to keep the lease, which the script need not repeat.
pub(super) fn committed(
    value: Value,
    kept: bool,
    confirmed: bool,
) -> Result<Told<Committed>, StoreError> {
    let mut reply = Reply::new("commit", value)?;
    let (now, heads) = (reply.number()?, reply.heads()?);
    let answer = match reply.word.as_str() {
        "committed" => Committed::Written {
            v: reply.number()?,
            already: false,
            ours: kept,
            confirmed,
        },
        "already" => Committed::Written {
            v: reply.number()?,
            already: true,
            ours: reply.number()? == 1,
            confirmed,
        },
        "fenced" => Committed::Fenced { v: reply.number()? },
        "signals" => Committed::Signals {
            rest: reply.envelopes()?,
        },
        "unknown" => Committed::Unknown,
        "invalid" => return Err(refused("a commit", reply.next::<String>()?)),
        _ => return reply.unknown_word(),
    };
    Ok(Told { answer, now, heads })
}

pub(super) fn signalled(value: Value, confirmed: bool) -> Result<Signalled, StoreError> {
    let mut reply = Reply::new("signal", value)?;
    let _now = reply.number()?;
    Ok(match reply.word.as_str() {
        "queued" | "already" => Signalled::Queued {
            v: reply.number()?,
            held: reply.number()? == 1,
            already: reply.word == "already",
            confirmed,
        },
        "unknown" => Signalled::Unknown,
        "full" => Signalled::Full,
        _ => return reply.unknown_word(),
    })
}

pub(super) fn reading(value: Value) -> Result<Option<Reading>, StoreError> {
    let mut reply = Reply::new("read", value)?;
    let now = reply.number()?;
    Ok(match reply.word.as_str() {
        "found" => Some(Reading {
            now,
            record: reply.record()?,
            sealed: reply.next()?,
            inbox_len: reply.number()?,
            score: score(&reply.next::<String>()?),
        }),
        "unknown" => None,
        _ => return reply.unknown_word(),
    })
}

pub(super) fn extended(value: Value) -> Result<Extended, StoreError> {
    let mut reply = Reply::new("extend", value)?;
    let _now = reply.number()?;
    Ok(match reply.word.as_str() {
        "extended" => Extended::Renewed {
            lease_until: reply.number()?,
        },
        "given_back" => Extended::GivenBack,
        "fenced" => Extended::Fenced,
        _ => return reply.unknown_word(),
    })
}

/// What so many comparisons found.
pub(super) fn compared(value: Value, count: usize) -> Result<Vec<Reconciled>, StoreError> {
    let mut reply = Reply::new("reconcile", value)?;
    if reply.word != "compared" {
        return reply.unknown_word();
    }
    let _now = reply.number()?;
    let mut found = Vec::with_capacity(count);
    for _ in 0..count {
        reply.word = reply.next()?;
        found.push(match reply.word.as_str() {
            "right" => Reconciled::Right,
            "missing" => Reconciled::Missing,
            "stray" => Reconciled::Stray,
            "score" => Reconciled::Score,
            "parked" => Reconciled::Parked,
            "unreadable" => Reconciled::Unreadable,
            _ => return reply.unknown_word(),
        });
    }
    Ok(found)
}

pub(super) fn requeued(value: Value) -> Result<Requeued, StoreError> {
    let mut reply = Reply::new("requeue", value)?;
    let _now = reply.number()?;
    Ok(match reply.word.as_str() {
        "requeued" => Requeued::Requeued,
        "not_parked" => Requeued::NotParked,
        "unknown" => Requeued::Unknown,
        _ => return reply.unknown_word(),
    })
}

pub(super) fn stamped(value: Value) -> Result<Stamped, StoreError> {
    let mut reply = Reply::new("stamp", value)?;
    if !matches!(reply.word.as_str(), "stamped" | "older") {
        return reply.unknown_word();
    }
    let _now = reply.number()?;
    Ok(Stamped {
        stored: reply.number()?,
        stamp: reply.number()?,
        restored: Some(reply.number()?).filter(|at| *at > 0),
        older: reply.word == "older",
    })
}

/// Whether the turnstile let the holder through.
pub(super) fn passed(value: Value) -> Result<bool, StoreError> {
    let reply = Reply::new("turnstile", value)?;
    match reply.word.as_str() {
        "passed" => Ok(true),
        "closed" => Ok(false),
        _ => reply.unknown_word(),
    }
}

/// Whether a migration had something to do.
pub(super) fn applied(script: &'static str, value: Value) -> Result<bool, StoreError> {
    let reply = Reply::new(script, value)?;
    match reply.word.as_str() {
        "applied" => Ok(true),
        "present" => Ok(false),
        _ => reply.unknown_word(),
    }
}

/// A score. People set scores by hand, and Redis keeps them as floating-point numbers.
pub(super) fn score(text: &str) -> Option<Millis> {
    if let Ok(whole) = text.parse() {
        return Some(whole);
    }
    let score: f64 = text.parse().ok()?;
    // `as` ends at the type's bounds, which is what is wanted of "-inf" and the like.
    (!score.is_nan()).then_some(score as u64)
}

/// Members and scores, as `ZRANGE … WITHSCORES` tells them.
pub(super) fn heads(flat: &[String]) -> Option<Heads> {
    let pairs = flat.chunks_exact(2);
    pairs
        .map(|pair| Some((pair[0].clone(), score(&pair[1])?)))
        .collect()
}

/// The record of a hash. A field that is no number where one must be is told by name.
pub(super) fn record(mut fields: BTreeMap<String, String>) -> Result<Record, String> {
    fn number<T: FromStr>(
        fields: &mut BTreeMap<String, String>,
        name: &str,
    ) -> Result<Option<T>, String> {
        let Some(text) = fields.remove(name) else {
            return Ok(None);
        };
        let number = text.parse();
        number
            .map(Some)
            .map_err(|_| format!("field {name} is {text:?}, which is no number"))
    }
    Ok(Record {
        state: fields.remove("state").unwrap_or_default(),
        data: fields.remove("data").unwrap_or_default(),
        schema: number(&mut fields, "schema")?.unwrap_or_default(),
        v: number(&mut fields, "v")?.unwrap_or_default(),
        wake_at: number(&mut fields, "wake_at")?,
        visible_at: number(&mut fields, "visible_at")?,
        fence: number(&mut fields, "fence")?.unwrap_or_default(),
        claim: fields.remove("claim"),
        owner: fields.remove("owner"),
        lease_until: number(&mut fields, "lease_until")?,
        commit: fields.remove("commit"),
        attempt: number(&mut fields, "attempt")?.unwrap_or_default(),
        activity: fields.remove("activity"),
        barrier: fields.remove("barrier").is_some_and(|text| text == "1"),
        ahead: number(&mut fields, "ahead")?,
        signal: fields.remove("signal"),
        parked: fields.remove("parked"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Value {
        let bulk = |text: &&str| Value::BulkString(text.as_bytes().to_vec());
        Value::Array(texts.iter().map(bulk).collect())
    }

    #[test]
    fn an_unknown_word_names_itself_and_its_script() {
        let error = signalled(texts(&["maybe", "1"]), true).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("signal.lua") && text.contains("maybe"),
            "{text}"
        );
        assert!(matches!(error, StoreError::Refused { .. }));
    }

    #[test]
    fn a_short_reply_is_refused() {
        assert!(extended(texts(&["extended", "1"])).is_err());
        assert!(extended(Value::Nil).is_err());
    }

    #[test]
    fn a_score_may_have_been_set_by_hand() {
        assert_eq!(score("1763700000123"), Some(1_763_700_000_123));
        assert_eq!(score("1.5"), Some(1));
        assert_eq!(score("-inf"), Some(0));
        assert_eq!(score("soon"), None);
    }

    #[test]
    fn a_broken_field_is_told_by_name() {
        let fields = BTreeMap::from([("fence".to_owned(), "x".to_owned())]);
        assert!(record(fields).unwrap_err().contains("fence"));
    }
}
