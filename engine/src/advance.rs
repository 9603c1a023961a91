//! The pure middle of a turn: inputs in, one machine and its wishes out.
//!
//! The order of inputs is fixed: first that an activity was lost, then signals in their order, then
//! the timer if it has come, as it then stands, last the outcome. A turn that learns of more signals
//! (a strict commit) starts again from the same base with all of them, so that a verdict is always
//! reached after everything that was known.

use crate::id::WorkflowId;
use crate::machine::{Context, Effects, Input, Millis, Step, Timer, Workflow};

/// Where a turn starts from.
pub(crate) struct Base<W: Workflow> {
    pub(crate) data: W,
    pub(crate) phase: W::Phase,
    pub(crate) wake_at: Option<Millis>,
    pub(crate) visible_at: Option<Millis>,
}

/// What the transitions of one turn may know.
pub(crate) struct Surroundings<'a, W: Workflow> {
    pub(crate) id: &'a WorkflowId,
    pub(crate) now: Millis,
    pub(crate) random: f64,
    pub(crate) facts: &'a W::Facts,
}

/// Where it ends.
pub(crate) struct Advanced<W: Workflow> {
    pub(crate) data: W,
    pub(crate) phase: W::Phase,
    pub(crate) wake_at: Option<Millis>,
    pub(crate) effects: Effects<W>,
    /// The inputs in words, those that nobody answered with a question mark.
    pub(crate) heard: Vec<String>,
    pub(crate) ignored: u64,
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
        effects: Effects {
            visible_at: base.visible_at.filter(|at| *at > around.now),
            ..Effects::default()
        },
        heard: Vec::new(),
        ignored: 0,
    };
    for input in inputs {
        feed(&mut run, input, around);
    }
    // A hold overrides the timer: whoever drives a workflow that is held back hears no timer either.
    let fires = run.effects.visible_at.is_none() && run.wake_at.is_some_and(|at| at <= around.now);
    if judge == Judge::Timer && fires {
        run.wake_at = None;
        feed(&mut run, &Input::TimerFired, around);
    }
    if let Some(input) = last {
        feed(&mut run, input, around);
    }
    run
}

fn feed<W: Workflow>(run: &mut Advanced<W>, input: &Input<W>, around: &Surroundings<'_, W>) {
    let mut context = Context {
        id: around.id,
        now: around.now,
        random: around.random,
        facts: around.facts,
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
