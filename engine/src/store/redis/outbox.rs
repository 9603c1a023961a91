//! Readers of the outbox: how their calls become keys and arguments, and what the scripts answer.

use deadpool_redis::redis::Value;

use super::batch::{Question, Whole};
use super::calls::Calls;
use super::lists::{Entries, entry};
use super::reply::Reply;
use super::scripts::{Call, DRAIN, READER, SETTLE};
use super::ways::Ways;
use crate::store::StoreError;
use crate::store::clock::millis;
use crate::store::outbox::{Dealt, Drain, Drained, Position, Progress, Settle, Take};
use crate::time::rfc3339;

pub(super) fn drain(calls: &Calls<'_>, ask: &Drain) -> Result<Call, StoreError> {
    let (word, after) = match ask.take {
        Take::New => ("new", Position::default()),
        Take::Again { after } => ("again", after),
    };
    Ok(Call::new(
        &DRAIN,
        keys(calls, ask.partition)?,
        vec![
            calls.now(),
            ask.reader.clone(),
            word.to_owned(),
            after.to_string(),
            ask.count.to_string(),
            ask.events_max.to_string(),
            ask.partition.to_string(),
            rfc3339(ask.at),
        ],
    ))
}

pub(super) fn drained(value: Value) -> Result<Drained, StoreError> {
    let mut reply = Reply::new("drain", value)?;
    if reply.word != "drained" {
        return reply.unknown_word();
    }
    let _now = reply.number()?;
    let lost = reply.number()?;
    let through = position(&mut reply)?;
    let entries: Entries = reply.next()?;
    Ok(Drained {
        events: entries.into_iter().map(entry).collect::<Result<_, _>>()?,
        through,
        lost,
    })
}

pub(super) fn settle(calls: &Calls<'_>, ask: &Settle) -> Result<Call, StoreError> {
    let how = match ask.how {
        Dealt::Done => "done",
        Dealt::Abandoned => "abandoned",
    };
    let mut args = vec![
        calls.now(),
        ask.reader.clone(),
        how.to_owned(),
        millis(ask.keep).to_string(),
    ];
    args.extend(ask.positions.iter().map(ToString::to_string));
    Ok(Call::new(&SETTLE, keys(calls, ask.partition)?, args))
}

pub(super) fn settled(value: Value) -> Result<u64, StoreError> {
    let mut reply = Reply::new("settle", value)?;
    if reply.word != "settled" {
        return reply.unknown_word();
    }
    let _now = reply.number()?;
    reply.number()
}

/// How far a reader has come everywhere, in one round trip to each server.
pub(super) async fn progress(
    ways: &Ways,
    calls: &Calls<'_>,
    reader: &str,
) -> Result<Vec<Progress>, StoreError> {
    let all = 0..calls.keys.partitions();
    let question = |partition| {
        let args = vec![calls.now(), reader.to_owned()];
        Ok(Question::call(Call::new(
            &READER,
            keys(calls, partition)?,
            args,
        )))
    };
    let questions = all.clone().map(question).collect::<Result<Vec<_>, _>>()?;
    let doing = "looking how far a reader of the outbox has come";
    let answers = ways.batch(doing, &questions, Whole::No).await?;
    let told = all.zip(answers);
    told.filter_map(|(partition, answer)| Some(come_so_far(partition, answer?.value)))
        .collect()
}

fn come_so_far(partition: u16, value: Value) -> Result<Progress, StoreError> {
    let mut reply = Reply::new("reader", value)?;
    let now = reply.number()?;
    let joined = match reply.word.as_str() {
        "reader" => true,
        "nobody" => false,
        _ => return reply.unknown_word(),
    };
    let (unread, unsettled, oldest) = match joined {
        true => (reply.number()?, reply.number()?, position(&mut reply)?),
        false => (0, 0, None),
    };
    Ok(Progress {
        partition,
        now,
        joined,
        unread,
        unsettled,
        oldest,
        lost: reply.number()?,
        abandoned: reply.number()?,
    })
}

fn keys(calls: &Calls<'_>, partition: u16) -> Result<Vec<String>, StoreError> {
    Ok(vec![
        calls.keys.events(partition)?,
        calls.keys.readers(partition)?,
    ])
}

/// A position, or nothing where there is none.
fn position(reply: &mut Reply) -> Result<Option<Position>, StoreError> {
    let text: String = reply.next()?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|why| reply.strange(why))
}

#[cfg(test)]
mod tests {
    use super::super::keys::Keys;
    use super::*;

    /// In a cluster a script whose keys lie in different slots is refused.
    #[test]
    fn every_call_has_its_keys_in_one_slot() {
        let keys = Keys::new("evergreen", 64);
        let calls = Calls {
            keys: &keys,
            now: None,
        };
        let ask = Drain {
            partition: 63,
            reader: "webhook".to_owned(),
            take: Take::New,
            count: 1,
            at: 0,
            events_max: 1,
        };
        assert!(drain(&calls, &ask).unwrap().is_of_one_slot());
        let ask = Settle {
            partition: 63,
            reader: "webhook".to_owned(),
            positions: Vec::new(),
            how: Dealt::Done,
            keep: std::time::Duration::ZERO,
        };
        assert!(settle(&calls, &ask).unwrap().is_of_one_slot());
    }
}
