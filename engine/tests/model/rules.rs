//! The rules of the protocol as switches: each can be left out, alone, to see what breaks.

/// Declares [`Rules`] and tells of each its number in the protocol, whether it is marked there, and
/// what it says.
macro_rules! rules {
    ($($name:ident $number:literal $marked:literal $text:literal)*) => {
        /// Which rules are kept.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) struct Rules {
            $(#[doc = $text] pub(crate) $name: bool,)*
        }

        /// A rule as people know it.
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct Rule {
            /// The field of [`Rules`].
            pub(crate) name: &'static str,
            /// Where the protocol states it.
            pub(crate) number: &'static str,
            /// Whether the protocol says that leaving it out must make a test fail.
            pub(crate) marked: bool,
            /// What it says.
            pub(crate) text: &'static str,
        }

        /// All rules, in the protocol's order.
        pub(crate) const RULES: &[Rule] = &[
            $(Rule { name: stringify!($name), number: $number, marked: $marked, text: $text },)*
        ];

        impl Rules {
            /// The protocol.
            pub(crate) const ALL: Self = Self { $($name: true,)* };

            /// The protocol without one rule.
            pub(crate) fn without(name: &str) -> Self {
                let mut rules = Self::ALL;
                match name {
                    $(stringify!($name) => rules.$name = false,)*
                    other => panic!("there is no rule {other}"),
                }
                rules
            }
        }
    };
}

rules! {
    wanted_score "1" true "the reconciler compares with the whole wanted score: a lease, an inbox, an activity count"
    grant_id "1" true "grants are compared by an id drawn at random, not by their epoch"
    claim_by_record "2.1" false "a claim is judged by the record, whatever the index says"
    due_is_not_wake_at "1" false "the score says when a worker may look, `wake_at` when the timer fires"
    fence_checked "2.2" true "a commit whose fence is not the holder's is refused"
    claim_id "2.2" true "the fence is a number and a claim id"
    idempotent_commit "2.2" false "a commit that is sent again is answered `already`"
    strict_intent "2.3" true "an intent is not written while unheard signals wait"
    heard_is_there "2.3" false "a commit that has heard signals which the store has lost is refused"
    strict_verdict "2.3" true "a verdict is not written while unheard signals wait"
    effects_of_last_state "2.4" true "what is performed, and when the timer fires, is what the last state asks for"
    timer_after_signals "2.4" true "the timer is judged as it stands after the signals"
    signal_makes_due "2.5" true "a signal adds the entry in the index"
    commit_sees_inbox "2.5" true "the holder's commit makes a workflow due whose inbox is not empty"
    preemptive_ends_lease "2.5" true "`Connect` and `Disconnect` end the lease and mint a fence"
    barrier "2.5" true "a token read that sees the barrier serves nothing before the signal was heard"
    preemptive_unparks "2.5" true "a pre-emptive signal un-parks"
    parked_is_erased "2.5" false "where a pre-emptive signal could not be heard, what is sealed goes with the parking"
    spare_after_new_run "2.8" false "for one lease after a new run id nothing is claimed that somebody owns"
    careful_at_start "2.8" false "the store notes which run was seen last: a process that starts is as careful as one that lived"
    notice_first "2.8" false "nothing goes to a server whose run id the worker has not looked at"
    trust_from_before "3.10" false "trust counts from before the claim was sent"
    trust_checked "3.10" false "trust is checked immediately before the first byte"
    one_retry "3.11" false "after an unknown outcome one retry leaves at once, not one after another"
    read_on "3.12" false "a reply past its deadline is read on, and a pair in it delivered"
    not_sent "3.12" false "where surely nothing left, `NotSent` is committed"
    refresh_generation "3.14" true "`RefreshNow` carries the generation that the caller saw"
    intent_first "4.15" true "the intent is written before the request leaves"
    wait_for_replicas "4.15" true "an intent is acknowledged when the replicas have it"
    caution_in_verdicts "4.15" true "for a while after a new run id a rejection counts as one after an unknown outcome"
    doubt_outlasts_caution "4.15" false "that while is two leases: for one, what a holder left behind is spared"
    rotation_lost "3.12" false "a rejection after an unknown outcome is `rotation_lost`"
    wait_own_connection "4.16" false "the wait goes over the connection that wrote"
    journal "4.17" true "a pair is journalled between the reply and the commit"
    journal_kept "4.17" true "an entry goes when what it holds is confirmed, not before"
    replay_at_start "4.17" true "the journal is replayed at the start"
    replay_on_new_run "4.17" true "the journal is replayed on each new run id, by every worker"
    replayed_is_kept "4.17" true "an entry that was replayed is kept as any other until what it holds is confirmed"
    redeliver_fenced "4.17" true "a pair whose commit was fenced comes back as `Rescued`"
    rescued_not_when_disconnected "4.18" true "`Rescued` changes nothing in `Disconnected`"
    rescued_by_generation "4.18" true "only a pair of the stored generation or above is adopted"
    rescued_heals "4.18" true "an adopted pair heals `ReconnectRequired`"
    rescued_known_dropped "4.18" true "a pair that is stored or spent is not kept apart"
    rescued_kept_apart "4.18" true "a pair that is older and unknown is kept apart and tried before a verdict"
    only_success_redelivered "4.18" true "a rejection that was fenced is not delivered again"
    connect_idempotent "5.21" false "the same consent twice is once"
    connect_once "5.21" false "a consent that is sent again ends no lease again"
    reset_is_marked "5.23" false "a verdict holds until a reset: nothing is sent before"
    pause_kept "6.25" false "nothing is sent to a host that wants to be left alone"
    park_after_attempts "7.27" false "a workflow whose holders keep vanishing is parked"
    parked_stays_out "deviation 1" false "a parked workflow has no entry, whatever its inbox holds"
    given_back_is_leased "deviation 2" false "giving back for a while is a lease that nobody holds"
    pause_in_state "deviation 3" false "a pause lies in the state, so what is to be said meanwhile is said"
}
