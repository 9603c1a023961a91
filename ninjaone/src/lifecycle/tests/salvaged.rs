//! Refresh tokens saved from an answer that was cut: whether one is whole and right, the next request
//! shows, and until then the one before it is not forgotten.

use super::bench::*;
use crate::lifecycle::{Outcome, Phase, Purpose, Rescued, Signal};
use crate::provider::Reason;

/// With R1 stored in the place of R0, and nothing known of it.
fn salvaged() -> Life {
    let mut life = Life::refreshing();
    let mut issued = life.issued("R1");
    (issued.salvaged, issued.expires_at) = (true, None);
    let heard = life.outcome(Outcome::Refreshed(Box::new(issued)));
    let spare = format!("quarantine:{}", print("R0"));
    assert_eq!(heard.sealed(), [spare.as_str(), "pair"], "in this order");
    life
}

fn stored(life: &Life) -> String {
    let grant = life.data.grant.as_ref().unwrap();
    grant.refresh_token.unwrap().to_string()
}

fn is_due_at_once(life: &Life) -> bool {
    matches!(life.phase, Phase::Scheduled { at, .. } if at == life.now)
}

#[test]
fn s16_a_salvaged_refresh_token_is_what_the_one_retry_sends() {
    let mut life = salvaged();
    assert!(is_due_at_once(&life));
    assert!(life.told.is_empty(), "no success yet: {:?}", life.told);
    assert_eq!(stored(&life), print("R1").to_string());
    assert!(life.data.spent.is_empty(), "nobody knows that R0 is spent");
    let retry = life.attempt();
    assert!(retry.exempt);
    assert_eq!(retry.generation, 1);
}

#[test]
fn the_old_one_is_sent_only_after_the_salvaged_one_was_rejected() {
    let mut life = salvaged();
    life.attempt();
    life.outcome(rejected());
    assert!(life.told.is_empty(), "no verdict yet: {:?}", life.told);
    assert_eq!(stored(&life), print("R0").to_string());
    let probe = matches!(
        life.phase,
        Phase::Scheduled {
            purpose: Purpose::Probe,
            ..
        }
    );
    assert!(probe && is_due_at_once(&life));
    life.attempt();
    life.outcome(rejected());
    let reason = Reason::RotationLost;
    assert_eq!(life.phase, Phase::ReconnectRequired { reason });
    assert!(life.data.quarantined.is_empty());
}

#[test]
fn once_the_salvaged_one_has_proved_good_the_old_one_is_spent() {
    let mut life = salvaged();
    life.attempt();
    let heard = life.refreshed("R2");
    assert_eq!(heard.erased(), 1);
    assert!(life.data.quarantined.is_empty());
    assert_eq!(life.data.spent, [print("R0"), print("R1")]);
    assert_eq!(life.data.failures.unknown_since, None);
    // So a rejection later on is what it says.
    life.attempt();
    life.outcome(rejected());
    let reason = Reason::Revoked;
    assert_eq!(life.phase, Phase::ReconnectRequired { reason });
}

#[test]
fn a_salvaged_pair_that_comes_as_a_signal_clears_no_mark() {
    let mut life = Life::refreshing();
    life.outcome(unknown());
    let since = life.data.failures.unknown_since;
    let pair = Rescued {
        expires_at: None,
        ..rescued("R1", 0)
    };
    life.signal(Signal::Rescued(pair));
    assert_eq!(life.data.failures.unknown_since, since);
    assert!(life.told.is_empty(), "no success yet: {:?}", life.told);
    let expires_at = life.data.grant.as_ref().unwrap().expires_at;
    assert_eq!(expires_at, Some(START + HOUR), "of the old access token");
    assert!(is_due_at_once(&life));
    assert!(life.attempt().exempt);
    life.outcome(rejected());
    assert_eq!(stored(&life), print("R0").to_string(), "then the old one");
    life.attempt();
    life.outcome(rejected());
    let reason = Reason::RotationLost;
    assert_eq!(life.phase, Phase::ReconnectRequired { reason });
}

#[test]
fn a_salvaged_pair_after_the_verdict_is_tried_and_the_dead_one_is_not() {
    let mut life = Life::reconnect_required();
    let pair = Rescued {
        expires_at: None,
        ..rescued("R1", 0)
    };
    life.signal(Signal::Rescued(pair));
    assert!(life.data.quarantined.is_empty(), "R0 is dead");
    life.attempt();
    life.outcome(rejected());
    let reason = Reason::RotationLost;
    assert_eq!(life.phase, Phase::ReconnectRequired { reason });
}
