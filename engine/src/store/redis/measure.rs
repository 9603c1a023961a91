//! What a server tells of itself, for whoever measures it; and taking a whole key space away again.
//!
//! Much of this a server tells only to those who may administer it: then it is `None`, and what was
//! to be measured is known less well.

use std::collections::BTreeMap;

use deadpool_redis::redis::{FromRedisValue, Value, cmd};

use super::RedisStore;
use super::batch::{Question, Whole, read};
use crate::store::StoreError;

/// Keys looked at, and removed, at once.
const ERASED_AT_ONCE: usize = 1000;

/// A call that the server itself found slow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowCall {
    /// Its number in the server's log; grows.
    pub number: u64,
    /// How long it kept the server busy, in microseconds.
    pub micros: u64,
    /// The command and the beginning of its arguments.
    pub command: Vec<String>,
}

/// How often a command took how long, since the server started: for each upper bound in microseconds
/// (a power of two) how many calls took at most that.
pub type Histogram = BTreeMap<u64, u64>;

impl RedisStore {
    /// The fields of `INFO`, of all sections, as the server names them.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn info(&self) -> Result<BTreeMap<String, String>, StoreError> {
        let mut ask = cmd("INFO");
        ask.arg("everything");
        let key = self.0.keys.meta();
        let text: String = self
            .0
            .ways
            .query("looking at the server", &key, &ask)
            .await?;
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        Ok(fields
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect())
    }

    /// How long the calls of a command have taken the server; `None` where it does not say.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn histogram(&self, command: &str) -> Result<Option<Histogram>, StoreError> {
        let mut ask = cmd("LATENCY");
        ask.arg("HISTOGRAM").arg(command);
        let told: Option<Vec<Value>> = self.permitted("asking for latencies", &ask).await?;
        Ok(told.map(|told| histogram(told).unwrap_or_default()))
    }

    /// The newest entries of the slow log; `None` where the server does not show it.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn slow_calls(&self, newest: usize) -> Result<Option<Vec<SlowCall>>, StoreError> {
        let mut ask = cmd("SLOWLOG");
        ask.arg("GET").arg(newest);
        let told: Option<Vec<Vec<Value>>> = self.permitted("reading the slow log", &ask).await?;
        Ok(told.map(|told| told.into_iter().filter_map(slow_call).collect()))
    }

    /// From how many microseconds on a call is slow; `None` where the server does not say.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn slow_from(&self) -> Result<Option<i64>, StoreError> {
        let mut ask = cmd("CONFIG");
        ask.arg("GET").arg("slowlog-log-slower-than");
        let told: Option<Vec<String>> = self.permitted("asking what is slow", &ask).await?;
        Ok(told.and_then(|told| told.get(1)?.parse().ok()))
    }

    /// Removes every key of the key space, and answers how many there were. There is no way back.
    ///
    /// # Errors
    /// When the server does not answer; then some are left, and calling it again goes on.
    pub async fn erase(&self) -> Result<u64, StoreError> {
        let (doing, ways) = ("removing a key space", &self.0.ways);
        let mut removed = 0;
        for (_, node) in ways.table(doing).await?.firsts() {
            let mut cursor = "0".to_owned();
            loop {
                let mut scan = cmd("SCAN");
                scan.arg(&cursor);
                scan.arg("MATCH").arg(self.0.keys.everything());
                scan.arg("COUNT").arg(ERASED_AT_ONCE);
                let (next, keys): (String, Vec<String>) =
                    ways.query_at(doing, &node, &scan).await?;
                let unlink = |key: &String| {
                    let mut unlink = cmd("UNLINK");
                    unlink.arg(key);
                    Question::of(key, unlink)
                };
                let each: Vec<_> = keys.iter().map(unlink).collect();
                if !each.is_empty() {
                    for answer in ways.batch(doing, &each, Whole::Yes).await? {
                        let value = answer.map_or(Value::Nil, |answer| answer.value);
                        removed += read::<u64>(doing, value)?;
                    }
                }
                if next == "0" {
                    break;
                }
                cursor = next;
            }
        }
        Ok(removed)
    }

    async fn permitted<T: FromRedisValue>(
        &self,
        doing: &str,
        ask: &deadpool_redis::redis::Cmd,
    ) -> Result<Option<T>, StoreError> {
        let key = self.0.keys.meta();
        self.0.ways.query_if_permitted(doing, &key, ask).await
    }
}

/// `[command, [calls, n, histogram_usec, [bound, calls, …]]]`; nothing where it was never called.
fn histogram(told: Vec<Value>) -> Option<Histogram> {
    let mut told = told.into_iter().skip(1);
    let parts: Vec<Value> = FromRedisValue::from_redis_value(told.next()?).ok()?;
    let bounds = parts.into_iter().nth(3)?;
    let flat: Vec<u64> = FromRedisValue::from_redis_value(bounds).ok()?;
    Some(
        flat.chunks_exact(2)
            .map(|pair| (pair[0], pair[1]))
            .collect(),
    )
}

/// `[number, when, micros, [command, …], …]`.
fn slow_call(told: Vec<Value>) -> Option<SlowCall> {
    let mut told = told.into_iter();
    let number = u64::from_redis_value(told.next()?).ok()?;
    let micros = u64::from_redis_value(told.nth(1)?).ok()?;
    let command = Vec::from_redis_value(told.next()?).ok()?;
    Some(SlowCall {
        number,
        micros,
        command,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn a_histogram_is_read_from_its_nested_lists() {
        let bounds = [1, 3, 2, 5].map(Value::Int).to_vec();
        let of = vec![
            text("calls"),
            Value::Int(5),
            text("histogram_usec"),
            Value::Array(bounds),
        ];
        let told = vec![text("evalsha"), Value::Array(of)];
        assert_eq!(histogram(told), Some([(1, 3), (2, 5)].into()));
        assert_eq!(histogram(Vec::new()), None);
    }

    #[test]
    fn a_slow_call_is_number_time_and_command() {
        let command = Value::Array(vec![text("SCAN"), text("0")]);
        let told = vec![Value::Int(7), Value::Int(1), Value::Int(5100), command];
        let call = slow_call(told).unwrap();
        assert_eq!((call.number, call.micros), (7, 5100));
        assert_eq!(call.command, ["SCAN", "0"]);
    }
}
