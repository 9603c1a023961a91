//! What can go wrong with a call of a store.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The calls of a store, as far as they fail one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// [`Store::claim`](crate::store::Store::claim)
    Claim,
    /// [`Store::commit`](crate::store::Store::commit)
    Commit,
    /// [`Store::signal`](crate::store::Store::signal)
    Signal,
    /// [`Store::read`](crate::store::Store::read) and [`Store::inbox`](crate::store::Store::inbox)
    Read,
    /// [`Store::extend`](crate::store::Store::extend)
    Extend,
    /// [`Store::compare`](crate::store::Store::compare)
    Compare,
    /// [`Store::requeue`](crate::store::Store::requeue)
    Requeue,
    /// [`Store::peek`](crate::store::Store::peek)
    Peek,
    /// [`Store::due_members`](crate::store::Store::due_members)
    DueMembers,
    /// [`Store::walk`](crate::store::Store::walk)
    Walk,
    /// [`Store::log`](crate::store::Store::log)
    Log,
    /// Reading the outbox.
    Events,
    /// [`Store::drain`](crate::store::Store::drain)
    Drain,
    /// [`Store::settle`](crate::store::Store::settle)
    Settle,
    /// [`Store::progress`](crate::store::Store::progress)
    Progress,
    /// [`Store::wakes`](crate::store::Store::wakes)
    Wakes,
    /// The plain tables.
    Table,
    /// What is kept to be taken once.
    Slip,
    /// [`Store::turnstile`](crate::store::Store::turnstile)
    Turnstile,
    /// The gates.
    Gate,
    /// [`Store::stamp`](crate::store::Store::stamp)
    Stamp,
    /// [`Store::now`](crate::store::Store::now)
    Now,
    /// [`Store::run_id`](crate::store::Store::run_id)
    RunId,
}

/// What goes wrong with one call.
pub enum Fault {
    /// Nothing is written, nothing is answered.
    Away,
    /// It takes effect, and the answer is lost.
    ReplyLost,
    /// The store says no.
    Refused,
    /// It takes effect, and the replicas do not confirm it.
    Unconfirmed,
    /// Something happens first; then the call goes through.
    After(BoxFuture<'static, ()>),
    /// Something happens on the way there, something on the way back.
    Journey {
        /// Before the call takes effect.
        there: BoxFuture<'static, ()>,
        /// What goes wrong besides; nothing, or one of the first four.
        end: Option<Box<Fault>>,
        /// After it took effect, before it is answered.
        back: BoxFuture<'static, ()>,
    },
}

impl Fault {
    /// It goes through, and takes its time on the way there and back.
    #[must_use]
    pub fn late(there: Duration, back: Duration) -> Self {
        Self::Journey {
            there: tokio::time::sleep(there).boxed(),
            end: None,
            back: tokio::time::sleep(back).boxed(),
        }
    }
}

/// What becomes of each call that nothing is planned for.
pub type Weather = Box<dyn Fn(Op) -> Option<Fault> + Send + Sync>;

/// How often what goes wrong, in 0 ≤ x ≤ 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Odds {
    /// [`Fault::Away`]
    pub away: f64,
    /// [`Fault::ReplyLost`]
    pub reply_lost: f64,
    /// [`Fault::Unconfirmed`]
    pub unconfirmed: f64,
    /// [`Fault::late`], each way by at most [`Odds::late_by`].
    pub late: f64,
    /// The longest delay of each way.
    pub late_by: Duration,
}

impl Default for Odds {
    /// One call in ten goes wrong somehow.
    fn default() -> Self {
        Self {
            away: 0.03,
            reply_lost: 0.03,
            unconfirmed: 0.01,
            late: 0.03,
            late_by: Duration::from_secs(2),
        }
    }
}

/// Weather that is drawn from a seed: the same calls in the same order fare the same.
#[must_use]
pub fn seeded(seed: u64, odds: Odds) -> Weather {
    let random = std::sync::Mutex::new(StdRng::seed_from_u64(seed));
    Box::new(move |_| {
        let mut random = random
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut drawn: f64 = random.random();
        let mut is = |odds: f64| {
            drawn -= odds;
            drawn < 0.0
        };
        if is(odds.away) {
            Some(Fault::Away)
        } else if is(odds.reply_lost) {
            Some(Fault::ReplyLost)
        } else if is(odds.unconfirmed) {
            Some(Fault::Unconfirmed)
        } else if is(odds.late) {
            let mut part = || odds.late_by.mul_f64(random.random());
            Some(Fault::late(part(), part()))
        } else {
            None
        }
    })
}
