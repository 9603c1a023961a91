//! By what a store is known that was restored from a backup.
//!
//! The key space carries a stamp that the workers write every ten seconds, and each remembers the newest
//! that it has seen in its journal, on its own disk. A store whose stamp is older than that has lost what
//! came between: refresh tokens may have been spent of which it knows nothing. That is written down, once,
//! for the whole fleet; from then on a rejection of a grant that has not succeeded since says
//! `rotation_lost`, because that is what it is.
//!
//! # The order of things
//! Comparing, marking and stamping are one step of the store (`engine/scripts/stamp.lua`): between a reading
//! and a writing of two workers a backup could be restored, and the newer stamp written over its older one
//! before anybody has noticed. And a worker whose journal has seen no stamp at all only looks in its first
//! round: it has nothing to compare, and would take the chance from those that have.

use std::sync::atomic::Ordering;
use std::time::Duration;

use evergreen_engine::Millis;
use evergreen_engine::store::StoreError;
use tokio::time::Instant;

use super::App;

/// Between two stamps.
const PERIOD: Duration = Duration::from_secs(10);

/// When the next stamp is due.
#[derive(Debug, Default)]
pub(super) struct Stamping {
    last: Option<Instant>,
}

impl Stamping {
    /// Compares and stamps, if it is time again.
    pub(super) async fn round(&mut self, app: &App) -> Result<(), StoreError> {
        let first = self.last.is_none();
        if self.last.is_some_and(|last| last.elapsed() < PERIOD) {
            return Ok(());
        }
        let journal = app.0.refresher.keeper.journal();
        let newest = journal.newest_stamp();
        let writes = newest > 0 || !first;
        let stamped = app.store().stamp(newest, writes).await?;
        if stamped.older {
            tracing::error!(
                stored = stamped.stored,
                newest,
                "the store is older than what this worker has seen: it was restored from a backup, or has lost its last writes; rejections say rotation_lost until a grant has succeeded anew"
            );
        }
        let restored = stamped.restored.unwrap_or(0);
        let known = &app.0.refresher.restored_at;
        known.store(restored, Ordering::Relaxed);
        if writes {
            journal.saw_stamp(stamped.stamp);
        }
        self.last = Some(Instant::now());
        Ok(())
    }
}

impl App {
    /// When it was noticed that the store is an older one than the fleet had worked with, by the store's
    /// clock in ms; `None` if it was not. As the last round of stamps told.
    #[must_use]
    pub fn restored_at(&self) -> Option<Millis> {
        let at = self.0.refresher.restored_at.load(Ordering::Relaxed);
        (at > 0).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use evergreen_engine::Limits;
    use evergreen_engine::store::Store;
    use evergreen_engine::store::memory::MemoryStore;
    use secrecy::ExposeSecret;

    use super::*;
    use crate::lifecycle::Settings;
    use crate::provider::HostPolicy;
    use crate::service::AppOptions;
    use crate::telemetry::Telemetry;
    use crate::vault::KeyRing;

    const META: &str = "meta";
    const STAMP: &str = "stamp";

    fn app(store: &MemoryStore, journal: Option<&Path>) -> App {
        let key = KeyRing::generate().unwrap();
        let options = AppOptions {
            worker_id: "worker".to_owned(),
            limits: Limits::default(),
            settings: Settings::default(),
            ring: KeyRing::parse(key.printable.expose_secret()).unwrap(),
            client: None,
            hosts: HostPolicy::default(),
            journal_dir: journal.map(Path::to_path_buf),
            public_url: "http://127.0.0.1:8080".to_owned(),
            redirect_uri: "http://127.0.0.1:8080/oauth/callback".to_owned(),
            salt: "0b".repeat(32),
            connect_timeout: Duration::from_secs(3),
        };
        App::start(
            Arc::new(store.clone()),
            options,
            Arc::new(Telemetry::default()),
        )
        .unwrap()
    }

    /// One round ten seconds later; returns when the journal has taken it in.
    async fn round(app: &App, stamping: &mut Stamping) {
        tokio::time::advance(PERIOD).await;
        stamping.round(app).await.unwrap();
        let journal = app.0.refresher.keeper.journal();
        journal.adopt().await.unwrap();
    }

    async fn stamp(store: &MemoryStore) -> Option<Millis> {
        let text = store.table_get(META, STAMP).await.unwrap();
        text.map(|text| text.parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_older_than_what_a_journal_has_seen_was_restored() {
        let directory = tempfile::tempdir().unwrap();
        let store = MemoryStore::new();
        let (app_a, mut a) = (app(&store, Some(directory.path())), Stamping::default());
        round(&app_a, &mut a).await;
        assert_eq!(stamp(&store).await, None, "who has seen none looks first");
        round(&app_a, &mut a).await;
        let seen = stamp(&store).await.unwrap();
        stamping_is_paced(&app_a, &mut a).await;
        assert_eq!(app_a.restored_at(), None);

        // A failover or a restart changes nothing; a backup of yesterday does.
        round(&app_a, &mut a).await;
        assert_eq!(app_a.restored_at(), None);
        let yesterday = (seen - 86_400_000).to_string();
        store.table_put(META, STAMP, &yesterday).await.unwrap();
        round(&app_a, &mut a).await;
        let at = app_a.restored_at().unwrap();
        assert!(at >= seen);
        assert!(stamp(&store).await.unwrap() >= seen, "stamped anew");
        round(&app_a, &mut a).await;
        assert_eq!(app_a.restored_at(), Some(at), "noticed once");

        // The others are told by the store, also one that has seen nothing itself.
        let (app_b, mut b) = (app(&store, None), Stamping::default());
        round(&app_b, &mut b).await;
        assert_eq!(app_b.restored_at(), Some(at));
        let facts = evergreen_engine::Activities::facts(&app_b.0.refresher);
        assert_eq!(facts.restored_at, Some(at), "and the machine by its facts");
    }

    async fn stamping_is_paced(app: &App, stamping: &mut Stamping) {
        let before = app.store().table_get(META, STAMP).await.unwrap();
        app.store().table_put(META, STAMP, "1").await.unwrap();
        stamping.round(app).await.unwrap();
        assert_eq!(
            app.store().table_get(META, STAMP).await.unwrap().as_deref(),
            Some("1")
        );
        app.store()
            .table_put(META, STAMP, &before.unwrap())
            .await
            .unwrap();
    }
}
