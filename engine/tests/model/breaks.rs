//! Without a rule something breaks: which promise, and the shortest way there, in words.

use super::check::look;
use super::configs;
use super::promises::Promise;
use super::rules::Rules;
use super::world::Config;

/// What shows that a rule is needed.
pub(crate) struct Break {
    pub(crate) rule: &'static str,
    pub(crate) config: Config,
    pub(crate) promise: Promise,
    pub(crate) test: &'static str,
}

fn breaks(rule: &str, config: Config, promise: Promise) {
    assert!(
        !config.except.contains(&promise),
        "it is not promised there anyway"
    );
    let Some((found, broken)) = look(Rules::without(rule), config, &[promise]) else {
        panic!("without {rule} nothing breaks");
    };
    println!(
        "without {rule}: \"{}\" does not hold\n{}",
        found.text(),
        broken.tell()
    );
}

macro_rules! breaks {
    ($($test:ident $rule:ident $config:ident $promise:ident)*) => {
        /// One line for each rule.
        pub(crate) const BREAKS: &[Break] = &[$(Break {
            rule: stringify!($rule),
            config: configs::$config,
            promise: Promise::$promise,
            test: stringify!($test),
        },)*];

        $(#[test]
        fn $test() {
            breaks(stringify!($rule), configs::$config, Promise::$promise);
        })*
    };
}

breaks! {
    a_reconciler_that_sees_only_the_timer wanted_score CRASHES Indexed
    grants_compared_by_their_epoch grant_id EMPTIED NewGrantStays
    a_claim_that_trusts_the_index claim_by_record DAMAGED OneHolder
    a_timer_read_from_the_score due_is_not_wake_at CALLERS NoneEarly
    a_commit_without_its_fence fence_checked CRASHES NoStaleCommit
    a_fence_that_is_a_number_alone claim_id FAILOVER NoStaleCommit
    a_commit_that_is_written_twice idempotent_commit LOST WrittenOnce
    an_intent_beside_unheard_signals strict_intent PAUSES SentOnce
    a_signal_taken_for_one_that_was_lost heard_is_there WISHED HeardOnce
    a_verdict_beside_unheard_signals strict_verdict PAUSES NoVerdictUnread
    what_an_earlier_state_asked_for effects_of_last_state ATTENTION AtOnce
    a_timer_judged_before_the_signals timer_after_signals TWICE NoneReplaced
    a_signal_that_nobody_sees signal_makes_due CALLERS Indexed
    a_commit_that_does_not_see_the_inbox commit_sees_inbox PAUSES Indexed
    a_disconnect_that_waits_for_the_holder preemptive_ends_lease PEOPLE AtOnce
    a_token_served_behind_the_barrier barrier READER AtOnce
    a_disconnect_that_stays_parked preemptive_unparks POISON AtOnce
    a_parked_workflow_that_keeps_what_was_ended parked_is_erased POISON ErasedUnheard
    a_takeover_by_another_servers_clock spare_after_new_run FAILOVER OneHolder
    a_takeover_by_a_process_that_has_just_started careful_at_start RESTARTED OneHolder
    a_takeover_before_the_new_server_is_noticed notice_first FAILOVER OneHolder
    trust_that_counts_from_the_reply trust_from_before SLOW OneHolder
    a_request_sent_without_looking trust_checked PAUSES WithinTrust
    one_retry_after_another one_retry PAUSES SentOnce
    a_late_reply_that_is_thrown_away read_on REFUSED PairKept
    a_request_that_surely_did_not_leave not_sent REFUSED LossIsTrue
    callers_refreshing_one_after_another refresh_generation CALLERS NoneNeedless
    a_request_without_an_intent intent_first CRASHES SentOnce
    an_intent_that_nobody_vouches_for wait_for_replicas FAILOVER SentOnce
    a_verdict_right_after_a_failover caution_in_verdicts UNVOUCHED RevokedIsTrue
    a_verdict_by_whoever_takes_over doubt_outlasts_caution UNVOUCHED RevokedIsTrue
    a_rejection_after_an_unknown_outcome rotation_lost CRASHES RevokedIsTrue
    a_wait_over_another_connection wait_own_connection FAILOVER SentOnce
    a_pair_that_is_only_in_memory journal CRASHES PairKept
    an_entry_that_goes_too_early journal_kept FAILOVER PairKept
    a_start_without_a_replay replay_at_start CRASHES PairKept
    a_failover_without_a_replay replay_on_new_run UNVOUCHED PairKept
    an_entry_that_goes_with_its_replay replayed_is_kept BOTH PairKept
    a_fenced_pair_that_is_dropped redeliver_fenced PAUSES PairKept
    a_pair_adopted_after_a_disconnect rescued_not_when_disconnected ENDED StaysDisconnected
    an_older_pair_that_is_adopted rescued_by_generation AGING PairKept
    a_verdict_that_nothing_heals rescued_heals PAUSES NoneCondemned
    a_spent_pair_that_is_kept_apart rescued_known_dropped AGING SentOnce
    an_unknown_pair_that_is_dropped rescued_kept_apart LENIENT PairKept
    a_late_rejection_that_condemns only_success_redelivered PAUSES NoneCondemned
    a_consent_that_counts_twice connect_idempotent TWICE PairKept
    a_consent_that_ends_the_lease_again connect_once TWICE SentOnce
    a_request_after_a_verdict reset_is_marked WISHES SilentAfterVerdict
    a_pause_that_is_shortened pause_kept THROTTLED PauseKept
    a_workflow_that_kills_the_fleet park_after_attempts POISON FleetSurvives
    a_parked_workflow_that_a_signal_makes_due parked_stays_out POISON ParkedLeftAlone
    a_record_that_is_given_back_by_a_visibility_time given_back_is_leased OLD GivenBackLeftAlone
    a_pause_in_the_visibility_time pause_in_state THROTTLED SaidInTime
}
