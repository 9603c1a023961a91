//! What becomes of a wish: the call is made on the real store or it is not, its reply arrives or it
//! does not.

use evergreen_engine::store::{Commit, Committed, Signalled, Store, StoreError};

use crate::bench::Place;
use crate::line::{Reply, Waiting, Way, Wish};
use crate::rules::Slip;
use crate::steps::Fate;
use crate::watch;
use crate::world::World;

fn away<T>(why: &str) -> Result<T, StoreError> {
    Err(StoreError::Away {
        doing: "calling".to_owned(),
        why: why.to_owned(),
    })
}

/// Answers as the fate will have it.
fn reply<T>(to: Reply<T>, answer: Result<T, StoreError>, fate: Fate) {
    let answer = match fate {
        Fate::ReplyLost => away("the reply was lost"),
        Fate::Fine | Fate::Lost | Fate::Unconfirmed => answer,
    };
    // Whoever asked may have given up.
    let _ = to.send(answer);
}

impl World<'_> {
    pub(crate) fn grant(&mut self, waiting: Waiting, fate: Fate) {
        let worker = waiting.worker;
        match waiting.wish {
            Wish::Depart(send, to) => {
                let way = match fate {
                    Fate::Fine => Way::Through,
                    Fate::Lost => Way::Lost,
                    Fate::ReplyLost => Way::Unanswered,
                    Fate::Unconfirmed => Way::Refused,
                };
                self.say(worker, &format!("sends token {} ({way:?})", send.token));
                let _ = to.send(way);
            }
            Wish::Process(send, to) => {
                let book = self.book();
                book.say(format!(
                    "the provider gets token {} of worker {worker}",
                    send.token
                ));
                let _ = to.send(());
            }
            Wish::Arrive(to) => {
                self.say(worker, "reads the provider's reply");
                let _ = to.send(());
            }
            Wish::Keep(entry, to) => {
                self.say(worker, &format!("journals the pair {}", entry.pair.token));
                self.book().lock().kept.insert(entry.pair.token);
                self.workers[worker].disk.journal.push(entry);
                let _ = to.send(());
            }
            Wish::Forget(token, to) => {
                self.say(worker, &format!("clears the pair {token} from its journal"));
                let disk = &mut self.workers[worker].disk;
                disk.journal.retain(|entry| entry.pair.token != token);
                let _ = to.send(());
            }
            wish => self.call(worker, wish, fate),
        }
    }

    /// A call of the store, on a connection that may turn out to lead elsewhere than it did.
    fn call(&mut self, worker: usize, wish: Wish, fate: Fate) {
        let process = self.workers[worker].process.as_ref();
        let known = process.is_some_and(|process| process.run == self.run);
        if !known {
            self.say(
                worker,
                "finds its connection broken, and another run of the store",
            );
            self.meet_run(worker);
        }
        let lost = !known || fate == Fate::Lost;
        match wish {
            Wish::Claim(_, to) if lost => drop(to.send(away("no answer"))),
            Wish::Commit(_, to) if lost => drop(to.send(away("no answer"))),
            Wish::Signal(_, to) if lost => drop(to.send(away("no answer"))),
            Wish::Read(_, to) if lost => drop(to.send(away("no answer"))),
            Wish::Extend(.., to) if lost => drop(to.send(away("no answer"))),
            Wish::RunId(to) if lost => drop(to.send(away("no answer"))),
            Wish::Claim(mut ask, to) => {
                let process = self.workers[worker].process.as_ref();
                ask.spare_owned = process.is_some_and(|p| p.spares_until > self.elapsed);
                let answer = self.bench.call(self.bench.store.claim(&ask)).unwrap();
                let before = self.look_anew();
                self.say(worker, &format!("claims: {}", watch::word(&answer.answer)));
                watch::claimed(self, &before, &ask, &answer.answer);
                reply(to, Ok(answer), fate);
            }
            Wish::Commit(commit, to) => self.commit(worker, &commit, to, fate),
            Wish::Signal(signal, to) => {
                let mut real = signal.clone();
                real.durable = false;
                let answer = self.bench.call(self.bench.store.signal(&real)).unwrap();
                let before = self.look_anew();
                let sure = self.confirm(signal.durable, fate);
                let answer = match answer {
                    Signalled::Queued {
                        v, held, already, ..
                    } => Signalled::Queued {
                        v,
                        held,
                        already,
                        confirmed: sure,
                    },
                    other => other,
                };
                self.say(worker, &format!("signals {}: {answer:?}", signal.payload));
                watch::signalled(self, &before, &signal, answer);
                reply(to, Ok(answer), fate);
            }
            Wish::Read(sealed, to) => {
                let (store, id) = (&self.bench.store, &self.bench.id);
                let answer = self.bench.call(store.read(id, sealed));
                reply(to, answer, fate);
            }
            Wish::Extend(fence, claim, what, to) => {
                let (store, id) = (&self.bench.store, &self.bench.id);
                let answer = self.bench.call(store.extend(id, fence, &claim, what));
                self.look_anew();
                self.say(worker, &format!("{what:?}: {answer:?}"));
                reply(to, answer, fate);
            }
            Wish::RunId(to) => reply(to, Ok(format!("run-{}", self.run)), fate),
            Wish::Depart(..)
            | Wish::Process(..)
            | Wish::Arrive(_)
            | Wish::Keep(..)
            | Wish::Forget(..) => {}
        }
    }

    fn commit(&mut self, worker: usize, commit: &Commit, to: Reply<Told>, fate: Fate) {
        let intent = commit.activity.is_some() && commit.keep.is_some();
        if intent && self.left_out(Slip::IntentIsNotWritten) {
            self.say(worker, "leaves the intent out");
            let now = self.now();
            let written = Committed::Written {
                v: 0,
                already: false,
                ours: true,
                confirmed: true,
            };
            let told = Told {
                answer: written,
                now,
                heads: Vec::new(),
            };
            return reply(to, Ok(told), fate);
        }
        let mut real = commit.clone();
        real.durable = false;
        real.strict &= !self.left_out(Slip::NothingIsStrict);
        let what = if intent {
            "writes the intent"
        } else {
            "commits"
        };
        let answer = self.bench.call(self.bench.store.commit(&real));
        let before = self.look_anew();
        let mut told = match answer {
            Ok(told) => told,
            Err(error) => {
                self.book().broken(format!("a commit was refused: {error}"));
                return reply(to, Err(error), fate);
            }
        };
        let words = watch::words(&told.answer, commit);
        let sure = self.confirm(commit.durable, fate);
        let doubt = if sure { "" } else { ", unconfirmed" };
        self.say(worker, &format!("{what}, {}: {words}{doubt}", commit.state));
        watch::committed(self, &before, commit, &told.answer);
        if let Committed::Written { confirmed, .. } = &mut told.answer {
            let blind = if intent {
                Slip::IntentOnOneServer
            } else {
                Slip::PairOnOneServer
            };
            *confirmed = sure || self.left_out(blind);
        }
        reply(to, Ok(told), fate);
    }

    /// Whether the replica has what was written, as far as that was asked for.
    fn confirm(&self, durable: bool, fate: Fate) -> bool {
        if durable && fate == Fate::Fine {
            self.bench.copy(Place::Live, Place::Replica);
        }
        !durable || fate == Fate::Fine
    }

    /// Looks again; answers with what it was before.
    fn look_anew(&mut self) -> crate::bench::Look {
        let after = self.bench.look();
        std::mem::replace(&mut self.look, after)
    }

    fn say(&self, worker: usize, words: &str) {
        self.book().say(format!("worker {worker} {words}"));
    }
}

type Told = evergreen_engine::store::Told<Committed>;
