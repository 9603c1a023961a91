//! What a rejection is taken for, and what a reset permits.

use evergreen_engine::Input;

use super::bench::*;
use crate::lifecycle::{Outcome, Phase, Signal};
use crate::provider::Reason;

fn condemned(life: &Life) -> Option<Reason> {
    match life.phase {
        Phase::ReconnectRequired { reason } => Some(reason),
        _ => None,
    }
}

#[test]
fn a_rejection_by_a_store_in_doubt_says_that_the_rotation_was_lost() {
    let mut life = Life::refreshing();
    life.store_in_doubt = true;
    life.outcome(rejected());
    assert_eq!(condemned(&life), Some(Reason::RotationLost));
    // The doubt stays with the grant, although the store is beyond it by now.
    life.store_in_doubt = false;
    life.signal(Signal::Reset);
    life.attempt();
    life.outcome(rejected());
    assert_eq!(condemned(&life), Some(Reason::RotationLost));
}

#[test]
fn a_rejection_after_a_restore_says_so_until_there_was_a_success() {
    let mut life = Life::refreshing();
    life.settings.restored_at = Some(life.now);
    let mut healthy = life.clone();
    life.outcome(rejected());
    assert_eq!(condemned(&life), Some(Reason::RotationLost));

    healthy.now += SECOND;
    healthy.refreshed("R1");
    healthy.attempt();
    healthy.outcome(rejected());
    assert_eq!(condemned(&healthy), Some(Reason::Revoked));
}

#[test]
fn a_client_grant_spends_nothing_so_nothing_of_it_is_lost() {
    let mut life = Life::refreshing();
    if let Phase::Refreshing { fingerprint, .. } = &mut life.phase {
        *fingerprint = None;
    }
    life.store_in_doubt = true;
    life.outcome(rejected());
    assert_eq!(condemned(&life), Some(Reason::Revoked));
}

#[test]
fn a_reset_permits_one_request() {
    let mut life = Life::reconnect_required();
    life.signal(Signal::Reset);
    life.attempt();
    let told = life.told.len();
    // It failed, and nobody has judged the token: back to the verdict, of which everybody knows.
    life.outcome(unavailable());
    assert_eq!(condemned(&life), Some(Reason::Revoked));
    assert_eq!(life.timer, None);
    assert_eq!(life.told.len(), told);
    // Another reset, another request.
    life.signal(Signal::Reset);
    life.attempt();
    life.refreshed("R1");
    assert!(matches!(life.phase, Phase::Scheduled { .. }));
    assert_eq!(life.count("RECOVERED"), 1);
    assert_eq!(
        (life.data.failures.dead, life.data.failures.verdict),
        (None, None)
    );
}

#[test]
fn what_a_reset_permits_has_its_one_retry_after_an_unknown_outcome() {
    let mut life = Life::reconnect_required();
    life.signal(Signal::Reset);
    life.attempt();
    life.outcome(unknown());
    assert!(life.attempt().exempt);
    life.outcome(unknown());
    assert_eq!(condemned(&life), Some(Reason::Revoked));
}

#[test]
fn what_a_reset_permits_is_not_used_up_by_a_request_that_never_left() {
    let mut life = Life::reconnect_required();
    life.data.failures.unknown_since = Some(START);
    life.signal(Signal::Reset);
    let refused = || Outcome::Unavailable {
        detail: detail("connect"),
        sent: false,
        tls: false,
        unclassified: false,
    };
    for _ in 0..3 {
        life.attempt();
        life.outcome(refused());
        assert!(
            matches!(life.phase, Phase::Scheduled { .. }),
            "{:?}",
            life.phase
        );
    }
    assert_eq!(life.data.failures.unknown_since, Some(START), "kept");
    // The one that leaves is the one that was permitted.
    life.attempt();
    life.outcome(unavailable());
    assert_eq!(condemned(&life), Some(Reason::Revoked));
}

#[test]
fn what_a_reset_permits_is_not_used_up_by_a_pause() {
    let mut life = Life::reconnect_required();
    life.signal(Signal::Reset);
    let until = life.now + 60 * SECOND;
    life.attempt();
    life.hear(&Input::Held { until });
    life.attempt();
    let throttled = Outcome::Throttled {
        until: life.now + 60 * SECOND,
        detail: detail("slow_down"),
    };
    life.outcome(throttled);
    life.attempt();
    life.outcome(Outcome::NotSent);
    life.attempt();
    life.refreshed("R1");
    assert!(matches!(life.phase, Phase::Scheduled { .. }));
}

#[test]
fn a_condemned_token_is_not_sent_by_any_other_way() {
    let mut life = Life::reconnect_required();
    life.signal(Signal::Reset);
    // As a store of an earlier release may hold it: planned, and nobody has permitted it.
    life.data.failures.reprieved = false;
    let heard = life.fire();
    assert_eq!(heard.effects.performed(), None);
    assert_eq!(condemned(&life), Some(Reason::Revoked));
}
