//! A disk in memory that can fail at any step, stop for good at any step, and lose its power: then
//! what was not synced may be there in part, and a name may lead to either of two files.

use std::collections::HashSet;
use std::io;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex};

use super::super::disk::{Disk, Orphans};

/// What the journal can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Append,
    Sync,
    Cut,
    WriteFresh,
    SyncFresh,
    InstallFresh,
    SyncDirectory,
    DeleteOrphans,
}

impl Step {
    pub(super) const ALL: [Self; 8] = [
        Self::Append,
        Self::Sync,
        Self::Cut,
        Self::WriteFresh,
        Self::SyncFresh,
        Self::InstallFresh,
        Self::SyncDirectory,
        Self::DeleteOrphans,
    ];
}

#[derive(Debug, Default, Clone)]
struct Content {
    bytes: Vec<u8>,
    /// So many of them survive a loss of power.
    synced: usize,
}

#[derive(Debug, Default)]
pub(super) struct State {
    file: Content,
    /// What the name still leads to after a loss of power, if the directory was not synced.
    before: Option<Content>,
    fresh: Option<Content>,
    /// Files of dead workers.
    pub(super) orphans: Vec<(String, Vec<u8>)>,
    /// Steps that fail until they are taken out again.
    pub(super) failing: HashSet<Step>,
    /// Steps after which nothing works any more.
    pub(super) stop_after: Option<usize>,
    pub(super) steps: usize,
    /// Told of each step.
    pub(super) watcher: Option<Sender<Step>>,
    /// Calls of `sync` and `sync_fresh`.
    pub(super) syncs: usize,
}

impl State {
    /// Counts a step, and fails it if it is to fail.
    fn step(&mut self, step: Step) -> io::Result<()> {
        self.steps += 1;
        if let Some(watcher) = &self.watcher {
            // A test that has seen enough does not listen any more.
            let _ = watcher.send(step);
        }
        if self.stop_after.is_some_and(|last| self.steps > last) {
            return Err(io::Error::other("stopped"));
        }
        if self.failing.contains(&step) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// The file as another process sees it.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.file.bytes.clone()
    }

    /// Everything the file can be after a loss of power.
    pub(super) fn after_power_loss(&self) -> Vec<Vec<u8>> {
        let mut possible = Vec::new();
        for content in self.before.iter().chain([&self.file]) {
            // Every byte would be slow, and what each does is proven in `damage.rs`.
            for length in (content.synced..content.bytes.len()).step_by(101) {
                possible.push(content.bytes[..length].to_vec());
            }
            possible.push(content.bytes.clone());
        }
        possible
    }
}

/// Both ends of a gate: told that a sync has begun, and waiting to let it end.
pub(super) struct Gate {
    pub(super) begun: Sender<()>,
    pub(super) go_on: Receiver<()>,
}

#[derive(Default)]
pub(super) struct Memory {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) gate: Option<Gate>,
}

impl Memory {
    pub(super) fn new() -> (Self, Arc<Mutex<State>>) {
        let disk = Self::default();
        let state = disk.state.clone();
        (disk, state)
    }
}

impl Disk for Memory {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let outcome = state.step(Step::Append);
        let written = if outcome.is_ok() {
            bytes.len()
        } else {
            bytes.len() / 2
        };
        state.file.bytes.extend_from_slice(&bytes[..written]);
        outcome
    }

    fn sync(&mut self) -> io::Result<()> {
        if let Some(gate) = &self.gate {
            gate.begun.send(()).unwrap();
            gate.go_on.recv().unwrap();
        }
        let mut state = self.state.lock().unwrap();
        state.syncs += 1;
        state.step(Step::Sync)?;
        state.file.synced = state.file.bytes.len();
        Ok(())
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.step(Step::Cut)?;
        let length = usize::try_from(length).unwrap();
        assert!(length >= state.file.synced, "what was promised is cut away");
        state.file.bytes.truncate(length);
        Ok(())
    }

    fn write_fresh(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.fresh = None;
        state.step(Step::WriteFresh)?;
        state.fresh = Some(Content {
            bytes: bytes.to_vec(),
            synced: 0,
        });
        Ok(())
    }

    fn sync_fresh(&mut self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.syncs += 1;
        state.step(Step::SyncFresh)?;
        let fresh = state.fresh.as_mut().unwrap();
        fresh.synced = fresh.bytes.len();
        Ok(())
    }

    fn install_fresh(&mut self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.step(Step::InstallFresh)?;
        let fresh = state.fresh.take().unwrap();
        let old = std::mem::replace(&mut state.file, fresh);
        state.before.get_or_insert(old);
        Ok(())
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.step(Step::SyncDirectory)?;
        state.before = None;
        Ok(())
    }

    fn take_orphans(&mut self) -> io::Result<Orphans> {
        Ok(Orphans {
            taken: self.state.lock().unwrap().orphans.clone(),
            left: Vec::new(),
        })
    }

    fn delete_orphans(&mut self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        while !state.orphans.is_empty() {
            state.step(Step::DeleteOrphans)?;
            state.orphans.pop();
        }
        Ok(())
    }
}
