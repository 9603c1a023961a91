//! What is told to the outside, and how often.

use evergreen_engine::Input;

use super::bench::*;
use crate::lifecycle::{Outcome, Phase, Purpose, Signal, Source, timing};
use crate::provider::Attention;

#[test]
fn s12_s19_a_success_is_told_once_and_a_recovery_only_after_a_failure_was_told() {
    let mut life = Life::refreshing();
    life.refreshed("R1");
    assert_eq!(life.told, ["REFRESHED", "REFRESH_SCHEDULED"]);
    life.told.clear();
    life.attempt();
    life.outcome(unavailable());
    assert!(life.told.is_empty(), "one failure is weather");
    life.attempt();
    life.outcome(unavailable());
    assert_eq!(life.told, ["REFRESH_FAILED"]);
    for _ in 0..5 {
        life.attempt();
        life.outcome(unavailable());
    }
    assert_eq!(life.count("REFRESH_FAILED"), 1, "once a streak");
    life.told.clear();
    life.attempt();
    life.refreshed("R2");
    assert_eq!(life.told, ["REFRESHED", "RECOVERED", "REFRESH_SCHEDULED"]);
    assert_eq!(life.data.failures.consecutive, 0);
}

#[test]
fn s30_a_verdict_is_told_once() {
    let mut life = Life::refreshing();
    life.outcome(rejected());
    for _ in 0..100 {
        life.signal(refresh_now(Source::Lazy, 1));
        life.signal(refresh_now(Source::Operator, 1));
        life.signal(Signal::ConfigurationChanged);
    }
    assert_eq!(life.told, ["REFRESH_FAILED", "RECONNECT_REQUIRED"]);
    assert_eq!(life.timer, None);
}

#[test]
fn s32_a_wrong_configuration_is_told_once_however_often_it_is_looked_at_again() {
    let mut life = Life::refreshing();
    for _ in 0..5 {
        life.outcome(misconfigured(Attention::ClientUnknown));
        assert!(matches!(life.phase, Phase::Active { .. }));
        life.attempt();
    }
    assert_eq!(life.told, ["REFRESH_FAILED"]);
    life.outcome(misconfigured(Attention::ClientRejected));
    assert_eq!(life.count("REFRESH_FAILED"), 2, "another trouble is news");
    assert_eq!(life.data.failures.consecutive, 6);
    life.attempt();
    life.refreshed("R1");
    assert_eq!(life.count("RECOVERED"), 1);
}

#[test]
fn s37_a_certificate_that_stays_wrong_for_a_day_is_told_as_a_configuration_too() {
    let mut life = Life::refreshing();
    let began = life.now;
    let tls = || Outcome::Unavailable {
        detail: detail("tls"),
        sent: false,
        tls: true,
        unclassified: false,
    };
    while !matches!(life.phase, Phase::Active { .. }) {
        life.outcome(tls());
        assert_eq!(life.data.warning.as_deref(), Some("tls_error"));
        if matches!(life.phase, Phase::Scheduled { .. }) {
            life.attempt();
        }
    }
    assert!(life.now - began >= timing::TLS_PATIENCE);
    let failed = life.count("REFRESH_FAILED");
    assert_eq!(failed, 2, "one retryable, one that needs a person");
    assert_eq!(life.told.last().map(String::as_str), Some("REFRESH_FAILED"));
}

#[test]
fn s39_five_unclassified_rejections_and_expiry_need_a_person() {
    let odd = || Outcome::Unavailable {
        detail: detail("foo"),
        sent: true,
        tls: false,
        unclassified: true,
    };
    let mut life = Life::refreshing();
    for n in 1..=4 {
        life.outcome(odd());
        assert_eq!(life.data.failures.consecutive, n);
        life.attempt();
    }
    life.outcome(odd());
    assert!(
        matches!(life.phase, Phase::Scheduled { .. }),
        "A0 is valid still"
    );
    life.now = START + HOUR;
    life.attempt();
    life.outcome(odd());
    let attention = Attention::Unclassified;
    assert_eq!(life.phase, Phase::Active { attention });
    assert_eq!(life.data.failures.consecutive, 6, "counted once each");
}

#[test]
fn s64_the_middle_of_the_buffer_is_told_once_a_generation() {
    let fail_for = |life: &mut Life, span| {
        let until = life.now + span;
        while life.now < until || !matches!(life.phase, Phase::Refreshing { .. }) {
            match life.phase {
                Phase::Refreshing { .. } => life.outcome(unavailable()),
                _ => life.fire(),
            };
        }
    };
    let mut life = Life::refreshing();
    fail_for(&mut life, 2 * HOUR);
    assert_eq!(life.count("EXPIRING"), 1);
    assert_eq!(life.count("REFRESH_FAILED"), 1);
    // The next generation has an end of its own.
    life.refreshed("R1");
    fail_for(&mut life, 2 * HOUR);
    assert_eq!(life.count("EXPIRING"), 2);
}

#[test]
fn s64_it_is_told_also_if_the_middle_passes_during_an_attempt_or_a_pause() {
    let expires_at = START + HOUR;
    let mut life = Life::refreshing();
    life.now = expires_at - 60 * SECOND;
    life.outcome(unavailable());
    assert_eq!(life.told, ["EXPIRING"]);

    let mut life = Life::refreshing();
    let until = expires_at + HOUR;
    life.hear(&Input::Held { until });
    let middle = expires_at - timing::buffer(HOUR, false, &life.settings) / 2;
    assert_eq!(life.timer, Some(middle), "heard in time");
    life.fire();
    assert_eq!(life.told, ["EXPIRING"]);
    assert!(life.timer >= Some(until), "and still behind the pause");
}

