//! Workers of one key space, each with connections of its own, and what must hold when they are done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evergreen_engine::reconciler::compare_all;
use evergreen_engine::store::Signalled;
use evergreen_engine::store::redis::{RedisOptions, RedisStore};
use evergreen_engine::worker::{self, Stopped, WorkerOptions};
use evergreen_engine::{Delivery, Engine, Limits, WorkflowId};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::pulse::{Deed, Ledger, Phase, Pulse, Signal};
use crate::support::until;

/// Every worker's own connections, and short patience.
pub(crate) fn options(url: &str, replicas: u32) -> RedisOptions {
    RedisOptions {
        prefix: format!("test-{:016x}", rand::random::<u64>()),
        replicas,
        reply_timeout: Duration::from_secs(1),
        allow_volatile: true,
        ..RedisOptions::new(url)
    }
}

pub(crate) struct Fleet {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) options: RedisOptions,
    ids: Vec<WorkflowId>,
    stop: watch::Sender<bool>,
    workers: Vec<JoinHandle<Stopped>>,
}

impl Fleet {
    /// So many workers and workflows.
    pub(crate) async fn start(options: RedisOptions, workers: usize, workflows: usize) -> Self {
        let ledger = Arc::new(Ledger::default());
        let (stop, stopped) = watch::channel(false);
        let mut fleet = Self {
            ids: (0..workflows)
                .map(|n| WorkflowId::new("pulse", &format!("w{n}")).unwrap())
                .collect(),
            ledger,
            options,
            stop,
            workers: Vec::new(),
        };
        let begin = fleet.engine("begin").await;
        for id in &fleet.ids {
            let delivery = Delivery {
                durable: true,
                ..Delivery::creating()
            };
            assert!(
                begin
                    .signal::<Pulse>(id, &Signal::Begin, delivery)
                    .await
                    .unwrap()
                    .is_queued()
            );
        }
        for n in 0..workers {
            let engine = fleet.engine(&format!("worker-{n}")).await;
            let options = WorkerOptions {
                host: "here".to_owned(),
                version: "1".to_owned(),
            };
            let mut stopped = stopped.clone();
            let run = worker::run(engine, options, async move {
                // The fleet itself going away stops a worker, too.
                let _ = stopped.wait_for(|stop| *stop).await;
            });
            fleet.workers.push(tokio::spawn(run));
        }
        fleet
    }

    async fn engine(&self, owner: &str) -> Engine {
        let store = RedisStore::connect(self.options.clone()).await.unwrap();
        let limits = Limits {
            lease: Duration::from_secs(3),
            activity: Duration::from_secs(1),
            activity_min: Duration::from_millis(100),
            poll_cap: Duration::from_millis(200),
            log: 1000,
            ..Limits::default()
        };
        Engine::builder(Arc::new(store), limits, owner)
            .unwrap()
            .with::<Pulse>(Arc::clone(&self.ledger) as Arc<_>)
            .build()
    }

    pub(crate) fn ids(&self) -> &[WorkflowId] {
        &self.ids
    }

    /// Matches the key of a workflow's record.
    pub(crate) fn key(&self, id: &WorkflowId) -> String {
        format!("{}:*:wf:{id}", self.options.prefix)
    }

    /// How many beats were done for the first time, of workflows that `which` names.
    pub(crate) fn done(&self, which: impl Fn(&WorkflowId) -> bool) -> usize {
        let deeds = self.ledger.deeds();
        let done = |deed: &&Deed| matches!(deed, Deed::Done(id, _) if which(id));
        deeds.iter().filter(done).count()
    }

    /// Returns when each workflow that `which` names has beaten so many times more, on average.
    pub(crate) async fn has_beaten(&self, times: usize, which: impl Fn(&WorkflowId) -> bool) {
        let wanted = self.done(&which) + times * self.ids.iter().filter(|id| which(id)).count();
        until("more beats", async || {
            let done = self.done(&which);
            if done >= wanted {
                Ok(())
            } else {
                Err(format!("{done} of {wanted}"))
            }
        })
        .await;
    }

