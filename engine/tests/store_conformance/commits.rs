//! Committing: what a holder may write, once, and what nobody else may.

use evergreen_engine::record::{Envelope, Record};
use evergreen_engine::store::{
    Claimed, Commit, Committed, Extend, Extended, Signal, Signalled, StoreError,
};

use super::steps::{LEASE, SECOND, after, commit, creating, id, signal, written};
use super::support::{BEGIN, World};

both_stores! {
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
        let last = commit(&id, &after(&record, "k1"), "k2");
        assert_eq!(w.commit(&last).await, written(2, false));
        assert_eq!(w.commit(&last).await, already(2, false));
        assert_eq!(w.commit(&intent).await, Committed::Fenced { v: 2 });
        assert_eq!(w.commit(&commit(&super::id("b"), &record, "k3")).await, Committed::Unknown);
    }

    /// A failover may keep a claim and lose the commit that followed it.
    async fn a_commit_that_was_worked_out_from_a_lost_one_is_fenced(w) {
        let id = w.created("a").await;
        let record = w.hold(&id, "c1").await;
        let before = w.read(&id).await;
        let last = commit(&id, &after(&record, "k1"), "k2");
        assert_eq!(w.commit(&last).await, Committed::Fenced { v: 0 });
        assert_eq!(w.read(&id).await, before);
    }

    /// Or keep a claim and lose a signal that its holder was told of since; another has come in its place.
    async fn a_commit_that_heard_a_signal_which_was_lost_is_fenced(w) {
        let id = w.created("a").await;
        let record = w.hold(&id, "c1").await;
        w.clock.advance(SECOND);
        assert!(w.signalled(signal(&id, "second")).await.is_queued());
        let before = w.read(&id).await;
        let heard = |at, payload: &str| Commit {
            consumed: 2,
            last_heard: Some(Envelope { at, payload: payload.to_owned() }),
            ..commit(&id, &record, "k1")
        };
        for lost in [heard(BEGIN + 1000, "lost"), heard(BEGIN + 999, "second")] {
            assert_eq!(w.commit(&lost).await, Committed::Fenced { v: 0 });
        }
        let more = Commit { consumed: 3, ..heard(BEGIN + 1000, "second") };
        assert_eq!(w.commit(&more).await, Committed::Fenced { v: 0 });
        assert_eq!(w.read(&id).await, before);
        assert_eq!(w.commit(&heard(BEGIN + 1000, "second")).await, written(1, false));
        assert_eq!(w.read(&id).await.inbox_len, 0);
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
        let last = Commit { wake_at: Some(BEGIN + 60_000), ..commit(&id, &after(&record, "k1"), "k2") };
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
        assert!(w.signalled(signal(&id, "second")).await.is_queued());
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
        assert_eq!(queued, Signalled::Queued { v: 0, held: true, already: false, confirmed: true });
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

    async fn a_durable_write_is_confirmed(w) {
        let id = id("a");
        let queued = w.signalled(Signal { durable: true, ..creating(&id, "x") }).await;
        assert_eq!(queued, Signalled::Queued { v: 0, held: false, already: false, confirmed: true });
        let record = w.hold(&id, "c1").await;
        let last = Commit { durable: true, consumed: 1, ..commit(&id, &record, "k1") };
        assert_eq!(w.commit(&last).await, written(1, false));
    }
}
