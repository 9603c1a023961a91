//! Tokens from outside, and new grants.

use evergreen_engine::Step;

use super::bench::*;
use crate::lifecycle::{Adoption, NewGrant, Signal, Source, adoption};
use crate::vault::GrantId;

fn other(token: &str) -> NewGrant {
    NewGrant {
        grant: GrantId::random(),
        source: Source::Import,
        ..grant(token)
    }
}

#[test]
fn s58_what_is_offered_is_judged_against_what_is_stored() {
    let rotated = || {
        let mut life = Life::refreshing();
        life.refreshed("R1");
        life
    };
    let failing = || {
        let mut life = Life::refreshing();
        life.outcome(unavailable());
        life
    };
    for (why, life, token, verdict) in [
        (
            "nothing there",
            Life::unborn(),
            Some("RX"),
            Adoption::Adopted,
        ),
        ("nothing there", Life::unborn(), None, Adoption::Adopted),
        ("stored", rotated(), Some("R1"), Adoption::Unchanged),
        ("spent", rotated(), Some("R0"), Adoption::Spent),
        ("healthy", rotated(), Some("RX"), Adoption::Healthy),
        ("healthy", rotated(), None, Adoption::Healthy),
        ("failing", failing(), Some("RX"), Adoption::Adopted),
        ("alone against a pair", failing(), None, Adoption::Healthy),
        (
            "under way",
            Life::refreshing(),
            Some("RX"),
            Adoption::Healthy,
        ),
        (
            "dead",
            Life::reconnect_required(),
            Some("RX"),
            Adoption::Adopted,
        ),
        (
            "dead, the same",
            Life::reconnect_required(),
            Some("R0"),
            Adoption::Unchanged,
        ),
        (
            "alone against a dead pair",
            Life::reconnect_required(),
            None,
            Adoption::Healthy,
        ),
        ("wrong app", Life::active(), Some("RX"), Adoption::Adopted),
        (
            "ended by a person",
            Life::disconnected(),
            Some("RX"),
            Adoption::Disconnected,
        ),
    ] {
        let print = token.map(print);
        let told = adoption(&life.data, &life.phase, print.as_ref());
        assert_eq!(told, verdict, "{why}: {token:?}");
        // The machine judges in the same way.
        let mut life = life;
        let new = NewGrant {
            refresh_token: print,
            ..other(token.unwrap_or("none"))
        };
        let heard = life.signal(Signal::Adopt(new));
        let moved = heard.step == Step::Moved;
        assert_eq!(moved, verdict == Adoption::Adopted, "{why}: {token:?}");
    }
}

#[test]
fn s53_a_new_grant_forgets_everything_but_the_epoch() {
    let mut life = Life::refreshing();
    life.age();
    life.outcome(unknown());
    life.signal(Signal::Rescued(rescued("RX", 0)));
    life.attempt();
    life.outcome(unavailable());
    life.told.clear();
    life.signal(Signal::Connect(other("R9")));
    assert_eq!((life.data.epoch, life.generation()), (2, 0));
    assert_eq!(life.data.failures, crate::lifecycle::Failures::default());
    assert!(life.data.spent.is_empty() && life.data.quarantined.is_empty());
    assert_eq!(life.told, ["CONNECTED", "RECOVERED", "REFRESH_SCHEDULED"]);
}

#[test]
fn s1_the_same_connect_twice_is_one() {
    let mut life = Life::scheduled();
    let before = (life.data.clone(), life.phase.clone(), life.timer);
    let heard = life.signal(Signal::Connect(grant("R0")));
    assert_eq!(heard.step, Step::Stayed);
    assert_eq!(before.1, life.phase);
    assert_eq!((before.0.epoch, before.2), (life.data.epoch, life.timer));
    assert!(heard.effects.sealed_changes().is_empty() && life.told.is_empty());
}

#[test]
fn s50_a_consent_without_a_refresh_token_never_replaces_a_grant_that_has_one() {
    let alone = || NewGrant {
        refresh_token: None,
        ..other("none")
    };
    // A condemned one, too: what comes late may still heal it.
    for mut life in [Life::scheduled(), Life::reconnect_required()] {
        let before = (life.phase.name(), life.data.grant.clone());
        assert_eq!(life.signal(Signal::Connect(alone())).step, Step::Stayed);
        assert_eq!((life.phase.name(), life.data.grant.clone()), before);
    }
    let mut life = Life::unborn();
    for nth in 0..2 {
        let heard = life.signal(Signal::Connect(alone()));
        assert_eq!(heard.step, Step::Moved, "{nth}");
        assert_eq!((life.phase.name(), life.timer), ("Active", None));
        // There is nothing to look at again.
        assert_eq!(life.signal(Signal::ConfigurationChanged).step, Step::Stayed);
    }
}
