//! The one immediate retry, back-off, pauses.

use evergreen_engine::Input;

use super::bench::*;
use crate::lifecycle::{NO_PLACE, Outcome, Phase, Purpose, Refresh, Signal, Source};
use crate::provider::{Attention, Reason};

fn throttled(until: u64) -> Outcome {
    Outcome::Throttled {
        until,
        detail: detail("slow_down"),
    }
}

/// When the next attempt is planned, from now.
fn wait(life: &Life) -> u64 {
    match life.phase {
        Phase::Scheduled { at, .. } => at - life.now,
        _ => panic!("{:?}", life.phase),
    }
}

#[test]
fn s38_after_an_unknown_outcome_there_is_one_immediate_retry_and_no_second() {
    let mut life = Life::refreshing();
    let since = life.now;
    life.outcome(unknown());
    assert_eq!(wait(&life), 0);
    assert!(life.attempt().exempt);
    life.outcome(unknown());
    assert!(wait(&life) >= 2_500, "then back-off");
    assert!(!life.attempt().exempt);
    life.outcome(unknown());
    assert!(wait(&life) >= 5_000);
    assert_eq!(life.data.failures.unknown_since, Some(since));
    // The mark stands until a definite answer, and gives the verdict its reason.
    let mut healed = life.clone();
    healed.attempt();
    healed.refreshed("R1");
    assert_eq!(healed.data.failures.unknown_since, None);
    life.attempt();
    life.outcome(rejected());
    let reason = Reason::RotationLost;
    assert_eq!(life.phase, Phase::ReconnectRequired { reason });
}

#[test]
fn the_retry_is_exempt_also_if_it_follows_other_failures() {
    let mut life = Life::refreshing();
    life.outcome(unavailable());
    life.attempt();
    life.outcome(unknown());
    assert_eq!(wait(&life), 0);
    assert!(life.attempt().exempt);
}

#[test]
fn an_exempt_retry_that_was_throttled_is_used_up() {
    let mut life = Life::refreshing();
    life.outcome(unknown());
    life.attempt();
    life.outcome(throttled(life.now + 60 * SECOND));
    assert!(!life.attempt().exempt);
}

#[test]
fn a_retry_that_is_held_by_a_pause_or_was_not_sent_is_still_owed() {
    let held = |life: &mut Life| {
        let until = life.now + 60 * SECOND;
        life.hear(&Input::Held { until });
    };
    let not_sent = |life: &mut Life| {
        life.outcome(Outcome::NotSent);
    };
    for delay in [held as fn(&mut Life), not_sent] {
        let mut life = Life::refreshing();
        life.outcome(unknown());
        life.attempt();
        delay(&mut life);
        assert!(life.attempt().exempt);
    }
}

#[test]
fn s20_a_vanished_holder_is_an_unknown_outcome() {
    let mut life = Life::scheduled();
    let lost: Refresh = life.attempt();
    let began = life.now;
    life.now += 20 * SECOND;
    life.hear(&Input::ActivityLost(lost));
    assert_eq!(wait(&life), 0);
    assert_eq!(life.data.failures.unknown_since, Some(began));
    assert_eq!(life.data.last_attempt_at, Some(began));
}

#[test]
fn what_was_not_sent_leaves_no_mark() {
    let mut life = Life::refreshing();
    let before = life.data.clone();
    life.outcome(Outcome::NotSent);
    assert_eq!(life.data.failures, before.failures);
    assert_eq!(life.data.last_attempt_at, before.last_attempt_at);
    assert!(wait(&life) <= SECOND);
}

#[test]
fn s52_an_unknown_outcome_of_minting_leaves_no_mark() {
    let mut life = Life::unborn();
    life.name = "acme/prod@client";
    let mut new = grant("unused");
    (new.refresh_token, new.expires_at) = (None, None);
    life.signal(Signal::Connect(new));
    life.attempt();
    life.outcome(unknown());
    assert_eq!((life.data.failures.unknown_since, wait(&life)), (None, 0));
}

#[test]
fn who_found_no_place_keeps_its_turn_among_those_that_are_due() {
    let mut life = Life::scheduled();
    let due = life.timer.unwrap();
    life.now = due + HOUR;
    life.hear(&Input::TimerFired);
    life.hear(&Input::Held { until: NO_PLACE });
    assert_eq!(life.timer, Some(due));
}

#[test]
fn who_is_turned_away_comes_again_in_a_while_and_behind_no_pause() {
    let mut life = Life::scheduled();
    life.now = life.timer.unwrap() + HOUR;
    life.hear(&Input::TimerFired);
    life.hear(&Input::Held { until: 1_500 });
    assert_eq!(life.timer, Some(life.now + 1_500));
    let Phase::Scheduled { not_before, .. } = &life.phase else {
        panic!("{:?}", life.phase);
    };
    assert_eq!(*not_before, None);
}

