//! A pair that could not be committed when it came: the order of decisions, and the quarantine.

use super::bench::*;
use crate::lifecycle::{Phase, Purpose, Rescued, Signal};
use crate::provider::Reason;

/// At generation 2, with R0 and R1 spent and R2 stored.
fn rotated() -> Life {
    let mut life = Life::scheduled();
    for token in ["R1", "R2"] {
        life.attempt();
        life.refreshed(token);
    }
    life.told.clear();
    life
}

#[test]
fn decisions_are_taken_in_their_order() {
    let foreign = "ffffffffffffffff".parse().unwrap();
    let without = |base| Rescued {
        refresh_token: None,
        ..rescued("RX", base)
    };
    let of_another = |token, base| Rescued {
        grant: foreign,
        ..rescued(token, base)
    };
    // Each row would be decided otherwise by a rule further down.
    for (why, pair, generation, note) in [
        (
            "grant before generation",
            of_another("RX", 8),
            2,
            "dropped: of another grant",
        ),
        ("equal base is adopted", rescued("RX", 2), 3, "adopted"),
        ("a store that lost commits", rescued("RX", 6), 7, "adopted"),
        (
            "generation before fingerprint",
            rescued("R0", 2),
            3,
            "adopted",
        ),
        ("generation before absence", without(2), 3, "adopted"),
        (
            "stored already",
            rescued("R2", 1),
            2,
            "dropped: already known",
        ),
        (
            "spent already",
            rescued("R1", 1),
            2,
            "dropped: already known",
        ),
        (
            "nothing to try",
            without(1),
            2,
            "dropped: without a refresh token",
        ),
        ("neither newer nor known", rescued("RX", 1), 2, "kept apart"),
    ] {
        let mut life = rotated();
        let heard = life.signal(Signal::Rescued(pair));
        assert_eq!(heard.note("rescued"), note, "{why}");
        assert_eq!(life.generation(), generation, "{why}");
        let kept = usize::from(note == "kept apart");
        assert_eq!(life.data.quarantined.len(), kept, "{why}");
    }
}

#[test]
fn s22_a_pair_that_is_newer_heals_the_verdict() {
    let mut life = Life::reconnect_required();
    life.signal(Signal::Rescued(rescued("R1", 0)));
    assert!(matches!(life.phase, Phase::Scheduled { .. }));
    assert_eq!(life.told, ["REFRESHED", "RECOVERED", "REFRESH_SCHEDULED"]);
    assert_eq!(life.data.spent, [print("R0")]);
}

#[test]
fn s25_an_older_pair_is_tried_once_before_the_verdict() {
    let mut life = rotated();
    life.signal(Signal::Rescued(rescued("RX", 1)));
    life.attempt();
    let heard = life.outcome(rejected());
    assert_eq!(heard.sealed(), ["pair"]);
    assert_eq!(heard.erased(), 1);
    assert!(life.told.is_empty(), "no verdict yet: {:?}", life.told);
    let probe = Phase::Scheduled {
        purpose: Purpose::Probe,
        at: life.now,
        source: crate::lifecycle::Source::Rescued,
        not_before: None,
    };
    assert_eq!(life.phase, probe);
    assert!(life.attempt().exempt, "its one try is not held up");
    life.outcome(rejected());
    let reason = Reason::Revoked;
    assert_eq!(life.phase, Phase::ReconnectRequired { reason });
    assert!(life.data.quarantined.is_empty());
}

#[test]
fn a_pair_out_of_quarantine_does_not_take_away_an_access_token_that_lives_longer() {
    let mut life = rotated();
    let older = Rescued {
        expires_at: Some(life.now + SECOND),
        ..rescued("RX", 1)
    };
    let expires_at = life.data.grant.as_ref().unwrap().expires_at;
    life.signal(Signal::Rescued(older));
    life.attempt();
    life.outcome(rejected());
    assert_eq!(life.data.grant.as_ref().unwrap().expires_at, expires_at);
    let sealed = life.data.grant.as_ref().unwrap().refresh_token;
    assert_eq!(sealed, Some(print("RX")));
}

#[test]
fn the_access_token_of_a_pair_out_of_quarantine_keeps_its_own_expiry() {
    let mut life = rotated();
    let lasting = life.now + 9 * HOUR;
    let longer = Rescued {
        expires_at: Some(lasting),
        ..rescued("RX", 1)
    };
    life.signal(Signal::Rescued(longer));
    life.attempt();
    life.outcome(rejected());
    assert_eq!(life.data.grant.as_ref().unwrap().expires_at, Some(lasting));
}

#[test]
fn the_quarantine_holds_four_and_lets_the_oldest_go() {
    let mut life = rotated();
    for n in 0..6 {
        let heard = life.signal(Signal::Rescued(rescued(&format!("RX{n}"), 1)));
        assert_eq!(heard.erased(), usize::from(n >= 4));
        // Delivered twice, it is kept once.
        life.signal(Signal::Rescued(rescued(&format!("RX{n}"), 1)));
    }
    let kept: Vec<_> = life
        .data
        .quarantined
        .iter()
        .map(|q| q.fingerprint)
        .collect();
    assert_eq!(
        kept,
        [print("RX2"), print("RX3"), print("RX4"), print("RX5")]
    );
}

