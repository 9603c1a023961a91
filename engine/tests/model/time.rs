//! The passing of time, and names that do not tell how old they are.

use super::state::*;

fn nearer(at: &mut Ticks) {
    if *at != FAR {
        *at = at.saturating_sub(1);
    }
}

impl Machine {
    fn tick(&mut self) {
        if let Phase::Scheduled { at, not_before, .. } = &mut self.phase {
            nearer(at);
            nearer(not_before);
        }
        nearer(&mut self.word);
    }
}

impl Store {
    pub(crate) fn tick(&mut self) {
        nearer(&mut self.rest);
        self.due.iter_mut().for_each(nearer);
        if let Some(record) = &mut self.record {
            nearer(&mut record.lease);
            record.wake_at.iter_mut().for_each(nearer);
            record.visible_at.iter_mut().for_each(nearer);
            record.machine.tick();
        }
    }
}

impl State {
    /// A while passes, for everybody.
    pub(crate) fn tick(&mut self) {
        self.store.tick();
        if let Some(replica) = &mut self.replica {
            replica.tick();
        }
        nearer(&mut self.noted);
        for worker in &mut self.workers {
            nearer(&mut worker.caution);
            nearer(&mut worker.doubt);
            if let Some(turn) = &mut worker.turn {
                nearer(&mut turn.trust);
                turn.wake_at.iter_mut().for_each(nearer);
                turn.visible_at.iter_mut().for_each(nearer);
                turn.machine.tick();
                let ours = (self.store.record.as_ref())
                    .is_some_and(|record| record.claim == turn.claim && record.lease == 0);
                turn.over |= ours;
            }
        }
    }

    /// An id that nothing has.
    pub(crate) fn fresh(&mut self) -> u8 {
        let mut most = 0;
        self.ids(|id| most = most.max(*id));
        most + 1
    }

    fn ids(&mut self, mut each: impl FnMut(&mut u8)) {
        let stores = [Some(&mut self.store), self.replica.as_deref_mut()];
        for record in stores
            .into_iter()
            .flatten()
            .filter_map(|s| s.record.as_mut())
        {
            each(&mut record.claim);
            each(&mut record.commit);
        }
        for worker in &mut self.workers {
            if let Some(turn) = &mut worker.turn {
                each(&mut turn.claim);
                each(&mut turn.commit);
            }
            if let Some(late) = &mut worker.late {
                each(&mut late.claim);
            }
            worker.journal.iter_mut().for_each(|e| each(&mut e.claim));
        }
    }

    /// Ids and fences are only ever compared: they are counted in the order in which they are met,
    /// and from the lowest. Two states that differ in nothing else are one.
    pub(crate) fn rename(&mut self) {
        let mut names = [0u8; 32];
        let mut next = 0;
        self.ids(|id| {
            if *id != 0 {
                let name = &mut names[usize::from(*id)];
                if *name == 0 {
                    next += 1;
                    *name = next;
                }
                *id = *name;
            }
        });
        self.rename_fences();
    }

    /// A fence is compared with the store's, with its replica's, and with what these will mint. Below
    /// both it can match nothing any more; and a distance of more than two is as good as two.
    fn rename_fences(&mut self) {
        let store = self.store.record.as_ref().map(|record| record.fence);
        let replica = (self.replica.as_ref())
            .and_then(|r| r.record.as_ref())
            .map(|r| r.fence);
        let least = store.into_iter().chain(replica).min().unwrap_or(u8::MAX);
        let mut met = Vec::with_capacity(4);
        self.fences(|fence| {
            if *fence >= least && !met.contains(fence) {
                met.push(*fence);
            }
        });
        met.sort_unstable();
        let mut names = [0u8; 256];
        let (mut name, mut last) = (1, least);
        for fence in met {
            name += (fence - last).min(2);
            last = fence;
            names[usize::from(fence)] = name;
        }
        self.fences(|fence| *fence = names[usize::from(*fence)]);
    }

    fn fences(&mut self, mut each: impl FnMut(&mut u8)) {
        let stores = [Some(&mut self.store), self.replica.as_deref_mut()];
        for record in stores
            .into_iter()
            .flatten()
            .filter_map(|s| s.record.as_mut())
        {
            each(&mut record.fence);
        }
        for turn in self.workers.iter_mut().filter_map(|w| w.turn.as_mut()) {
            each(&mut turn.fence);
        }
    }
}
