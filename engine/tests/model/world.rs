//! What can happen: every step of every worker, and everything that can go wrong, as the checker asks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use stateright::{Model, Property};

use super::promises::Promise;
use super::rules::Rules;
use super::state::*;

/// One step. `usize` names a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A while passes.
    Tick,
    /// A worker claims what the index says is due.
    Claim(usize),
    /// A worker does what comes next in its turn.
    Go(usize),
    /// The same, but the reply is lost.
    GoUnheard(usize),
    /// The provider does not process the request, and says so.
    Unavailable(usize),
    /// The provider wants to be left alone.
    Throttled(usize),
    /// The request's deadline passes.
    TimesOut(usize),
    /// What is read on past the deadline goes on.
    LateGoes(usize),
    /// What was read on never comes.
    LateFails(usize),
    /// A process dies.
    Crash(usize),
    /// It starts again.
    Restart(usize),
    /// A worker looks which server answers.
    Notice(usize),
    /// An entry of the journal is delivered.
    Replay(usize),
    /// An entry has aged and goes.
    Forget(usize),
    /// The replica hears nothing more for now.
    Stall,
    /// The replica has heard everything.
    CatchUp,
    /// The replica takes over; its clock may be ahead by a lease.
    FailOver { ahead: bool },
    /// The store comes back empty.
    Emptied,
    /// A person consents (again).
    Consent,
    /// The consent that was queued last is queued again.
    ConsentAgain,
    /// A person disconnects.
    Disconnect,
    /// A caller wants a refresh, seeing the generation that is stored.
    RefreshNow,
    /// An operator clears the verdict.
    Reset,
    /// A caller reads the access token.
    Read,
    /// A person revokes the grant at the provider.
    Revoke,
    /// The entry in the index is taken away, or says now.
    Damage { gone: bool },
    /// The reconciler compares.
    Reconcile,
}

/// What a configuration looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Config {
    pub(crate) name: &'static str,
    /// What may go wrong, and how often.
    pub(crate) left: Left,
    /// Rotations that are planned.
    pub(crate) rotations: u8,
    /// Replicas vouch for writes. Without, an acknowledged write may be lost.
    pub(crate) replicated: bool,
    /// The reply of a claim takes its time.
    pub(crate) slow_claims: bool,
    /// Worker 0 cannot read the record.
    pub(crate) old_worker: bool,
    /// It begins in `Active`, not in `Scheduled`.
    pub(crate) active: bool,
    /// It begins with a refresh that lies beyond the horizon.
    pub(crate) idle: bool,
    /// There is only worker 0.
    pub(crate) alone: bool,
    /// A spent token is answered once more, with another pair; which of the two works is open.
    pub(crate) lenient: bool,
    /// When `EXPIRING` is due.
    pub(crate) word: Ticks,
    /// Claims without a finished turn before it is parked.
    pub(crate) park_after: u8,
    /// What is due is dealt with while workers doubt rejections: no time passes over it.
    pub(crate) prompt: bool,
    /// So many steps are looked at; 0 for all.
    pub(crate) deepest: usize,
    /// What the protocol does not promise here; `limits.rs` shows it.
    pub(crate) except: &'static [Promise],
}

/// The model.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) rules: Rules,
    pub(crate) config: Config,
    /// What the checker is to look at.
    pub(crate) promises: Vec<Promise>,
    /// How it ends from the states seen so far if nothing more goes wrong.
    pub(crate) ends: Arc<Mutex<HashMap<u64, u32>>>,
}

impl World {
    pub(crate) fn new(rules: Rules, config: Config, promises: &[Promise]) -> Self {
        Self {
            rules,
            config,
            promises: promises.to_vec(),
            ends: Arc::default(),
        }
    }

    /// Whether a promise holds in a state: both what was noted on the way and what can be seen.
    pub(crate) fn keeps(&self, state: &State, promise: Promise) -> bool {
        if state.broken & (1 << promise as u32) != 0 {
            return false;
        }
        match promise {
            Promise::SentOnce => state.nothing_spent_is_kept_apart(),
            Promise::PairKept => state.pairs_are_kept(),
            Promise::NewGrantStays => state.new_grant_stays(),
            Promise::StaysDisconnected => state.stays_disconnected(),
            Promise::Indexed => state.damaged || state.store.due == state.store.wanted(),
            Promise::ErasedUnheard => state.nothing_is_left_unheard(),
            Promise::ParkedLeftAlone => state.parked_is_left_alone(),
            Promise::SaidInTime => state.is_said_in_time(),
            Promise::NoneCondemned | Promise::GoodEnd => {
                self.end_of(state) & (1 << promise as u32) == 0
            }
            _ => true,
        }
    }

    pub(crate) fn first(&self) -> State {
        let config = &self.config;
        let token = Token {
            grant: 0,
            serial: 0,
        };
        let at = if config.idle { FAR } else { PLAN };
        let phase = if config.active {
            Phase::Active
        } else {
            Phase::Scheduled {
                purpose: Purpose::Refresh,
                at,
                not_before: 0,
            }
        };
        let machine = Machine {
            phase,
            epoch: 1,
            grant: Some(Grant {
                id: 0,
                epoch: 1,
                generation: 0,
                token,
            }),
            word: config.word,
            ..Machine::new()
        };
        let mut record = Record::new(machine);
        record.wake_at = Some(if config.active {
            FAR
        } else {
            at.min(config.word)
        });
        let due = record.wake_at;
        let worker = Worker {
            up: true,
            unaware: false,
            caution: 0,
            doubt: 0,
            turn: None,
            late: None,
            journal: Vec::new(),
        };
        State {
            store: Store {
                record: Some(record),
                inbox: Vec::new(),
                sealed: Some(token),
                due,
                rest: 0,
                newest: 0,
                disconnected: false,
                answered: 0,
            },
            replica: None,
            noted: 0,
            workers: [worker.clone(), worker],
            provider: Provider {
                works: [0; 2],
                issued: [0; 2],
                revoked: [false; 2],
            },
            left: config.left,
            broken: 0,
            read: token.bit(),
            sent: 0,
            retried: 0,
            ended: 0,
            uncertain: 0,
            damaged: false,
            consents: 1,
        }
    }

