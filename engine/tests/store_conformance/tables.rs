//! What is beside the workflows: tables, slips, turnstiles, and the server's own name.

use super::steps::SECOND;
use super::support::{BEGIN, World};

both_stores! {
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

    /// Whoever comes next cannot notice it any more, so it is marked in the same step.
    async fn a_store_that_is_older_than_what_was_seen_is_marked_with_its_next_stamp(w) {
        let stamp = async |seen, write| w.store.stamp(seen, write).await.unwrap();
        let first = stamp(0, true).await;
        assert_eq!((first.stamp, first.restored, first.older), (BEGIN, None, false));
        w.clock.advance(SECOND);
        // Who only looks leaves it as it was.
        assert_eq!(stamp(BEGIN, false).await.stored, BEGIN);
        assert_eq!(stamp(BEGIN, true).await.stored, BEGIN);
        let behind = stamp(BEGIN + 500, true).await;
        assert_eq!((behind.stored, behind.stamp, behind.older), (BEGIN + 1000, BEGIN + 1000, false));

        // A backup of yesterday.
        let yesterday = (BEGIN - 86_400_000).to_string();
        w.store.table_put("meta", "stamp", &yesterday).await.unwrap();
        let seen = BEGIN + 5000;
        let noticed = stamp(seen, true).await;
        assert_eq!((noticed.stored, noticed.older), (BEGIN - 86_400_000, true));
        assert_eq!((noticed.stamp, noticed.restored), (seen, Some(BEGIN + 1000)), "never backwards");
        let after = stamp(seen, true).await;
        assert_eq!((after.older, after.restored), (false, Some(BEGIN + 1000)), "noticed once, and for all");
    }

    async fn a_run_has_one_name(w) {
        let run = w.store.run_id().await.unwrap();
        assert!(run.len() > 8);
        assert_eq!(w.store.run_id().await.unwrap(), run);
        assert_eq!(w.store.now().await.unwrap(), BEGIN);
        assert_eq!(w.store.partitions(), 1);
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
