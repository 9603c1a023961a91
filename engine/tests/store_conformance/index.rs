//! The index of what is due: told with every reply, put right where it is wrong.

use evergreen_engine::limits::HEADS;
use evergreen_engine::store::memory::Set;
use evergreen_engine::store::{ClaimMode, Claimed, Commit, Place, Reconciled, StoreError};

use super::steps::{LEASE, ask, commit, id};
use super::support::{BEGIN, World};

both_stores! {
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
        assert!(w.listed(0, 9).await.iter().all(|m| *m != stray.to_string()));
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

        // What a holder that is gone has begun is due now, and not when its timer comes.
        let crashed = w.created("e").await;
        let record = w.hold(&crashed, "c1").await;
        let timer = Some(BEGIN + 99_000);
        let activity = Some("\"call\"".to_owned());
        w.commit(&Commit { consumed: 1, activity, wake_at: timer, ..commit(&crashed, &record, "k1") }).await;
        assert_eq!(w.reconciled(&crashed).await, Reconciled::Right);
        w.break_index(&crashed, Set::Due, timer).await;
        assert_eq!(w.reconciled(&crashed).await, Reconciled::Score);
        assert_eq!(w.score(&crashed).await, Some(BEGIN + 15_000));
    }

    /// Both directions, a page at a time: what was listed is what is compared next.
    async fn everything_is_compared_page_by_page(w) {
        for n in 0..150_u64 {
            w.idle(&format!("n{n:03}"), Some(BEGIN + 1000 + n)).await;
        }
        let lost = super::id("n007");
        w.break_index(&lost, Set::Due, None).await;
        let stray = super::id("stray");
        w.break_index(&stray, Set::Due, Some(BEGIN + 5000)).await;
        let late = super::id("n100");
        w.break_index(&late, Set::Due, Some(BEGIN + 7)).await;

        let index = Place::Index { partition: 0, rank: 0, count: 60 };
        let (pages, found) = w.compare_from(index).await;
        assert_eq!(pages, [60, 60, 30], "149, and one that is none of them");
        assert_eq!(found, [(stray, Reconciled::Stray), (late, Reconciled::Score)].into());
        let (kind, cursor, count) = ("test".to_owned(), None, 40);
        let (_, found) = w.compare_from(Place::Records { kind, cursor, count }).await;
        assert_eq!(found, [(lost, Reconciled::Missing)].into());
        let index = Place::Index { partition: 0, rank: 0, count: 1000 };
        let (pages, found) = w.compare_from(index).await;
        assert_eq!((pages, found), (vec![150], [].into()));

        let nowhere = Place::Index { partition: 9, rank: 0, count: 1 };
        let refused = w.store.compare(&[], &[nowhere]).await;
        assert!(matches!(refused, Err(StoreError::Refused { .. })));
        let nothing = w.store.compare(&[], &[]).await.unwrap();
        assert!(nothing.found.is_empty() && nothing.pages.is_empty());
    }

    async fn a_look_tells_all_heads_and_who_tells_them(w) {
        w.idle("a", Some(BEGIN + 1000)).await;
        let look = w.store.look().await.unwrap();
        assert_eq!(look.peek, w.store.peek(&[0]).await.unwrap());
        assert_eq!(look.run, w.store.run_id().await.unwrap());
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
        assert_eq!(w.listed(18, 10).await, ["test:n18", "test:n19"]);
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
}