#[test]
fn an_adopted_pair_empties_the_quarantine_of_what_is_known_by_then() {
    let mut life = rotated();
    life.signal(Signal::Rescued(rescued("RX", 1)));
    let heard = life.signal(Signal::Rescued(rescued("RX", 2)));
    assert_eq!((heard.erased(), life.data.quarantined.len()), (1, 0));
}

#[test]
fn of_several_that_were_kept_apart_the_newest_is_tried_first() {
    let mut life = rotated();
    life.signal(Signal::Rescued(rescued("RX", 1)));
    life.signal(Signal::Rescued(rescued("RY", 0)));
    let stored = |life: &Life| life.data.grant.as_ref().unwrap().refresh_token;
    life.attempt();
    life.outcome(rejected());
    assert_eq!(stored(&life), Some(print("RX")));
    life.attempt();
    life.outcome(rejected());
    assert_eq!(stored(&life), Some(print("RY")));
    life.attempt();
    life.outcome(rejected());
    assert!(matches!(life.phase, Phase::ReconnectRequired { .. }));
}

#[test]
fn a_refresh_empties_the_quarantine_of_what_is_known_by_then() {
    let mut life = rotated();
    life.signal(Signal::Rescued(rescued("RX", 1)));
    life.signal(Signal::Rescued(rescued("RY", 1)));
    life.attempt();
    // The provider issues again what came late.
    let heard = life.refreshed("RX");
    assert_eq!((heard.erased(), life.data.quarantined.len()), (1, 1));
    assert_eq!(life.data.quarantined[0].fingerprint, print("RY"));
}

#[test]
fn what_a_person_was_to_put_right_is_forgotten_with_the_warning_that_told_it() {
    let mut life = Life::active();
    life.data.warning = Some("tls_error".to_owned());
    life.signal(Signal::Rescued(rescued("R1", 0)));
    assert_eq!(life.data.warning, None);
    assert_eq!(life.data.failures.attention, None);
}

#[test]
fn the_first_token_of_a_client_grant_can_be_served_also_if_it_came_by_a_signal() {
    let mut life = Life::unborn();
    life.name = "acme/prod@client";
    let mut new = grant("unused");
    (new.refresh_token, new.expires_at, new.bearer) = (None, None, false);
    life.signal(Signal::Connect(new));
    let minted = Rescued {
        refresh_token: None,
        ..rescued("unused", 0)
    };
    life.signal(Signal::Rescued(minted));
    let grant = life.data.grant.as_ref().unwrap();
    assert!(grant.bearer && grant.expires_at.is_some());
}

#[test]
fn a_token_that_the_provider_issues_again_leaves_the_list_of_the_spent() {
    let mut life = rotated();
    assert_eq!(life.data.spent, [print("R0"), print("R1")]);
    life.attempt();
    life.refreshed("R0");
    assert_eq!(life.data.spent, [print("R1"), print("R2")]);
    // One that is kept because none came back never enters it.
    life.attempt();
    life.refreshed("R0");
    assert_eq!(life.data.spent, [print("R1"), print("R2")]);
}

#[test]
fn sixteen_spent_tokens_are_remembered() {
    let mut life = Life::scheduled();
    for n in 1..=20 {
        life.attempt();
        life.refreshed(&format!("R{n}"));
    }
    assert_eq!(life.data.spent.len(), 16);
    assert_eq!(life.data.spent.first(), Some(&print("R4")));
}

#[test]
fn a_pair_that_came_before_its_token_was_refused_does_not_have_it_sent_again() {
    let mut life = rotated();
    life.attempt();
    life.outcome(rejected());
    let before = life.data.grant.clone();
    for token in [Some(print("R2")), None] {
        for expires_at in [Some(life.now + 1), None] {
            life.signal(Signal::Rescued(Rescued {
                refresh_token: token,
                expires_at,
                ..rescued("R2", 2)
            }));
            assert!(matches!(life.phase, Phase::ReconnectRequired { .. }));
            assert_eq!(life.data.grant, before);
        }
    }
}

#[test]
fn a_pair_that_brings_nothing_new_is_no_success() {
    let mut life = rotated();
    let before = life.data.grant.clone();
    life.signal(Signal::Rescued(Rescued {
        expires_at: None,
        ..rescued("R2", 2)
    }));
    assert_eq!(life.data.grant, before);
}

#[test]
fn s25_a_pair_that_is_kept_apart_after_the_verdict_gets_its_one_try() {
    let mut life = rotated();
    life.attempt();
    life.outcome(rejected());
    life.signal(Signal::Rescued(rescued("RX", 1)));
    assert!(matches!(
        life.phase,
        Phase::Scheduled {
            purpose: Purpose::Probe,
            ..
        }
    ));
    life.attempt();
    assert_eq!(
        life.data.grant.as_ref().unwrap().refresh_token,
        Some(print("RX"))
    );
    life.outcome(rejected());
    assert!(matches!(life.phase, Phase::ReconnectRequired { .. }));
}

#[test]
fn a_late_answer_does_not_clear_the_doubt_about_a_later_request() {
    let mut life = rotated();
    life.attempt();
    let sent_at = life.now;
    life.outcome(unknown());
    life.now += SECOND;
    life.attempt();
    life.outcome(unknown());
    life.signal(Signal::Rescued(Rescued {
        obtained_at: sent_at,
        ..rescued("R2", 2)
    }));
    assert!(life.data.failures.unknown_since.is_some());
    life.attempt();
    life.outcome(rejected());
    let reason = Reason::RotationLost;
    assert_eq!(life.phase, Phase::ReconnectRequired { reason });
}
