//! One schedule: the fleet, its time, and what each step does.

use std::sync::Arc;
use std::time::Duration;

use evergreen_engine::Millis;
use evergreen_engine::store::Store;
use tokio::runtime::Runtime;
use tokio::task::yield_now;

use crate::bench::{Bench, Look, Place};
use crate::ledger::Book;
use crate::line::{Desk, Waiting, Wish};
use crate::machine::{Lab, Send};
use crate::person;
use crate::rules::Slip;
use crate::steps::{Fate, Step, WORKERS};
use crate::store::Noted;
use crate::support::BEGIN;
use crate::watch;
use crate::worker::Worker;

/// A lease, as the limits of the engine have it.
pub(crate) const LEASE: Millis = 15_000;

pub(crate) struct World<'a> {
    pub(crate) bench: &'a Bench,
    /// The time of all processes; it stands still unless a step moves it.
    pub(crate) time: Runtime,
    pub(crate) elapsed: Millis,
    pub(crate) skew: i64,
    pub(crate) lab: Arc<Lab>,
    pub(crate) desk: Desk,
    pub(crate) workers: Vec<Worker>,
    /// Which run of the store this is, and the stamp that it carries.
    pub(crate) run: u32,
    pub(crate) stamp: Millis,
    backup_stamp: Option<Millis>,
    /// As it was after the last step.
    pub(crate) look: Look,
    /// The index was broken: it may be wrong until the reconciler has been there.
    pub(crate) astray: bool,
    /// Requests of processes that have died since, still on their way.
    pub(crate) in_flight: Vec<Send>,
    /// The run that some process has met last, and since when it has been new; `None` for the first.
    pub(crate) noted: (u32, Option<Millis>),
    /// The same as the engines have it.
    pub(crate) notes: Noted,
    /// It was broken at some time, and copies may have it so.
    ever_astray: bool,
}

impl<'a> World<'a> {
    pub(crate) fn new(bench: &'a Bench, slip: Option<Slip>, grace: bool) -> Self {
        let time = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        bench.empty(&[Place::Live, Place::Replica, Place::Backup]);
        bench.clock.set(BEGIN);
        let mut world = Self {
            bench,
            time,
            elapsed: 0,
            skew: 0,
            lab: Arc::new(Lab {
                slip,
                book: Book::default(),
            }),
            desk: Desk::default(),
            workers: (0..WORKERS).map(|_| Worker::default()).collect(),
            run: 1,
            stamp: 0,
            backup_stamp: None,
            look: Look::default(),
            astray: false,
            in_flight: Vec::new(),
            noted: (1, None),
            notes: Noted::default(),
            ever_astray: false,
        };
        for worker in 0..WORKERS {
            world.start(worker);
        }
        world.lab.book.lock().grace = grace;
        world
    }

    pub(crate) fn left_out(&self, slip: Slip) -> bool {
        self.lab.slip == Some(slip)
    }

    pub(crate) fn book(&self) -> &Book {
        &self.lab.book
    }

    /// The store's time.
    pub(crate) fn now(&self) -> Millis {
        self.bench.clock.now()
    }

    /// Lets every task go on until it waits for the schedule or for the time.
    pub(crate) fn let_run(&self) {
        self.time.block_on(async {
            for _ in 0..4 {
                yield_now().await;
            }
        });
    }

    pub(crate) fn pass(&mut self, ms: Millis) {
        self.time
            .block_on(tokio::time::advance(Duration::from_millis(ms)));
        for send in std::mem::take(&mut self.in_flight) {
            self.book().say(format!(
                "the provider gets token {} of the dead",
                send.token
            ));
            self.book().receive(&send);
        }
        self.note_stamp(ms);
        self.elapsed += ms;
        self.set_clock();
        self.let_run();
    }

    fn set_clock(&self) {
        let now = (BEGIN + self.elapsed).saturating_add_signed(self.skew);
        self.bench.clock.set(now);
    }