#[test]
fn an_expired_token_from_outside_is_refreshed_without_a_word_about_its_end() {
    let mut life = Life::unborn();
    let mut new = grant("R0");
    new.expires_at = Some(START - SECOND);
    life.signal(Signal::Connect(new));
    life.attempt();
    life.refreshed("R1");
    assert_eq!(life.count("EXPIRING"), 0);
}

#[test]
fn s64_the_age_of_a_refresh_token_is_told_once() {
    let mut life = Life::scheduled();
    let warns_at = START + timing::REFRESH_TOKEN_AGE - timing::REFRESH_TOKEN_WARNING;
    // The provider never rotates, and the fleet is asked often.
    for n in 0..40 {
        life.now = warns_at - 20 * HOUR + n * HOUR;
        life.timer = Some(life.now);
        if let Phase::Scheduled { at, .. } = &mut life.phase {
            *at = life.now;
        }
        life.attempt();
        life.refreshed("R0");
    }
    assert_eq!(life.count("EXPIRING"), 1);
    // It is told in time also if nothing succeeds meanwhile.
    let mut life = Life::refreshing();
    life.data.grant.as_mut().unwrap().refresh_token_at = life.now - timing::REFRESH_TOKEN_AGE;
    life.outcome(unavailable());
    assert_eq!(life.told, ["EXPIRING"]);
}

#[test]
fn s3_other_settings_move_the_timer_and_the_same_do_not() {
    let mut life = Life::scheduled();
    let planned = life.timer;
    life.signal(Signal::ConfigurationChanged);
    assert_eq!((life.timer, life.told.len()), (planned, 0));
    life.settings.refresh_buffer = Some(std::time::Duration::from_secs(300));
    life.signal(Signal::ConfigurationChanged);
    let jitter = 150 * SECOND;
    assert_eq!(life.timer, Some(START + 55 * 60 * SECOND - jitter));
    assert_eq!(life.told, ["REFRESH_SCHEDULED"]);
    // A retry is not planned by the buffer.
    life.attempt();
    life.outcome(unavailable());
    let retry = life.timer;
    life.settings.refresh_buffer = None;
    life.signal(Signal::ConfigurationChanged);
    assert_eq!(life.timer, retry);
}

#[test]
fn s14_a_success_is_never_followed_by_another_request_within_the_minimum_delay() {
    let mut life = Life::refreshing();
    let mut issued = life.issued("R1");
    issued.expires_at = None;
    life.outcome(Outcome::Refreshed(Box::new(issued)));
    let Phase::Scheduled { purpose, at, .. } = life.phase else {
        panic!("{:?}", life.phase);
    };
    assert_eq!(purpose, Purpose::Refresh);
    assert_eq!(at, life.now + timing::MIN_DELAY);
    assert_eq!(life.told, ["REFRESHED", "REFRESH_SCHEDULED"]);
    let grant = life.data.grant.as_ref().unwrap();
    assert_eq!(grant.expires_at, Some(START + HOUR), "the old one is kept");
}

#[test]
fn a_token_of_another_type_is_stored_not_handed_out_and_told_once() {
    let mut life = Life::refreshing();
    for (n, token) in ["R1", "R2", "R3"].into_iter().enumerate() {
        let mut issued = life.issued(token);
        issued.bearer = false;
        life.outcome(Outcome::Refreshed(Box::new(issued)));
        let attention = Attention::TokenType;
        assert_eq!(life.phase, Phase::Active { attention });
        assert_eq!(life.generation(), n as u64 + 1);
        life.attempt();
    }
    assert_eq!(life.count("REFRESH_FAILED"), 1);
    life.refreshed("R4");
    assert_eq!(
        (life.count("RECOVERED"), life.phase.name()),
        (1, "Scheduled")
    );
}

#[test]
fn s33_after_a_changed_app_a_rejection_speaks_of_the_app() {
    let mut life = Life::scheduled();
    life.settings.client_id = Some("another-app".to_owned());
    life.attempt();
    life.outcome(rejected());
    let attention = Attention::ClientChanged;
    assert_eq!(life.phase, Phase::Active { attention });
    assert_eq!(life.told, ["REFRESH_FAILED"]);
}

#[test]
fn a_disconnected_integration_is_remembered_for_its_retention_and_then_gone() {
    let mut life = Life::scheduled();
    life.settings.retention = std::time::Duration::from_secs(3_600);
    life.signal(disconnect());
    assert_eq!(life.timer, Some(life.now + HOUR));
    // What comes late meets the tombstone, and does not make it stay longer.
    life.now += HOUR / 2;
    let heard = life.signal(Signal::Rescued(rescued("R1", 0)));
    assert!(!heard.effects.is_finish());
    assert_eq!(life.timer, Some(life.now + HOUR / 2));
    assert!(life.fire().effects.is_finish());
    // Whoever connects meanwhile has a grant, and not one that ends with the tombstone.
    let mut life = Life::disconnected();
    life.signal(Signal::Connect(grant("N0")));
    let planned = life.timer.unwrap();
    assert!(planned < life.now + HOUR);
    assert!(!life.fire().effects.is_finish());
}
