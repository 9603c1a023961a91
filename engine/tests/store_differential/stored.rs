//! Compares what the two stores hold.

use std::collections::BTreeMap;

use evergreen_engine::machine::Millis;
use evergreen_engine::record::{Envelope, Record};
use evergreen_engine::store::memory::{Inspection, Set};
use evergreen_engine::store::{OutboxEntry, Reconciled, Store, StreamEntry};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::pair::Pair;
use crate::steps::WORKFLOWS;
use crate::support::BEGIN;

/// The keys of one workflow: record, inbox, sealed blobs, log, and its scores in `due` and `parked`.
type Stored = (
    BTreeMap<String, String>,
    Vec<String>,
    BTreeMap<String, String>,
    Vec<String>,
    Option<Millis>,
    Option<Millis>,
);

impl Pair {
    /// Everything that is stored, key by key, and every entry of the index against its record.
    pub(crate) async fn compare(&mut self) -> Result<(), TestCaseError> {
        let mut ask = redis::pipe();
        let key = |what: &str| format!("{}:{{00}}:{what}", self.prefix);
        for id in &self.ids {
            ask.cmd("HGETALL").arg(key(&format!("wf:{id}")));
            ask.cmd("LRANGE")
                .arg(key(&format!("inbox:{id}")))
                .arg(0)
                .arg(-1);
            ask.cmd("HGETALL").arg(key(&format!("sealed:{id}")));
            ask.cmd("LRANGE")
                .arg(key(&format!("log:{id}")))
                .arg(0)
                .arg(-1);
            ask.cmd("ZSCORE").arg(key("due")).arg(id.to_string());
            ask.cmd("ZSCORE").arg(key("parked")).arg(id.to_string());
        }
        let flat: Vec<redis::Value> = ask.query_async(&mut self.raw).await.unwrap();
        let found = flat.chunks_exact(6).map(|keys| {
            let keys = redis::Value::Array(keys.to_vec());
            redis::from_redis_value::<Stored>(keys).unwrap()
        });
        for (id, (fields, inbox, sealed, log, due, parked)) in self.ids.iter().zip(found) {
            let model = self.model.inspect(id);
            let wanted = model.record.as_ref().map(fields_of).unwrap_or_default();
            prop_assert_eq!(fields, wanted, "the hash of {}", id);
            let inbox: Vec<_> = inbox
                .iter()
                .map(|text| Envelope::parse(text).unwrap())
                .collect();
            let redis = Inspection {
                record: model.record.clone(),
                inbox,
                sealed,
                log,
                due,
                parked,
            };
            prop_assert_eq!(&model, &redis, "{}", id);
            if !self.astray {
                let record = model.record.unwrap_or_default();
                let wanted = record.wanted_score(model.inbox.is_empty(), self.clock.now());
                let ready = wanted == Some(self.clock.now()) && due <= wanted && due.is_some();
                prop_assert!(
                    due == wanted || ready,
                    "{id}: {due:?} instead of {wanted:?}"
                );
                prop_assert_eq!(parked.is_some(), record.parked.is_some());
            }
        }
        Ok(())
    }

    /// What both tell of the whole partition at the end.
    pub(crate) async fn agree(&mut self) -> Result<(), TestCaseError> {
        for id in 0..WORKFLOWS {
            let found = self.reconcile(id).await?;
            prop_assert!(self.astray || found == Reconciled::Right, "{found:?}");
        }
        // Whatever state each was left in, a broken index is put right from it.
        for (id, score) in (0..WORKFLOWS).zip([None, Some(BEGIN + 77)].into_iter().cycle()) {
            self.break_index(id, Set::Due, score).await;
            self.reconcile(id).await?;
            self.compare().await?;
            let found = self.reconcile(id).await?;
            prop_assert_eq!(found, Reconciled::Right);
        }
        let entries = |page: Vec<StreamEntry>| -> Vec<OutboxEntry> {
            page.into_iter().map(|event| event.entry).collect()
        };
        let a = entries(self.model.events(0, None, 1000).await.unwrap());
        prop_assert_eq!(a, entries(self.redis.events(0, None, 1000).await.unwrap()));
        Ok(())
    }

    /// Empties the key space between two sequences.
    pub(crate) async fn clear(&mut self) {
        let mut forget = redis::cmd("DEL");
        for what in ["due", "parked", "events", "readers"] {
            forget.arg(format!("{}:{{00}}:{what}", self.prefix));
        }
        for id in &self.ids {
            for what in ["wf", "inbox", "sealed", "log"] {
                forget.arg(format!("{}:{{00}}:{what}:{id}", self.prefix));
            }
        }
        forget.exec_async(&mut self.raw).await.unwrap();
        let mut unstamp = redis::cmd("HDEL");
        unstamp.arg(format!("{}:meta", self.prefix));
        unstamp.arg("stamp").arg("restored");
        let done = unstamp.exec_async(&mut self.raw).await;
        // In a cluster it lies elsewhere than the partition.
        let elsewhere = done
            .as_ref()
            .err()
            .and_then(redis::RedisError::redirect_node);
        let Some((node, _)) = elsewhere else {
            return done.unwrap();
        };
        let client = redis::Client::open(format!("redis://{node}")).unwrap();
        let mut there = client.get_multiplexed_async_connection().await.unwrap();
        unstamp.exec_async(&mut there).await.unwrap();
    }
}

/// The hash that a record must be, no field more and none less.
fn fields_of(record: &Record) -> BTreeMap<String, String> {
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let fields = [
        ("state", Some(record.state.clone())),
        ("data", Some(record.data.clone())),
        ("schema", Some(record.schema.to_string())),
        ("v", Some(record.v.to_string())),
        ("wake_at", number(record.wake_at)),
        ("visible_at", number(record.visible_at)),
        ("fence", Some(record.fence.to_string())),
        ("claim", record.claim.clone()),
        ("owner", record.owner.clone()),
        ("lease_until", number(record.lease_until)),
        ("commit", record.commit.clone()),
        ("attempt", Some(record.attempt.to_string())),
        ("activity", record.activity.clone()),
        ("barrier", record.barrier.then(|| "1".to_owned())),
        ("ahead", record.ahead.map(|ahead| ahead.to_string())),
        ("signal", record.signal.clone()),
        ("parked", record.parked.clone()),
    ];
    let set = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    set.collect()
}
