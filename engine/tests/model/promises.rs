//! What must hold, by name.

/// Declares [`Promise`], its words, and a condition for each that the checker can call.
macro_rules! promises {
    ($($name:ident $text:literal)*) => {
        /// A promise of the protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) enum Promise {
            $(#[doc = $text] $name,)*
        }

        impl Promise {
            /// All promises.
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            /// What it says; the name of the checker's property.
            pub(crate) fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// The checker's property.
            pub(crate) fn property(self) -> stateright::Property<super::world::World> {
                use super::world::World;
                match self {
                    $(Self::$name => stateright::Property::<World>::always($text, |world, state| {
                        world.keeps(state, Self::$name)
                    }),)*
                }
            }
        }
    };
}

/// What sounds like a promise and is none: `limits.rs` shows the way there.
pub(crate) const LIMITS: &[Promise] = &[Promise::NoneAfterDisconnect];

promises! {
    SentOnce "no refresh token is sent twice, but for the permitted retry"
    NoStaleCommit "no commit is accepted whose claim does not hold the workflow"
    WrittenOnce "a commit is written once"
    HeardOnce "signals are consumed in order, once, and none unheard"
    PairKept "a pair that was read is in the store or in a journal until it is superseded or erased"
    NoVerdictUnread "no verdict is published while a rescued pair lies unread"
    NoneCondemned "no healthy grant stays condemned"
    RevokedIsTrue "`revoked` is said only of a grant that was revoked"
    LossIsTrue "`rotation_lost` is said only where an outcome is not known"
    NewGrantStays "a new grant is never replaced by a pair of an old one"
    StaysDisconnected "nothing is resurrected after a disconnect"
    AtOnce "a pre-emptive signal counts from the moment it is stored"
    Indexed "a workflow has exactly the entry in the index that its record wants"
    OneHolder "nobody is let in beside a holder that trusts its lease"
    WithinTrust "no request leaves after the lease has ended"
    NoneEarly "no timer fires early"
    NoneReplaced "a replaced timer does not fire"
    NoneNeedless "a caller whose wish was fulfilled meanwhile causes no refresh"
    ErasedUnheard "no credential is left where a pre-emptive signal could not be heard"
    ParkedLeftAlone "a workflow that waits for a human has no entry in the index"
    FleetSurvives "a workflow whose holders keep vanishing is not handed out for ever"
    GivenBackLeftAlone "what was given back for a while is left alone for that while"
    SaidInTime "what is to be said is said in time"
    PauseKept "a host that wants to be left alone is left alone"
    SilentAfterVerdict "nothing is sent after a verdict"
    NoneAfterDisconnect "no request leaves after a disconnect was carried out"
    GoodEnd "a good end can be reached from everywhere"
}
