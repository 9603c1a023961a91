//! One turn: from a claim to the commit that ends it. The spine of the engine.
//!
//! ```text
//! claimed ─▶ load ─▶ advance ─▶ no activity wanted ─▶ final commit
//!                       │
//!                       └─▶ admitted? ─▶ intent commit ─▶ perform ─▶ advance(outcome) ─▶ final commit
//!            ╰───────────── begin.rs ─────────────────╯ ╰ act.rs ╯ ╰───────── conclude.rs ─────────╯
//! ```
//!
//! # The order of inputs
//! First that an activity was lost (whoever claims finds in the record what a holder that vanished had
//! set out to do), then the signals that the claim read, in their order, then the timer, if it has come
//! *as it then stands*: a signal may have moved it. What is done is what the state after the last input
//! asks for. Otherwise a lost activity would ask for a retry, the signal behind it would disconnect, and
//! the request would leave all the same.
//!
//! # Intent before activity
//! The intent commit writes the new state together with the activity and keeps the lease. So people see
//! that something is under way, and so the next holder knows that it may have happened. Not acknowledged
//! means not performed: the holder then writes that it surely did not begin, which is worth knowing.
//!
//! # Strict commits
//! The intent, a verdict and the end of a workflow write nothing where a signal has come since the claim;
//! the store answers with it instead, and the turn starts again from the same base with one input more.
//! Nothing of the first reckoning is left: no event, no log, no sealed blob. After three rounds the turn
//! goes on without its activity, so that a flood of signals delays and never starves. A verdict is never
//! written over a signal that was not heard: it takes as many rounds as there are signals, and an inbox is
//! bounded.
//!
//! # An outcome meets its own intent
//! Signals that came while the activity ran are heard before its outcome, and may have led elsewhere. If
//! the state they led to asks for an activity of its own, it is not told the outcome of the one before:
//! a rejection of the old would condemn the new.
//!
//! # What is learnt is not thrown away
//! An outcome that the activity calls precious ([`Activities::redeliver`]) is committed until the store
//! answers and its replicas confirm. If the answer is `fenced`, or the machine has no answer to it, or the
//! machine or the store cannot take it, it goes into the inbox as a signal, for whoever has the workflow
//! now.
//!
//! # What can go wrong, and who finds out
//!
//! | the holder | finds it | the machine hears |
//! |---|---|---|
//! | dies before the intent | the next claim, after the lease | what the dead one would have told it |
//! | dies after the intent | the next claim, after the lease | `ActivityLost` |
//! | gets no answer to its intent within trust | itself | [`Activities::not_sent`]'s |
//! | gets no answer from the outside | itself, at the deadline | [`Activities::unknown`]'s |
//! | gets no answer to its final commit | itself | nothing: sent again, answered `already` |
//! | pauses past its lease | the store: `fenced` | the next holder's `ActivityLost`, then the signal |
//! | panics, or cannot read the record | itself (`poison.rs`) | nothing yet: later, or parked |
//!
//! Each line is a test in `tests/turns/`.

mod act;
mod begin;
mod conclude;
mod known;
mod poison;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use self::begin::Begun;
use crate::activities::Activities;
use crate::advance::{Advanced, Base, Unanswered};
use crate::caution::Caution;
use crate::counters::Counters;
use crate::id::WorkflowId;
use crate::limits::{self, Limits};
use crate::load::LoadError;
use crate::machine::{Millis, Workflow};
use crate::news::News;
use crate::platform::Platform;
use crate::queue::Queue;
use crate::record::{Envelope, Record, SealedBlobs};
use crate::store::{Extend, Store, StoreError};
use crate::transition::Transition;
use crate::trust::Trust;

/// A claim that succeeded, with everything that it read.
#[derive(Debug)]
pub(crate) struct Holding {
    pub(crate) id: WorkflowId,
    pub(crate) claim: String,
    pub(crate) record: Record,
    pub(crate) sealed: SealedBlobs,
    pub(crate) inbox: Vec<Envelope>,
    pub(crate) now: Millis,
    pub(crate) trust: Trust,
}

impl Holding {
    /// The store's time: what the claim told, and what has passed here since.
    pub(crate) fn store_now(&self) -> Millis {
        self.now + u64::try_from(self.trust.elapsed_ms()).unwrap_or(0)
    }
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TurnEnd {
    /// With a commit.
    Finished {
        /// The count of transitions now.
        v: u64,
    },
    /// Somebody else has taken the workflow; what was learnt has been delivered where it must be.
    Fenced,
    /// Given back for a while.
    GivenBack {
        /// Why.
        why: String,
    },
    /// Taken out of `due` for a human.
    Parked {
        /// Why.
        reason: String,
    },
    /// The store went away; the lease runs out by itself.
    StoreAway {
        /// What was being done.
        why: String,
    },
}

/// What all turns of one kind share.
pub(crate) struct Env<W: Workflow> {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) activities: Arc<dyn Activities<W>>,
    pub(crate) news: Arc<News>,
    pub(crate) platform: Platform,
    /// This process ends: no activity begins, and those that run are broken off.
    pub(crate) ending: CancellationToken,
    pub(crate) caution: Arc<Caution>,
    pub(crate) queue: Arc<Queue>,
}

