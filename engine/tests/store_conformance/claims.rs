//! Claiming: who may hold a workflow, when, and what becomes of holders that vanish.

use std::time::Duration;

use evergreen_engine::limits::{DELAY_AFTER, DELAY_FIRST, PARK_AFTER};
use evergreen_engine::store::{
    Claim, ClaimMode, Claimed, Commit, Committed, Extend, Extended, Reconciled,
};

use super::steps::{LEASE, SECOND, ask, commit, id, signal};
use super::support::{BEGIN, World};

both_stores! {
    async fn a_claim_is_one_reading_of_everything(w) {
        let id = w.created("a").await;
        assert!(w.signalled(signal(&id, "second {\"b\": 1}")).await.is_queued());
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
        assert!(w.signalled(signal(&id, "x")).await.is_queued());
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
        let Claimed::Claimed { record, .. } = w.claim(&id, "c2").await else {
            panic!("whatever its timer")
        };
        assert_eq!(record.activity.as_deref(), Some("\"call\""));
        let odd = Commit { activity: Some("\"call\"".to_owned()), ..commit(&id, &record, "k2") };
        w.commit(&odd).await;
        assert_eq!((w.score(&id).await, w.reconciled(&id).await), (Some(BEGIN), Reconciled::Right));
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
        // Also from itself: another turn of its own process may be at it.
        let own = w.store.claim(&sparing("first")).await.unwrap().answer;
        assert!(matches!(own, Claimed::Held { .. }), "{own:?}");
        // What nobody owns it does take.
        let fence = w.read(&id).await.record.fence;
        let rest = Extend::GiveBack { rest: SECOND, counts: true };
        w.store.extend(&id, fence, "first", rest).await.unwrap();
        w.clock.advance(SECOND);
        let free = w.store.claim(&sparing("third")).await.unwrap().answer;
        assert!(matches!(free, Claimed::Claimed { .. }), "{free:?}");
    }
}
