//! A machine of its own, which can fall over.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use evergreen_engine::store::Store;
use evergreen_engine::store::redis::RedisStore;
use ninjaone::service::App;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::{Bench, start};

/// How long its tasks may take to be gone after a crash.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// A process on a machine of its own: its own threads, its own connections, its own disk. Its worker
/// runs; dropped without a word, it has crashed.
pub struct Host {
    app: Option<App>,
    runtime: Option<Runtime>,
    disk: PathBuf,
}

impl Bench {
    /// Starts a process whose journal lies in a directory of its own, named after it. Started again
    /// under the same name it finds what the first left there.
    pub async fn host(&self, name: &str) -> Host {
        let mut options = self.options(name);
        let disk = self.journals.path().join(name);
        options.journal_dir = Some(disk.clone());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (redis, shared) = (self.redis.clone(), Arc::clone(&self.store));
        let (told, app) = oneshot::channel();
        runtime.spawn(async move {
            let store: Arc<dyn Store> = match redis {
                Some(redis) => Arc::new(
                    RedisStore::connect(redis)
                        .await
                        .expect("the test's Redis must be usable"),
                ),
                None => shared,
            };
            let app = start(store, options);
            // The test waits for it.
            let _ = told.send(app.clone());
            app.work("test".to_owned(), std::future::pending()).await;
        });
        Host {
            app: Some(app.await.expect("the app must start")),
            runtime: Some(runtime),
            disk,
        }
    }
}

impl Host {
    /// Its app. Clones of it keep the journal locked also after a crash.
    pub fn app(&self) -> &App {
        self.app.as_ref().expect("it has not crashed")
    }

    /// Runs something on it, which falls with it.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let runtime = self.runtime.as_ref().expect("it has not crashed");
        runtime.spawn(work);
    }

    /// Where its journal lies.
    pub fn disk(&self) -> &Path {
        &self.disk
    }

    /// Falls over: whatever it was doing stops where it is, nothing is drained. Returns when the
    /// last of its tasks is gone.
    pub async fn crash(mut self) {
        self.app = None;
        let runtime = self.runtime.take().expect("it has not crashed");
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(GONE_WITHIN))
            .await
            .expect("a runtime ends");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
