//! One turn: from a claim to the commit that ends it. The spine of the engine.
//!
//! ```text
//! claimed ─▶ load ─▶ advance ─▶ no activity wanted ─▶ final commit
//!                       │
//!                       └─▶ admitted? ─▶ intent commit ─▶ perform ─▶ advance(outcome) ─▶ final commit
//! ```
//!
//! The intent commit writes the new state together with the activity and keeps the lease: whoever
//! claims next sees what the holder had set out to do. It is strict, so nothing is performed on a
//! state that a waiting signal would have changed. What was learnt is never thrown away: an outcome
//! that must not be lost is committed until the store answers, and if the answer is `fenced` it is
//! delivered as a signal instead.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::Instant;

use crate::activities::{Activities, Admission, Call};
use crate::advance::{Advanced, Base, Judge, Surroundings, advance};
use crate::counters::Counters;
use crate::id::WorkflowId;
use crate::limits::{self, Limits};
use crate::load::{self, LoadError};
use crate::machine::{Input, Millis, Workflow};
use crate::record::{Envelope, Record, SealedBlobs};
use crate::store::{Committed, Extend, Heads, Signal, Signalled, Store, StoreError};
use crate::trust::Trust;
use crate::writing::{self, End};

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

/// What replies tell of partitions on the way, for the worker of this process if there is one.
#[derive(Debug, Default)]
pub(crate) struct News {
    reader: std::sync::Mutex<Option<tokio::sync::mpsc::UnboundedSender<(u16, Heads, Millis)>>>,
}

impl News {
    pub(crate) fn tell(&self, partition: u16, heads: Heads, now: Millis) {
        let reader = self
            .reader
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(reader) = reader.as_ref() {
            // A reader that has gone needs no news.
            let _ = reader.send((partition, heads, now));
        }
    }

    pub(crate) fn read(&self) -> tokio::sync::mpsc::UnboundedReceiver<(u16, Heads, Millis)> {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        *self
            .reader
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(sender);
        receiver
    }
}

/// What all turns of one kind share.
pub(crate) struct Env<W: Workflow> {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) activities: Arc<dyn Activities<W>>,
    pub(crate) news: Arc<News>,
}

/// Runs a turn to its end.
pub(crate) async fn run<W: Workflow>(env: &Env<W>, holding: Holding) -> TurnEnd {
    match start(env, &holding).await {
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
        Err(Trouble::Poison(why)) => poisoned(env, &holding, why).await,
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

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Away { .. } => Self::Away(error.to_string()),
            StoreError::Refused { .. } => Self::Poison(error.to_string()),
        }
    }
}

/// Everything up to the intent, or to the end where no activity is wanted.
async fn start<W: Workflow>(env: &Env<W>, holding: &Holding) -> Result<TurnEnd, Trouble> {
    let facts = env.activities.facts();
    let around = Surroundings {
        id: &holding.id,
        now: holding.now,
        random: rand::random(),
        facts: facts.as_ref(),
    };
    let (base, erase_first) = load_base::<W>(holding)?;
    let mut inputs: Vec<Input<W>> = Vec::new();
    match load::activity::<W>(&holding.record) {
        Ok(lost) => inputs.extend(lost.map(Input::ActivityLost)),
        // After a pre-emptive signal whatever was in flight has no bearing any more.
        Err(_) if holding.record.barrier => {}
        Err(error) => return Err(error.into()),
    }
    if holding.record.wake_at.is_some_and(|at| at <= holding.now) {
        let at = holding.record.wake_at.unwrap_or(holding.now);
        env.counters.fired_late_by(holding.now.saturating_sub(at));
    }
    let mut consumed = holding.inbox.len();
    for envelope in &holding.inbox {
        inputs.push(Input::Signal(load::signal::<W>(envelope)?));
    }

    for round in 0..=limits::STRICT_ROUNDS {
        let last_round = round == limits::STRICT_ROUNDS;
        let mut run = advance(&base, &inputs, Judge::Timer, None, &around);
        if let Some(activity) = run.effects.perform.clone() {
            let admission =
                if last_round || env.limits.activity_within(holding.trust.left()).is_none() {
                    Admission::Held { until: holding.now }
                } else {
                    env.activities
                        .admit(&holding.id, &activity, holding.now)
                        .await
                };
            match admission {
                Admission::Go => {
                    let mut commit = writing::commit(
                        env,
                        holding,
                        &base,
                        &run,
                        consumed,
                        erase_first,
                        End::Intent(&activity),
                    )?;
                    commit.strict = true;
                    let mut trust = Trust::start(env.limits.lease - env.limits.margin());
                    let mut answer = writing::send(env, &commit, holding.trust).await;
                    if let Err(StoreError::Away { .. }) = answer {
                        // Too late to perform anything; but whether the intent was written must be
                        // known, so that "surely not begun" can be written behind it.
                        trust = Trust::start(Duration::ZERO);
                        answer = writing::send(env, &commit, Trust::start(env.limits.lease)).await;
                    }
                    match answer? {
                        Committed::Signals { rest } => {
                            consumed += rest.len();
                            for envelope in &rest {
                                inputs.push(Input::Signal(load::signal::<W>(envelope)?));
                            }
                            continue;
                        }
                        Committed::Written {
                            confirmed, ours, ..
                        } => {
                            if !ours {
                                return Err(Trouble::Fenced);
                            }
                            note_turn::<W>(env, holding, &base, &run, &commit.log);
                            let sealed = writing::applied(&holding.sealed, &commit.sealed);
                            let after = Base {
                                data: run.data,
                                phase: run.phase,
                                wake_at: run.wake_at,
                                visible_at: None,
                            };
                            return act(env, holding, after, &activity, sealed, trust, confirmed)
                                .await;
                        }
                        Committed::Fenced { .. } | Committed::Unknown => {
                            return Err(Trouble::Fenced);
                        }
                    }
                }
                Admission::Held { until } => {
                    let held = Input::Held { until };
                    run = advance(&base, &inputs, Judge::Timer, Some(&held), &around);
                    run.effects.perform = None;
                }
            }
        }
        let mut commit =
            writing::commit(env, holding, &base, &run, consumed, erase_first, End::Final)?;
        commit.strict = run.effects.verdict && !last_round;
        match writing::send(env, &commit, holding.trust).await? {
            Committed::Signals { rest } => {
                consumed += rest.len();
                for envelope in &rest {
                    inputs.push(Input::Signal(load::signal::<W>(envelope)?));
                }
            }
            Committed::Written { v, .. } => {
                note_turn::<W>(env, holding, &base, &run, &commit.log);
                return Ok(TurnEnd::Finished { v });
            }
            Committed::Fenced { .. } | Committed::Unknown => return Err(Trouble::Fenced),
        }
    }
    // Only finishing is strict in the last round too, and signals kept coming: the next turn hears them.
    give_back(env, holding, Duration::ZERO, false).await;
    Ok(TurnEnd::GivenBack {
        why: "signals kept coming".to_owned(),
    })
}

