//! One process of the fleet: its engine, its hands, and its disk.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use evergreen_engine::{Engine, Limits, Millis};

use crate::bench::Bench;
use crate::hands::Hands;
use crate::line::{Desk, Entry, Line, Running};
use crate::machine::{Credential, Lab};
use crate::store::{Gated, Noted};

/// What a worker's disk holds; it survives the process.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) journal: Vec<Entry>,
    /// The newest stamp of the store that it has seen.
    pub(crate) stamp: Millis,
}

/// A process that lives.
pub(crate) struct Process {
    /// Claims what is due.
    pub(crate) worker: Engine,
    /// Claims what is free, for callers.
    pub(crate) caller: Engine,
    pub(crate) hands: Hands,
    /// The run of the store that its connections go to.
    pub(crate) run: u32,
    /// For one lease after a new run.
    pub(crate) spares_until: Millis,
    /// For two.
    pub(crate) doubts_until: Millis,
    /// The store is older than this worker's disk.
    pub(crate) restored: bool,
}

/// One place in the fleet.
#[derive(Default)]
pub(crate) struct Worker {
    pub(crate) disk: Disk,
    pub(crate) life: u32,
    pub(crate) process: Option<Process>,
    pub(crate) frozen_until: Millis,
}

impl Worker {
    /// Starts a process in this place.
    pub(crate) fn start(
        &mut self,
        number: usize,
        desk: &Desk,
        lab: &Arc<Lab>,
        bench: &Bench,
        noted: &Noted,
        run: u32,
    ) {
        self.life += 1;
        let line = Line {
            worker: number,
            life: self.life,
            desk: Arc::clone(desk),
            running: Running::default(),
        };
        let hands = Hands {
            line: line.clone(),
            lab: Arc::clone(lab),
            id: bench.id.clone(),
            doubt: Arc::new(AtomicBool::new(false)),
            engine: Arc::new(OnceLock::new()),
        };
        let engine = |as_worker| {
            let store = Gated {
                line: line.clone(),
                clock: bench.clock.clock(),
                noted: Arc::clone(noted),
                as_worker,
            };
            let owner = format!("worker-{number}");
            Engine::builder(Arc::new(store), Limits::default(), owner)
                .unwrap()
                .with::<Credential>(Arc::new(hands.clone()))
                .build()
        };
        let (worker, caller) = (engine(true), engine(false));
        let _ = hands.engine.set(caller.downgrade());
        self.process = Some(Process {
            worker,
            caller,
            hands,
            run,
            spares_until: 0,
            doubts_until: 0,
            restored: false,
        });
    }
}
