//! Each rule that is marked in the protocol, left out: in a script, or by whoever keeps it here. The
//! random schedules must notice every one.

/// A rule that is not kept by the scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slip {
    /// A rescued pair is taken whatever grant it is of.
    GrantsByNumber,
    /// Also by a tombstone.
    TombstoneAdopts,
    /// Intents and verdicts are written over signals that wait.
    NothingIsStrict,
    /// What a state before the last one asked for is performed.
    EffectsOfAnyState,
    /// A caller is answered with a refresh though the generation has moved on.
    MovedOnIsRefreshed,
    /// A request leaves without its intent.
    IntentIsNotWritten,
    /// An intent counts without the replica.
    IntentOnOneServer,
    /// A pair counts as safe without the replica.
    PairOnOneServer,
    /// Nothing is journalled.
    NoJournal,
    /// Nothing is replayed at start.
    NoReplayAtStart,
    /// A pair whose commit is fenced is thrown away.
    FencedIsForgotten,
    /// A rescued pair whose base is above the stored generation is not adopted.
    OnlyTheNextIsAdopted,
    /// A rescued pair below the stored generation is thrown away.
    NothingIsKeptApart,
    /// A rejection after a restored backup is taken at its word.
    NoDoubtAfterRestore,
    /// The request leaves whenever its turn comes.
    TrustIsNotLookedAt,
}

/// How a rule is left out.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mutation {
    /// By whoever keeps it here.
    Slip(Slip),
    /// In a script: what stands there, and what is put in its place.
    Lua(&'static str, &'static str, &'static str),
}

/// A rule, and the test that leaves it out.
pub(crate) struct Rule {
    /// Where the protocol says it.
    pub(crate) number: &'static str,
    /// The test.
    pub(crate) test: &'static str,
    pub(crate) mutation: Mutation,
}

macro_rules! rules {
    ($($number:literal $test:ident $mutation:expr;)*) => {
        /// Every rule that is left out somewhere.
        pub(crate) const RULES: &[Rule] = &[$(Rule {
            number: $number,
            test: stringify!($test),
            mutation: $mutation,
        }),*];

        mod left_out {
            $(#[test]
            fn $test() {
                crate::must_be_noticed(stringify!($test));
            })*
        }
    };
}

use Mutation::{Lua, Slip as By};

rules! {
    "1" reconcile_overlooks_the_holder Lua("reconcile",
        "    if owner then\n      wanted = lease_until\n    elseif", "    if");
    "1" reconcile_overlooks_what_waits Lua("reconcile",
        "elseif activity or (signals_wait and redis.call('EXISTS', inboxes[i]) == 1) then",
        "elseif false then");
    "1" a_grant_is_known_by_its_number By(Slip::GrantsByNumber);
    "2" the_fence_is_a_number Lua("commit", "or held_claim ~= claim then", "then");
    "2" no_fence_is_checked Lua("commit",
        "if not owner or held_fence ~= fence or held_claim ~= claim then", "if false then");
    "2" a_commit_is_not_idempotent Lua("commit", "if last_commit == commit then", "if false then");
    "2" a_commit_is_written_onto_any_state Lua("commit",
        "if (last_commit or '') ~= follows then", "if false then");
    "2" the_final_commit_keeps_the_claim Lua("commit",
        "redis.call('HDEL', wf, 'owner', 'claim', 'lease_until')\n",
        "redis.call('HDEL', wf, 'lease_until')\n");
    "3" nothing_is_strict By(Slip::NothingIsStrict);
    "3" the_script_knows_no_strictness Lua("commit",
        "if (strict or finish) and waiting > consumed then", "if false then");
    "3" a_lost_signal_is_taken_for_another Lua("commit",
        "if last_heard ~= '' and redis.call('LINDEX'", "if false and redis.call('LINDEX'");
    "4" effects_of_any_state_are_performed By(Slip::EffectsOfAnyState);
    "5" a_pre_emptive_signal_waits Lua("signal",
        "if preemptive or ends then", "if ends then");
    "5" a_pre_emptive_signal_mints_no_fence Lua("signal",
        "  redis.call('HINCRBY', wf, 'fence', 1)\n", "");
    "5" a_pre_emptive_signal_leaves_no_barrier Lua("signal",
        "redis.call('HSET', wf, 'attempt', 0, 'barrier', 1, 'ahead', length)",
        "redis.call('HSET', wf, 'attempt', 0)");
    "5" a_signal_sent_again_ends_the_lease_again Lua("signal",
        "if preemptive and once ~= '' and last == once then", "if false then");
    "5" a_signal_shortens_the_lease Lua("signal",
        "if not owner and not reason then", "if not reason then");
    "5" the_commit_overlooks_the_inbox Lua("commit",
        "elseif waiting > consumed or activity ~= '' then", "elseif activity ~= '' then");
    "10" trust_is_not_looked_at By(Slip::TrustIsNotLookedAt);
    "14" who_has_moved_on_is_refreshed By(Slip::MovedOnIsRefreshed);
    "15" no_intent_is_written By(Slip::IntentIsNotWritten);
    "15" an_intent_is_on_one_server By(Slip::IntentOnOneServer);
    "17" a_pair_is_on_one_server By(Slip::PairOnOneServer);
    "17" nothing_is_journalled By(Slip::NoJournal);
    "17" nothing_is_replayed_at_start By(Slip::NoReplayAtStart);
    "17" a_fenced_pair_is_forgotten By(Slip::FencedIsForgotten);
    "17" a_replay_does_not_end_the_lease Lua("signal",
        "claim == ends_claim", "false");
    "18" a_tombstone_adopts By(Slip::TombstoneAdopts);
    "18" only_the_next_generation_is_adopted By(Slip::OnlyTheNextIsAdopted);
    "18" nothing_is_kept_apart By(Slip::NothingIsKeptApart);
    "20" a_restored_store_is_believed By(Slip::NoDoubtAfterRestore);
    "26" the_timer_is_taken_for_visibility Lua("commit",
        "wanted = visible_at ~= '' and visible_at or wake_at", "wanted = wake_at");
    "26" a_claim_takes_the_timer_for_visibility Lua("claim",
        "local wanted = visible_at or wake_at", "local wanted = wake_at or visible_at");
}