/// The activity, and the commit of its outcome.
async fn act<W: Workflow>(
    env: &Env<W>,
    holding: &Holding,
    base: Base<W>,
    activity: &W::Activity,
    sealed: SealedBlobs,
    trust: Trust,
    confirmed: bool,
) -> Result<TurnEnd, Trouble> {
    let time = env.limits.activity_within(trust.left());
    let outcome = match time {
        Some(time) if confirmed => {
            let deadline = Instant::now() + time;
            let call = Call {
                id: &holding.id,
                activity,
                sealed: &sealed,
                deadline,
                trust,
                now: store_now(holding),
                claim: &holding.claim,
            };
            let work = std::panic::AssertUnwindSafe(env.activities.perform(call)).catch_unwind();
            // The activity keeps its own deadline; this only guards against one that does not.
            match tokio::time::timeout_at(deadline + env.limits.lease / 30, work).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) | Err(_) => env.activities.unknown(activity),
            }
        }
        // Not acknowledged, or too late: nothing has left, and that is worth knowing.
        _ => env.activities.not_sent(activity),
    };
    let precious = env.activities.redeliver(&holding.id, &outcome).is_some();
    if precious {
        env.counters.persist_pending.fetch_add(1, Ordering::Relaxed);
    }
    let end = conclude(env, holding, base, &outcome, precious).await;
    if precious {
        env.counters.persist_pending.fetch_sub(1, Ordering::Relaxed);
    }
    end
}

async fn conclude<W: Workflow>(
    env: &Env<W>,
    holding: &Holding,
    base: Base<W>,
    outcome: &W::Outcome,
    precious: bool,
) -> Result<TurnEnd, Trouble> {
    let facts = env.activities.facts();
    let now = store_now(holding);
    let around = Surroundings {
        id: &holding.id,
        now,
        random: rand::random(),
        facts: facts.as_ref(),
    };
    let mut signals: Vec<Input<W>> = Vec::new();
    let last = Input::Outcome(outcome.clone());
    for round in 0..=limits::STRICT_ROUNDS {
        let mut run = advance(&base, &signals, Judge::Nothing, Some(&last), &around);
        if run.effects.perform.is_some() {
            // One activity a turn: what is wanted next begins in a turn of its own.
            let mut inputs = signals.clone();
            inputs.push(last.clone());
            let held = Input::Held { until: now };
            run = advance(&base, &inputs, Judge::Nothing, Some(&held), &around);
            run.effects.perform = None;
        }
        let mut commit = match writing::commit(
            env,
            holding,
            &base,
            &run,
            signals.len(),
            false,
            End::Final,
        ) {
            Ok(commit) => commit,
            Err(error) if precious => {
                tracing::error!(id = %holding.id, %error, "an outcome cannot be sealed; it is delivered as a signal");
                return redeliver(env, holding, outcome).await;
            }
            Err(error) => return Err(error.into()),
        };
        commit.strict = run.effects.verdict && round < limits::STRICT_ROUNDS;
        commit.durable |= precious;
        let answer = if precious {
            writing::send_until_answered(env, &commit).await?
        } else {
            // Beyond the end of trust: the fence judges, and a definite answer that is lost would
            // be taken for an unknown one by the next holder.
            writing::send(env, &commit, Trust::start(env.limits.lease * 2)).await?
        };
        match answer {
            Committed::Signals { rest } => {
                for envelope in &rest {
                    signals.push(Input::Signal(load::signal::<W>(envelope)?));
                }
            }
            Committed::Written { v, .. } => {
                note_turn::<W>(env, holding, &base, &run, &commit.log);
                env.activities.settled(&holding.id, outcome).await;
                return Ok(TurnEnd::Finished { v });
            }
            Committed::Fenced { .. } => return redeliver(env, holding, outcome).await,
            Committed::Unknown => return Err(Trouble::Fenced),
        }
    }
    Err(Trouble::Fenced)
}