    /// Tells all that it is enough, waits until they are done, stops the workers, and looks at
    /// everything that must hold.
    pub(crate) async fn holds_together(mut self) {
        let engine = self.engine("judge").await;
        for id in &self.ids {
            until("a signal that is safe", async || {
                let delivery = Delivery {
                    durable: true,
                    ..Delivery::default()
                };
                // What is queued and not confirmed may be lost with the next master.
                match engine.signal::<Pulse>(id, &Signal::Enough, delivery).await {
                    Ok(Signalled::Queued {
                        confirmed: true, ..
                    }) => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await;
        }
        until("all workflows done", async || {
            let mut left = Vec::new();
            for id in &self.ids {
                match engine.read::<Pulse>(id, false).await {
                    Ok(Some(view)) => match view.machine {
                        Ok((_, Phase::Finished {})) => {}
                        other => left.push(format!("{id}: {other:?} {:?}", view.reading.record)),
                    },
                    other => left.push(format!("{id}: {}", other.is_ok())),
                }
            }
            if left.is_empty() { Ok(()) } else { Err(left) }
        })
        .await;
        self.stop.send_replace(true);
        for worker in self.workers.drain(..) {
            assert_eq!(worker.await.unwrap(), Stopped { unfinished: 0 });
        }
        self.nothing_was_done_twice_unknowingly();
        self.nothing_was_done_after_it_was_confirmed();
        self.every_beat_was_written_once(&engine).await;
        for id in &self.ids {
            let log = engine.store().log(id).await.unwrap();
            let record = engine
                .read::<Pulse>(id, false)
                .await
                .unwrap()
                .unwrap()
                .reading
                .record;
            assert_eq!(
                log.len() as u64,
                record.v,
                "one line for each transition of {id}: {log:#?}"
            );
            assert!(
                record.owner.is_none() && record.activity.is_none(),
                "{id}: {record:?}"
            );
        }
        let found = compare_all(&engine).await.unwrap();
        assert_eq!((found.compared, found.repaired), (self.ids.len() as u64, 0));
    }

    /// An intent that was acknowledged is known to whoever comes next.
    fn nothing_was_done_twice_unknowingly(&self) {
        let mut times: BTreeMap<(String, u32), u32> = BTreeMap::new();
        for deed in self.ledger.deeds() {
            if let Deed::Done(id, n) = deed {
                *times.entry((id.to_string(), n)).or_default() += 1;
            }
        }
        let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
        assert!(
            twice.is_empty(),
            "done twice as if for the first time: {twice:?}"
        );
        let again = self
            .ledger
            .deeds()
            .iter()
            .filter(|d| matches!(d, Deed::DoneAgain(..)))
            .count();
        println!(
            "{} beats, {again} of them tried again after nobody knew",
            times.len()
        );
    }

    /// What was confirmed is not lost.
    fn nothing_was_done_after_it_was_confirmed(&self) {
        let mut settled: BTreeMap<String, u32> = BTreeMap::new();
        for deed in self.ledger.deeds() {
            match deed {
                Deed::Settled(id, n) => {
                    settled.insert(id.to_string(), n);
                }
                Deed::Done(id, n) | Deed::DoneAgain(id, n) => {
                    let known = settled.get(&id.to_string()).copied().unwrap_or_default();
                    assert!(
                        n > known,
                        "{id}: beat {n} was done though {known} was confirmed"
                    );
                }
            }
        }
    }

    async fn every_beat_was_written_once(&self, engine: &Engine) {
        let mut written: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for partition in 0..engine.store().partitions() {
            for event in engine
                .store()
                .events(partition, None, 100_000)
                .await
                .unwrap()
            {
                let entry = event.entry;
                assert_eq!(entry.event, "BEAT", "{entry:?}");
                let payload: serde_json::Value = serde_json::from_str(&entry.payload).unwrap();
                let n = u32::try_from(payload["n"].as_u64().unwrap()).unwrap();
                written.entry(entry.subject).or_default().push(n);
            }
        }
        assert_eq!(written.len(), self.ids.len(), "{:?}", written.keys());
        for id in &self.ids {
            let view = engine.read::<Pulse>(id, false).await.unwrap().unwrap();
            let (pulse, _) = view.machine.unwrap();
            let beats = &written[id.id()];
            assert!(beats.iter().copied().eq(1..=pulse.beats), "{id}: {beats:?}");
        }
    }
}
