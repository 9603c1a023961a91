//! The run: sets up, does what was planned, mends, compares.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::mending;
use super::people::People;
use super::plan::{Weather, What, Wish, plan};
use super::post::{Orders, Post};
use super::provider::Provider;
use super::relay::Relay;
use super::report::{Done, Report};
use super::server::Server;
use super::troupe::{Troupe, failed};
use super::verdict::{Promise, Violation};
use super::voices::Book;
use super::{Ask, now_ms};
use crate::bench::worker::limits;
use crate::bench::{BenchError, Space};
use crate::lifecycle::Settings;
use crate::provider::{ClientApp, HostPolicy};
use crate::service::{App, AppOptions};
use crate::telemetry::Telemetry;
use crate::vault::KeyRing;

/// Between two looks after the workers.
const LOOK: Duration = Duration::from_millis(100);
/// Between two looks at all integrations.
const LOOK_AT_ALL: Duration = Duration::from_secs(10);
/// Between two notes.
const NOTE: Duration = Duration::from_secs(15);
/// After a worker ended by itself, before it is started again.
const RESTART: Duration = Duration::from_millis(500);

/// What is to be done at a time. The order is that of time, then of being planned.
type Due = Reverse<(Instant, usize)>;

/// See the module.
pub(super) struct Fleet<'a> {
    pub(super) ask: &'a Ask,
    pub(super) space: &'a Space,
    pub(super) server: &'a mut Server,
    troupe: &'a Troupe,
    pub(super) provider: Arc<Provider>,
    pub(super) people: People,
    pub(super) posts: Vec<Post>,
    orders: Orders,
    pub(super) book: Book,
    pub(super) listeners: JoinSet<()>,
    pub(super) errands: JoinSet<()>,
    pub(super) done: Done,
    pub(super) violations: Vec<Violation>,
    due: BinaryHeap<Due>,
    deeds: Vec<Deed>,
    /// Redis is not the run's own, and out of everybody's reach at the moment.
    redis_gone: bool,
}

/// What a moment asks for.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Begin(What),
    Start(usize),
    GoOn(usize),
    KillStopped(usize),
    Join(usize),
    Empty(usize),
    Revive,
}

impl<'a> Fleet<'a> {
    /// Starts everything, and connects all integrations; nothing is broken yet.
    pub(super) async fn muster(
        ask: &'a Ask,
        space: &'a Space,
        server: &'a mut Server,
        troupe: &'a Troupe,
        home: &Path,
        note: &mut dyn FnMut(&str),
    ) -> Result<Self, BenchError> {
        note("starting the provider and the workers");
        if let Some(evidence) = &ask.evidence {
            let made = std::fs::create_dir_all(evidence);
            made.map_err(|e| failed("a directory for the evidence", &e))?;
        }
        let provider = Arc::new(Provider::start(troupe, home, ask.life, ask.seed).await?);
        let seal_key = KeyRing::generate()
            .map_err(|e| failed("a seal key", &e))?
            .printable;
        let people = people(ask, space, &provider, seal_key.expose_secret()).await?;
        let orders = Orders {
            prefix: space.options.prefix.clone(),
            replicas: space.options.replicas,
            seal_key,
            provider: provider.url.trim_start_matches("http://").to_owned(),
            lease: ask.lease,
            home: home.to_owned(),
            evidence: ask.evidence.clone(),
        };
        let mut posts = Vec::new();
        for worker in 0..ask.workers {
            let relay = Relay::make(server.address.clone(), server.url.clone()).await?;
            posts.push(Post::prepare(worker, relay, home)?);
        }
        let mut fleet = Self {
            ask,
            space,
            server,
            troupe,
            provider,
            people,
            posts,
            orders,
            book: Book::default(),
            listeners: JoinSet::new(),
            errands: JoinSet::new(),
            done: Done::default(),
            violations: Vec::new(),
            due: BinaryHeap::new(),
            deeds: Vec::new(),
            redis_gone: false,
        };
        for worker in 0..ask.workers {
            fleet.start(worker)?;
        }
        for post in &mut fleet.posts {
            post.works().await?;
        }
        note("connecting the integrations");
        fleet.people.connect_all(ask.integrations, ask.life).await?;
        Ok(fleet)
    }

