//! The configurations: small worlds that together meet every rule.
//!
//! Each is looked at exhaustively. Two workers, one workflow, one provider; what may go wrong is
//! counted, how long anything takes is not. A bigger look is had by giving more of each:
//! [`Config::grown`].

use super::promises::Promise;
use super::state::*;
use super::world::Config;

/// Nothing goes wrong, but processes stop for as long as they like.
const NONE: Left = Left {
    crashes: 0,
    lost_replies: 0,
    timeouts: 0,
    failovers: 0,
    emptied: 0,
    consents: 0,
    disconnects: 0,
    refreshes: 0,
    resets: 0,
    reads: 0,
    revocations: 0,
    damages: 0,
    unavailable: 0,
    throttles: 0,
};

const PLAIN: Config = Config {
    name: "pauses",
    left: NONE,
    rotations: 2,
    replicated: true,
    slow_claims: false,
    old_worker: false,
    active: false,
    idle: false,
    alone: false,
    lenient: false,
    word: FAR,
    park_after: FAR,
    prompt: false,
    deepest: 0,
    except: &[],
};

macro_rules! configs {
    ($($(#[doc = $doc:literal])* $constant:ident $name:literal $($field:ident: $value:expr),* ; $($what:ident: $often:literal),*;)*) => {
        $($(#[doc = $doc])* pub(crate) const $constant: Config = Config {
            name: $name,
            $($field: $value,)*
            left: Left { $($what: $often,)* ..NONE },
            ..PLAIN
        };)*

        /// All of them.
        pub(crate) const CONFIGS: &[Config] = &[$($constant,)*];
    };
}

configs! {
    /// Processes stop past their leases; nothing else.
    PAUSES "pauses" ; ;
    /// The reply of a claim takes its time.
    SLOW "slow claims" slow_claims: true, rotations: 1; ;
    /// A process dies.
    CRASHES "crashes" ; crashes: 1;
    /// Replies of the store are lost.
    LOST "lost replies" rotations: 1; lost_replies: 1, refreshes: 1;
    /// A replica that lags takes over; the replicas are asked to vouch.
    FAILOVER "failover" rotations: 1; failovers: 1;
    /// The same, while people wish for something. Too big to be looked at to its end each time.
    WISHED "failover and wishes" rotations: 1, deepest: 12; failovers: 1, refreshes: 1, resets: 1;
    /// The same as the first where nobody can be asked.
    UNVOUCHED "failover without acknowledgement" rotations: 1, replicated: false, prompt: true; failovers: 1;
    /// And the process dies; there is but one.
    BOTH "failover without acknowledgement, and a crash" rotations: 1, replicated: false, alone: true, except: &[Promise::RevokedIsTrue]; failovers: 1, crashes: 1;
    /// A process starts again after a failover. Too big to be looked at to its end each time.
    RESTARTED "failover and a restart" rotations: 1, deepest: 14; failovers: 1, crashes: 1;
    /// Entries of the journal age where nobody can vouch for a write.
    AGING "aging entries" replicated: false, alone: true; crashes: 1;
    /// People connect and disconnect while something is under way.
    PEOPLE "connect and disconnect" rotations: 1; consents: 1, disconnects: 1;
    /// A caller reads the token while people disconnect.
    READER "a reader" rotations: 1; disconnects: 1, reads: 1;
    /// A consent is delivered twice.
    TWICE "consent delivered twice" rotations: 1; consents: 2;
    /// The same, with a process that dies.
    ENDED "disconnect and crash" rotations: 1; disconnects: 1, crashes: 1;
    /// The store comes back empty, and the customer consents again.
    EMPTIED "emptied store" rotations: 1, alone: true; emptied: 1, consents: 1, crashes: 1;
    /// A caller wants a refresh, the customer revokes.
    WISHES "wishes" rotations: 1; refreshes: 1, revocations: 1;
    /// The customer revokes, an operator resets.
    RESET "reset" rotations: 1; revocations: 1, resets: 1;
    /// Two callers see the same token, and each wants a new one.
    CALLERS "callers" rotations: 1, idle: true; refreshes: 2;
    /// Requests that are surely not processed, and one that was revoked.
    REFUSED "refused" rotations: 1; unavailable: 1, revocations: 1, timeouts: 1;
    /// The index is damaged.
    DAMAGED "damaged index" rotations: 1; damages: 2, crashes: 1;
    /// Processes die of one workflow.
    POISON "poison" rotations: 1, park_after: 2, alone: true; crashes: 4, refreshes: 1, disconnects: 1;
    /// One worker is older than the record.
    OLD "older worker" rotations: 1, old_worker: true; refreshes: 1;
    /// The host throttles, and something is to be said meanwhile.
    THROTTLED "throttled" rotations: 1, word: 2; throttles: 1, refreshes: 1;
    /// The provider answers a spent token once more.
    LENIENT "lenient provider" rotations: 1, lenient: true; crashes: 1;
    /// It begins with something that a person must look at.
    ATTENTION "attention" rotations: 1, active: true; refreshes: 1, disconnects: 1;
    /// It begins with nothing due.
    IDLE "idle" rotations: 1, idle: true; consents: 1, disconnects: 1;
}

/// A bigger look: with `EVERGREEN_MODEL_DEPTH=n` everything that may go wrong may do so `n` times more,
/// and `n` rotations more are planned.
pub(crate) fn grown(mut config: Config) -> Config {
    let Ok(text) = std::env::var("EVERGREEN_MODEL_DEPTH") else {
        return config;
    };
    let by: u8 = text
        .parse()
        .expect("EVERGREEN_MODEL_DEPTH is a small number");
    let left = &mut config.left;
    for often in [
        &mut left.crashes,
        &mut left.lost_replies,
        &mut left.timeouts,
        &mut left.failovers,
        &mut left.disconnects,
        &mut left.refreshes,
        &mut left.resets,
        &mut left.reads,
        &mut left.damages,
        &mut left.unavailable,
        &mut left.throttles,
    ] {
        if *often > 0 {
            *often += by;
        }
    }
    config.deepest = 0;
    config.rotations = (config.rotations + by).min(4);
    config
}
