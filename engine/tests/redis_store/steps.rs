//! What the tests are told with: signals, claims and commits of one small workflow.

use std::time::Duration;

use evergreen_engine::id::WorkflowId;
use evergreen_engine::record::Record;
use evergreen_engine::store::redis::RedisStore;
use evergreen_engine::store::{
    Claim, ClaimMode, Claimed, Commit, Creation, Signal, Signalled, Store,
};

/// Every write reaches the disk before it is answered: confirming takes no time.
pub(crate) const SAFE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];
pub(crate) const QUICK: Duration = Duration::from_millis(400);

pub(crate) fn id(name: &str) -> WorkflowId {
    WorkflowId::new("test", name).unwrap()
}

pub(crate) fn creating(name: &str, durable: bool) -> Signal {
    Signal {
        id: id(name),
        payload: "{}".to_owned(),
        preemptive: false,
        once: None,
        unless_it_waits: false,
        ends_claim: None,
        create: Some(Creation {
            state: "New".to_owned(),
            data: "{}".to_owned(),
            schema: 1,
        }),
        durable,
    }
}

pub(crate) async fn hold(store: &RedisStore, name: &str) -> Record {
    let claim = Claim {
        id: id(name),
        claim: format!("{:016x}", rand::random::<u64>()),
        owner: "worker".to_owned(),
        lease: Duration::from_secs(15),
        mode: ClaimMode::Drive,
        spare_owned: false,
    };
    match store.claim(&claim).await.unwrap().answer {
        Claimed::Claimed { record, .. } => *record,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn commit(name: &str, record: &Record) -> Commit {
    Commit {
        id: id(name),
        fence: record.fence,
        claim: record.claim.clone().unwrap(),
        commit: format!("{:016x}", rand::random::<u64>()),
        follows: record.commit.clone(),
        strict: false,
        consumed: 1,
        last_heard: None,
        state: "Waiting".to_owned(),
        data: "{}".to_owned(),
        schema: 1,
        wake_at: None,
        visible_at: None,
        activity: None,
        keep: None,
        finish: false,
        park: None,
        sealed: Vec::new(),
        log: String::new(),
        log_max: 0,
        events: Vec::new(),
        events_max: 1000,
        durable: true,
    }
}

pub(crate) fn queued(confirmed: bool) -> Signalled {
    Signalled::Queued {
        v: 0,
        held: false,
        already: false,
        confirmed,
    }
}
