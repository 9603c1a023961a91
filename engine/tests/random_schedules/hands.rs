//! What a process does with the outside world: requests, the journal, and the delivery of what came
//! late.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use evergreen_engine::engine::WeakEngine;
use evergreen_engine::record::SealedBlobs;
use evergreen_engine::store::Signalled;
use evergreen_engine::{Activities, Admission, Call, Delivery, Millis, SealError, WorkflowId};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use crate::line::{Entry, Line, Way, Wish};
use crate::machine::{Credential, Ended, Lab, PAIR, Pair, Send, Signal, What};
use crate::rules::Slip;

/// Between two tries of what must not be lost.
pub(crate) const AGAIN: Duration = Duration::from_millis(500);

/// One process' hands.
#[derive(Clone)]
pub(crate) struct Hands {
    pub(crate) line: Line,
    pub(crate) lab: Arc<Lab>,
    pub(crate) id: WorkflowId,
    /// The store may have forgotten an intent: it failed over not long ago, or is an old backup.
    pub(crate) doubt: Arc<AtomicBool>,
    pub(crate) engine: Arc<OnceLock<WeakEngine>>,
}

impl Hands {
    fn left_out(&self, slip: Slip) -> bool {
        self.lab.slip == Some(slip)
    }

    fn rescued(&self, pair: Pair) -> Signal {
        Signal {
            serial: self.lab.book.serial(),
            what: What::Rescued(pair),
        }
    }

    /// What happens to a request that has left: the provider gets it, its reply is read, what it brings
    /// is kept, and whoever still waits for it is told. A pair that nobody waits for any more is
    /// delivered as a signal.
    async fn exchange(self, send: Send, way: Way, claim: String, tell: oneshot::Sender<Ended>) {
        let _busy = self.line.running.begin();
        self.line.ask(|reply| Wish::Process(send, reply)).await;
        let reply = self.lab.book.receive(&send);
        if way == Way::Unanswered {
            return;
        }
        self.line.ask(Wish::Arrive).await;
        let Some(pair) = reply else {
            let doubt = self.doubt.load(Ordering::Relaxed);
            let _ = tell.send(Ended::Rejected { doubt });
            return;
        };
        let entry = Entry { pair, claim };
        if self.left_out(Slip::NoJournal) {
            self.lab.book.lock().kept.insert(pair.token);
        } else {
            let keep = entry.clone();
            self.line.ask(|reply| Wish::Keep(keep, reply)).await;
        }
        if tell.send(Ended::Refreshed(pair)).is_err() {
            self.rescue(entry, false).await;
        }
    }

    /// Delivers a pair until the store has it for sure; without a workflow it stays in the journal.
    pub(crate) async fn rescue(&self, entry: Entry, ends_claim: bool) {
        let signal = self.rescued(entry.pair);
        loop {
            let Some(engine) = self.engine.get().and_then(WeakEngine::upgrade) else {
                return;
            };
            let delivery = Delivery {
                durable: true,
                ends_claim: ends_claim.then(|| entry.claim.clone()),
                ..Delivery::default()
            };
            match engine
                .signal::<Credential>(&self.id, &signal, delivery)
                .await
            {
                Ok(Signalled::Queued {
                    confirmed: true, ..
                }) => {
                    let token = entry.pair.token;
                    self.line.ask(|reply| Wish::Forget(token, reply)).await;
                    return;
                }
                Ok(Signalled::Unknown) => return,
                Ok(_) | Err(_) => sleep_until(Instant::now() + AGAIN).await,
            }
        }
    }

    /// The request leaves, if it may.
    async fn send(&self, call: &Call<'_, Credential>) -> Ended {
        let send = *call.activity;
        let depart = self.line.ask(|reply| Wish::Depart(send, reply));
        let way = tokio::select! {
            biased;
            way = depart => way,
            () = sleep_until(call.deadline) => return Ended::NotSent,
        };
        if way == Way::Refused {
            return Ended::Unavailable;
        }
        // Immediately before the first byte.
        if !call.trust.holds() {
            if !self.left_out(Slip::TrustIsNotLookedAt) {
                self.lab.book.say("  trust is over: nothing is sent");
                return Ended::NotSent;
            }
            let book = &self.lab.book;
            book.broken("a request left after its holder's trust had ended");
        }
        self.lab.book.depart(&send);
        let (tell, told) = oneshot::channel();
        if way != Way::Lost {
            let claim = call.claim.to_owned();
            tokio::spawn(self.clone().exchange(send, way, claim, tell));
        }
        tokio::select! {
            biased;
            Ok(ended) = told => ended,
            () = sleep_until(call.deadline) => Ended::Unknown,
        }
    }
}

#[async_trait]
impl Activities<Credential> for Hands {
    fn facts(&self) -> Arc<Lab> {
        Arc::clone(&self.lab)
    }

    fn seal(&self, _: &WorkflowId, text: &String, _: &SealedBlobs) -> Result<String, SealError> {
        Ok(text.clone())
    }

    async fn admit(&self, _: &WorkflowId, _: &Send, now: Millis) -> Admission {
        let until = self.lab.book.lock().pause_until;
        if until > now {
            Admission::Held { until }
        } else {
            Admission::Go
        }
    }

    async fn perform(&self, call: Call<'_, Credential>) -> Ended {
        let send = call.activity;
        let wanted = format!("{}/{}/{}", send.grant, send.generation, send.token);
        if call.sealed.get(PAIR) != Some(&wanted) {
            let found = call.sealed.get(PAIR);
            let book = &self.lab.book;
            book.broken(format!("a torn reading: {wanted} wanted, {found:?} sealed"));
        }
        self.send(&call).await
    }

    fn not_sent(&self, _: &Send) -> Ended {
        Ended::NotSent
    }

    fn unknown(&self, _: &Send) -> Ended {
        Ended::Unknown
    }

    fn redeliver(&self, _: &WorkflowId, outcome: &Ended) -> Option<Signal> {
        match outcome {
            Ended::Refreshed(pair) if !self.left_out(Slip::FencedIsForgotten) => {
                Some(self.rescued(*pair))
            }
            _ => None,
        }
    }

    async fn settled(&self, _: &WorkflowId, outcome: &Ended) {
        if let Ended::Refreshed(pair) = outcome {
            let token = pair.token;
            self.line.ask(|reply| Wish::Forget(token, reply)).await;
        }
    }
}
