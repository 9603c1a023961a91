//! Signals: creating, waiting in line, and those that do not wait.

use evergreen_engine::limits::INBOX_MAX;
use evergreen_engine::store::{
    Claimed, Commit, Committed, Reconciled, Requeued, SealedOp, Signal, Signalled,
};

use super::steps::{LEASE, SECOND, after, commit, creating, id, signal, written};
use super::support::{BEGIN, World};

both_stores! {
    async fn a_signal_creates_only_if_asked_to(w) {
        let id = id("a");
        assert_eq!(w.signalled(signal(&id, "x")).await, Signalled::Unknown);
        assert_eq!(w.store.read(&id, true).await.unwrap(), None);
        let queued = Signalled::Queued { v: 0, held: false, already: false, confirmed: true };
        assert_eq!(w.signalled(creating(&id, "x")).await, queued);
        let reading = w.read(&id).await;
        assert_eq!(reading.now, BEGIN);
        assert_eq!((reading.inbox_len, reading.score), (1, Some(BEGIN)));
        let record = reading.record;
        assert_eq!((record.state.as_str(), record.data.as_str()), ("New", "{}"));
        assert_eq!((record.schema, record.v, record.fence, record.attempt), (3, 0, 0, 0));
    }

    async fn a_preemptive_signal_ends_the_lease(w) {
        let id = w.created("a").await;
        let record = w.hold(&id, "c1").await;
        w.clock.advance(SECOND);
        let stop = Signal { preemptive: true, ..signal(&id, "stop") };
        let queued = Signalled::Queued { v: 0, held: false, already: false, confirmed: true };
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
        w.commit(&Commit { consumed: 1, ..commit(&id, &after(&record, "k2"), "k3") }).await;
        assert!(!w.read(&id).await.record.barrier);
    }

    async fn a_preemptive_signal_that_is_sent_again_ends_no_lease_again(w) {
        let id = id("a");
        let connect = |once: &str| Signal {
            preemptive: true,
            once: Some(once.to_owned()),
            ..creating(&id, once)
        };
        let queued = |already, held, v| Signalled::Queued { v, held, already, confirmed: true };
        assert_eq!(w.signalled(connect("g1")).await, queued(false, false, 0));
        let record = w.hold(&id, "c1").await;
        let before = w.read(&id).await;
        assert_eq!(w.signalled(connect("g1")).await, queued(true, true, 0));
        assert_eq!(w.read(&id).await, before, "neither queued nor ended");
        let heard = Commit { consumed: 1, ..commit(&id, &record, "k1") };
        assert_eq!(w.commit(&heard).await, written(1, false));
        assert_eq!(w.signalled(connect("g1")).await, queued(true, false, 1), "also when it was heard");
        assert!(!w.read(&id).await.record.barrier);

        // A pre-emptive signal that nobody sends again leaves the name of the one before it.
        assert!(w.signalled(Signal { preemptive: true, ..signal(&id, "stop") }).await.is_queued());
        assert_eq!(w.signalled(connect("g1")).await, queued(true, false, 1));
        w.hold(&id, "c2").await;
        assert_eq!(w.signalled(connect("g2")).await, queued(false, false, 1));
        let reading = w.read(&id).await;
        assert_eq!((reading.inbox_len, reading.record.signal.as_deref()), (2, Some("g2")));
    }

    async fn the_barrier_goes_with_its_own_signal_and_not_with_those_behind_it(w) {
        let id = w.created("a").await;
        assert!(w.signalled(Signal { preemptive: true, ..signal(&id, "stop") }).await.is_queued());
        assert!(w.signalled(signal(&id, "behind")).await.is_queued());
        let record = w.hold(&id, "c1").await;
        assert_eq!((record.barrier, record.ahead, record.unheard()), (true, Some(2), Some(2)));
        let first = Commit { consumed: 1, keep: Some(LEASE), ..commit(&id, &record, "k1") };
        w.commit(&first).await;
        assert_eq!(w.read(&id).await.record.unheard(), Some(1));
        let second = Commit { consumed: 1, ..commit(&id, &after(&record, "k1"), "k2") };
        w.commit(&second).await;
        let reading = w.read(&id).await;
        assert_eq!((reading.inbox_len, reading.record.barrier, reading.record.ahead), (1, false, None));
    }

    /// Whoever disconnects has ended what is sealed, also where every turn dies before it could hear of it.
    async fn what_is_parked_with_a_preemptive_signal_unheard_keeps_nothing_sealed(w) {
        let id = w.created("a").await;
        let record = w.hold(&id, "c1").await;
        let sealing = Commit {
            consumed: 1,
            sealed: vec![SealedOp::Put("pair".to_owned(), "secret".to_owned())],
            ..commit(&id, &record, "k1")
        };
        w.commit(&sealing).await;
        assert!(w.signalled(signal(&id, "x")).await.is_queued());
        w.vanish(&id).await;
        assert_eq!(w.read(&id).await.sealed.len(), 1, "nobody has ended anything");
        assert!(w.signalled(Signal { preemptive: true, ..signal(&id, "stop") }).await.is_queued());
        w.vanish(&id).await;
        let reading = w.read(&id).await;
        assert!(reading.sealed.is_empty());
        assert_eq!((reading.inbox_len, reading.record.barrier), (2, true), "it can still be heard");
    }

    async fn a_signal_that_waits_already_is_queued_again_only_where_that_is_wished(w) {
        let queued = |already, v| Signalled::Queued { v, held: false, already, confirmed: true };
        let id = w.created("a").await;
        let pair = Signal { unless_it_waits: true, ..signal(&id, "pair") };
        assert_eq!(w.signalled(pair.clone()).await, queued(false, 0));
        assert_eq!(w.signalled(pair.clone()).await, queued(true, 0));
        assert_eq!(w.read(&id).await.inbox_len, 2);
        assert_eq!(w.signalled(signal(&id, "pair")).await, queued(false, 0));
        for n in 3..INBOX_MAX {
            assert!(w.signalled(signal(&id, &n.to_string())).await.is_queued());
        }
        assert_eq!(w.signalled(pair.clone()).await, queued(true, 0), "and where there is no room");
        let record = w.hold(&id, "c1").await;
        let ending = Signal { ends_claim: record.claim.clone(), ..pair.clone() };
        assert_eq!(w.signalled(ending).await, Signalled::Full, "whoever ends a lease is not told that it waits");
        w.commit(&Commit { consumed: INBOX_MAX, ..commit(&id, &record, "k1") }).await;
        assert_eq!(w.signalled(pair).await, queued(false, 1), "it was heard");
    }

    async fn a_signal_may_end_the_lease_of_one_claim(w) {
        let id = w.created("a").await;
        w.hold(&id, "c1").await;
        let ending = |claim: &str| Signal {
            ends_claim: Some(claim.to_owned()),
            ..signal(&id, "rescued")
        };
        let other = w.signalled(ending("c0")).await;
        assert_eq!(other, Signalled::Queued { v: 0, held: true, already: false, confirmed: true });
        let own = w.signalled(ending("c1")).await;
        assert_eq!(own, Signalled::Queued { v: 0, held: false, already: false, confirmed: true });
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
        assert_eq!(queued, Signalled::Queued { v: 1, held: false, already: false, confirmed: true });
        assert_eq!((w.score(&id).await, w.reconciled(&id).await), (None, Reconciled::Right));
        let reason = "broken data".to_owned();
        assert_eq!(w.drive(&id, "c2").await, Claimed::Parked { reason });
        assert!(w.signalled(Signal { preemptive: true, ..signal(&id, "stop") }).await.is_queued());
        let reading = w.read(&id).await;
        assert_eq!((reading.record.parked, reading.score), (None, Some(BEGIN)));
        assert_eq!(w.reconciled(&id).await, Reconciled::Right);
        assert!(matches!(w.claim(&id, "c3").await, Claimed::Claimed { .. }));
    }

    async fn what_is_parked_is_given_back_on_request_and_counted_anew(w) {
        let nobody = id("nobody");
        assert_eq!(w.store.requeue(&nobody).await.unwrap(), Requeued::Unknown);
        let id = w.created("a").await;
        let unparked = w.read(&id).await;
        assert_eq!(w.store.requeue(&id).await.unwrap(), Requeued::NotParked);
        assert_eq!(w.read(&id).await, unparked, "nothing was written");

        // Holders that vanish: eight claims, then it is parked.
        w.vanish(&id).await;
        assert_eq!((w.score(&id).await, w.read(&id).await.record.attempt), (None, 8));
        let mut wakes = w.store.wakes().await.unwrap();
        assert_eq!(w.store.requeue(&id).await.unwrap(), Requeued::Requeued);
        let given_back = w.read(&id).await;
        assert_eq!((given_back.record.parked, given_back.record.attempt), (None, 0));
        assert_eq!(given_back.score, Some(given_back.now), "a signal waits, so it is due now");
        assert_eq!(wakes.recv().await, Some((0, given_back.now)));
        assert_eq!(w.reconciled(&id).await, Reconciled::Right, "and not listed as parked");
        assert_eq!(w.store.requeue(&id).await.unwrap(), Requeued::NotParked);
        let Claimed::Claimed { record, inbox, .. } = w.claim(&id, "again").await else { panic!() };
        assert_eq!((record.attempt, inbox.len()), (1, 1));
    }

    async fn what_is_given_back_keeps_its_timer(w) {
        let id = w.created("a").await;
        let record = w.hold(&id, "c1").await;
        let park = Commit {
            consumed: 1,
            park: Some("broken data".to_owned()),
            wake_at: Some(BEGIN + 60_000),
            ..commit(&id, &record, "k1")
        };
        w.commit(&park).await;
        assert_eq!(w.store.requeue(&id).await.unwrap(), Requeued::Requeued);
        assert_eq!(w.score(&id).await, Some(BEGIN + 60_000));
        assert_eq!(w.reconciled(&id).await, Reconciled::Right);
    }
}
