//! The same promises, kept by both stores: each test here runs once over the memory and once over a
//! real Redis, on a clock of its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod support;

use std::time::Duration;

use evergreen_engine::id::WorkflowId;
use evergreen_engine::limits::{DELAY_AFTER, DELAY_FIRST, HEADS, INBOX_MAX, PARK_AFTER};
use evergreen_engine::record::Record;
use evergreen_engine::store::memory::Set;
use evergreen_engine::store::{
    Claim, ClaimMode, Claimed, Commit, Committed, Creation, Extend, Extended, OutboxEntry,
    Reconciled, SealedOp, Signal, Signalled, StoreError,
};

use self::support::{BEGIN, World};

const LEASE: Duration = Duration::from_secs(15);
const SECOND: Duration = Duration::from_secs(1);

fn id(name: &str) -> WorkflowId {
    WorkflowId::new("test", name).unwrap()
}

fn signal(id: &WorkflowId, payload: &str) -> Signal {
    Signal {
        id: id.clone(),
        payload: payload.to_owned(),
        preemptive: false,
        ends_claim: None,
        create: None,
        durable: false,
    }
}

fn creating(id: &WorkflowId, payload: &str) -> Signal {
    Signal {
        create: Some(Creation {
            state: "New".to_owned(),
            data: "{}".to_owned(),
            schema: 3,
        }),
        ..signal(id, payload)
    }
}