/// What is said of a panic: its own words may be anybody's, and stand in the error output.
const PANICKED: &str = "it panicked; the worker's error output says where";

/// Runs a turn to its end. A panic of the machine, or of what surrounds it, is a turn that failed.
pub(crate) async fn run<W: Workflow>(env: &Env<W>, holding: Holding) -> TurnEnd {
    match or_panicked(spine(env, &holding)).await {
        Ok(end) => end,
        Err(Trouble::Fenced) => {
            Counters::add(&env.counters.fenced, 1);
            TurnEnd::Fenced
        }
        Err(Trouble::Away(why)) => {
            Counters::add(&env.counters.store_away, 1);
            TurnEnd::StoreAway { why }
        }
        Err(Trouble::Newer(why)) => {
            give_back(env, &holding, limits::NEWER_WAIT, false).await;
            TurnEnd::GivenBack { why }
        }
        Err(Trouble::Poison(why)) => poison::poisoned(env, &holding, None, why).await,
    }
}

/// A panic is trouble like any other.
async fn or_panicked<T>(work: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    let done = AssertUnwindSafe(work).catch_unwind().await;
    done.unwrap_or_else(|_| Err(Trouble::Poison(PANICKED.to_owned())))
}

async fn spine<W: Workflow>(env: &Env<W>, holding: &Holding) -> Result<TurnEnd, Trouble> {
    match begin::begin(env, holding).await? {
        Begun::Ended(end) => Ok(end),
        Begun::Intended(mut intent) => {
            let pass = intent.pass.take();
            let rest = or_panicked(async {
                let outcome = act::perform(env, holding, &intent).await;
                // Whoever waits for its place need not wait for the commit.
                drop(pass);
                conclude::conclude(env, holding, &intent, &outcome).await
            });
            match rest.await {
                // What is parked then is what the intent has written.
                Err(Trouble::Poison(why)) => {
                    Ok(poison::poisoned(env, holding, Some(&intent), why).await)
                }
                end => end,
            }
        }
    }
}

/// Why a turn could not go on.
pub(crate) enum Trouble {
    Fenced,
    Away(String),
    /// A newer worker can do it.
    Newer(String),
    /// Nobody can, or so it seems: retried with delays, then parked.
    Poison(String),
}

impl From<LoadError> for Trouble {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Newer { .. } => Self::Newer(error.to_string()),
            LoadError::Damaged { .. } => Self::Poison(error.to_string()),
        }
    }
}

impl From<Unanswered> for Trouble {
    fn from(error: Unanswered) -> Self {
        Self::Poison(error.to_string())
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Away { .. } => Self::Away(error.to_string()),
            StoreError::Refused { .. } => Self::Poison(error.to_string()),
        }
    }
}

async fn give_back<W: Workflow>(env: &Env<W>, holding: &Holding, rest: Duration, counts: bool) {
    let what = Extend::GiveBack { rest, counts };
    let done = env
        .store
        .extend(&holding.id, holding.record.fence, &holding.claim, what)
        .await;
    if let Err(error) = done {
        // The lease runs out by itself, which gives it back too, only later.
        tracing::debug!(id = %holding.id, %error, "could not give a workflow back");
    }
}

/// Counts a transition that was written, and leaves one structured record of it.
fn note_turn<W: Workflow>(
    env: &Env<W>,
    holding: &Holding,
    base: &Base<W>,
    written: Written<'_, W>,
) {
    let Written {
        run,
        outcome,
        v,
        log,
    } = written;
    Counters::add(&env.counters.turns, 1);
    Counters::add(&env.counters.ignored, run.ignored);
    if let Some(at) = run.fired {
        env.counters.fired_late_by(run.now.saturating_sub(at));
    }
    let transition = Transition {
        id: &holding.id,
        v,
        fence: holding.record.fence,
        attempt: holding.record.attempt,
        before: (&base.data, &base.phase),
        after: (&run.data, &run.phase),
        heard: &run.heard,
        outcome,
        wake_at: run.wake_at,
        effects: &run.effects,
        entry: log,
    };
    // It is written: whoever panics while telling of it undoes nothing, and fails no turn.
    let record = AssertUnwindSafe(|| env.activities.record(&transition));
    if std::panic::catch_unwind(record).is_err() {
        tracing::error!(id = %holding.id, v, "recording a transition: {PANICKED}");
    }
}

/// What a commit has written.
struct Written<'a, W: Workflow> {
    run: &'a Advanced<W>,
    /// How the activity ended, if the machine was told.
    outcome: Option<&'a W::Outcome>,
    /// The count of transitions now.
    v: u64,
    log: &'a str,
}
