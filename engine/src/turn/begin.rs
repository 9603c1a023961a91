//! The first half of a turn: from what the claim read to the intent, or to the end where no activity
//! is wanted.

use std::time::Duration;

use super::known::Known;
use super::{Env, Holding, Trouble, TurnEnd, Written, give_back, note_turn};
use crate::activities::{Admission, Pass};
use crate::advance::{Advanced, Base, Judge, Surroundings, advance, advance_held};
use crate::limits;
use crate::machine::Workflow;
use crate::record::{Envelope, Record};
use crate::store::clock::millis;
use crate::store::{Committed, StoreError};
use crate::trust::Trust;
use crate::writing::{self, End, Patience};

/// How the first half ended.
pub(super) enum Begun<W: Workflow> {
    /// No activity was wanted, or it may not begin: that was the whole turn.
    Ended(TurnEnd),
    /// An activity is written down, and the lease is ours for another term.
    Intended(Intent<W>),
}

/// An activity that is written down.
pub(super) struct Intent<W: Workflow> {
    pub(super) activity: W::Activity,
    /// The machine as the intent commit wrote it.
    pub(super) after: Base<W>,
    /// The record as the intent commit wrote it.
    pub(super) record: Box<Record>,
    /// Counts from before the intent was sent.
    pub(super) trust: Trust,
    /// Whether the store vouches for the intent. Nothing is performed on one that may be lost.
    pub(super) confirmed: bool,
    /// The activity's place, until it has ended.
    pub(super) pass: Option<Pass>,
}

pub(super) async fn begin<W: Workflow>(
    env: &Env<W>,
    holding: &Holding,
) -> Result<Begun<W>, Trouble> {
    let facts = env.activities.facts();
    let mut around = Surroundings {
        id: &holding.id,
        now: holding.now,
        random: env.platform.unit(),
        facts: facts.as_ref(),
        store_in_doubt: env.caution.doubts(),
    };
    let mut known = Known::<W>::load(holding)?;

    // A verdict is strict however often signals come: the inbox is bounded, and so are the rounds. An
    // activity is not waited for longer than three.
    for round in 0..=limits::INBOX_MAX {
        let mut run = advance(&known.base, &known.inputs, Judge::Timer, None, &around);
        if run.effects.verdict {
            // Whoever condemns knows which run of the store it was that held nothing against it.
            env.caution.look_within(&holding.trust).await?;
            if env.caution.doubts() != around.store_in_doubt {
                around.store_in_doubt = !around.store_in_doubt;
                run = advance(&known.base, &known.inputs, Judge::Timer, None, &around);
            }
        }
        if let Some(activity) = run.effects.perform.clone() {
            let pass = match admission(env, holding, &activity, round).await {
                Admission::Go => Ok(None),
                Admission::Enter(pass) => Ok(Some(pass)),
                Admission::Held { until } => Err(until),
            };
            match pass {
                Ok(pass) => match intend(env, holding, &known, run, activity, pass).await? {
                    Intended::Written(intent) => return Ok(Begun::Intended(intent)),
                    Intended::Signals(rest) => {
                        known.hear(&rest)?;
                        continue;
                    }
                },
                Err(until) => {
                    let (base, inputs) = (&known.base, &known.inputs);
                    run = advance_held(base, inputs, Judge::Timer, until, &around)?;
                }
            }
        }
        let mut commit = writing::commit(
            env,
            holding,
            &known.base,
            &run,
            &known.heard,
            known.erase_first,
            End::Final,
        )?;
        commit.strict = run.effects.verdict;
        let within = Patience::Within(holding.trust.clone());
        match writing::send(env, &commit, holding.record.v, within).await? {
            Committed::Signals { rest } => known.hear(&rest)?,
            Committed::Written { v, .. } => {
                let written = Written {
                    run: &run,
                    outcome: None,
                    v,
                    log: &commit.log,
                };
                note_turn(env, holding, &known.base, written);
                return Ok(Begun::Ended(TurnEnd::Finished { v }));
            }
            Committed::Fenced { .. } | Committed::Unknown => return Err(Trouble::Fenced),
        }
    }
    // More signals than an inbox holds: pre-emptive ones, which end this lease anyhow.
    give_back(env, holding, Duration::ZERO, false).await;
    Ok(Begun::Ended(TurnEnd::GivenBack {
        why: "signals kept coming".to_owned(),
    }))
}