/// The store's time: what the claim told, and what has passed here since.
fn store_now(holding: &Holding) -> Millis {
    holding.now + u64::try_from(holding.trust.elapsed_ms()).unwrap_or(0)
}

/// Somebody else has the workflow: what was learnt reaches it as a signal.
async fn redeliver<W: Workflow>(
    env: &Env<W>,
    holding: &Holding,
    outcome: &W::Outcome,
) -> Result<TurnEnd, Trouble> {
    let Some(signal) = env.activities.redeliver(&holding.id, outcome) else {
        return Err(Trouble::Fenced);
    };
    let signal = Signal {
        id: holding.id.clone(),
        payload: load::signal_payload::<W>(&signal)?,
        preemptive: false,
        ends_claim: None,
        create: None,
        durable: true,
    };
    let mut pause = limits::COMMIT_RETRY_FIRST;
    loop {
        match env.store.signal(&signal).await {
            Ok(Signalled::Queued {
                confirmed: true, ..
            }) => {
                Counters::add(&env.counters.redelivered, 1);
                env.activities.settled(&holding.id, outcome).await;
                return Err(Trouble::Fenced);
            }
            // It stays wherever the activity has kept it, for a replay.
            Ok(Signalled::Unknown) => return Err(Trouble::Fenced),
            // Queued but not confirmed: a second copy does no harm, a lost one does.
            Ok(Signalled::Full | Signalled::Queued { .. }) | Err(StoreError::Away { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(limits::COMMIT_RETRY_MAX);
    }
}

/// The machine, and whether its blobs are to be erased because it starts anew.
fn load_base<W: Workflow>(holding: &Holding) -> Result<(Base<W>, bool), Trouble> {
    let record = &holding.record;
    match load::machine::<W>(record) {
        Ok((data, phase)) => Ok((
            Base {
                data,
                phase,
                wake_at: record.wake_at,
                visible_at: record.visible_at,
            },
            false,
        )),
        // A pre-emptive signal replaces what was before, so it may also replace what cannot be read.
        Err(LoadError::Damaged { .. }) if record.barrier => {
            let (data, phase) = W::initial();
            Ok((
                Base {
                    data,
                    phase,
                    wake_at: None,
                    visible_at: None,
                },
                true,
            ))
        }
        Err(error) => Err(error.into()),
    }
}

/// A turn that cannot be done: tried again later by whoever, then left to a human.
async fn poisoned<W: Workflow>(env: &Env<W>, holding: &Holding, why: String) -> TurnEnd {
    let attempt = holding.record.attempt;
    if attempt < limits::PARK_AFTER {
        let doublings = attempt.saturating_sub(1).min(16);
        let rest = (limits::DELAY_FIRST * 2u32.pow(doublings)).min(limits::DELAY_MAX);
        tracing::warn!(id = %holding.id, attempt, %why, "a turn failed; it is tried again later");
        give_back(env, holding, rest, true).await;
        return TurnEnd::GivenBack { why };
    }
    let commit = writing::park(env, holding, why.clone());
    match writing::send(env, &commit, holding.trust).await {
        Ok(Committed::Written { .. }) => {
            Counters::add(&env.counters.parked, 1);
            tracing::error!(id = %holding.id, attempt, %why, "parked: it waits for a human");
            TurnEnd::Parked { reason: why }
        }
        Ok(_) => TurnEnd::Fenced,
        Err(error) => TurnEnd::StoreAway {
            why: error.to_string(),
        },
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

/// One structured record for each transition that is written.
fn note_turn<W: Workflow>(
    env: &Env<W>,
    holding: &Holding,
    base: &Base<W>,
    run: &Advanced<W>,
    log: &str,
) {
    Counters::add(&env.counters.turns, 1);
    Counters::add(&env.counters.ignored, run.ignored);
    let _ = base;
    tracing::info!(
        target: "evergreen::transition",
        workflow = %holding.id,
        fence = holding.record.fence,
        attempt = holding.record.attempt,
        entry = %log,
        "transition"
    );
}
