//! The processes of the fleet: started, ended, started again; and what befalls them and the store.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evergreen_engine::testing::FaultyStore;
use evergreen_engine::{Limits, Platform};
use ninjaone::journal::{Journal, MemoryDisk};
use ninjaone::lifecycle::Settings;
use ninjaone::provider::{ClientApp, HostPolicy, TokenEndpoint, TokenEndpointOptions};
use ninjaone::service::{App, AppOptions, Surroundings};
use ninjaone::telemetry::Telemetry;
use ninjaone::vault::KeyRing;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::dice::Dice;
use super::link::Link;
use super::process::{Process, ProcessDisk};
use super::scene::{SALT, Scene};
use super::watched::Watched;

/// A key like any other.
const KEY: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// One machine: its disk, and the process that lives on it now.
pub(crate) struct Host {
    name: String,
    disk: MemoryDisk,
    now: Mutex<Option<Living>>,
}

struct Living {
    process: Arc<Process>,
    app: App,
    store: FaultyStore,
    stop: Option<oneshot::Sender<()>>,
}

pub(crate) struct Fleet {
    scene: Arc<Scene>,
    hosts: Vec<Host>,
}

impl Fleet {
    pub(crate) fn new(scene: &Arc<Scene>) -> Arc<Self> {
        let host = |number| Host {
            name: format!("worker-{number}"),
            disk: MemoryDisk::default(),
            now: Mutex::default(),
        };
        Arc::new(Self {
            scene: Arc::clone(scene),
            hosts: (1..=scene.plan.workers).map(host).collect(),
        })
    }

    /// Starts all, and keeps them running.
    pub(crate) fn start(self: &Arc<Self>) {
        for number in 0..self.hosts.len() {
            tokio::spawn(Arc::clone(self).keep_running(number));
        }
        tokio::spawn(Arc::clone(self).misfortune());
    }

    /// A process that runs, for a person to turn to.
    pub(crate) fn any(&self, dice: &Dice) -> Option<App> {
        let host = dice.pick(&self.hosts);
        host.living().as_ref().map(|living| living.app.clone())
    }

    /// Entries that lie in journals.
    pub(crate) fn journalled(&self) -> usize {
        let open = |host: &Host| {
            let disk = Box::new(MemoryDisk::default());
            let journal = Journal::over(disk, &host.disk.bytes(), Default::default());
            journal.expect("memory does not fail").len()
        };
        self.hosts.iter().map(open).sum()
    }

    async fn keep_running(self: Arc<Self>, number: usize) {
        let host = &self.hosts[number];
        let dice = Dice::new(self.scene.seed, &host.name);
        for life in 0_u64.. {
            let process = Process::new(&host.name, number as u64 * 1_000 + life, &self.scene);
            let process = Arc::new(process);
            let (stop, stopped) = oneshot::channel::<()>();
            let living = start(&process, &host.disk, stop);
            self.scene.trace.say(&host.name, "starts");
            let app = living.app.clone();
            *host.living() = Some(living);
            let work = tokio::spawn(async move {
                app.work("here".to_owned(), async {
                    // Whoever could tell it is gone: then it runs for ever.
                    if stopped.await.is_err() {
                        std::future::pending::<()>().await;
                    }
                })
                .await
            });
            tokio::select! {
                biased;
                () = process.end.notified() => {}
                _ = work => process.die("has stopped"),
            }
            drop(host.living().take());
            let pause = if self.scene.is_bad() {
                dice.millis(100, *dice.pick(&[2_000, 15_000, 90_000]))
            } else {
                dice.millis(100, 1_000)
            };
            sleep_until(Instant::now() + pause).await;
        }
    }

    /// What befalls processes and the store from outside, now and then.
    async fn misfortune(self: Arc<Self>) {
        let scene = &self.scene;
        let dice = Dice::new(scene.seed, "misfortune");
        while scene.is_bad() {
            sleep_until(Instant::now() + dice.seconds(1, 15)).await;
            if scene.is_bad() {
                self.befall(&dice).await;
            }
        }
    }