#[test]
fn only_the_first_token_of_somebody_who_connects_goes_through_an_open_breaker() {
    let mut life = Life::unborn();
    life.name = "acme/prod@client";
    let mut new = grant("unused");
    (new.refresh_token, new.expires_at) = (None, None);
    life.signal(Signal::Connect(new));
    assert!(life.attempt().connecting);
    life.refreshed("unused");
    assert!(!life.attempt().connecting);
    assert!(!Life::scheduled().attempt().connecting);
}

#[test]
fn s34_a_throttled_request_is_no_strike() {
    let mut life = Life::refreshing();
    let until = life.now + 120 * SECOND;
    life.outcome(throttled(until));
    assert_eq!(life.data.failures.consecutive, 0);
    assert!((120 * SECOND..=122 * SECOND).contains(&wait(&life)));
    assert!(life.told.is_empty());
}

#[test]
fn behind_a_pause_the_soonest_expiry_comes_first() {
    let place = |left: i64| {
        let mut life = Life::refreshing();
        let expires_at = life.now.checked_add_signed(left * 1_000);
        life.data.grant.as_mut().unwrap().expires_at = expires_at;
        life.data.expiring_told = Some(1);
        let until = life.now + 30 * SECOND;
        life.hear(&Input::Held { until });
        life.timer.unwrap() - until
    };
    let places: Vec<_> = [-9_999, -300, -10, 10, 900, 9_999].map(place).into();
    assert!(places.is_sorted() && places[0] < places[1] && places[1] < places[2]);
    assert!(
        places[5] <= 5 * SECOND,
        "all within a few seconds: {places:?}"
    );
}

#[test]
fn a_pause_changes_neither_what_the_attempt_is_for_nor_what_a_person_is_told() {
    let until = START + 9 * HOUR;
    let mut life = Life::active();
    life.attempt();
    life.hear(&Input::Held { until });
    let attention = Attention::ClientRejected;
    assert_eq!(life.phase, Phase::Active { attention });
    assert!(
        life.timer.is_some_and(|at| at <= life.now),
        "goes on after it"
    );

    let mut life = Life::reconnect_required();
    life.signal(Signal::Reset);
    life.attempt();
    life.hear(&Input::Held { until });
    let probe = matches!(
        life.phase,
        Phase::Scheduled {
            purpose: Purpose::Probe,
            ..
        }
    );
    assert!(probe, "{:?}", life.phase);
}

#[test]
fn s34_nobody_shortens_a_pause() {
    for throttles_itself in [true, false] {
        let mut life = Life::refreshing();
        let until = life.now + 120 * SECOND;
        if throttles_itself {
            life.outcome(throttled(until));
        } else {
            life.hear(&Input::Held { until });
        }
        let planned = wait(&life);
        life.settings.refresh_buffer = Some(std::time::Duration::from_secs(60));
        for signal in [
            refresh_now(Source::Lazy, 9),
            refresh_now(Source::Operator, 9),
            Signal::ConfigurationChanged,
        ] {
            life.signal(signal);
            assert_eq!(wait(&life), planned);
        }
        life.signal(Signal::Reset);
        assert_eq!(wait(&life), 120 * SECOND);
        life.attempt();
        assert!(life.now >= until);
    }
}

#[test]
fn back_off_is_shortened_by_an_operator_and_by_nobody_else() {
    let mut life = Life::refreshing();
    life.outcome(unavailable());
    let before = life.phase.clone();
    life.signal(refresh_now(Source::Lazy, 1));
    assert_eq!(life.phase, before);
    life.signal(refresh_now(Source::Operator, 1));
    assert_eq!(wait(&life), 0);
}

#[test]
fn a_wish_of_a_generation_that_was_left_behind_changes_nothing() {
    let mut life = Life::refreshing();
    life.refreshed("R1");
    let before = life.phase.clone();
    for source in [Source::Lazy, Source::Operator] {
        life.signal(refresh_now(source, 0));
    }
    assert_eq!(life.phase, before);
}

#[test]
fn a_wish_of_a_grant_that_was_replaced_changes_nothing() {
    let mut life = Life::refreshing();
    life.refreshed("R1");
    let mut other = grant("N0");
    other.grant = "ffffffffffffffff".parse().unwrap();
    life.signal(Signal::Connect(other));
    let before = life.phase.clone();
    // Of the grant before it, whose generation was ahead of this one's.
    for source in [Source::Lazy, Source::Operator] {
        life.signal(refresh_now(source, 1));
    }
    assert_eq!(life.phase, before);
    // Whoever saw no grant, as earlier releases did not say which, is heard.
    let wish = Signal::RefreshNow {
        source: Source::Operator,
        grant: None,
        generation: 0,
    };
    life.signal(wish);
    assert_eq!(wait(&life), 0);
}

#[test]
fn a_reset_keeps_the_mark_of_an_unknown_outcome() {
    let mut life = Life::refreshing();
    life.outcome(unknown());
    life.attempt();
    life.outcome(rejected());
    let since = life.data.failures.unknown_since;
    assert!(since.is_some());
    life.signal(Signal::Reset);
    assert_eq!(life.data.failures.unknown_since, since);
    life.attempt();
    life.outcome(rejected());
    let reason = Reason::RotationLost;
    assert_eq!(life.phase, Phase::ReconnectRequired { reason });
}
