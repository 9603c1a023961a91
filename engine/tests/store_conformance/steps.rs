//! The steps that the promises are told in, and what they are made of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evergreen_engine::id::WorkflowId;
use evergreen_engine::record::Record;
use evergreen_engine::store::{
    Claim, ClaimMode, Claimed, Commit, Committed, Creation, OutboxEntry, Place, Reconciled, Signal,
    Signalled,
};

use super::support::World;

pub(crate) const LEASE: Duration = Duration::from_secs(15);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn id(name: &str) -> WorkflowId {
    WorkflowId::new("test", name).unwrap()
}

pub(crate) fn signal(id: &WorkflowId, payload: &str) -> Signal {
    Signal {
        id: id.clone(),
        payload: payload.to_owned(),
        preemptive: false,
        once: None,
        unless_it_waits: false,
        ends_claim: None,
        create: None,
        durable: false,
    }
}

pub(crate) fn creating(id: &WorkflowId, payload: &str) -> Signal {
    Signal {
        create: Some(Creation {
            state: "New".to_owned(),
            data: "{}".to_owned(),
            schema: 3,
        }),
        ..signal(id, payload)
    }
}

pub(crate) fn ask(id: &WorkflowId, claim: &str, mode: ClaimMode) -> Claim {
    Claim {
        id: id.clone(),
        claim: claim.to_owned(),
        owner: format!("worker-{claim}"),
        lease: LEASE,
        mode,
        spare_owned: false,
    }
}

/// A final commit that consumes what the claim brought, to be changed by the test.
pub(crate) fn commit(id: &WorkflowId, record: &Record, name: &str) -> Commit {
    Commit {
        id: id.clone(),
        fence: record.fence,
        claim: record.claim.clone().unwrap(),
        commit: name.to_owned(),
        follows: record.commit.clone(),
        strict: false,
        consumed: 0,
        last_heard: None,
        state: "Waiting".to_owned(),
        data: r#"{"a":[],"n":12345678901234567}"#.to_owned(),
        schema: 3,
        wake_at: None,
        visible_at: None,
        activity: None,
        keep: None,
        finish: false,
        park: None,
        sealed: Vec::new(),
        log: String::new(),
        log_max: 3,
        events: Vec::new(),
        events_max: 1000,
        durable: false,
    }
}

/// The record as its holder knows it after a commit of that name.
pub(crate) fn after(record: &Record, name: &str) -> Record {
    Record {
        commit: Some(name.to_owned()),
        ..record.clone()
    }
}

pub(crate) fn event(commit: &str, index: usize) -> OutboxEntry {
    OutboxEntry {
        id: format!("{commit}-{index}"),
        event: "SOMETHING_HAPPENED".to_owned(),
        subject_field: "integration".to_owned(),
        subject: "acme/prod".to_owned(),
        at: "2025-11-21T04:40:00.123Z".to_owned(),
        payload: format!(r#"{{"index":{index}}}"#),
    }
}

impl World {
    pub(crate) async fn signalled(&self, signal: Signal) -> Signalled {
        self.store.signal(&signal).await.unwrap()
    }

    pub(crate) async fn created(&self, name: &str) -> WorkflowId {
        let id = id(name);
        assert!(self.signalled(creating(&id, "first")).await.is_queued());
        id
    }

    pub(crate) async fn claim(&self, id: &WorkflowId, claim: &str) -> Claimed {
        let ask = ask(id, claim, ClaimMode::Due);
        self.store.claim(&ask).await.unwrap().answer
    }

    pub(crate) async fn drive(&self, id: &WorkflowId, claim: &str) -> Claimed {
        let ask = ask(id, claim, ClaimMode::Drive);
        self.store.claim(&ask).await.unwrap().answer
    }

    /// The record of a claim that must succeed.
    pub(crate) async fn hold(&self, id: &WorkflowId, claim: &str) -> Record {
        match self.drive(id, claim).await {
            Claimed::Claimed { record, .. } => *record,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn commit(&self, commit: &Commit) -> Committed {
        self.store.commit(commit).await.unwrap().answer
    }

    /// A workflow that is idle, with a timer.
    pub(crate) async fn idle(&self, name: &str, wake_at: Option<u64>) -> WorkflowId {
        let id = self.created(name).await;
        let record = self.hold(&id, "made").await;
        let done = self
            .commit(&Commit {
                consumed: 1,
                wake_at,
                ..commit(&id, &record, "made")
            })
            .await;
        assert_eq!(done, written(1, false));
        id
    }

    /// Holders vanish, one after another, until it is parked.
    pub(crate) async fn vanish(&self, id: &WorkflowId) {
        let mut claims = 0;
        while self.read(id).await.record.parked.is_none() {
            claims += 1;
            self.drive(id, &format!("vanishing-{claims}")).await;
            self.clock.advance(Duration::from_secs(600));
        }
    }

    pub(crate) async fn score(&self, id: &WorkflowId) -> Option<u64> {
        self.read(id).await.score
    }

    pub(crate) async fn read(&self, id: &WorkflowId) -> evergreen_engine::record::Reading {
        self.store.read(id, true).await.unwrap().unwrap()
    }

    /// Members of `due` from a rank on.
    pub(crate) async fn listed(&self, rank: usize, count: usize) -> Vec<String> {
        let (partition, ids) = (0, []);
        let place = Place::Index {
            partition,
            rank,
            count,
        };
        let mut compared = self.store.compare(&ids, &[place]).await.unwrap();
        compared.pages.remove(0).members
    }

    /// Compares everything from a place on: how much each page held, and what was not right.
    pub(crate) async fn compare_from(
        &self,
        place: Place,
    ) -> (Vec<usize>, BTreeMap<WorkflowId, Reconciled>) {
        let (mut pages, mut wrong) = (Vec::new(), BTreeMap::new());
        let (mut place, mut pending) = (Some(place), Vec::new());
        while place.is_some() || !pending.is_empty() {
            let told = self
                .store
                .compare(&pending, place.as_slice())
                .await
                .unwrap();
            let found = pending.into_iter().zip(told.found);
            wrong.extend(found.filter(|(_, what)| *what != Reconciled::Right));
            let page = told.pages.into_iter().next();
            let (members, next) = page.map_or((Vec::new(), None), |page| (page.members, page.next));
            if place.is_some() {
                pages.push(members.len());
            }
            // A walk of all records may list one twice; in one call each is compared once.
            let members: BTreeSet<_> = members.iter().collect();
            let read = |member: &&String| WorkflowId::from_member(member).unwrap();
            pending = members.iter().map(read).collect();
            place = next;
        }
        (pages, wrong)
    }

    pub(crate) async fn reconciled(&self, id: &WorkflowId) -> Reconciled {
        self.store.reconcile(id).await.unwrap()
    }
}

pub(crate) fn written(v: u64, ours: bool) -> Committed {
    Committed::Written {
        v,
        already: false,
        ours,
        confirmed: true,
    }
}
