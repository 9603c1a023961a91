//! The second half of a turn: what was learnt goes to the machine, and into the store.

use std::sync::atomic::Ordering;

use super::begin::Intent;
use super::{Env, Holding, Trouble, TurnEnd, note_turn};
use crate::advance::{Judge, Surroundings, advance};
use crate::counters::Counters;
use crate::limits;
use crate::load;
use crate::machine::{Input, Workflow};
use crate::store::{Committed, Signal, Signalled, StoreError};
use crate::trust::Trust;
use crate::writing::{self, End, Patience};

pub(super) async fn conclude<W: Workflow>(
    env: &Env<W>,
    holding: &Holding,
    intent: &Intent<W>,
    outcome: &W::Outcome,
) -> Result<TurnEnd, Trouble> {
    let precious = env.activities.redeliver(&holding.id, outcome).is_some();
    if precious {
        env.counters.persist_pending.fetch_add(1, Ordering::Relaxed);
    }
    let end = write(env, holding, intent, outcome, precious).await;
    if precious {
        env.counters.persist_pending.fetch_sub(1, Ordering::Relaxed);
    }
    end
}

async fn write<W: Workflow>(
    env: &Env<W>,
    holding: &Holding,
    intent: &Intent<W>,
    outcome: &W::Outcome,
    precious: bool,
) -> Result<TurnEnd, Trouble> {
    let facts = env.activities.facts();
    let now = holding.store_now();
    let around = Surroundings {
        id: &holding.id,
        now,
        random: rand::random(),
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
            let held = Input::Held { until: now };
            run = advance(&intent.after, &inputs, Judge::Nothing, Some(&held), &around);
            run.effects.perform = None;
        }
        let mut commit = match writing::commit(
            env,
            holding,
            &intent.after,
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
        let patience = if precious {
            Patience::Endless
        } else {
            // Beyond the end of trust: the fence judges, and a definite answer that is lost would
            // be taken for an unknown one by the next holder.
            Patience::Within(Trust::start(env.limits.lease * 2))
        };
        match writing::send(env, &commit, intent.v, patience).await? {
            Committed::Signals { rest } => {
                for envelope in &rest {
                    signals.push(Input::Signal(load::signal::<W>(envelope)?));
                }
            }
            Committed::Written { v, .. } => {
                note_turn(env, holding, &run, &commit.log);
                env.activities.settled(&holding.id, outcome).await;
                return Ok(TurnEnd::Finished { v });
            }
            Committed::Fenced { .. } => return redeliver(env, holding, outcome).await,
            Committed::Unknown => return Err(Trouble::Fenced),
        }
    }
    Err(Trouble::Fenced)
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