    fn of_worker(&self, state: &State, w: usize, steps: &mut Vec<Step>) {
        let worker = &state.workers[w];
        let left = &state.left;
        if !worker.up {
            steps.push(Step::Restart(w));
            return;
        }
        if worker.unaware {
            steps.push(Step::Notice(w));
        }
        let may = !worker.unaware || !self.rules.notice_first;
        match &worker.turn {
            None => {
                if state.store.due == Some(0) && may {
                    steps.push(Step::Claim(w));
                }
            }
            Some(turn) => {
                let commits = matches!(turn.stage, Stage::Begun | Stage::Learnt);
                let calls = commits || turn.stage == Stage::Fenced;
                if may || !calls {
                    steps.push(Step::Go(w));
                }
                if may && commits && turn.commit == 0 && left.lost_replies > 0 {
                    steps.push(Step::GoUnheard(w));
                }
                if turn.stage == Stage::Sent && left.unavailable > 0 {
                    steps.push(Step::Unavailable(w));
                }
                if turn.stage == Stage::Sent && left.throttles > 0 {
                    steps.push(Step::Throttled(w));
                }
                let waits = matches!(turn.stage, Stage::Sent | Stage::Answered);
                if waits && left.timeouts > 0 && worker.late.is_none() {
                    steps.push(Step::TimesOut(w));
                }
            }
        }
        if worker.late.is_some() {
            steps.extend([Step::LateGoes(w), Step::LateFails(w)]);
        }
        if left.crashes > 0 && (worker.turn.is_some() || !worker.journal.is_empty()) {
            steps.push(Step::Crash(w));
        }
        let has = |kept| worker.journal.iter().any(|entry| entry.kept == kept);
        if has(Kept::LeftOver) && state.store.record.is_some() && may {
            steps.push(Step::Replay(w));
        }
        // An entry ages for a minute, a new run id is noticed within seconds.
        if has(Kept::Aging) && state.replica.is_none() && !worker.unaware {
            steps.push(Step::Forget(w));
        }
    }

    /// Whether something is being done, or could be, by a worker that doubts rejections for now.
    fn is_dealt_with(&self, state: &State) -> bool {
        let owned = state
            .store
            .record
            .as_ref()
            .is_some_and(|record| record.owner.is_some());
        let due = state.store.due == Some(0);
        state.workers.iter().any(|worker| {
            let may = due && (!owned || worker.caution == 0);
            worker.up && (worker.unaware || worker.doubt > 0) && (worker.turn.is_some() || may)
        })
    }

    fn of_others(&self, state: &State, steps: &mut Vec<Step>) {
        let left = &state.left;
        if left.failovers > 0 && state.replica.is_none() {
            steps.push(Step::Stall);
        }
        if state.replica.is_some() {
            steps.push(Step::CatchUp);
            steps.push(Step::FailOver { ahead: false });
            steps.push(Step::FailOver { ahead: true });
        }
        let mut when = |may: bool, step| {
            if may {
                steps.push(step);
            }
        };
        let record = state.store.record.as_ref();
        when(left.emptied > 0 && record.is_some(), Step::Emptied);
        when(left.consents > 0 && state.consents < 2, Step::Consent);
        when(left.consents > 0 && state.consents == 2, Step::ConsentAgain);
        let disconnected = record.is_none_or(|r| r.machine.phase == Phase::Disconnected);
        when(left.disconnects > 0 && !disconnected, Step::Disconnect);
        when(left.refreshes > 0 && !disconnected, Step::RefreshNow);
        when(left.resets > 0 && !disconnected, Step::Reset);
        when(left.reads > 0 && record.is_some(), Step::Read);
        when(
            left.revocations > 0 && !state.provider.revoked[0],
            Step::Revoke,
        );
        let damages = left.damages > 0 && !state.damaged && record.is_some();
        when(damages, Step::Damage { gone: true });
        when(damages, Step::Damage { gone: false });
        // The reconciler only counts where there is something to be put right, or where it is wrong.
        let reconciled = state.store.reconciled(&self.rules);
        when(reconciled != state.store.due, Step::Reconcile);
    }
}

impl Model for World {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![self.first()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        // What follows a broken promise tells nothing new.
        if self
            .promises
            .iter()
            .any(|p| state.broken & (1 << *p as u32) != 0)
        {
            return;
        }
        if !self.config.prompt || !self.is_dealt_with(state) {
            steps.push(Step::Tick);
        }
        for w in 0..if self.config.alone { 1 } else { 2 } {
            self.of_worker(state, w, steps);
        }
        self.of_others(state, steps);
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        self.take(&mut state, step);
        state.rename();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        self.promises.iter().map(|p| p.property()).collect()
    }
}
