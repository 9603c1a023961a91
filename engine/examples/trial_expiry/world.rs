//! Where the story takes place: in memory and at once, or on a Redis and in real time.

use std::sync::Arc;
use std::time::Duration;

use evergreen_engine::store::redis::{RedisOptions, RedisStore};
use evergreen_engine::testing::Sandbox;
use evergreen_engine::worker::{self, Stopped, WorkerOptions};
use evergreen_engine::{Engine, Limits, Millis};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::mail::{Mailer, PostOffice};
use super::trial::{Terms, Trial};

/// Whatever goes wrong on the way.
pub(crate) type Problem = Box<dyn std::error::Error + Send + Sync>;

/// The engine, the post office, and a time that passes somehow.
pub(crate) struct World {
    /// The post office of this world.
    pub(crate) office: Arc<PostOffice>,
    /// How long a day is.
    pub(crate) day: Millis,
    /// Added to the names of workflows, so that two runs on one Redis do not meet.
    pub(crate) suffix: String,
    time: Time,
}

enum Time {
    Skipped(Sandbox),
    Real {
        engine: Engine,
        stop: oneshot::Sender<()>,
        worker: JoinHandle<Stopped>,
    },
}

fn mailer(day: Millis) -> (Arc<PostOffice>, Arc<Mailer>) {
    let office = Arc::new(PostOffice::default());
    let terms = Terms {
        day,
        remind_days: 7,
        keep_days: 30,
    };
    let mailer = Mailer {
        office: Arc::clone(&office),
        terms: Arc::new(terms),
    };
    (office, Arc::new(mailer))
}

impl World {
    /// A store in memory, and a clock that is moved by hand.
    pub(crate) fn in_memory() -> Self {
        let day = 24 * 60 * 60 * 1000;
        let (office, mailer) = mailer(day);
        Self {
            office,
            day,
            suffix: String::new(),
            time: Time::Skipped(Sandbox::new(|engine| engine.with::<Trial>(mailer))),
        }
    }

    /// A Redis, a worker, and days of a tenth of a second.
    pub(crate) async fn on_redis(url: &str) -> Result<Self, Problem> {
        let day = 100;
        let (office, mailer) = mailer(day);
        let store = RedisStore::connect(RedisOptions {
            prefix: "trial-example".to_owned(),
            // A demonstration may be forgotten when the server restarts.
            allow_volatile: true,
            ..RedisOptions::new(url)
        })
        .await?;
        let engine = Engine::builder(Arc::new(store), Limits::default(), "example")
            .map_err(|wrong| format!("{wrong:?}"))?
            .with::<Trial>(mailer)
            .build();
        let (stop, stopped) = oneshot::channel();
        let options = WorkerOptions {
            host: "example".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let worker = tokio::spawn(worker::run(engine.clone(), options, async {
            // Stops when it is told to, and when nobody is left to tell it.
            let _ = stopped.await;
        }));
        Ok(Self {
            office,
            day,
            suffix: format!("-{}", std::process::id()),
            time: Time::Real {
                engine,
                stop,
                worker,
            },
        })
    }

    /// The engine of this world.
    pub(crate) fn engine(&self) -> &Engine {
        match &self.time {
            Time::Skipped(sandbox) => sandbox.engine(),
            Time::Real { engine, .. } => engine,
        }
    }

    /// What time it is.
    pub(crate) async fn now(&self) -> Result<Millis, Problem> {
        Ok(self.engine().store().now().await?)
    }

    /// Lets time pass.
    pub(crate) async fn days(&self, days: u64) {
        let span = Duration::from_millis(days * self.day);
        match &self.time {
            Time::Skipped(sandbox) => {
                sandbox.settle().await;
                sandbox.skip(span).await;
            }
            Time::Real { .. } => tokio::time::sleep(span).await,
        }
    }

    /// Ends it: a worker lets the turns that run come to their ends.
    pub(crate) async fn end(self) -> Result<(), Problem> {
        if let Time::Real { stop, worker, .. } = self.time {
            let _ = stop.send(());
            worker.await?;
        }
        Ok(())
    }
}
