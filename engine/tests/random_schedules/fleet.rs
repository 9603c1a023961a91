//! The processes of a schedule: how they end and begin, what they look for, and what they do when the
//! store has become another.

use std::sync::atomic::Ordering;

use evergreen_engine::Millis;

use crate::line::Wish;
use crate::rules::Slip;
use crate::world::{LEASE, World};

impl World<'_> {
    pub(crate) fn crash(&mut self, worker: usize) {
        if self.workers[worker].process.take().is_some() {
            self.book().say(format!("worker {worker} dies"));
            let mut desk = self.desk.lock().unwrap();
            for waiting in desk.extract_if(.., |waiting| waiting.worker == worker) {
                if let Wish::Process(send, _) = waiting.wish {
                    self.in_flight.push(send);
                }
            }
        }
    }

    /// A process comes to life, and replays its journal.
    pub(crate) fn start(&mut self, worker: usize) {
        let place = &mut self.workers[worker];
        place.start(
            worker,
            &self.desk,
            &self.lab,
            self.bench,
            &self.notes,
            self.run,
        );
        // Who starts knows what the store has noted of its run.
        match self.noted {
            (run, _) if run != self.run => self.be_careful(worker, self.elapsed),
            (_, Some(since)) => self.be_careful(worker, since),
            (_, None) => {}
        }
        self.look_at_stamp(worker);
        if !self.left_out(Slip::NoReplayAtStart) {
            self.replay(worker);
        }
        self.let_run();
    }

    /// A process meets another run of the store than it knew.
    pub(crate) fn meet_run(&mut self, worker: usize) {
        let run = self.run;
        let Some(process) = self.workers[worker].process.as_mut() else {
            return;
        };
        process.run = run;
        self.be_careful(worker, self.elapsed);
        self.look_at_stamp(worker);
        self.replay(worker);
    }

    /// A process knows that the store became another run then.
    fn be_careful(&mut self, worker: usize, since: Millis) {
        self.noted = (self.run, Some(since));
        if let Some(process) = self.workers[worker].process.as_mut() {
            process.spares_until = since + LEASE;
            process.doubts_until = since + 2 * LEASE;
        }
    }

    /// The store gets a new stamp, which all disks note; one that is older than they are does not.
    pub(crate) fn note_stamp(&mut self, by: Millis) {
        if self
            .workers
            .iter()
            .any(|worker| worker.disk.stamp > self.stamp)
        {
            return;
        }
        self.stamp += by;
        for worker in &mut self.workers {
            worker.disk.stamp = self.stamp;
        }
    }

    fn look_at_stamp(&mut self, worker: usize) {
        let stamp = self.stamp;
        let place = &mut self.workers[worker];
        if let Some(process) = place.process.as_mut() {
            process.restored = stamp < place.disk.stamp;
        }
    }

    fn replay(&mut self, worker: usize) {
        let place = &self.workers[worker];
        let Some(process) = &place.process else {
            return;
        };
        for entry in place.disk.journal.clone() {
            let (hands, busy) = (process.hands.clone(), process.hands.line.running.begin());
            let token = entry.pair.token;
            self.book()
                .say(format!("worker {worker} replays the pair {token}"));
            self.time.spawn(async move {
                let _busy = busy;
                hands.rescue(entry, true).await;
            });
        }
    }

    /// What the worker's hands are to think of rejections.
    pub(crate) fn mark_doubt(&self, worker: usize) {
        if let Some(process) = &self.workers[worker].process {
            let doubt = process.doubts_until > self.elapsed || process.restored;
            let doubt = doubt && !self.left_out(Slip::NoDoubtAfterRestore);
            process.hands.doubt.store(doubt, Ordering::Relaxed);
        }
    }

    /// Whether a worker is at nothing, and something is due that it is not to spare.
    pub(crate) fn would_claim(&self, worker: usize) -> bool {
        let Some(process) = &self.workers[worker].process else {
            return false;
        };
        let owner = self
            .look
            .record
            .as_ref()
            .and_then(|record| record.owner.as_ref());
        let spared = owner.is_some() && process.spares_until > self.elapsed;
        let due = self.look.due.is_some_and(|score| score <= self.now());
        due && !spared && process.hands.line.running.is_idle()
    }

    /// A worker that is at nothing looks who answers, and takes what is due.
    pub(crate) fn poll(&mut self, worker: usize) {
        let Some(process) = &self.workers[worker].process else {
            return;
        };
        if process.run != self.run {
            self.book()
                .say(format!("worker {worker} meets another run of the store"));
            self.meet_run(worker);
            self.let_run();
            return;
        }
        if !self.would_claim(worker) {
            return;
        }
        let (engine, id) = (process.worker.clone(), self.bench.id.clone());
        let busy = process.hands.line.running.begin();
        self.time.spawn(async move {
            let _busy = busy;
            engine.drive_apart(&id).await;
        });
        self.let_run();
    }
}
