//! How things go on when nothing more goes wrong.

use super::state::*;
use super::world::{Step, World};

impl World {
    /// The next step of a fair run; `None` where nothing is left to do.
    ///
    /// Workers start and finish what they have begun, the replica hears everything, what is in a
    /// journal is delivered, what is due is claimed; and only then time passes. Each is a step that
    /// the checker takes as well, so a run from any state leads through states that it knows.
    pub(super) fn next_fair_step(&self, state: &State) -> Option<Step> {
        let workers = 0..if self.config.alone { 1 } else { 2 };
        let found = |step: fn(usize) -> Step, wants: &dyn Fn(&Worker) -> bool| {
            workers
                .clone()
                .find(|w| wants(&state.workers[*w]))
                .map(step)
        };
        let entry = |worker: &Worker, kept| worker.journal.iter().any(|e| e.kept == kept);
        let delivers = state.store.record.is_some();
        let due = state.store.due == Some(0);
        found(Step::Restart, &|w| !w.up)
            .or_else(|| state.replica.is_some().then_some(Step::CatchUp))
            .or_else(|| found(Step::Notice, &|w| w.unaware))
            .or_else(|| found(Step::LateGoes, &|w| w.late.is_some()))
            .or_else(|| found(Step::Go, &|w| w.turn.is_some()))
            .or_else(|| found(Step::Replay, &|w| delivers && entry(w, Kept::LeftOver)))
            .or_else(|| found(Step::Forget, &|w| entry(w, Kept::Aging)))
            .or_else(|| state.damaged.then_some(Step::Reconcile))
            .or_else(|| self.claims(state).filter(|_| due).map(Step::Claim))
            .or_else(|| self.waits(state).then_some(Step::Tick))
    }

    /// Who claims: not who would only give back, and not who spares the owner for now.
    fn claims(&self, state: &State) -> Option<usize> {
        let record = state.store.record.as_ref()?;
        let owned = matches!(record.owner, Some(Owner::Worker(_)));
        let spares =
            |w: usize| owned && state.workers[w].caution > 0 && self.rules.spare_after_new_run;
        let unable = |w: usize| self.config.old_worker && w == 0;
        (0..if self.config.alone { 1 } else { 2 }).find(|w| !spares(*w) && !unable(*w))
    }

    /// Whether anything comes nearer that somebody waits for.
    fn waits(&self, state: &State) -> bool {
        let coming = |at: Ticks| at != FAR && at > 0;
        let careful = state.workers.iter().any(|worker| worker.caution > 0);
        state.store.due.is_some_and(coming) || careful
    }
}
