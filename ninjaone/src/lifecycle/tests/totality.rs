//! Every state with every input has an answer, and it is this one.

use evergreen_engine::{Input, Step, Workflow as _};

use super::bench::*;
use crate::lifecycle::{Credential, NewGrant, Outcome, Refresh, Signal, Source};
use crate::provider::Attention;

/// What an input leads to: the state after it, `=` for none but an answer, `?` for ignored.
type Row = (&'static str, [&'static str; 5]);

/// In the order Scheduled, Refreshing, `ReconnectRequired`, Active, Disconnected.
#[rustfmt::skip]
const ANSWERS: [Row; 21] = [
    ("TimerFired",           ["Refreshing",   "?",                 "?",            "Refreshing",   "="]),
    ("Connect same grant",   ["=",            "=",                 "=",            "=",            "Scheduled"]),
    ("Connect",              ["Scheduled",    "Scheduled",         "Scheduled",    "Scheduled",    "Scheduled"]),
    ("Adopt",                ["=",            "=",                 "Scheduled",    "Scheduled",    "="]),
    ("Disconnect",           ["Disconnected", "Disconnected",      "Disconnected", "Disconnected", "="]),
    ("RefreshNow lazy",      ["Scheduled",    "=",                 "=",            "=",            "="]),
    ("RefreshNow operator",  ["Scheduled",    "=",                 "=",            "Refreshing",   "="]),
    ("Rescued newer",        ["Scheduled",    "Scheduled",         "Scheduled",    "Scheduled",    "="]),
    ("Rescued older",        ["=",            "=",                 "Scheduled",    "=",            "="]),
    ("Reset",                ["Scheduled",    "=",                 "Scheduled",    "Refreshing",   "="]),
    ("ConfigurationChanged", ["=",            "=",                 "=",            "Refreshing",   "="]),
    ("Reseal",               ["=",            "=",                 "=",            "=",            "="]),
    ("Refreshed",            ["?",            "Scheduled",         "?",            "?",            "="]),
    ("Rejected",             ["?",            "ReconnectRequired", "?",            "?",            "="]),
    ("Misconfigured",        ["?",            "Active",            "?",            "?",            "="]),
    ("Throttled",            ["?",            "Scheduled",         "?",            "?",            "="]),
    ("Unavailable",          ["?",            "Scheduled",         "?",            "?",            "="]),
    ("Unknown",              ["?",            "Scheduled",         "?",            "?",            "="]),
    ("NotSent",              ["?",            "Scheduled",         "?",            "?",            "="]),
    ("ActivityLost",         ["?",            "Scheduled",         "?",            "?",            "="]),
    ("Held",                 ["?",            "Scheduled",         "?",            "?",            "="]),
];

fn states() -> [Life; 5] {
    [
        Life::scheduled(),
        Life::refreshing(),
        Life::reconnect_required(),
        Life::active(),
        Life::disconnected(),
    ]
}

fn input(row: &str, life: &Life, lost: &Refresh) -> Input<Credential> {
    let other = |token| NewGrant {
        grant: "1111111111111111".parse().unwrap(),
        ..grant(token)
    };
    let outcome = match row {
        "TimerFired" => return Input::TimerFired,
        "ActivityLost" => return Input::ActivityLost(lost.clone()),
        "Held" => return Input::Held { until: life.now },
        "Connect same grant" => return Input::Signal(Signal::Connect(grant("R0"))),
        "Connect" => return Input::Signal(Signal::Connect(other("R9"))),
        "Adopt" => return Input::Signal(Signal::Adopt(other("R9"))),
        "Disconnect" => return Input::Signal(disconnect()),
        "RefreshNow lazy" => return Input::Signal(refresh_now(Source::Lazy, 1)),
        "RefreshNow operator" => return Input::Signal(refresh_now(Source::Operator, 1)),
        "Rescued newer" => return Input::Signal(Signal::Rescued(rescued("R1", 1))),
        "Rescued older" => return Input::Signal(Signal::Rescued(rescued("R1", 0))),
        "Reset" => return Input::Signal(Signal::Reset),
        "ConfigurationChanged" => return Input::Signal(Signal::ConfigurationChanged),
        "Reseal" => return Input::Signal(Signal::Reseal),
        "Refreshed" => {
            let whose = Life::refreshing();
            Outcome::Refreshed(Box::new(whose.issued("R1")))
        }
        "Rejected" => rejected(),
        "Misconfigured" => misconfigured(Attention::ClientUnknown),
        "Throttled" => Outcome::Throttled {
            until: life.now + SECOND,
            detail: detail("slow_down"),
        },
        "Unavailable" => unavailable(),
        "Unknown" => unknown(),
        "NotSent" => Outcome::NotSent,
        other => panic!("{other}"),
    };
    Input::Outcome(outcome)
}

#[test]
fn every_state_answers_every_input() {
    let lost = Life::scheduled().attempt();
    for (row, wanted) in ANSWERS {
        for (mut state, wanted) in states().into_iter().zip(wanted) {
            state.age();
            let mut life = state.clone();
            if matches!(life.phase.name(), "Scheduled" | "Active") && row == "TimerFired" {
                life.now = life.timer.unwrap();
            }
            let heard = life.hear(&input(row, &state, &lost));
            let answer = match heard.step {
                Step::Moved => life.phase.name(),
                Step::Stayed => "=",
                Step::Ignored => "?",
            };
            assert_eq!(answer, wanted, "{row} in {}", state.phase.name());
        }
    }
}

#[test]
fn a_state_that_can_go_on_has_a_timer_and_one_that_must_not_has_none() {
    for life in states() {
        let waits = matches!(life.phase.name(), "Scheduled" | "Active" | "Disconnected");
        assert_eq!(life.timer.is_some(), waits, "{:?}", life.phase);
    }
}

#[test]
fn after_a_disconnect_nothing_is_left_but_the_epoch_and_at_last_not_even_that() {
    let mut life = Life::scheduled();
    life.signal(disconnect());
    let empty = Credential {
        epoch: 1,
        ..Credential::initial().0
    };
    let stored = |data: &Credential| serde_json::to_value(data).unwrap();
    assert_eq!(stored(&life.data), stored(&empty));
    assert!(life.fire().effects.is_finish());
}

#[test]
fn only_a_rejection_is_a_verdict() {
    for (outcome, verdict) in [
        (rejected(), true),
        (misconfigured(Attention::ClientUnknown), false),
        (unavailable(), false),
        (unknown(), false),
    ] {
        let heard = Life::refreshing().outcome(outcome);
        assert_eq!(heard.effects.is_verdict(), verdict);
    }
}
