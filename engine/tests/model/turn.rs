//! A worker's steps: from the claim to the final commit, as `engine/src/turn` and
//! `ninjaone/src/refresher` take them.

use super::machine::{Around, Base, Input, Run, advance};
use super::promises::Promise;
use super::state::*;
use super::store::{Commit, Committed};
use super::world::World;

impl World {
    fn around(&self, state: &State, w: usize) -> Around {
        Around {
            rules: self.rules,
            doubtful: state.workers[w].doubt > 0,
            rotations: self.config.rotations,
            word: self.config.word,
        }
    }

    /// A worker claims what the index says is due.
    pub(super) fn claim(&self, state: &mut State, w: usize) {
        let id = state.fresh();
        let spare = state.workers[w].caution > 0 && self.rules.spare_after_new_run;
        let before = state.store.record.clone();
        let rest = state.store.rest;
        let sealed = state.store.sealed;
        if !state.store.claim(w as u8, spare, id, self) {
            if state.store.sealed.is_none() {
                // Parked with a pre-emptive signal unheard: a person has ended the grant.
                state.ended |= sealed.map_or(0, |token| 1 << token.grant);
            }
            return;
        }
        let Some(record) = state.store.record.clone() else {
            return;
        };
        if let Some(before) = before {
            let trusting = state.workers.iter().any(|other| {
                (other.turn.as_ref()).is_some_and(|t| t.claim == before.claim && t.trust > 0)
            });
            state.note(before.claim != 0 && trusting, Promise::OneHolder);
            state.note(rest > 0 && before.barrier == 0, Promise::GivenBackLeftAlone);
            state.note(
                before.parked && before.owner.is_none(),
                Promise::ParkedLeftAlone,
            );
        }
        state.note(
            record.attempt > self.config.park_after,
            Promise::FleetSurvives,
        );
        if let Some(lost) = &record.activity {
            state.uncertain |= 1 << lost.grant;
        }
        let slow = self.config.slow_claims;
        state.workers[w].turn = Some(Box::new(Turn {
            stage: if slow { Stage::Asked } else { Stage::Begun },
            claim: record.claim,
            fence: record.fence,
            trust: LEASE,
            over: false,
            lost: record.activity.is_some(),
            wake_at: record.wake_at,
            visible_at: record.visible_at,
            machine: record.machine,
            heard: state.store.inbox.clone(),
            commit: 0,
            request: None,
            confirmed: false,
            outcome: None,
        }));
    }

    /// A worker does what comes next; whether it hears the answer.
    pub(super) fn go(&self, state: &mut State, w: usize, heard: bool) {
        let Some(mut turn) = state.workers[w].turn.take() else {
            return;
        };
        let goes_on = match turn.stage {
            Stage::Asked => {
                if !self.rules.trust_from_before {
                    turn.trust = LEASE;
                }
                turn.stage = Stage::Begun;
                true
            }
            Stage::Begun => self.begin(state, w, &mut turn, heard),
            Stage::Intended => self.send(state, &mut turn),
            Stage::Sent => {
                turn.outcome = turn.request.map(|r| self.provider_answers(state, r));
                turn.stage = Stage::Answered;
                true
            }
            Stage::Answered => {
                if let (Some(request), Some(outcome)) = (turn.request, turn.outcome) {
                    self.read(state, w, request, outcome, turn.claim, Kept::Carried);
                }
                turn.stage = Stage::Learnt;
                true
            }
            Stage::Learnt => self.conclude(state, w, &mut turn, heard),
            Stage::Fenced => self.redeliver(state, w, &turn),
        };
        if goes_on {
            state.workers[w].turn = Some(turn);
        } else {
            // What no turn carries any more is left over.
            for entry in &mut state.workers[w].journal {
                if entry.kept == Kept::Carried {
                    entry.kept = Kept::LeftOver;
                }
            }
        }
    }

