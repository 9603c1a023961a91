//! The second half of a turn: what was learnt goes to the machine, and into the store.

use super::begin::Intent;
use super::{Env, Holding, Trouble, TurnEnd, Written, note_turn, or_panicked};
use crate::advance::{Advanced, Judge, Surroundings, Unanswered, advance, advance_held};
use crate::counters::Counters;
use crate::deliver;
use crate::limits;
use crate::load;
use crate::machine::{Input, Millis, Step, Workflow};
use crate::pending::Precious;
use crate::store::{Committed, Signalled};
use crate::trust::Trust;
use crate::writing::{self, End, Heard, Patience};

pub(super) async fn conclude<W: Workflow>(
    env: &Env<W>,
    holding: &Holding,
    intent: &Intent<W>,
    outcome: &W::Outcome,
) -> Result<TurnEnd, Trouble> {
    let precious = env.activities.redeliver(&holding.id, outcome);
    let _pending = precious
        .as_ref()
        .map(|_| Precious::new(&env.counters, &holding.id));
    let written = or_panicked(write(env, holding, intent, outcome, precious.is_some())).await;
    match (written, precious) {
        (Ok(Concluded { v, heard: true }), _) => {
            env.activities.settled(&holding.id, outcome).await;
            Ok(TurnEnd::Finished { v })
        }
        // Whatever kept it from being heard, it is not thrown away.
        (Ok(Concluded { v, heard: false }), Some(signal)) => {
            redeliver(env, holding, outcome, &signal).await?;
            Ok(TurnEnd::Finished { v })
        }
        (Ok(Concluded { v, heard: false }), None) => Ok(TurnEnd::Finished { v }),
        (Err(trouble), Some(signal)) => {
            redeliver(env, holding, outcome, &signal).await?;
            Err(trouble)
        }
        (Err(trouble), None) => Err(trouble),
    }
}

/// The commit that ended the turn.
struct Concluded {
    /// The count of transitions now.
    v: u64,
    /// Whether the machine was told the outcome.
    heard: bool,
}

/// Commits what the outcome led to.
async fn write<W: Workflow>(
    env: &Env<W>,
    holding: &Holding,
    intent: &Intent<W>,
    outcome: &W::Outcome,
    precious: bool,
) -> Result<Concluded, Trouble> {
    let now = holding.store_now();
    let random = env.platform.unit();
    // Beyond the end of trust: the fence judges, and a definite answer that is lost would be taken for
    // an unknown one by the next holder.
    let patience = Trust::start(env.limits.lease * 2, &env.platform);
    let mut signals: Vec<Input<W>> = Vec::new();
    let mut told = Heard::default();
    // A verdict is strict however often signals come: the inbox is bounded, and so are the rounds.
    for _ in 0..=limits::INBOX_MAX {
        let judged = |store_in_doubt: bool| -> Result<Judged<W>, Unanswered> {
            let facts = env.activities.facts();
            let around = Surroundings {
                id: &holding.id,
                now,
                random,
                facts: facts.as_ref(),
                store_in_doubt,
            };
            judge(intent, &signals, outcome, precious, now, &around)
        };
        let in_doubt = env.caution.doubts();
        let mut judgement = judged(in_doubt)?;
        if judgement.run.effects.verdict {
            // Whoever condemns knows which run of the store it was that held nothing against it.
            env.caution.look_within(&patience).await?;
            if env.caution.doubts() != in_doubt {
                judgement = judged(!in_doubt)?;
            }
        }
        let Judged { run, heard } = judgement;
        let after = &intent.after;
        let mut commit = writing::commit(env, holding, after, &run, &told, false, End::Final)?;
        commit.strict = run.effects.verdict;
        commit.durable |= precious && heard;
        let patience = if precious && heard {
            Patience::Endless
        } else {
            Patience::Within(patience.clone())
        };
        match writing::send(env, &commit, intent.record.v, patience).await? {
            Committed::Signals { rest } => {
                told.add(&rest);
                for envelope in &rest {
                    signals.push(Input::Signal(load::signal::<W>(envelope)?));
                }
            }
            Committed::Written { v, .. } => {
                let written = Written {
                    run: &run,
                    outcome: heard.then_some(outcome),
                    v,
                    log: &commit.log,
                };
                note_turn(env, holding, after, written);
                return Ok(Concluded { v, heard });
            }
            Committed::Fenced { .. } | Committed::Unknown => return Err(Trouble::Fenced),
        }
    }
    Err(Trouble::Fenced)
}

/// What the machine made of the outcome, and whether it was told it at all.
struct Judged<W: Workflow> {
    run: Advanced<W>,
    heard: bool,
}

/// Feeds the signals that came since the intent, then the outcome, if it is still the answer to what
/// the state asks for.
fn judge<W: Workflow>(
    intent: &Intent<W>,
    signals: &[Input<W>],
    outcome: &W::Outcome,
    precious: bool,
    now: Millis,
    around: &Surroundings<'_, W>,
) -> Result<Judged<W>, Unanswered> {
    let after = &intent.after;
    if !signals.is_empty() {
        let run = advance(after, signals, Judge::Nothing, None, around);
        if run.effects.perform.is_some() {
            // A signal has led to a state that asks for an activity of its own. The outcome of the one
            // before says nothing of that, and a verdict on it would condemn the innocent.
            let run = advance_held(after, signals, Judge::Nothing, now, around)?;
            return Ok(Judged { run, heard: false });
        }
    }
    let last = Input::Outcome(outcome.clone());
    let run = advance(after, signals, Judge::Nothing, Some(&last), around);
    if precious && run.last == Some(Step::Ignored) {
        // Nobody listened; what must not be lost comes back as a signal.
        let run = advance(after, signals, Judge::Nothing, None, around);
        return Ok(Judged { run, heard: false });
    }
    if run.effects.perform.is_some() {
        // One activity a turn: what is wanted next begins in a turn of its own.
        let mut inputs = signals.to_vec();
        inputs.push(last);
        let run = advance_held(after, &inputs, Judge::Nothing, now, around)?;
        return Ok(Judged { run, heard: true });
    }
    Ok(Judged { run, heard: true })
}

/// It could not be committed, most often because somebody else has the workflow: what was learnt
/// reaches them as a signal.
async fn redeliver<W: Workflow>(
    env: &Env<W>,
    holding: &Holding,
    outcome: &W::Outcome,
    signal: &W::Signal,
) -> Result<(), Trouble> {
    let (store, counters) = (&*env.store, &env.counters);
    match deliver::deliver::<W>(store, counters, &holding.id, signal).await? {
        Signalled::Queued { .. } => {
            Counters::add(&env.counters.redelivered, 1);
            env.activities.settled(&holding.id, outcome).await;
        }
        // It stays wherever the activity has kept it, for a replay.
        Signalled::Unknown | Signalled::Full => {}
    }
    Ok(())
}