fn ask(id: &WorkflowId, claim: &str, mode: ClaimMode) -> Claim {
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
fn commit(id: &WorkflowId, record: &Record, name: &str) -> Commit {
    Commit {
        id: id.clone(),
        fence: record.fence,
        claim: record.claim.clone().unwrap(),
        commit: name.to_owned(),
        strict: false,
        consumed: 0,
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

fn event(commit: &str, index: usize) -> OutboxEntry {
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
    async fn signalled(&self, signal: Signal) -> Signalled {
        self.store.signal(&signal).await.unwrap()
    }

    async fn created(&self, name: &str) -> WorkflowId {
        let id = id(name);
        self.signalled(creating(&id, "first")).await;
        id
    }

    async fn claim(&self, id: &WorkflowId, claim: &str) -> Claimed {
        let ask = ask(id, claim, ClaimMode::Due);
        self.store.claim(&ask).await.unwrap().answer
    }

    async fn drive(&self, id: &WorkflowId, claim: &str) -> Claimed {
        let ask = ask(id, claim, ClaimMode::Drive);
        self.store.claim(&ask).await.unwrap().answer
    }

    /// The record of a claim that must succeed.
    async fn hold(&self, id: &WorkflowId, claim: &str) -> Record {
        match self.drive(id, claim).await {
            Claimed::Claimed { record, .. } => *record,
            other => panic!("{other:?}"),
        }
    }

    async fn commit(&self, commit: &Commit) -> Committed {
        self.store.commit(commit).await.unwrap().answer
    }

    /// A workflow that is idle, with a timer.
    async fn idle(&self, name: &str, wake_at: Option<u64>) -> WorkflowId {
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

    async fn score(&self, id: &WorkflowId) -> Option<u64> {
        self.read(id).await.score
    }

    async fn read(&self, id: &WorkflowId) -> evergreen_engine::record::Reading {
        self.store.read(id, true).await.unwrap().unwrap()
    }

    async fn reconciled(&self, id: &WorkflowId) -> Reconciled {
        self.store.reconcile(id).await.unwrap()
    }
}

fn written(v: u64, ours: bool) -> Committed {
    Committed::Written {
        v,
        already: false,
        ours,
        confirmed: true,
    }
}

/// Makes of each promise one test for each store.
macro_rules! both_stores {
    ($($(#[$doc:meta])* async fn $name:ident($world:ident) $body:block)*) => {
        $(
            mod $name {
                use super::*;

                $(#[$doc])*
                async fn promise($world: World) $body

                #[tokio::test]
                async fn memory() {
                    promise(World::memory().await).await;
                }

                #[tokio::test]
                async fn redis() {
                    promise(World::redis().await).await;
                }
            }
        )*
    };
}

both_stores! {
    async fn a_signal_creates_only_if_asked_to(w) {
        let id = id("a");
        assert_eq!(w.signalled(signal(&id, "x")).await, Signalled::Unknown);
        assert_eq!(w.store.read(&id, true).await.unwrap(), None);
        let queued = Signalled::Queued { v: 0, held: false, confirmed: true };
        assert_eq!(w.signalled(creating(&id, "x")).await, queued);
        let reading = w.read(&id).await;
        assert_eq!(reading.now, BEGIN);
        assert_eq!((reading.inbox_len, reading.score), (1, Some(BEGIN)));
        let record = reading.record;
        assert_eq!((record.state.as_str(), record.data.as_str()), ("New", "{}"));
        assert_eq!((record.schema, record.v, record.fence, record.attempt), (3, 0, 0, 0));
    }

    async fn a_claim_is_one_reading_of_everything(w) {
        let id = w.created("a").await;
        w.signalled(signal(&id, "second {\"b\": 1}")).await;
        let told = w.store.claim(&ask(&id, "c1", ClaimMode::Due)).await.unwrap();
        let until = BEGIN + 15_000;
        assert_eq!((told.now, told.heads), (BEGIN, vec![(id.to_string(), until)]));
        let Claimed::Claimed { record, sealed, inbox } = told.answer else { panic!() };
        assert_eq!((record.fence, record.attempt), (1, 1));
        assert_eq!(record.claim.as_deref(), Some("c1"));
        assert_eq!(record.owner.as_deref(), Some("worker-c1"));
        assert_eq!(record.lease_until, Some(until));
        assert!(sealed.is_empty());
        let payloads: Vec<_> = inbox.iter().map(|e| (e.at, e.payload.as_str())).collect();
        assert_eq!(payloads, [(BEGIN, "first"), (BEGIN, "second {\"b\": 1}")]);
    }

    async fn one_holds_it_until_the_lease_ends(w) {
        let id = w.created("a").await;
        w.hold(&id, "c1").await;
        let held = Claimed::Held { lease_until: BEGIN + 15_000, owner: "worker-c1".to_owned() };
        assert_eq!(w.claim(&id, "c2").await, held);
        assert_eq!(w.drive(&id, "c2").await, held);
        w.clock.advance(LEASE);
        let record = w.hold(&id, "c2").await;
        assert_eq!((record.fence, record.attempt), (2, 2));
    }

    async fn a_zombie_commit_changes_nothing(w) {
        let id = w.created("a").await;
        let zombie = w.hold(&id, "c1").await;
        w.clock.advance(LEASE);
        w.hold(&id, "c2").await;
        let before = w.read(&id).await;
        assert_eq!(w.commit(&commit(&id, &zombie, "k1")).await, Committed::Fenced { v: 0 });
        let what = Extend::Renew(LEASE);
        let extended = w.store.extend(&id, zombie.fence, "c1", what).await.unwrap();
        assert_eq!(extended, Extended::Fenced);
        assert_eq!(w.read(&id).await, before);
    }

    /// The number alone is not enough: a failover can mint it twice.
    async fn a_fence_is_a_number_and_a_claim_id(w) {
        let id = w.created("a").await;
        let record = w.hold(&id, "c1").await;
        let mut other = commit(&id, &record, "k1");
        other.claim = "c9".to_owned();
        assert_eq!(w.commit(&other).await, Committed::Fenced { v: 0 });
        let mut other = commit(&id, &record, "k1");
        other.fence += 1;
        assert_eq!(w.commit(&other).await, Committed::Fenced { v: 0 });
    }

    async fn a_late_commit_counts_while_nobody_has_claimed(w) {
        let id = w.created("a").await;
        let record = w.hold(&id, "c1").await;
        w.clock.advance(10 * LEASE);
        let late = Commit { consumed: 1, ..commit(&id, &record, "k1") };
        assert_eq!(w.commit(&late).await, written(1, false));
    }

    async fn a_commit_that_is_sent_again_is_answered_already(w) {
        let id = w.created("a").await;
        let record = w.hold(&id, "c1").await;
        let intent = Commit { consumed: 1, keep: Some(LEASE), ..commit(&id, &record, "k1") };
        assert_eq!(w.commit(&intent).await, written(1, true));
        let already = |v, ours| Committed::Written { v, already: true, ours, confirmed: true };
        assert_eq!(w.commit(&intent).await, already(1, true));
        let last = commit(&id, &record, "k2");
        assert_eq!(w.commit(&last).await, written(2, false));
        assert_eq!(w.commit(&last).await, already(2, false));
        assert_eq!(w.commit(&intent).await, Committed::Fenced { v: 2 });
        assert_eq!(w.commit(&commit(&super::id("b"), &record, "k3")).await, Committed::Unknown);
    }

    async fn a_final_commit_frees_and_an_intent_keeps(w) {
        let id = w.created("a").await;
        let record = w.hold(&id, "c1").await;
        w.clock.advance(SECOND);
        let intent = Commit {
            consumed: 1,
            keep: Some(LEASE),
            activity: Some("\"call\"".to_owned()),
            wake_at: Some(BEGIN + 99),
            ..commit(&id, &record, "k1")
        };
        w.commit(&intent).await;
        let reading = w.read(&id).await;
        assert_eq!(reading.score, Some(BEGIN + 16_000));
        assert_eq!(reading.record.lease_until, Some(BEGIN + 16_000));
        assert_eq!(reading.record.activity.as_deref(), Some("\"call\""));
        assert_eq!((reading.record.attempt, reading.record.v), (1, 1));
        let last = Commit { wake_at: Some(BEGIN + 60_000), ..commit(&id, &record, "k2") };
        w.commit(&last).await;
        let reading = w.read(&id).await;
        assert_eq!((reading.score, reading.inbox_len), (Some(BEGIN + 60_000), 0));
        let free = Record {
            state: "Waiting".to_owned(),
            data: r#"{"a":[],"n":12345678901234567}"#.to_owned(),
            schema: 3,
            v: 2,
            wake_at: Some(BEGIN + 60_000),
            fence: 1,
            commit: Some("k2".to_owned()),
            ..Record::default()
        };
        assert_eq!(reading.record, free);
    }

    async fn a_strict_commit_hears_what_came_meanwhile(w) {
        let id = w.created("a").await;
        let record = w.hold(&id, "c1").await;
        w.clock.advance(SECOND);
        w.signalled(signal(&id, "second")).await;
        let strict = Commit { strict: true, consumed: 1, ..commit(&id, &record, "k1") };
        let before = w.read(&id).await;
        let Committed::Signals { rest } = w.commit(&strict).await else { panic!() };
        assert_eq!(rest.len(), 1);
        assert_eq!((rest[0].at, rest[0].payload.as_str()), (BEGIN + 1000, "second"));
        assert_eq!(w.read(&id).await, before);
        let finish = Commit { finish: true, consumed: 1, ..commit(&id, &record, "k1") };
        assert!(matches!(w.commit(&finish).await, Committed::Signals { .. }));
        let strict = Commit { consumed: 2, ..strict };
        assert_eq!(w.commit(&strict).await, written(1, false));
    }

    async fn what_is_not_consumed_makes_it_due_at_once(w) {
        let id = w.created("a").await;
        let record = w.hold(&id, "c1").await;
        w.clock.advance(SECOND);
        let queued = w.signalled(signal(&id, "second")).await;
        assert_eq!(queued, Signalled::Queued { v: 0, held: true, confirmed: true });
        assert_eq!(w.score(&id).await, Some(BEGIN + 15_000), "a signal never shortens a lease");
        let loose = Commit {
            consumed: 1,
            wake_at: Some(BEGIN + 60_000),
            ..commit(&id, &record, "k1")
        };
        assert_eq!(w.commit(&loose).await, written(1, false));
        assert_eq!(w.score(&id).await, Some(BEGIN + 1000));
        let Claimed::Claimed { inbox, .. } = w.claim(&id, "c2").await else { panic!() };
        assert_eq!(inbox[0].payload, "second");
    }

    async fn nonsense_is_refused_before_anything_is_written(w) {
        let id = w.created("a").await;
        let record = w.hold(&id, "c1").await;
        let before = w.read(&id).await;
        for nonsense in [
            Commit { consumed: 2, ..commit(&id, &record, "k1") },
            Commit { keep: Some(LEASE), park: Some("x".to_owned()), ..commit(&id, &record, "k1") },
        ] {
            let error = w.store.commit(&nonsense).await.unwrap_err();
            assert!(matches!(error, StoreError::Refused { .. }), "{error}");
        }
        assert_eq!(w.read(&id).await, before);
    }

    async fn who_spares_what_is_owned_takes_nothing_over(w) {
        let id = w.created("a").await;
        w.hold(&id, "first").await;
        w.clock.advance(LEASE);
        let sparing = |claim: &str| Claim {
            spare_owned: true,
            ..ask(&id, claim, ClaimMode::Drive)
        };
        let answer = w.store.claim(&sparing("second")).await.unwrap().answer;
        let owner = "worker-first".to_owned();
        let lease_until = w.clock.now();
        assert_eq!(answer, Claimed::Held { lease_until, owner });
        assert_eq!(w.score(&id).await, Some(lease_until));
        // What it owns itself it does take, and what nobody owns.
        let own = w.store.claim(&sparing("first")).await.unwrap().answer;
        let Claimed::Claimed { record, .. } = own else { panic!("{own:?}") };
        let rest = Extend::GiveBack { rest: SECOND, counts: true };
        w.store.extend(&id, record.fence, "first", rest).await.unwrap();
        w.clock.advance(SECOND);
        let free = w.store.claim(&sparing("third")).await.unwrap().answer;
        assert!(matches!(free, Claimed::Claimed { .. }), "{free:?}");
    }

    async fn a_preemptive_signal_ends_the_lease(w) {
        let id = w.created("a").await;
        let record = w.hold(&id, "c1").await;
        w.clock.advance(SECOND);
        let stop = Signal { preemptive: true, ..signal(&id, "stop") };
        let queued = Signalled::Queued { v: 0, held: false, confirmed: true };
        assert_eq!(w.signalled(stop).await, queued);
        let reading = w.read(&id).await;
        assert_eq!((reading.score, reading.inbox_len), (Some(BEGIN + 1000), 2));
        assert!(reading.record.barrier);
        assert_eq!((reading.record.fence, reading.record.attempt), (2, 0));
        assert_eq!((&reading.record.owner, &reading.record.claim), (&None, &None));
        assert_eq!(w.commit(&commit(&id, &record, "k1")).await, Committed::Fenced { v: 0 });

        let record = w.hold(&id, "c2").await;
        assert!(record.barrier);
        w.commit(&Commit { consumed: 1, keep: Some(LEASE), ..commit(&id, &record, "k2") }).await;
        assert!(w.read(&id).await.record.barrier, "it is not consumed yet");
        w.commit(&Commit { consumed: 1, ..commit(&id, &record, "k3") }).await;
        assert!(!w.read(&id).await.record.barrier);
    }

    async fn a_signal_may_end_the_lease_of_one_claim(w) {
        let id = w.created("a").await;
        w.hold(&id, "c1").await;
        let ending = |claim: &str| Signal {
            ends_claim: Some(claim.to_owned()),
            ..signal(&id, "rescued")
        };
        let other = w.signalled(ending("c0")).await;
        assert_eq!(other, Signalled::Queued { v: 0, held: true, confirmed: true });
        let own = w.signalled(ending("c1")).await;
        assert_eq!(own, Signalled::Queued { v: 0, held: false, confirmed: true });
        let reading = w.read(&id).await;
        assert_eq!((reading.record.fence, reading.record.attempt), (2, 1));
        assert!(!reading.record.barrier);
        assert_eq!(reading.score, Some(BEGIN));
    }

    async fn an_inbox_holds_so_many_and_a_preemptive_signal_all_the_same(w) {
        let id = w.created("a").await;
        for n in 1..INBOX_MAX {
            let queued = w.signalled(signal(&id, &n.to_string())).await;
            assert!(matches!(queued, Signalled::Queued { .. }));
        }
        assert_eq!(w.signalled(signal(&id, "x")).await, Signalled::Full);
        let stop = Signal { preemptive: true, ..signal(&id, "stop") };
        assert!(matches!(w.signalled(stop).await, Signalled::Queued { .. }));
        assert_eq!(w.read(&id).await.inbox_len as usize, INBOX_MAX + 1);
        let Claimed::Claimed { inbox, .. } = w.claim(&id, "c1").await else { panic!() };
        assert_eq!(inbox.len(), INBOX_MAX, "so many are handed out at once");
    }

    async fn a_timer_does_not_fire_early(w) {
        let id = w.idle("a", Some(BEGIN + 1000)).await;
        w.clock.set(BEGIN + 999);
        assert_eq!(w.claim(&id, "c1").await, Claimed::NotDue);
        w.clock.set(BEGIN + 1000);
        assert!(matches!(w.claim(&id, "c1").await, Claimed::Claimed { .. }));
    }

    async fn visible_at_overrides_the_timer(w) {
        let id = w.created("a").await;
        let record = w.hold(&id, "c1").await;
        let held_back = Commit {
            consumed: 1,
            wake_at: Some(BEGIN),
            visible_at: Some(BEGIN + 5000),
            ..commit(&id, &record, "k1")
        };
        w.commit(&held_back).await;
        assert_eq!(w.score(&id).await, Some(BEGIN + 5000));
        assert_eq!(w.claim(&id, "c2").await, Claimed::NotDue);
        assert!(matches!(w.drive(&id, "c2").await, Claimed::Claimed { .. }));
    }

    /// An entry that some mistake made too early does not let anybody in.
    async fn the_record_decides_and_puts_the_index_right(w) {
        let id = w.idle("a", Some(BEGIN + 1000)).await;
        w.break_index(&id, Set::Due, Some(BEGIN - 5)).await;
        assert_eq!(w.claim(&id, "c1").await, Claimed::NotDue);
        assert_eq!(w.score(&id).await, Some(BEGIN + 1000));
        w.hold(&id, "c2").await;
        w.break_index(&id, Set::Due, Some(BEGIN - 5)).await;
        assert!(matches!(w.claim(&id, "c3").await, Claimed::Held { .. }));
        assert_eq!(w.score(&id).await, Some(BEGIN + 15_000));
        let none = w.idle("b", None).await;
        w.break_index(&none, Set::Due, Some(BEGIN - 5)).await;
        assert_eq!(w.claim(&none, "c4").await, Claimed::NotDue);
        assert_eq!(w.score(&none).await, None);
        let stray = super::id("c");
        w.break_index(&stray, Set::Due, Some(BEGIN - 5)).await;
        assert_eq!(w.claim(&stray, "c5").await, Claimed::Unknown);
        assert!(w.store.due_members(0, 0, 9).await.unwrap().iter().all(|m| *m != stray.to_string()));
    }

    async fn reconcile_compares_with_the_wanted_score(w) {
        let id = w.idle("a", Some(BEGIN + 1000)).await;
        assert_eq!(w.reconciled(&id).await, Reconciled::Right);
        w.break_index(&id, Set::Due, None).await;
        assert_eq!(w.reconciled(&id).await, Reconciled::Missing);
        w.break_index(&id, Set::Due, Some(3)).await;
        assert_eq!(w.reconciled(&id).await, Reconciled::Score);
        assert_eq!(w.score(&id).await, Some(BEGIN + 1000));
        w.break_index(&super::id("b"), Set::Due, Some(3)).await;
        assert_eq!(w.reconciled(&super::id("b")).await, Reconciled::Stray);

        w.break_index(&id, Set::Parked, Some(3)).await;
        assert_eq!(w.reconciled(&id).await, Reconciled::Parked);
        assert_eq!(w.reconciled(&id).await, Reconciled::Right);

        w.hold(&id, "c1").await;
        assert_eq!(w.reconciled(&id).await, Reconciled::Right, "the lease, not the timer");
        w.clock.advance(LEASE);
        assert_eq!(w.reconciled(&id).await, Reconciled::Right, "a crashed one is not stray");

        let waiting = w.created("d").await;
        w.break_index(&waiting, Set::Due, Some(5)).await;
        assert_eq!(w.reconciled(&waiting).await, Reconciled::Right, "any score that has come");
        w.break_index(&waiting, Set::Due, Some(BEGIN + 99_999)).await;
        assert_eq!(w.reconciled(&waiting).await, Reconciled::Score);
        assert_eq!(w.score(&waiting).await, Some(BEGIN + 15_000));
    }

    async fn holders_that_vanish_are_slowed_down_and_then_parked(w) {
        let id = w.created("a").await;
        for n in 1..=DELAY_AFTER {
            assert_eq!(w.hold(&id, "c").await.attempt, n);
            w.clock.advance(LEASE);
        }
        let mut delay = DELAY_FIRST;
        for attempt in DELAY_AFTER + 1..=PARK_AFTER {
            let until = w.clock.now() + u64::try_from(delay.as_millis()).unwrap();
            assert_eq!(w.claim(&id, "d").await, Claimed::Delayed { until }, "{attempt}");
            assert!(matches!(w.drive(&id, "e").await, Claimed::Held { .. }));
            assert_eq!(w.reconciled(&id).await, Reconciled::Right);
            w.clock.set(until);
            assert_eq!(w.hold(&id, "c").await.attempt, attempt);
            w.clock.advance(LEASE);
            delay *= 2;
        }
        let reason = format!("no turn was finished in {PARK_AFTER} claims");
        let parked = Claimed::Parked { reason: reason.clone() };
        assert_eq!(w.claim(&id, "f").await, parked);
        assert_eq!(w.drive(&id, "f").await, parked);
        let reading = w.read(&id).await;
        assert_eq!((reading.record.parked, reading.score), (Some(reason), None));
        assert_eq!((reading.record.owner, reading.inbox_len), (None, 1));
        assert_eq!(w.reconciled(&id).await, Reconciled::Right, "although its inbox is not empty");
    }

    async fn what_is_parked_wakes_only_for_a_preemptive_signal(w) {
        let id = w.created("a").await;
        let record = w.hold(&id, "c1").await;
        let park = Commit {
            consumed: 1,
            park: Some("broken data".to_owned()),
            wake_at: Some(BEGIN + 5),
            ..commit(&id, &record, "k1")
        };
        w.commit(&park).await;
        assert_eq!(w.score(&id).await, None);
        let queued = w.signalled(signal(&id, "x")).await;
        assert_eq!(queued, Signalled::Queued { v: 1, held: false, confirmed: true });
        assert_eq!((w.score(&id).await, w.reconciled(&id).await), (None, Reconciled::Right));
        let reason = "broken data".to_owned();
        assert_eq!(w.drive(&id, "c2").await, Claimed::Parked { reason });
        w.signalled(Signal { preemptive: true, ..signal(&id, "stop") }).await;
        let reading = w.read(&id).await;
        assert_eq!((reading.record.parked, reading.score), (None, Some(BEGIN)));
        assert_eq!(w.reconciled(&id).await, Reconciled::Right);
        assert!(matches!(w.claim(&id, "c3").await, Claimed::Claimed { .. }));
    }

    async fn a_lease_is_renewed_or_given_back(w) {
        let id = w.idle("a", Some(BEGIN + 500)).await;
        let record = w.hold(&id, "c1").await;
        w.clock.advance(SECOND);
        let extend = async |claim: &str, fence, what| {
            w.store.extend(&id, fence, claim, what).await.unwrap()
        };
        let renewed = Extended::Renewed { lease_until: BEGIN + 16_000 };
        assert_eq!(extend("c1", record.fence, Extend::Renew(LEASE)).await, renewed);
        assert_eq!(w.score(&id).await, Some(BEGIN + 16_000));

        let back = Extend::GiveBack { rest: Duration::ZERO, counts: false };
        assert_eq!(extend("c1", record.fence, back).await, Extended::GivenBack);
        let reading = w.read(&id).await;
        assert_eq!((reading.score, reading.record.attempt), (Some(BEGIN + 500), 0));
        assert_eq!(extend("c1", record.fence, back).await, Extended::Fenced);

        let record = w.hold(&id, "c2").await;
        let rest = Extend::GiveBack { rest: 2 * SECOND, counts: true };
        assert_eq!(extend("c2", record.fence, rest).await, Extended::GivenBack);
        let reading = w.read(&id).await;
        assert_eq!((reading.score, reading.record.attempt), (Some(BEGIN + 3000), 1));
        assert!(matches!(w.drive(&id, "c3").await, Claimed::Held { .. }), "not even driven");
        assert_eq!(w.commit(&commit(&id, &record, "k")).await, Committed::Fenced { v: 1 });
        w.signalled(signal(&id, "x")).await;
        assert_eq!(w.score(&id).await, Some(BEGIN + 3000));
        assert_eq!(w.reconciled(&id).await, Reconciled::Right);
        let unknown = w.store.extend(&super::id("b"), 1, "c", back).await.unwrap();
        assert_eq!(unknown, Extended::Fenced);
    }

    async fn an_activity_without_a_holder_is_due_now(w) {
        let id = w.created("a").await;
        let record = w.hold(&id, "c1").await;
        let intent = Commit {
            consumed: 1,
            keep: Some(LEASE),
            activity: Some("\"call\"".to_owned()),
            wake_at: Some(BEGIN + 99_000),
            ..commit(&id, &record, "k1")
        };
        w.commit(&intent).await;
        let back = Extend::GiveBack { rest: Duration::ZERO, counts: true };
        w.store.extend(&id, record.fence, "c1", back).await.unwrap();
        assert_eq!(w.score(&id).await, Some(BEGIN));
        let record = w.hold(&id, "c2").await;
        assert_eq!(record.activity.as_deref(), Some("\"call\""));
        let odd = Commit { activity: Some("\"call\"".to_owned()), ..commit(&id, &record, "k2") };
        w.commit(&odd).await;
        assert_eq!((w.score(&id).await, w.reconciled(&id).await), (Some(BEGIN), Reconciled::Right));
    }

    async fn sealed_blobs_change_with_the_commit_and_in_order(w) {
        let id = w.created("a").await;
        let record = w.hold(&id, "c1").await;
        let put = |name: &str, blob: &str| SealedOp::Put(name.to_owned(), blob.to_owned());
        let erase = |name: &str| SealedOp::Erase(name.to_owned());
        let sealed = |sealed, name: &str| Commit {
            sealed,
            keep: Some(LEASE),
            ..commit(&id, &record, name)
        };
        w.commit(&sealed(vec![put("a", "1"), put("b", "2"), put("a", "3")], "k1")).await;
        let is = async |expected: &[(&str, &str)]| {
            let sealed = w.read(&id).await.sealed;
            let sealed: Vec<_> = sealed.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            assert_eq!(sealed, expected);
        };
        is(&[("a", "3"), ("b", "2")]).await;
        assert!(w.store.read(&id, false).await.unwrap().unwrap().sealed.is_empty());
        w.commit(&sealed(vec![erase("a"), put("a", "4"), put("b", "5"), erase("b")], "k2")).await;
        is(&[("a", "4")]).await;
        // Adopted and disconnected within one turn: nothing may be left of what was adopted.
        w.commit(&sealed(vec![put("c", "6"), SealedOp::Clear], "k3")).await;
        is(&[]).await;
        w.commit(&sealed(vec![put("c", "6"), SealedOp::Clear, put("d", "7")], "k4")).await;
        is(&[("d", "7")]).await;
        let Claimed::Held { .. } = w.drive(&id, "c2").await else { panic!() };
        w.clock.advance(LEASE);
        let Claimed::Claimed { sealed, .. } = w.drive(&id, "c2").await else { panic!() };
        assert_eq!(sealed["d"], "7");
    }

    async fn a_log_keeps_the_last_entries(w) {
        let id = w.created("a").await;
        let record = w.hold(&id, "c1").await;
        for n in 0..5 {
            let entry = Commit {
                log: format!("entry {n}"),
                keep: Some(LEASE),
                ..commit(&id, &record, &n.to_string())
            };
            w.commit(&entry).await;
        }
        assert_eq!(w.store.log(&id).await.unwrap(), ["entry 2", "entry 3", "entry 4"]);
        let off = Commit { log: "x".to_owned(), log_max: 0, ..commit(&id, &record, "off") };
        w.commit(&off).await;
        assert_eq!(w.store.log(&id).await.unwrap().len(), 3);
        assert!(w.store.log(&super::id("b")).await.unwrap().is_empty());
    }

    async fn events_are_read_in_order_from_any_position(w) {
        let id = w.created("a").await;
        assert_eq!(w.store.events_end(0).await.unwrap(), None);
        let record = w.hold(&id, "c1").await;
        let telling = Commit {
            events: vec![event("k1", 0), event("k1", 1)],
            keep: Some(LEASE),
            ..commit(&id, &record, "k1")
        };
        w.commit(&telling).await;
        w.commit(&telling).await;
        let end = w.store.events_end(0).await.unwrap();
        w.commit(&Commit { events: vec![event("k2", 0)], ..commit(&id, &record, "k2") }).await;
        let all = w.store.events(0, None, 10).await.unwrap();
        let entries: Vec<_> = all.iter().map(|e| e.entry.clone()).collect();
        assert_eq!(entries, [event("k1", 0), event("k1", 1), event("k2", 0)], "each once");
        assert_eq!(end.as_deref(), Some(all[1].position.as_str()));
        let rest = w.store.events(0, end.as_deref(), 10).await.unwrap();
        assert_eq!(rest, all[2..]);
        assert_eq!(w.store.events(0, None, 1).await.unwrap(), all[..1]);
        let error = w.store.events(0, Some("nonsense"), 1).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused { .. }));
    }

    async fn a_finished_workflow_leaves_its_events_and_nothing_else(w) {
        let id = w.created("a").await;
        let record = w.hold(&id, "c1").await;
        let blob = SealedOp::Put("a".to_owned(), "1".to_owned());
        let last = Commit {
            consumed: 1,
            finish: true,
            sealed: vec![blob],
            events: vec![event("k1", 0)],
            log: "gone".to_owned(),
            ..commit(&id, &record, "k1")
        };
        assert_eq!(w.commit(&last).await, written(1, false));
        assert_eq!(w.store.read(&id, true).await.unwrap(), None);
        assert!(w.store.log(&id).await.unwrap().is_empty());
        assert!(w.store.due_members(0, 0, 9).await.unwrap().is_empty());
        assert_eq!(w.store.events(0, None, 9).await.unwrap().len(), 1);
        assert_eq!(w.commit(&last).await, Committed::Unknown);
        assert_eq!(w.claim(&id, "c2").await, Claimed::Unknown);
        assert_eq!(w.reconciled(&id).await, Reconciled::Right);
        w.signalled(creating(&id, "again")).await;
        let Claimed::Claimed { record, sealed, inbox } = w.claim(&id, "c3").await else { panic!() };
        assert_eq!((record.fence, record.v, sealed.len(), inbox.len()), (1, 0, 0, 1));
    }

    async fn every_reply_brings_the_heads_and_peek_does_too(w) {
        for n in 0..20_u64 {
            w.idle(&format!("n{n:02}"), Some(BEGIN + 1000 + n)).await;
        }
        let peek = w.store.peek(&[0]).await.unwrap();
        assert_eq!(peek.now, BEGIN);
        let heads: Vec<_> = (0..HEADS as u64)
            .map(|n| (format!("test:n{n:02}"), BEGIN + 1000 + n))
            .collect();
        assert_eq!(peek.partitions, [(0, heads.clone())]);
        let told = w.store.claim(&ask(&id("none"), "c", ClaimMode::Due)).await.unwrap();
        assert_eq!(told.heads, heads);
        let members = w.store.due_members(0, 18, 10).await.unwrap();
        assert_eq!(members, ["test:n18", "test:n19"]);
        assert!(w.store.due_members(0, 0, 0).await.unwrap().is_empty());
        assert!(matches!(w.store.peek(&[1]).await, Err(StoreError::Refused { .. })));
    }

    async fn what_becomes_due_first_is_told(w) {
        let mut wakes = w.store.wakes().await.unwrap();
        let id = w.created("a").await;
        assert_eq!(wakes.recv().await, Some((0, BEGIN)));
        let record = w.hold(&id, "c1").await;
        let last = Commit { consumed: 1, wake_at: Some(BEGIN + 7), ..commit(&id, &record, "k1") };
        w.commit(&last).await;
        assert_eq!(wakes.recv().await, Some((0, BEGIN + 7)));
        // Later than the first: nobody needs to know. What follows is the next message.
        w.idle("b", Some(BEGIN + 99)).await;
        w.idle("c", Some(BEGIN + 3)).await;
        assert_eq!(wakes.recv().await, Some((0, BEGIN)), "the signal that made b");
        assert_eq!(wakes.recv().await, Some((0, BEGIN)), "the signal that made c");
        assert_eq!(wakes.recv().await, Some((0, BEGIN + 3)));
    }

    async fn a_walk_meets_every_workflow_of_a_kind(w) {
        for n in 0..25 {
            w.created(&format!("n{n}")).await;
        }
        let other = WorkflowId::new("test.other", "x").unwrap();
        w.signalled(creating(&other, "x")).await;
        let mut seen = std::collections::BTreeSet::new();
        let mut cursor = None;
        loop {
            let (page, next) = w.store.walk("test", cursor, 10).await.unwrap();
            for (id, record) in page {
                assert_eq!((id.kind(), record.state.as_str()), ("test", "New"));
                seen.insert(id);
            }
            let Some(next) = next else { break };
            cursor = Some(next);
        }
        assert_eq!(seen.len(), 25);
    }

    async fn tables_are_plain(w) {
        let store = &w.store;
        assert_eq!(store.table_get("workers", "a").await.unwrap(), None);
        store.table_put("workers", "a", "1").await.unwrap();
        store.table_put("workers", "b", "2").await.unwrap();
        store.table_put("workers", "a", "3").await.unwrap();
        assert_eq!(store.table_get("workers", "a").await.unwrap().as_deref(), Some("3"));
        let mut all = store.table_all("workers").await.unwrap();
        all.sort();
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        assert_eq!(all, [pair("a", "3"), pair("b", "2")]);
        assert!(store.table_remove("workers", "a").await.unwrap());
        assert!(!store.table_remove("workers", "a").await.unwrap());
        assert!(store.table_all("apikeys").await.unwrap().is_empty());
    }

    async fn a_slip_is_taken_once(w) {
        let store = &w.store;
        assert_eq!(store.slip_take("consent:ab").await.unwrap(), None);
        store.slip_put("consent:ab", "sealed", 600 * SECOND).await.unwrap();
        if let Some(life) = w.life_of("consent:ab").await {
            assert!((590_000..=600_000).contains(&life), "{life}");
        }
        assert_eq!(store.slip_take("consent:ab").await.unwrap().as_deref(), Some("sealed"));
        assert_eq!(store.slip_take("consent:ab").await.unwrap(), None);
    }

    async fn a_turnstile_lets_one_through(w) {
        let store = &w.store;
        let pass = async |holder: &str| {
            store.turnstile("turnstile:reconcile:0", holder, 60 * SECOND).await.unwrap()
        };
        assert!(pass("a").await);
        assert!(!pass("b").await);
        assert!(pass("a").await, "the holder renews");
        if let Some(life) = w.life_of("turnstile:reconcile:0").await {
            assert!((50_000..=60_000).contains(&life), "{life}");
        }
    }

    async fn a_run_has_one_name(w) {
        let run = w.store.run_id().await.unwrap();
        assert!(run.len() > 8);
        assert_eq!(w.store.run_id().await.unwrap(), run);
        assert_eq!(w.store.now().await.unwrap(), BEGIN);
        assert_eq!(w.store.partitions(), 1);
    }

    async fn a_durable_write_is_confirmed(w) {
        let id = id("a");
        let queued = w.signalled(Signal { durable: true, ..creating(&id, "x") }).await;
        assert_eq!(queued, Signalled::Queued { v: 0, held: false, confirmed: true });
        let record = w.hold(&id, "c1").await;
        let last = Commit { durable: true, consumed: 1, ..commit(&id, &record, "k1") };
        assert_eq!(w.commit(&last).await, written(1, false));
    }
}

/// In Redis the server ends them; see `a_slip_is_taken_once` for the life they are given.
#[tokio::test]
async fn in_memory_slips_and_turnstiles_end_with_the_clock() {
    let w = World::memory().await;
    w.store.slip_put("s", "x", SECOND).await.unwrap();
    assert!(w.store.turnstile("t", "a", SECOND).await.unwrap());
    w.clock.advance(SECOND);
    assert_eq!(w.store.slip_take("s").await.unwrap(), None);
    assert!(w.store.turnstile("t", "b", SECOND).await.unwrap());
}
