//! What the structured record calls each transition (scenario 62; the fields are shown from outside).

use evergreen_engine::{Input, Transition, Workflow as _, WorkflowId};

use super::bench::*;
use crate::lifecycle::record::What;
use crate::lifecycle::{Credential, KIND, Outcome, Signal, Source};
use crate::provider::Attention;

/// What the record says of one input.
fn said(life: &mut Life, input: &Input<Credential>) -> &'static str {
    let before = life.clone();
    let heard = life.hear(input);
    let id = WorkflowId::new(KIND, life.name).unwrap();
    let transition = Transition {
        id: &id,
        v: 2,
        fence: 1,
        attempt: 1,
        before: (&before.data, &before.phase),
        after: (&life.data, &life.phase),
        heard: &[Credential::describe(input)],
        outcome: match input {
            Input::Outcome(outcome) => Some(outcome),
            _ => None,
        },
        wake_at: life.timer,
        effects: &heard.effects,
        entry: "",
    };
    What::of(&transition).as_str()
}

fn at_its_time(life: &mut Life) -> &'static str {
    life.now = life.timer.take().expect("a timer").max(life.now);
    said(life, &Input::TimerFired)
}

fn signal(life: &mut Life, signal: Signal) -> &'static str {
    said(life, &Input::Signal(signal))
}

fn outcome(outcome: Outcome) -> &'static str {
    said(&mut Life::refreshing(), &Input::Outcome(outcome))
}

#[test]
fn s62_each_transition_has_the_word_for_what_it_was() {
    let mut life = Life::unborn();
    assert_eq!(signal(&mut life, Signal::Connect(grant("R0"))), "schedule");
    let operator = refresh_now(Source::Operator, 0);
    assert_eq!(signal(&mut life, operator.clone()), "reschedule");
    assert_eq!(
        signal(&mut life, operator),
        "unchanged",
        "it is due already"
    );
    assert_eq!(at_its_time(&mut life), "start");
    let issued = Outcome::Refreshed(Box::new(life.issued("R1")));
    assert_eq!(said(&mut life, &Input::Outcome(issued)), "success");
    let seen_long_ago = refresh_now(Source::Lazy, 0);
    assert_eq!(signal(&mut life, seen_long_ago), "unchanged");
    let mut other = grant("R9");
    other.grant = "1112131415161718".parse().unwrap();
    assert_eq!(signal(&mut life, Signal::Connect(other)), "reschedule");
    assert_eq!(signal(&mut life, disconnect()), "cancel");
    assert_eq!(signal(&mut life, disconnect()), "unchanged");
}

#[test]
fn s62_failures_are_retries_or_terminal() {
    let throttled = Outcome::Throttled {
        until: START + HOUR,
        detail: detail("slow_down"),
    };
    for retried in [unavailable(), unknown(), throttled, Outcome::NotSent] {
        assert_eq!(outcome(retried.clone()), "retry", "{retried:?}");
    }
    let mut life = Life::scheduled();
    let lost = Input::ActivityLost(life.attempt());
    assert_eq!(said(&mut life, &lost), "retry");
    let mut salvaged = Life::refreshing().issued("R1");
    salvaged.salvaged = true;
    salvaged.expires_at = None;
    assert_eq!(outcome(Outcome::Refreshed(Box::new(salvaged))), "retry");

    assert_eq!(outcome(rejected()), "terminal_failure");
    let mut life = Life::refreshing();
    let wrong = Input::Outcome(misconfigured(Attention::ClientRejected));
    assert_eq!(said(&mut life, &wrong), "terminal_failure");
    assert_eq!(at_its_time(&mut life), "start");
    assert_eq!(said(&mut life, &wrong), "retry", "it was told before");
}

#[test]
fn s62_after_a_verdict_only_a_new_pair_is_a_success() {
    let mut life = Life::reconnect_required();
    let asked = refresh_now(Source::Operator, 0);
    assert_eq!(signal(&mut life, asked), "unchanged");
    let old = Signal::Rescued(rescued("R0", 0));
    assert_eq!(signal(&mut life, old), "unchanged");
    let newer = Signal::Rescued(rescued("R1", 0));
    assert_eq!(signal(&mut life, newer), "success");
}