    /// Does everything that was planned, mends, and compares.
    pub(super) async fn run(&mut self, note: &mut dyn FnMut(&str)) -> Result<Report, BenchError> {
        let span = Duration::from_mins(self.ask.minutes);
        let began = Instant::now();
        for planned in plan(self.ask.seed, span, self.ask.workers, self.ask.lease) {
            self.later(began + planned.at, Deed::Begin(planned.what));
        }
        let over = began + span;
        let (mut look_at_all, mut note_at) = (began + LOOK_AT_ALL, began + NOTE);
        while Instant::now() < over || !self.due.is_empty() {
            let next = self.due.peek().map_or(over, |Reverse((at, _))| *at);
            tokio::time::sleep_until(next.min(Instant::now() + LOOK)).await;
            while let Some(Reverse((at, nth))) = self.due.peek().copied()
                && at <= Instant::now()
            {
                self.due.pop();
                self.act(self.deeds[nth]).await?;
            }
            self.supervise()?;
            while self.errands.try_join_next().is_some() {}
            if Instant::now() >= look_at_all {
                look_at_all = Instant::now() + LOOK_AT_ALL;
                let people = self.people.clone();
                self.errands
                    .spawn(async move { people.look_after_verdicts().await });
            }
            if Instant::now() >= note_at {
                note_at = Instant::now() + NOTE;
                note(&self.progress(began.elapsed(), span));
            }
        }
        mending::mend(self, note).await
    }

    fn progress(&self, so_far: Duration, span: Duration) -> String {
        let clock = |span: Duration| format!("{}:{:02}", span.as_secs() / 60, span.as_secs() % 60);
        let done = &self.done;
        format!(
            "{} of {}: {} workers killed, {} stopped, {} cut off, {} full disks, Redis gone {} times, {} spells of \
             bad weather",
            clock(so_far),
            clock(span),
            done.workers_killed + done.workers_killed_while_stopped,
            done.workers_stopped,
            done.workers_cut_off,
            done.disks_full,
            done.redis,
            done.weather.values().sum::<u64>(),
        )
    }

    fn later(&mut self, at: Instant, deed: Deed) {
        self.due.push(Reverse((at, self.deeds.len())));
        self.deeds.push(deed);
    }

    fn after(&mut self, span: Duration, deed: Deed) {
        self.later(Instant::now() + span, deed);
    }

    async fn act(&mut self, deed: Deed) -> Result<(), BenchError> {
        match deed {
            Deed::Begin(what) => self.begin(what).await,
            Deed::Start(worker) if self.posts[worker].is_manned() => Ok(()),
            Deed::Start(worker) => self.start(worker),
            Deed::GoOn(worker) => self.posts[worker].go_on(&self.book),
            Deed::KillStopped(worker) => {
                self.posts[worker].kill(&self.book).await?;
                self.start(worker)
            }
            Deed::Join(worker) => {
                self.book.open().diary.joined(worker, now_ms());
                self.set_ways();
                Ok(())
            }
            Deed::Empty(worker) => self.posts[worker].fill_disk(None),
            Deed::Revive => self.revive().await,
        }
    }

    async fn begin(&mut self, what: What) -> Result<(), BenchError> {
        match what {
            What::Kill { worker, down } => {
                self.posts[worker].kill(&self.book).await?;
                self.done.workers_killed += 1;
                self.after(down, Deed::Start(worker));
            }
            What::Stop {
                worker,
                span,
                killed,
            } => {
                self.posts[worker].stop(&self.book)?;
                if killed {
                    self.done.workers_killed_while_stopped += 1;
                    self.after(span, Deed::KillStopped(worker));
                } else {
                    self.done.workers_stopped += 1;
                    self.after(span, Deed::GoOn(worker));
                }
            }
            What::Cut { worker, span } => {
                self.book.open().diary.cut_off(worker, now_ms());
                self.set_ways();
                self.done.workers_cut_off += 1;
                self.after(span, Deed::Join(worker));
            }
            What::DiskFull { worker, room, span } => {
                self.posts[worker].fill_disk(Some(room))?;
                self.done.disks_full += 1;
                self.after(span, Deed::Empty(worker));
            }
            What::Redis { down } => {
                self.book.open().diary.redis_away(now_ms());
                if self.server.is_own() {
                    self.server.kill().await?;
                } else {
                    self.redis_gone = true;
                    self.set_ways();
                }
                self.done.redis += 1;
                self.after(down, Deed::Revive);
            }
            What::Provider(weather) => {
                self.provider.misbehave(weather).await?;
                *self.done.weather.entry(kind(weather)).or_default() += 1;
            }
            What::Person(wish) => self.wish(wish),
        }
        Ok(())
    }

