//! Everything that is not a worker's turn: what goes wrong, what people want, and what the provider says.

use super::promises::Promise;
use super::state::*;
use super::turn::rescued;
use super::world::{Step, World};

impl World {
    /// Takes one step.
    pub(crate) fn take(&self, state: &mut State, step: Step) {
        match step {
            Step::Tick => state.tick(),
            Step::Claim(w) => self.claim(state, w),
            Step::Go(w) => self.go(state, w, true),
            Step::GoUnheard(w) => {
                state.left.lost_replies -= 1;
                self.go(state, w, false);
            }
            Step::Unavailable(w) => {
                state.left.unavailable -= 1;
                self.refuses(state, w, Outcome::Unavailable);
            }
            Step::Throttled(w) => {
                state.left.throttles -= 1;
                self.refuses(state, w, Outcome::Throttled);
            }
            Step::TimesOut(w) => self.times_out(state, w),
            Step::LateGoes(w) => self.late_goes(state, w),
            Step::LateFails(w) => state.workers[w].late = None,
            Step::Crash(w) => self.crash(state, w),
            Step::Restart(w) => self.restart(state, w),
            Step::Notice(w) => self.notice(state, w),
            Step::Replay(w) => self.replay(state, w),
            Step::Forget(w) => (state.workers[w].journal).retain(|e| e.kept != Kept::Aging),
            Step::Stall => {
                state.left.failovers -= 1;
                state.replica = Some(Box::new(state.store.clone()));
            }
            Step::CatchUp => state.replica = None,
            Step::FailOver { ahead } => self.fail_over(state, ahead),
            Step::Emptied => self.emptied(state),
            Step::Consent => {
                state.left.consents -= 1;
                state.consents += 1;
                state.read |= Token {
                    grant: state.consents - 1,
                    serial: 0,
                }
                .bit();
                self.wish(state, Signal::Connect(state.consents - 1));
            }
            Step::ConsentAgain => {
                state.left.consents -= 1;
                self.wish(state, Signal::Connect(state.consents - 1));
            }
            Step::Disconnect => {
                state.left.disconnects -= 1;
                self.wish(state, Signal::Disconnect);
            }
            Step::RefreshNow => {
                state.left.refreshes -= 1;
                let grant = state.store.record.as_ref().and_then(|r| r.machine.grant);
                let generation = grant.map_or(0, |grant| grant.generation);
                self.wish(state, Signal::RefreshNow { generation });
            }
            Step::Reset => {
                state.left.resets -= 1;
                self.wish(state, Signal::Reset);
            }
            Step::Read => self.reads_token(state),
            Step::Revoke => {
                state.left.revocations -= 1;
                state.provider.revoked[0] = true;
            }
            Step::Damage { gone } => {
                state.left.damages -= 1;
                state.store.due = if gone { None } else { Some(0) };
                state.damaged = true;
            }
            Step::Reconcile => {
                state.note(!state.damaged, Promise::Indexed);
                state.store.due = state.store.reconciled(&self.rules);
                state.damaged = false;
            }
        }
    }

    fn wish(&self, state: &mut State, signal: Signal) {
        state.store.signal(signal, 0, &self.rules);
        let preemptive = matches!(signal, Signal::Connect(_) | Signal::Disconnect);
        let parked = state
            .store
            .record
            .as_ref()
            .is_some_and(|record| record.parked);
        state.note(preemptive && parked, Promise::AtOnce);
    }

    /// What the provider says to a refresh token: it works, or it does not, and using it ends it.
    pub(super) fn provider_answers(&self, state: &mut State, request: Request) -> Outcome {
        let grant = usize::from(request.token.grant);
        let provider = &mut state.provider;
        if provider.revoked[grant] {
            return Outcome::Rejected;
        }
        let works = provider.works[grant] == request.token.serial;
        let lenient = self.config.lenient
            && provider.issued[grant] == request.token.serial + 1
            && provider.works[grant] == request.token.serial + 1;
        if !works && !lenient {
            return Outcome::Rejected;
        }
        provider.issued[grant] += 1;
        let issued = provider.issued[grant];
        if works {
            provider.works[grant] = issued;
        }
        Outcome::Refreshed(Token {
            grant: request.token.grant,
            serial: issued,
        })
    }

    fn refuses(&self, state: &mut State, w: usize, outcome: Outcome) {
        if let Some(turn) = &mut state.workers[w].turn {
            if let Some(request) = turn.request {
                // Certainly not processed: it counts as not sent.
                state.sent &= !request.token.bit();
            }
            turn.outcome = Some(outcome);
            turn.stage = Stage::Answered;
        }
    }

    fn times_out(&self, state: &mut State, w: usize) {
        state.left.timeouts -= 1;
        let worker = &mut state.workers[w];
        let Some(turn) = &mut worker.turn else { return };
        if let Some(request) = turn.request {
            state.uncertain |= 1 << request.grant;
            worker.late = Some(Late {
                request,
                claim: turn.claim,
                outcome: turn.outcome,
            });
        }
        turn.outcome = Some(Outcome::Unknown);
        turn.stage = Stage::Learnt;
    }