    async fn befall(&self, dice: &Dice) {
        let (scene, plan) = (&self.scene, &self.scene.plan);
        let host = dice.pick(&self.hosts);
        match dice.number(1, 8) {
            1 if plan.cuts => {
                for host in &self.hosts {
                    if let Some(living) = host.living().as_ref()
                        && dice.chance(0.5)
                    {
                        living.process.cut_off(dice.seconds(1, 30));
                    }
                }
            }
            2 if plan.deafness => {
                if let Some(living) = host.living().as_ref() {
                    scene.trace.say(&host.name, "hears no wake-up messages");
                    living.store.lose_wakes();
                }
            }
            3 if plan.stops => {
                if let Some(living) = host.living().as_mut()
                    && let Some(stop) = living.stop.take()
                {
                    scene.trace.say(&host.name, "is told to stop");
                    // It may have crashed a moment ago.
                    let _ = stop.send(());
                }
            }
            4 if plan.store_clock => {
                let by = i64::try_from(dice.number(0, 60_000)).expect("small") - 20_000;
                scene
                    .trace
                    .say("store", format!("its clock jumps by {by} ms"));
                scene.store_offset_ms.fetch_add(by, Ordering::Relaxed);
                let now_ms = scene.trace.elapsed_ms();
                scene.truth().clock_was_set(now_ms);
            }
            5 if plan.worker_clocks => {
                if let Some(living) = host.living().as_ref() {
                    let by = i64::try_from(dice.number(0, 240_000)).expect("small") - 120_000;
                    scene
                        .trace
                        .say(&host.name, format!("its clock jumps by {by} ms"));
                    living
                        .process
                        .wall_offset_ms
                        .fetch_add(by, Ordering::Relaxed);
                }
            }
            6 if plan.failovers => {
                scene.replica_lags(true);
                scene.trace.say("store", "its replica lags");
                sleep_until(Instant::now() + dice.millis(0, 8_000)).await;
                // What was confirmed meanwhile, in peace, may not be lost any more.
                if scene.is_bad() {
                    // The clock of another server is another clock.
                    let ahead = i64::try_from(dice.number(0, 15_000)).expect("small") - 3_000;
                    scene.store_offset_ms.fetch_add(ahead, Ordering::Relaxed);
                    scene.fail_over();
                    scene.replica_lags(false);
                }
            }
            7 if plan.storms => {
                let span = dice.number(1_000, 40_000);
                scene
                    .trace
                    .say("provider", format!("answers 500 for {span} ms"));
                scene.provider.storm_until(scene.trace.elapsed_ms() + span);
            }
            8 if plan.freeze > 0.0 => {
                if let Some(living) = host.living().as_ref() {
                    living.process.freeze(dice.seconds(5, 40));
                }
            }
            _ => {}
        }
    }

    /// From here on nothing befalls anybody.
    pub(crate) fn calm_down(&self) {
        for host in &self.hosts {
            if let Some(living) = host.living().as_ref() {
                living.store.hear_wakes();
                living.process.recover();
            }
        }
    }
}

impl Host {
    fn living(&self) -> std::sync::MutexGuard<'_, Option<Living>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn start(process: &Arc<Process>, disk: &MemoryDisk, stop: oneshot::Sender<()>) -> Living {
    let fate = Arc::clone(process);
    let store = FaultyStore::over(Arc::new(Watched(Arc::clone(process))))
        .in_weather(Box::new(move |op| fate.fate(op)));
    let journal = Journal::over(
        Box::new(ProcessDisk::new(disk.clone(), process)),
        &disk.bytes(),
        Default::default(),
    );
    let (clock, random) = (
        Arc::clone(process),
        Dice::new(process.scene.seed, &format!("ids {}", process.number)),
    );
    let surroundings = Surroundings {
        endpoint: TokenEndpoint::over(
            Arc::new(Link(Arc::clone(process))),
            TokenEndpointOptions::default(),
        ),
        journal: journal.expect("memory does not fail"),
        platform: Platform {
            wall: Arc::new(move || clock.wall_ms()),
            random: Arc::new(move || random.bits()),
        },
    };
    let options = AppOptions {
        worker_id: process.name.clone(),
        limits: Limits {
            shutdown_grace: Duration::from_secs(20),
            ..Limits::default()
        },
        settings: Settings::default(),
        ring: KeyRing::parse(KEY).expect("a key"),
        client: Some(ClientApp {
            client_id: "fleet".to_owned(),
            client_secret: None,
        }),
        hosts: HostPolicy::new(),
        journal_dir: None,
        public_url: "http://127.0.0.1:8080".to_owned(),
        redirect_uri: "http://127.0.0.1:8080/oauth/callback".to_owned(),
        salt: SALT.to_owned(),
        connect_timeout: Duration::from_secs(3),
    };
    let telemetry = Arc::new(Telemetry::default());
    let app = App::start_in(Arc::new(store.clone()), options, telemetry, surroundings);
    Living {
        process: Arc::clone(process),
        app: app.expect("the options are right"),
        store,
        stop: Some(stop),
    }
}
