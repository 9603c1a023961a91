//! What a commit leaves behind besides the record: sealed blobs, log, events, or nothing.

use evergreen_engine::id::WorkflowId;
use evergreen_engine::store::{Claimed, Commit, Committed, Reconciled, SealedOp, StoreError};

use super::steps::{LEASE, after, commit, creating, event, id, written};
use super::support::World;

both_stores! {
    async fn sealed_blobs_change_with_the_commit_and_in_order(w) {
        let id = w.created("a").await;
        w.hold(&id, "c1").await;
        let put = |name: &str, blob: &str| SealedOp::Put(name.to_owned(), blob.to_owned());
        let erase = |name: &str| SealedOp::Erase(name.to_owned());
        let write = async |sealed, name: &str| {
            let record = w.read(&id).await.record;
            let commit = Commit { sealed, keep: Some(LEASE), ..commit(&id, &record, name) };
            w.commit(&commit).await
        };
        write(vec![put("a", "1"), put("b", "2"), put("a", "3")], "k1").await;
        let is = async |expected: &[(&str, &str)]| {
            let sealed = w.read(&id).await.sealed;
            let sealed: Vec<_> = sealed.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            assert_eq!(sealed, expected);
        };
        is(&[("a", "3"), ("b", "2")]).await;
        assert!(w.store.read(&id, false).await.unwrap().unwrap().sealed.is_empty());
        write(vec![erase("a"), put("a", "4"), put("b", "5"), erase("b")], "k2").await;
        is(&[("a", "4")]).await;
        // Adopted and disconnected within one turn: nothing may be left of what was adopted.
        write(vec![put("c", "6"), SealedOp::Clear], "k3").await;
        is(&[]).await;
        write(vec![put("c", "6"), SealedOp::Clear, put("d", "7")], "k4").await;
        is(&[("d", "7")]).await;
        let Claimed::Held { .. } = w.drive(&id, "c2").await else { panic!() };
        w.clock.advance(LEASE);
        let Claimed::Claimed { sealed, .. } = w.drive(&id, "c2").await else { panic!() };
        assert_eq!(sealed["d"], "7");
    }

    async fn an_inbox_is_read_without_a_claim_in_order_and_changes_nothing(w) {
        assert!(w.store.inbox(&super::id("nobody")).await.unwrap().is_empty());
        let id = w.created("a").await;
        assert!(w.signalled(creating(&id, "second, with { a blank")).await.is_queued());
        let inbox = w.store.inbox(&id).await.unwrap();
        let payloads: Vec<_> = inbox.iter().map(|e| e.payload.as_str()).collect();
        assert_eq!(payloads.len(), 2);
        assert_eq!(payloads[1], "second, with { a blank");
        let Claimed::Claimed { inbox: handed, .. } = w.claim(&id, "c1").await else { panic!() };
        assert_eq!(handed, inbox, "the same that a claim hands out");
    }

    async fn a_log_keeps_the_last_entries(w) {
        let id = w.created("a").await;
        w.hold(&id, "c1").await;
        for n in 0..5 {
            let record = w.read(&id).await.record;
            let entry = Commit {
                log: format!("entry {n}"),
                keep: Some(LEASE),
                ..commit(&id, &record, &n.to_string())
            };
            w.commit(&entry).await;
        }
        assert_eq!(w.store.log(&id).await.unwrap(), ["entry 2", "entry 3", "entry 4"]);
        let record = w.read(&id).await.record;
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
        w.commit(&Commit { events: vec![event("k2", 0)], ..commit(&id, &after(&record, "k1"), "k2") }).await;
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
        assert!(w.listed(0, 9).await.is_empty());
        assert_eq!(w.store.events(0, None, 9).await.unwrap().len(), 1);
        assert_eq!(w.commit(&last).await, Committed::Unknown);
        assert_eq!(w.claim(&id, "c2").await, Claimed::Unknown);
        assert_eq!(w.reconciled(&id).await, Reconciled::Right);
        assert!(w.signalled(creating(&id, "again")).await.is_queued());
        let Claimed::Claimed { record, sealed, inbox } = w.claim(&id, "c3").await else { panic!() };
        assert_eq!((record.fence, record.v, sealed.len(), inbox.len()), (1, 0, 0, 1));
    }

    async fn a_walk_meets_every_workflow_of_a_kind(w) {
        for n in 0..25 {
            w.created(&format!("n{n}")).await;
        }
        let other = WorkflowId::new("test.other", "x").unwrap();
        assert!(w.signalled(creating(&other, "x")).await.is_queued());
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
}