    fn begin(&self, state: &mut State, w: usize, turn: &mut Turn, heard: bool) -> bool {
        if self.config.old_worker && w == 0 {
            state.store.give_back(turn.claim, turn.fence, &self.rules);
            return false;
        }
        let around = self.around(state, w);
        let base = Base {
            machine: &turn.machine,
            wake_at: turn.wake_at,
            visible_at: turn.visible_at,
        };
        let mut run = advance(base, turn.lost, &turn.heard, true, None, &around);
        if run.perform.is_some() && turn.trust == 0 && turn.commit == 0 && self.rules.trust_checked
        {
            // Too late to begin anything.
            let held = Some(Input::Held);
            run = advance(base, turn.lost, &turn.heard, true, held, &around);
        }
        let intent = run.perform;
        let strict = if intent.is_some() {
            self.rules.strict_intent
        } else {
            run.verdict && self.rules.strict_verdict
        };
        let committed = if intent.is_some() && !self.rules.intent_first {
            Some(Committed::Written)
        } else {
            self.commit(state, turn, &run, strict, intent, heard)
        };
        match committed {
            None => true,
            Some(Committed::Signals(rest)) => {
                turn.heard.extend(rest);
                true
            }
            Some(Committed::Fenced | Committed::Already(false)) => false,
            Some(Committed::Written | Committed::Already(true)) => {
                turn.commit = 0;
                turn.confirmed = self.confirms(state);
                turn.stage = Stage::Intended;
                turn.lost = false;
                turn.heard.clear();
                turn.machine = run.machine;
                turn.wake_at = run.wake_at;
                turn.visible_at = run.visible_at;
                turn.request = intent;
                intent.is_some()
            }
        }
    }

    fn send(&self, state: &mut State, turn: &mut Turn) -> bool {
        let trusted = turn.trust > 0 || !self.rules.trust_checked;
        let confirmed = turn.confirmed || !self.rules.wait_for_replicas;
        let Some(request) = turn.request else {
            return false;
        };
        if trusted && confirmed {
            state.note(turn.over, Promise::WithinTrust);
            state.note(state.store.disconnected, Promise::NoneAfterDisconnect);
            if self.config.replicated {
                self.note_sent(state, request);
            }
            if !request.again {
                state.sent |= request.token.bit();
            }
            if request.at_once {
                state.retried |= request.token.bit();
            }
            turn.stage = Stage::Sent;
        } else {
            turn.outcome = Some(if self.rules.not_sent {
                Outcome::NotSent
            } else {
                Outcome::Unknown
            });
            turn.stage = Stage::Learnt;
        }
        true
    }

    /// "Sent twice": after an answer that the store has, or blindly, or once more at once.
    fn note_sent(&self, state: &mut State, request: Request) {
        let bit = request.token.bit();
        let answered = state.store.answered & bit != 0;
        let blindly = state.sent & bit != 0 && !request.again;
        let once_more = state.retried & bit != 0 && request.at_once;
        state.note(answered || blindly || once_more, Promise::SentOnce);
    }

    /// The pair is read and, in the same breath, journalled.
    pub(super) fn read(
        &self,
        state: &mut State,
        w: usize,
        request: Request,
        outcome: Outcome,
        claim: u8,
        kept: Kept,
    ) {
        if let Outcome::Refreshed(token) = outcome {
            state.read |= token.bit();
            if self.rules.journal {
                let pair = rescued(request, token);
                state.workers[w].journal.push(Entry { pair, claim, kept });
            }
        }
    }

