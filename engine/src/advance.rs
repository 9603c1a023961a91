//! The pure middle of a turn: inputs in, one machine and its wishes out.
//!
//! The order of inputs is fixed: first that an activity was lost, then signals in their order, then
//! the timer if it has come, as it then stands, last the outcome. A turn that learns of more signals
//! (a strict commit) starts again from the same base with all of them, so that a verdict is always
//! reached after everything that was known.

use crate::id::WorkflowId;
use crate::machine::{Context, Effects, Input, Millis, Step, Timer, Workflow};
use crate::record::SealedBlobs;

/// Where a turn starts from.
pub(crate) struct Base<W: Workflow> {
    pub(crate) data: W,
    pub(crate) phase: W::Phase,
    pub(crate) wake_at: Option<Millis>,
    pub(crate) visible_at: Option<Millis>,
    /// The commit that wrote this.
    pub(crate) commit: Option<String>,
    /// The sealed blobs as they stand with this state.
    pub(crate) sealed: SealedBlobs,
}

/// What the transitions of one turn may know.
pub(crate) struct Surroundings<'a, W: Workflow> {
    pub(crate) id: &'a WorkflowId,
    pub(crate) now: Millis,
    pub(crate) random: f64,
    pub(crate) facts: &'a W::Facts,
    pub(crate) store_in_doubt: bool,
}

/// Where it ends.
pub(crate) struct Advanced<W: Workflow> {
    pub(crate) data: W,
    pub(crate) phase: W::Phase,
    pub(crate) wake_at: Option<Millis>,
    /// The store's time at which all this happened.
    pub(crate) now: Millis,
    /// When the timer that was heard should have been.
    pub(crate) fired: Option<Millis>,
    pub(crate) effects: Effects<W>,
    /// The inputs in words, those that nobody answered with a question mark.
    pub(crate) heard: Vec<String>,
    pub(crate) ignored: u64,
    /// How the machine answered the last input.
    pub(crate) last: Option<Step>,
}

/// Whether the timer is to be judged after the given inputs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judge {
    Timer,
    Nothing,
}

/// Feeds inputs to the machine.
pub(crate) fn advance<W: Workflow>(
    base: &Base<W>,
    inputs: &[Input<W>],
    judge: Judge,
    last: Option<&Input<W>>,
    around: &Surroundings<'_, W>,
) -> Advanced<W> {
    let mut run = Advanced {
        data: base.data.clone(),
        phase: base.phase.clone(),
        wake_at: base.wake_at,
        now: around.now,
        fired: None,
        effects: Effects {
            visible_at: base.visible_at.filter(|at| *at > around.now),
            ..Effects::default()
        },
        heard: Vec::new(),
        ignored: 0,
        last: None,
    };
    for input in inputs {
        feed(&mut run, input, around);
    }
    // A hold overrides the timer: whoever drives a workflow that is held back hears no timer either.
    let come = run
        .wake_at
        .filter(|at| run.effects.visible_at.is_none() && *at <= around.now);
    if judge == Judge::Timer
        && let Some(at) = come
    {
        // A workflow that was held back is not late before it was let go.
        let held = base.visible_at.filter(|until| *until <= around.now);
        run.fired = Some(at.max(held.unwrap_or(at)));
        run.wake_at = None;
        feed(&mut run, &Input::TimerFired, around);
    }
    if let Some(input) = last {
        feed(&mut run, input, around);
    }
    run
}

/// Feeds inputs, then that the activity which the state asks for may not begin before `until`.
///
/// # Errors
/// The state has no answer to that: with its activity taken away it would sleep for ever.
pub(crate) fn advance_held<W: Workflow>(
    base: &Base<W>,
    inputs: &[Input<W>],
    judge: Judge,
    until: Millis,
    around: &Surroundings<'_, W>,
) -> Result<Advanced<W>, Unanswered> {
    let held = Input::Held { until };
    let mut run = advance(base, inputs, judge, Some(&held), around);
    if run.last == Some(Step::Ignored) {
        return Err(Unanswered);
    }
    run.effects.perform = None;
    Ok(run)
}

/// A state asks for an activity and has no answer to [`Input::Held`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a state asks for an activity and has no answer to Held")]
pub(crate) struct Unanswered;

fn feed<W: Workflow>(run: &mut Advanced<W>, input: &Input<W>, around: &Surroundings<'_, W>) {
    let mut context = Context {
        id: around.id,
        now: around.now,
        random: around.random,
        facts: around.facts,
        store_in_doubt: around.store_in_doubt,
        effects: Effects::default(),
    };
    let step = run.data.step(&mut run.phase, input, &mut context);
    let word = W::describe(input);
    run.heard.push(if step == Step::Ignored {
        format!("{word}?")
    } else {
        word
    });
    run.ignored += u64::from(step == Step::Ignored);
    run.last = Some(step);
    if step == Step::Moved {
        run.wake_at = None;
    }
    match context.effects.timer {
        Timer::Keep => {}
        Timer::At(at) => run.wake_at = Some(at),
        Timer::Off => run.wake_at = None,
    }
    run.effects.absorb(step, context.effects);
}
