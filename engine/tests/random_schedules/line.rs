//! How the processes of a schedule reach the world: each thing that they want to do waits until the
//! schedule lets it happen.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use evergreen_engine::record::Reading;
use evergreen_engine::store::{
    Claim, Claimed, Commit, Committed, Extend, Extended, Signal, Signalled, StoreError, Told,
};
use tokio::sync::oneshot;

use crate::machine::{Pair, Send};

/// How a store answers.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What a process wants to do next.
pub(crate) enum Wish {
    Claim(Claim, Reply<Told<Claimed>>),
    Commit(Box<Commit>, Reply<Told<Committed>>),
    Signal(Signal, Reply<Signalled>),
    Read(bool, Reply<Option<Reading>>),
    Extend(u64, String, Extend, Reply<Extended>),
    /// Which run of the store answers.
    RunId(Reply<String>),
    /// The first byte of a request leaves.
    Depart(Send, oneshot::Sender<Way>),
    /// The provider gets the request.
    Process(Send, oneshot::Sender<()>),
    /// The provider's reply is read.
    Arrive(oneshot::Sender<()>),
    /// A pair is written into the journal.
    Keep(Entry, oneshot::Sender<()>),
    /// An entry of the journal goes.
    Forget(u64, oneshot::Sender<()>),
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Through,
    /// It never arrives, and nobody can tell.
    Lost,
    /// It arrives, and its reply is lost.
    Unanswered,
    /// It surely was not processed.
    Refused,
}

/// A pair in a journal, with the claim under which it was obtained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) pair: Pair,
    pub(crate) claim: String,
}

/// A wish, and whose it is.
pub(crate) struct Waiting {
    pub(crate) worker: usize,
    pub(crate) life: u32,
    pub(crate) wish: Wish,
}

impl Waiting {
    /// Whether nobody waits for it any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        match &self.wish {
            Wish::Claim(_, reply) => reply.is_closed(),
            Wish::Commit(_, reply) => reply.is_closed(),
            Wish::Signal(_, reply) => reply.is_closed(),
            Wish::Read(_, reply) => reply.is_closed(),
            Wish::Extend(.., reply) => reply.is_closed(),
            Wish::RunId(reply) => reply.is_closed(),
            Wish::Depart(_, reply) => reply.is_closed(),
            Wish::Process(_, reply) => reply.is_closed(),
            Wish::Arrive(reply) | Wish::Keep(_, reply) | Wish::Forget(_, reply) => {
                reply.is_closed()
            }
        }
    }
}

/// All wishes, in the order in which they came.
pub(crate) type Desk = Arc<Mutex<Vec<Waiting>>>;

/// One process' way to the desk.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) worker: usize,
    pub(crate) life: u32,
    pub(crate) desk: Desk,
    pub(crate) running: Running,
}

impl Line {
    /// Waits until it has happened. A process that has ended waits for ever.
    pub(crate) async fn ask<T>(&self, wish: impl FnOnce(oneshot::Sender<T>) -> Wish) -> T {
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting {
            worker: self.worker,
            life: self.life,
            wish: wish(reply),
        };
        self.desk.lock().unwrap().push(waiting);
        match answer.await {
            Ok(answer) => answer,
            Err(_) => std::future::pending().await,
        }
    }
}

/// How many things a process is at.
#[derive(Clone, Default)]
pub(crate) struct Running(Arc<AtomicUsize>);

impl Running {
    /// Held by a task as long as it runs.
    pub(crate) fn begin(&self) -> Busy {
        self.0.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

/// Something that a process is at.
pub(crate) struct Busy(Running);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