    fn conclude(&self, state: &mut State, w: usize, turn: &mut Turn, heard: bool) -> bool {
        let Some(outcome) = turn.outcome else {
            return false;
        };
        let around = self.around(state, w);
        let base = Base {
            machine: &turn.machine,
            wake_at: turn.wake_at,
            visible_at: turn.visible_at,
        };
        let last = Some(Input::Outcome(outcome));
        let run = advance(base, false, &turn.heard, false, last, &around);
        let strict = run.verdict && self.rules.strict_verdict;
        match self.commit(state, turn, &run, strict, None, heard) {
            None => true,
            Some(Committed::Signals(rest)) => {
                turn.heard.extend(rest);
                true
            }
            Some(Committed::Fenced) => {
                turn.stage = Stage::Fenced;
                let again = match outcome {
                    Outcome::Refreshed(_) => self.rules.redeliver_fenced,
                    Outcome::Rejected => !self.rules.only_success_redelivered,
                    _ => false,
                };
                if !again {
                    // Without its rule: somebody else has the workflow, so there is nothing to keep.
                    state.workers[w].journal.retain(|e| e.kept != Kept::Carried);
                }
                again
            }
            Some(Committed::Written | Committed::Already(_)) => {
                let precious = matches!(outcome, Outcome::Refreshed(_));
                let confirmed = self.confirms(state);
                if precious && !confirmed && self.rules.journal_kept {
                    return true;
                }
                if precious {
                    self.settled(state, w);
                }
                false
            }
        }
    }

    fn redeliver(&self, state: &mut State, w: usize, turn: &Turn) -> bool {
        let (Some(request), Some(outcome)) = (turn.request, turn.outcome) else {
            return false;
        };
        let signal = match outcome {
            Outcome::Refreshed(token) => Signal::Rescued(rescued(request, token)),
            _ => Signal::LateRejection(request.grant),
        };
        // It is queued again until it is confirmed. A second copy does no harm, and is left out here.
        let queued =
            state.store.inbox.contains(&signal) || state.store.signal(signal, 0, &self.rules);
        if queued && !self.confirms(state) {
            return true;
        }
        if queued {
            self.settled(state, w);
        }
        false
    }

    /// What the turn carried is in the store.
    fn settled(&self, state: &mut State, w: usize) {
        if self.config.replicated || !self.rules.journal_kept {
            state.workers[w].journal.retain(|e| e.kept != Kept::Carried);
        }
        for entry in &mut state.workers[w].journal {
            if entry.kept == Kept::Carried {
                entry.kept = Kept::Aging;
            }
        }
    }

    /// Whether the servers vouch for what was just written.
    pub(super) fn confirms(&self, state: &State) -> bool {
        let asked = self.config.replicated && self.rules.wait_own_connection;
        !asked || state.replica.is_none()
    }

    /// Sends a commit; `None` where no answer is heard.
    fn commit(
        &self,
        state: &mut State,
        turn: &mut Turn,
        run: &Run,
        strict: bool,
        activity: Option<Request>,
        heard: bool,
    ) -> Option<Committed> {
        let trust = turn.trust;
        if turn.commit == 0 {
            turn.commit = state.fresh().max(turn.claim + 1);
            if activity.is_some() {
                // An intent renews the lease: trust counts from before it was sent.
                turn.trust = LEASE;
            }
        }
        let commit = Commit {
            claim: turn.claim,
            fence: turn.fence,
            id: turn.commit,
            strict,
            heard: &turn.heard,
            run,
            activity,
        };
        let before = state.store.clone();
        let committed = state.store.commit(&commit, &self.rules);
        if committed == Committed::Written {
            if let Some(record) = &before.record {
                let stale = record.claim != turn.claim;
                state.note(stale, Promise::NoStaleCommit);
                state.note(record.commit == turn.commit, Promise::WrittenOnce);
            }
            self.note_written(state, &before, turn, run, activity);
            if activity.is_some() {
                turn.over = false;
            }
        }
        if !matches!(committed, Committed::Written | Committed::Already(_)) {
            turn.trust = trust;
            turn.commit = 0;
        }
        heard.then_some(committed)
    }
}

/// A pair that came back for a request.
pub(super) fn rescued(request: Request, token: Token) -> Rescued {
    Rescued {
        grant: request.grant,
        epoch: request.epoch,
        base: request.generation,
        token,
    }
}
