//! The real server of the schedules: the store in it, and what no operation does: looking at
//! everything at once, a replica that lags behind, backups.

use std::cell::RefCell;
use std::collections::BTreeMap;

use evergreen_engine::record::{Envelope, Record, SealedBlobs};
use evergreen_engine::store::clock::ManualClock;
use evergreen_engine::store::redis::{RedisOptions, RedisStore};
use evergreen_engine::{Millis, Workflow, WorkflowId};

use crate::machine::Credential;
use crate::support::wire::Wire;
use crate::support::{BEGIN, Server};

/// Copies every key, or removes the copy of one that is not there.
const COPY: &str = "
for i = 1, #KEYS, 2 do
  if redis.call('COPY', KEYS[i], KEYS[i + 1], 'REPLACE') == 0 then redis.call('DEL', KEYS[i + 1]) end
end";

/// The keys of a partition with one workflow.
const KEYS: [&str; 7] = ["due", "parked", "events", "wf", "inbox", "sealed", "log"];

/// Where a copy of everything lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Live,
    Replica,
    Backup,
}

/// Everything about the workflow, read between two steps.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Look {
    pub(crate) record: Option<Record>,
    pub(crate) inbox: Vec<Envelope>,
    pub(crate) sealed: SealedBlobs,
    pub(crate) due: Option<Millis>,
    pub(crate) parked: bool,
}

impl Look {
    /// The machine's data.
    pub(crate) fn machine(&self) -> Option<Credential> {
        #[derive(serde::Deserialize)]
        struct Stored {
            data: Credential,
        }
        let data = &self.record.as_ref()?.data;
        Some(serde_json::from_str::<Stored>(data).unwrap().data)
    }

    pub(crate) fn state(&self) -> &str {
        self.record.as_ref().map_or("-", |record| &record.state)
    }
}

pub(crate) struct Bench {
    runtime: tokio::runtime::Runtime,
    pub(crate) store: RedisStore,
    raw: RefCell<redis::Connection>,
    prefix: String,
    pub(crate) clock: ManualClock,
    pub(crate) id: WorkflowId,
    wire: Wire,
    /// Ends when the test does.
    _server: Server,
}

impl Bench {
    /// A server of its own, whose scripts can be mutilated where the test wants that.
    pub(crate) fn new(through_wire: bool) -> Self {
        let server = Server::start(&["--appendonly", "no"]);
        let wire = Wire::to(&server);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let clock = ManualClock::at(BEGIN);
        let mut options = RedisOptions {
            partitions: Some(1),
            clock: Some(clock.clock()),
            ..server.options()
        };
        if through_wire {
            options.url = wire.url();
        }
        let prefix = options.prefix.clone();
        let store = runtime.block_on(RedisStore::connect(options)).unwrap();
        Self {
            raw: RefCell::new(server.blocking()),
            runtime,
            store,
            prefix,
            clock,
            id: WorkflowId::new(Credential::KIND, "acme").unwrap(),
            wire,
            _server: server,
        }
    }

    /// Makes a call of the store, and waits for it.
    pub(crate) fn call<F: Future>(&self, call: F) -> F::Output {
        self.runtime.block_on(call)
    }

    /// From now on a script runs with `from` replaced by `to`.
    pub(crate) fn mutilate(&self, script: &str, from: &str, to: &str) {
        let mut raw = self.raw.borrow_mut();
        self.wire.mutilate(&mut raw, script, from, to);
    }

    fn key(&self, what: &str, place: Place) -> String {
        let id = &self.id;
        let name = match what {
            "due" | "parked" | "events" => what.to_owned(),
            _ => format!("{what}:{id}"),
        };
        let copy = match place {
            Place::Live => "",
            Place::Replica => "~replica",
            Place::Backup => "~backup",
        };
        format!("{}:{{00}}:{name}{copy}", self.prefix)
    }

    pub(crate) fn copy(&self, from: Place, to: Place) {
        let mut script = redis::cmd("EVAL");
        script.arg(COPY).arg(2 * KEYS.len());
        for what in KEYS {
            script.arg(self.key(what, from)).arg(self.key(what, to));
        }
        let mut raw = self.raw.borrow_mut();
        script.exec(&mut *raw).unwrap();
    }

    pub(crate) fn empty(&self, places: &[Place]) {
        let mut forget = redis::cmd("DEL");
        for place in places {
            for what in KEYS {
                forget.arg(self.key(what, *place));
            }
        }
        let mut raw = self.raw.borrow_mut();
        forget.exec(&mut *raw).unwrap();
    }

    pub(crate) fn break_index(&self, score: Option<Millis>) {
        let mut command = redis::cmd(if score.is_some() { "ZADD" } else { "ZREM" });
        command.arg(self.key("due", Place::Live)).arg(score);
        command.arg(self.id.to_string());
        let mut raw = self.raw.borrow_mut();
        command.exec(&mut *raw).unwrap();
    }

    pub(crate) fn look(&self) -> Look {
        type Found = (
            BTreeMap<String, String>,
            Vec<String>,
            SealedBlobs,
            Option<Millis>,
            Option<Millis>,
        );
        let key = |what| self.key(what, Place::Live);
        let mut ask = redis::pipe();
        ask.cmd("HGETALL").arg(key("wf"));
        ask.cmd("LRANGE").arg(key("inbox")).arg(0).arg(-1);
        ask.cmd("HGETALL").arg(key("sealed"));
        for set in ["due", "parked"] {
            ask.cmd("ZSCORE").arg(key(set)).arg(self.id.to_string());
        }
        let mut raw = self.raw.borrow_mut();
        let (fields, inbox, sealed, due, parked): Found = ask.query(&mut *raw).unwrap();
        Look {
            record: record(fields),
            inbox: inbox
                .iter()
                .filter_map(|text| Envelope::parse(text))
                .collect(),
            sealed,
            due,
            parked: parked.is_some(),
        }
    }

    /// The ids of all events, in order.
    pub(crate) fn event_ids(&self) -> Vec<String> {
        type Entries = Vec<(String, BTreeMap<String, String>)>;
        let mut ask = redis::cmd("XRANGE");
        ask.arg(self.key("events", Place::Live)).arg("-").arg("+");
        let mut raw = self.raw.borrow_mut();
        let entries: Entries = ask.query(&mut *raw).unwrap();
        entries
            .into_iter()
            .filter_map(|(_, mut fields)| fields.remove("id"))
            .collect()
    }
}

fn record(mut fields: BTreeMap<String, String>) -> Option<Record> {
    if fields.is_empty() {
        return None;
    }
    let mut take = |name: &str| fields.remove(name);
    let number = |text: Option<String>| text.map(|text| text.parse::<u64>().unwrap());
    Some(Record {
        state: take("state").unwrap_or_default(),
        data: take("data").unwrap_or_default(),
        v: number(take("v")).unwrap_or_default(),
        wake_at: number(take("wake_at")),
        visible_at: number(take("visible_at")),
        fence: number(take("fence")).unwrap_or_default(),
        claim: take("claim"),
        owner: take("owner"),
        lease_until: number(take("lease_until")),
        commit: take("commit"),
        attempt: number(take("attempt")).map_or(0, |n| n.try_into().unwrap()),
        activity: take("activity"),
        barrier: take("barrier").is_some(),
        ahead: number(take("ahead")).map(|n| n.try_into().unwrap()),
        signal: take("signal"),
        parked: take("parked"),
        schema: 1,
    })
}