/// Whether the activity may begin in this turn.
async fn admission<W: Workflow>(
    env: &Env<W>,
    holding: &Holding,
    activity: &W::Activity,
    round: usize,
) -> Admission {
    let now = holding.store_now();
    let left = holding.trust.left();
    if round >= limits::STRICT_ROUNDS
        || env.ending.is_cancelled()
        || env.limits.activity_within(left).is_none()
    {
        return Admission::Held { until: holding.now };
    }
    let _waits = env.queue.waiting();
    let admitted = env.activities.admit(&holding.id, activity, now);
    // Whoever waits for a place must have trust left for the intent.
    let admitted = tokio::time::timeout(left / 2, admitted);
    match env.ending.run_until_cancelled(admitted).await {
        Some(Ok(admission)) => admission,
        // It comes back behind what is due before it, in the order that the machine gives to what is held.
        Some(Err(_)) => Admission::Held {
            until: holding.store_now() + millis(limits::HELD_WAIT),
        },
        None => Admission::Held {
            until: holding.store_now(),
        },
    }
}

enum Intended<W: Workflow> {
    Written(Intent<W>),
    /// Signals came meanwhile: nothing was written.
    Signals(Vec<Envelope>),
}

/// Writes the activity down.
async fn intend<W: Workflow>(
    env: &Env<W>,
    holding: &Holding,
    known: &Known<W>,
    run: Advanced<W>,
    activity: W::Activity,
    pass: Option<Pass>,
) -> Result<Intended<W>, Trouble> {
    if run.effects.finish {
        let why = "one transition both begins an activity and finishes the workflow; it is to finish \
                   when it hears the outcome";
        return Err(Trouble::Poison(why.to_owned()));
    }
    let mut commit = writing::commit(
        env,
        holding,
        &known.base,
        &run,
        &known.heard,
        known.erase_first,
        End::Intent(&activity),
    )?;
    commit.strict = true;
    // If it is written, it renews the lease then or later: so trust counts from now, whenever the
    // answer comes.
    let trust = Trust::start(env.limits.lease - env.limits.margin(), &env.platform);
    let v = holding.record.v;
    let within = Patience::Within(holding.trust.clone());
    let mut answer = writing::send(env, &commit, v, within).await;
    if let Err(StoreError::Away { .. }) = answer {
        // Most likely too late to perform anything; but whether the intent was written must be known,
        // so that "surely not begun" can be written behind it.
        let lease = Trust::start(env.limits.lease, &env.platform);
        answer = writing::send(env, &commit, v, Patience::Within(lease)).await;
    }
    match answer? {
        Committed::Signals { rest } => Ok(Intended::Signals(rest)),
        Committed::Written {
            v,
            confirmed,
            ours: true,
            ..
        } => {
            let written = Written {
                run: &run,
                outcome: None,
                v,
                log: &commit.log,
            };
            note_turn(env, holding, &known.base, written);
            Ok(Intended::Written(Intent {
                activity,
                after: Base {
                    data: run.data,
                    phase: run.phase,
                    wake_at: run.wake_at,
                    visible_at: None,
                    commit: Some(commit.commit.clone()),
                    sealed: writing::applied(&holding.sealed, &commit.sealed),
                },
                record: Box::new(writing::written(&holding.record, &commit, v)),
                trust,
                confirmed,
                pass,
            }))
        }
        Committed::Written { .. } | Committed::Fenced { .. } | Committed::Unknown => {
            Err(Trouble::Fenced)
        }
    }
}
