//! With all rules nothing breaks: every configuration, every state.

use super::check::look;
use super::configs::{self, grown};
use super::promises::{LIMITS, Promise};
use super::rules::Rules;
use super::world::Config;

fn holds(config: Config) {
    let promised: Vec<Promise> = (Promise::ALL.iter().copied())
        .filter(|promise| !config.except.contains(promise) && !LIMITS.contains(promise))
        .collect();
    if let Some((promise, broken)) = look(Rules::ALL, grown(config), &promised) {
        panic!("{}: {}\n{}", config.name, promise.text(), broken.tell());
    }
}

macro_rules! holds {
    ($($test:ident $config:ident)*) => {
        $(#[test]
        fn $test() {
            holds(configs::$config);
        })*

        #[test]
        fn every_configuration_is_looked_at() {
            let looked_at = [$(configs::$config.name,)*];
            for config in configs::CONFIGS {
                assert!(looked_at.contains(&config.name), "{} is not", config.name);
            }
        }
    };
}

holds! {
    with_pauses PAUSES
    with_slow_claims SLOW
    with_crashes CRASHES
    with_lost_replies LOST
    with_a_failover FAILOVER
    with_a_failover_and_wishes WISHED
    with_a_failover_without_acknowledgement UNVOUCHED
    with_a_failover_without_acknowledgement_and_a_crash BOTH
    with_a_restart_after_a_failover RESTARTED
    with_connect_and_disconnect PEOPLE
    with_a_consent_delivered_twice TWICE
    with_a_disconnect_and_a_crash ENDED
    with_an_emptied_store EMPTIED
    with_wishes WISHES
    with_a_reset RESET
    with_a_reader READER
    with_entries_that_age AGING
    with_callers CALLERS
    with_refusals REFUSED
    with_a_damaged_index DAMAGED
    with_a_workflow_that_kills POISON
    with_an_older_worker OLD
    with_a_host_that_throttles THROTTLED
    with_a_lenient_provider LENIENT
    with_something_to_look_at ATTENTION
    with_nothing_due IDLE
}