    fn late_goes(&self, state: &mut State, w: usize) {
        let Some(late) = state.workers[w].late else {
            return;
        };
        let Some(outcome) = late.outcome else {
            let answer = self.provider_answers(state, late.request);
            state.workers[w].late = Some(Late {
                outcome: Some(answer),
                ..late
            });
            return;
        };
        state.workers[w].late = None;
        if let Outcome::Refreshed(token) = outcome {
            if !self.rules.read_on {
                // It came, and was thrown away.
                state.read |= token.bit();
                return;
            }
            // Delivered as what a turn has left behind is.
            self.read(state, w, late.request, outcome, 0, Kept::LeftOver);
            if !self.rules.journal {
                let signal = Signal::Rescued(rescued(late.request, token));
                state.store.signal(signal, 0, &self.rules);
            }
        }
    }

    fn crash(&self, state: &mut State, w: usize) {
        state.left.crashes -= 1;
        let worker = &mut state.workers[w];
        let lost = worker.turn.as_ref().and_then(|turn| turn.request);
        state.uncertain |= lost.map_or(0, |request| 1 << request.grant);
        worker.up = false;
        worker.turn = None;
        worker.late = None;
        worker.unaware = false;
        worker.caution = 0;
        worker.doubt = 0;
    }

    fn restart(&self, state: &mut State, w: usize) {
        let worker = &mut state.workers[w];
        worker.up = true;
        // It has seen no other run, and reads in the store what others have.
        match state.noted {
            _ if !self.rules.careful_at_start => {}
            FAR => worker.unaware = true,
            left => {
                worker.caution = left.saturating_sub(DOUBT - LEASE);
                worker.doubt = left;
            }
        }
        let kept = if self.rules.replay_at_start {
            Kept::LeftOver
        } else {
            Kept::Aging
        };
        worker
            .journal
            .iter_mut()
            .for_each(|entry| entry.kept = kept);
    }

    fn notice(&self, state: &mut State, w: usize) {
        let worker = &mut state.workers[w];
        worker.unaware = false;
        worker.caution = LEASE;
        worker.doubt = if self.rules.doubt_outlasts_caution {
            DOUBT
        } else {
            LEASE
        };
        state.noted = worker.doubt;
        for entry in &mut worker.journal {
            if entry.kept == Kept::Aging && self.rules.replay_on_new_run {
                entry.kept = Kept::LeftOver;
            }
        }
    }

    fn replay(&self, state: &mut State, w: usize) {
        let found = (state.workers[w].journal)
            .iter()
            .position(|e| e.kept == Kept::LeftOver);
        let Some(at) = found else { return };
        let entry = state.workers[w].journal[at];
        let signal = Signal::Rescued(entry.pair);
        // Again until it is confirmed; a second copy does no harm, and is left out here.
        let queued = state.store.inbox.contains(&signal)
            || state.store.signal(signal, entry.claim, &self.rules);
        if !queued || !self.confirms(state) {
            return;
        }
        if self.config.replicated || !self.rules.replayed_is_kept {
            state.workers[w].journal.remove(at);
        } else {
            state.workers[w].journal[at].kept = Kept::Aging;
        }
    }

    fn fail_over(&self, state: &mut State, ahead: bool) {
        let Some(replica) = state.replica.take() else {
            return;
        };
        let damaged = state.damaged;
        state.store = *replica;
        // What was wrong with the index was wrong before, or is not there.
        state.damaged = damaged && state.store.due != state.store.wanted();
        if ahead {
            for _ in 0..LEASE {
                state.store.tick();
            }
        }
        state.uncertain = u8::MAX;
        for worker in &mut state.workers {
            worker.unaware = worker.up;
        }
        state.noted = FAR;
    }

    fn emptied(&self, state: &mut State) {
        state.left.emptied -= 1;
        state.ended |= (1 << state.consents) - 1;
        state.replica = None;
        state.noted = 0;
        state.damaged = false;
        state.store = Store {
            record: None,
            inbox: Vec::new(),
            sealed: None,
            due: None,
            rest: 0,
            newest: 0,
            disconnected: false,
            answered: 0,
        };
    }

    /// A caller takes the access token, or drives first.
    fn reads_token(&self, state: &mut State) {
        state.left.reads -= 1;
        let store = &state.store;
        let barrier = store
            .record
            .as_ref()
            .is_some_and(|record| record.barrier > 0);
        if barrier && self.rules.barrier {
            return;
        }
        let served = store.sealed.is_some();
        let ended = store
            .inbox
            .iter()
            .any(|s| matches!(s, Signal::Disconnect | Signal::Connect(_)));
        state.note(served && ended, Promise::AtOnce);
    }
}
