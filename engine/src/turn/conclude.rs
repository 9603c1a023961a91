//! The second half of a turn: what was learnt goes to the machine, and into the store.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;

use futures::FutureExt;

use super::begin::Intent;
use super::{Env, Holding, PANICKED, Trouble, TurnEnd, note_turn};
use crate::advance::{Judge, Surroundings, advance, advance_held};
use crate::counters::Counters;
use crate::id::WorkflowId;
use crate::limits;
use crate::load;
use crate::machine::{Input, Workflow};
use crate::pending::PendingHold;
use crate::store::{Committed, Signal, Signalled, StoreError};
use crate::trust::Trust;
use crate::writing::{self, End, Patience};

pub(super) async fn conclude<W: Workflow>(
    env: &Env<W>,
    holding: &Holding,
    intent: &Intent<W>,
    outcome: &W::Outcome,
) -> Result<TurnEnd, Trouble> {
    let precious = env.activities.redeliver(&holding.id, outcome);
    let _pending = precious
        .as_ref()
        .map(|_| Pending::new(&env.counters, &holding.id));
    let written = AssertUnwindSafe(write(env, holding, intent, outcome, precious.is_some()))
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err(Trouble::Poison(PANICKED.to_owned())));
    match (written, precious) {
        (Ok(v), _) => {
            env.activities.settled(&holding.id, outcome).await;
            Ok(TurnEnd::Finished { v })
        }
        // Whatever kept it from being committed, it is not thrown away.
        (Err(trouble), Some(signal)) => {
            redeliver(env, holding, outcome, &signal).await?;
            Err(trouble)
        }
        (Err(trouble), None) => Err(trouble),
    }
}

/// Shows as long as it lives that an outcome is nowhere but here.
struct Pending<'a> {
    counters: &'a Counters,
    _hold: PendingHold,
}

impl<'a> Pending<'a> {
    fn new(counters: &'a Counters, id: &WorkflowId) -> Self {
        counters.persist_pending.fetch_add(1, Ordering::Relaxed);
        Self {
            counters,
            _hold: counters.pending.hold(id),
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.counters
            .persist_pending
            .fetch_sub(1, Ordering::Relaxed);
    }
}

/// Commits what the outcome led to; returns the count of transitions.
async fn write<W: Workflow>(
    env: &Env<W>,
    holding: &Holding,
    intent: &Intent<W>,
    outcome: &W::Outcome,
    precious: bool,
) -> Result<u64, Trouble> {
    let facts = env.activities.facts();
    let now = holding.store_now();
    let around = Surroundings {
        id: &holding.id,
        now,
        random: env.platform.unit(),
        facts: facts.as_ref(),
    };
    let mut signals: Vec<Input<W>> = Vec::new();
    let last = Input::Outcome(outcome.clone());
    for round in 0..=limits::STRICT_ROUNDS {
        let mut run = advance(
            &intent.after,
            &signals,
            Judge::Nothing,
            Some(&last),
            &around,
        );
        if run.effects.perform.is_some() {
            // One activity a turn: what is wanted next begins in a turn of its own.
            let mut inputs = signals.clone();
            inputs.push(last.clone());
            run = advance_held(&intent.after, &inputs, Judge::Nothing, now, &around)?;
        }
        let consumed = signals.len();
        let mut commit = writing::commit(
            env,
            holding,
            &intent.after,
            &run,
            consumed,
            false,
            End::Final,
        )?;
        commit.strict = run.effects.verdict && round < limits::STRICT_ROUNDS;
        commit.durable |= precious;
        let patience = if precious {
            Patience::Endless
        } else {
            // Beyond the end of trust: the fence judges, and a definite answer that is lost would
            // be taken for an unknown one by the next holder.
            Patience::Within(Trust::start(env.limits.lease * 2, &env.platform))
        };
        match writing::send(env, &commit, intent.v, patience).await? {
            Committed::Signals { rest } => {
                for envelope in &rest {
                    signals.push(Input::Signal(load::signal::<W>(envelope)?));
                }
            }
            Committed::Written { v, .. } => {
                note_turn(env, holding, &run, &commit.log);
                return Ok(v);
            }
            Committed::Fenced { .. } | Committed::Unknown => return Err(Trouble::Fenced),
        }
    }
    Err(Trouble::Fenced)
}

/// It could not be committed, most often because somebody else has the workflow: what was learnt
/// reaches them as a signal.
async fn redeliver<W: Workflow>(
    env: &Env<W>,
    holding: &Holding,
    outcome: &W::Outcome,
    signal: &W::Signal,
) -> Result<(), Trouble> {
    let signal = Signal {
        id: holding.id.clone(),
        payload: load::signal_payload::<W>(signal)?,
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
                return Ok(());
            }
            // It stays wherever the activity has kept it, for a replay.
            Ok(Signalled::Unknown) => return Ok(()),
            // Queued but not confirmed: a second copy does no harm, a lost one does.
            Ok(Signalled::Full | Signalled::Queued { .. }) | Err(StoreError::Away { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(limits::COMMIT_RETRY_MAX);
    }
}