    /// Does what a step says, and looks whether every promise still holds.
    pub(crate) fn take(&mut self, step: Step) {
        match step {
            Step::Go { worker, nth, fate } => self.go(worker, nth, fate),
            Step::Run { worker, times } => {
                for _ in 0..times {
                    self.go(worker, 0, Fate::Fine);
                }
            }
            Step::Time { ms } => {
                self.book().say(format!("{ms} ms pass"));
                self.pass(ms);
            }
            Step::Crash { worker } => self.crash(worker),
            Step::Freeze { worker, ms } => {
                self.book()
                    .say(format!("worker {worker} stands still for {ms} ms"));
                self.workers[worker].frozen_until = self.elapsed + ms;
            }
            Step::Suspend { worker, ms } => self.suspend(worker, ms),
            Step::Connect { worker } => self.person(worker, true),
            Step::Disconnect { worker } => self.person(worker, false),
            Step::RefreshNow { worker, behind } => person::refresh_now(self, worker, behind),
            Step::Revoke => self.revoke(),
            Step::PauseHost { ms } => {
                let until = self.now() + ms;
                self.book()
                    .say(format!("the host wants a pause of {ms} ms"));
                self.book().lock().pause_until = until;
            }
            Step::Reconcile => self.reconcile(),
            Step::BreakIndex { score } => {
                let score = score.map(|by| self.now().saturating_add_signed(by));
                self.book()
                    .say(format!("somebody sets the score to {score:?}"));
                (self.astray, self.ever_astray) = (true, true);
                self.bench.break_index(score);
                self.look = self.bench.look();
            }
            Step::Replicate => self.bench.copy(Place::Live, Place::Replica),
            Step::FailOver { skew } => {
                self.book().say(format!(
                    "the replica takes over, its clock off by {skew} ms"
                ));
                self.skew = skew;
                self.set_clock();
                self.bench.copy(Place::Replica, Place::Live);
                self.new_run();
            }
            Step::Backup => {
                self.book().say("a backup is taken");
                self.bench.copy(Place::Live, Place::Backup);
                self.backup_stamp = Some(self.stamp);
                self.note_stamp(1);
            }
            Step::Restore => self.restore(),
            Step::Empty => {
                self.book().say("the store is emptied");
                self.bench.empty(&[Place::Live, Place::Replica]);
                self.stamp = 0;
                self.forget();
                self.new_run();
            }
        }
        self.let_run();
        watch::at_rest(self);
    }

    /// The next thing that a worker is at happens, and the worker hears of it so much later.
    fn suspend(&mut self, worker: usize, ms: Millis) {
        let wishes = self.wishes_of(worker);
        if let Some(place) = wishes.first().filter(|_| self.thawed(worker)) {
            let waiting = self.desk.lock().unwrap().remove(*place);
            self.mark_doubt(worker);
            self.grant(waiting, Fate::Fine);
            self.book()
                .say(format!("worker {worker} is suspended for {ms} ms"));
            self.pass(ms);
        }
    }

    fn thawed(&self, worker: usize) -> bool {
        self.workers[worker].frozen_until <= self.elapsed
    }

    fn revoke(&self) {
        let grant = self.look.machine().and_then(|machine| machine.grant);
        if let Some(grant) = grant {
            self.book()
                .say(format!("the customer withdraws grant {grant}"));
            self.book().lock().revoked.insert(grant);
        }
    }

    fn restore(&mut self) {
        let Some(stamp) = self.backup_stamp else {
            return;
        };
        self.book().say("the backup is restored");
        self.bench.copy(Place::Backup, Place::Live);
        self.bench.copy(Place::Backup, Place::Replica);
        self.stamp = stamp;
        self.forget();
        self.book().lock().ended.clear();
        self.new_run();
    }

    /// What was promised of a store that nobody empties and no backup replaces holds no more.
    fn forget(&self) {
        let journals = self.workers.iter().flat_map(|worker| &worker.disk.journal);
        let mut journalled: Vec<u64> = journals.map(|entry| entry.pair.token).collect();
        // What the store has confirmed is as good as cleared.
        for waiting in self.desk.lock().unwrap().iter() {
            if let Wish::Forget(confirmed, _) = &waiting.wish {
                journalled.retain(|token| token != confirmed);
            }
        }
        let mut ledger = self.book().lock();
        ledger.forgotten += 1;
        ledger.expected = None;
        ledger.kept.retain(|token| journalled.contains(token));
    }

    fn new_run(&mut self) {
        self.run += 1;
        self.astray |= self.ever_astray;
        self.look = self.bench.look();
    }

    pub(crate) fn reconcile(&mut self) {
        let found = self.bench.call(self.bench.store.reconcile(&self.bench.id));
        let found = found.unwrap();
        self.book().say(format!("the reconciler finds: {found:?}"));
        self.look = self.bench.look();
        self.astray = false;
    }

    /// The wishes of a worker's present process, by their places.
    pub(crate) fn wishes_of(&self, worker: usize) -> Vec<usize> {
        let life = self.workers[worker].life;
        let mut desk = self.desk.lock().unwrap();
        let lives = |waiting: &Waiting| self.workers[waiting.worker].life == waiting.life;
        desk.retain(|waiting| lives(waiting) && !waiting.is_abandoned());
        let theirs = desk.iter().enumerate();
        theirs
            .filter(|(_, waiting)| waiting.worker == worker && waiting.life == life)
            .map(|(place, _)| place)
            .collect()
    }

    pub(crate) fn go(&mut self, worker: usize, nth: usize, fate: Fate) {
        if !self.thawed(worker) || self.book().is_broken() {
            return;
        }
        if self.workers[worker].process.is_none() {
            self.book().say(format!("worker {worker} comes back"));
            self.start(worker);
            return;
        }
        let wishes = self.wishes_of(worker);
        if wishes.is_empty() {
            self.poll(worker);
            return;
        }
        let place = wishes[nth % wishes.len()];
        let waiting = self.desk.lock().unwrap().remove(place);
        self.mark_doubt(worker);
        self.grant(waiting, fate);
        self.let_run();
    }

    fn person(&mut self, worker: usize, connects: bool) {
        if self.workers[worker].process.is_some() {
            person::decide(self, worker, connects);
        }
    }
}