    fn wish(&mut self, wish: Wish) {
        self.people.wish(wish, &mut self.errands);
    }

    pub(super) fn start(&mut self, worker: usize) -> Result<(), BenchError> {
        let post = &mut self.posts[worker];
        post.start(self.troupe, &self.orders, &self.book, &mut self.listeners)
    }

    async fn revive(&mut self) -> Result<(), BenchError> {
        if self.server.is_own() {
            self.server.revive(self.troupe).await?;
        } else {
            self.redis_gone = false;
            self.set_ways();
        }
        self.book.open().diary.redis_back(now_ms());
        Ok(())
    }

    fn set_ways(&self) {
        let pages = self.book.open();
        for (worker, post) in self.posts.iter().enumerate() {
            post.set_way(!self.redis_gone && !pages.diary.is_cut_off(worker));
        }
    }

    /// Notes that a promise is broken that no single integration was given.
    pub(super) fn breaks(&mut self, broken: Promise, what: String) {
        self.violations.push(Violation {
            broken,
            integration: String::new(),
            what,
        });
    }

    /// As a service manager does: who ended is started again. Who ended without a reason is told of.
    pub(super) fn supervise(&mut self) -> Result<(), BenchError> {
        for worker in 0..self.posts.len() {
            let Some(ended) = self.posts[worker].ended(&self.book)? else {
                continue;
            };
            if ended.excused {
                self.done.workers_restarted += 1;
            } else {
                let what = format!("worker {} ended by itself: {}", worker + 1, ended.status);
                self.breaks(Promise::Process, what);
            }
            self.after(RESTART, Deed::Start(worker));
        }
        Ok(())
    }

    /// Ends what is still running, whatever it is at.
    pub(super) async fn disband(&mut self) {
        self.errands.shutdown().await;
        for post in &mut self.posts {
            if let Err(error) = post.kill(&self.book).await {
                tracing::warn!(%error, "a worker was not killed");
            }
        }
        self.listeners.shutdown().await;
    }
}

fn kind(weather: Weather) -> &'static str {
    match weather {
        Weather::Eaten { .. } => "reply eaten after the rotation",
        Weather::Late { .. } => "reply after the deadline",
        Weather::Gateway { .. } => "502 after the rotation",
        Weather::Throttled { .. } => "429",
        Weather::Page => "throttle page",
        Weather::Broken { .. } => "5xx",
        Weather::Refused { .. } => "reset",
    }
}

/// Whoever connects and disconnects does it through an app of this process, which is not disturbed.
async fn people(
    ask: &Ask,
    space: &Space,
    provider: &Arc<Provider>,
    seal_key: &str,
) -> Result<People, BenchError> {
    let wrong = |e: &dyn std::error::Error| failed("an app for people", &e);
    let demo = crate::simulator::ClientApp::demo();
    let options = AppOptions {
        worker_id: "torture-people".to_owned(),
        limits: limits(ask.lease),
        settings: Settings {
            client_id: Some(demo.client_id.clone()),
            ..Settings::default()
        },
        ring: KeyRing::parse(seal_key).map_err(|e| wrong(&e))?,
        client: Some(ClientApp {
            client_id: demo.client_id,
            client_secret: demo.client_secret,
        }),
        hosts: HostPolicy::new().with_loopback(),
        journal_dir: None,
        public_url: "http://127.0.0.1:8080".to_owned(),
        redirect_uri: "http://127.0.0.1:8080/oauth/callback".to_owned(),
        salt: space.store.meta().await?.salt,
        connect_timeout: Duration::from_secs(3),
    };
    let store = Arc::clone(&space.store);
    let app = App::start(store, options, Arc::new(Telemetry::default()));
    Ok(People::new(
        app.map_err(|e| wrong(&e))?,
        Arc::clone(provider),
    ))
}
