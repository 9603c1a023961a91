//! Sealing anew: everything that is kept, and nothing else changes.

use evergreen_engine::Step;

use super::bench::*;
use crate::lifecycle::{Credential, NewGrant, Signal, Source};

/// Everything about a life that a reseal must leave alone.
fn all(life: &Life) -> (Credential, String, Option<u64>, usize) {
    let phase = format!("{:?}", life.phase);
    // What answers is kept beside what is stored, and is nobody's.
    let stored = serde_json::to_value(&life.data).unwrap();
    let data = serde_json::from_value(stored).unwrap();
    (data, phase, life.timer, life.told.len())
}

#[test]
fn in_every_state_a_reseal_changes_nothing_but_the_seal() {
    for mut life in [
        Life::scheduled(),
        Life::refreshing(),
        Life::reconnect_required(),
        Life::active(),
    ] {
        let before = all(&life);
        let heard = life.signal(Signal::Reseal);
        assert_eq!(heard.step, Step::Stayed);
        assert_eq!(heard.sealed_anew(), ["pair"], "{:?}", life.phase);
        assert!(heard.sealed().is_empty() && heard.erased() == 0);
        assert!(heard.effects.performed().is_none() && heard.effects.timer_set().is_none());
        assert_eq!(all(&life), before);
    }
}

#[test]
fn a_request_under_way_ends_as_if_nothing_had_been_sealed_anew() {
    let mut life = Life::refreshing();
    life.signal(Signal::Reseal);
    let heard = life.refreshed("R1");
    assert_eq!(heard.sealed(), ["pair"]);
    assert_eq!((life.generation(), life.phase.name()), (1, "Scheduled"));
}

#[test]
fn the_own_app_and_what_is_kept_apart_are_sealed_anew_as_well() {
    let mut life = Life::unborn();
    life.signal(Signal::Connect(NewGrant {
        app: Some(sealed("app")),
        source: Source::Import,
        ..grant("R0")
    }));
    life.attempt();
    life.refreshed("R1");
    life.signal(Signal::Rescued(rescued("RX", 0)));
    life.signal(Signal::Rescued(rescued("RY", 0)));
    let apart = life.data.quarantined.iter().map(|kept| kept.slot());
    let mut wanted = vec!["pair".to_owned(), "app".to_owned()];
    wanted.extend(apart);
    assert_eq!(wanted.len(), 4);
    assert_eq!(life.signal(Signal::Reseal).sealed_anew(), wanted);
}

#[test]
fn where_nothing_is_kept_nothing_is_sealed() {
    for mut life in [Life::unborn(), Life::disconnected()] {
        let heard = life.signal(Signal::Reseal);
        assert_eq!(heard.step, Step::Stayed);
        assert!(heard.effects.sealed_changes().is_empty());
    }
}

#[test]
fn a_signal_says_what_is_sealed_in_it() {
    let with_app = NewGrant {
        app: Some(sealed("app")),
        ..grant("R0")
    };
    for (signal, count) in [
        (Signal::Connect(with_app), 2),
        (Signal::Adopt(grant("R0")), 1),
        (Signal::Rescued(rescued("R1", 1)), 1),
        (Signal::Reseal, 0),
        (refresh_now(Source::Lazy, 0), 0),
        (disconnect(), 0),
    ] {
        assert_eq!(signal.sealed().count(), count, "{signal:?}");
        // Whatever a signal carries sealed must be told, or a key would be given up that opens it.
        let text = serde_json::to_string(&signal).unwrap();
        assert_eq!(text.matches("\"v1.").count(), count, "{signal:?}");
    }
}

#[test]
fn an_operators_wish_for_a_grant_that_was_replaced_is_not_carried_out() {
    let mut life = Life::active();
    let other = Signal::RefreshNow {
        source: Source::Operator,
        grant: Some("1111111111111111".parse().unwrap()),
        generation: 0,
    };
    assert_eq!(life.signal(other).step, Step::Stayed);
    assert_eq!(life.phase.name(), "Active");
    life.signal(refresh_now(Source::Operator, 0));
    assert_eq!(life.phase.name(), "Refreshing");
}
