//! What the checker sees: promises broken by a step, and promises broken by how things stand.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use super::machine::Run;
use super::promises::Promise;
use super::state::*;
use super::world::World;

impl State {
    pub(super) fn note(&mut self, broken: bool, promise: Promise) {
        self.broken |= u32::from(broken) << promise as u32;
    }

    /// The refresh token of a grant that works now.
    pub(super) fn working(&self, grant: u8) -> Token {
        let serial = self.provider.works[usize::from(grant)];
        Token { grant, serial }
    }

    fn is_kept(&self, token: Token) -> bool {
        let store = &self.store;
        let in_store = store.sealed == Some(token)
            || store.record.as_ref().is_some_and(|record| {
                record
                    .machine
                    .apart
                    .iter()
                    .any(|(_, apart)| *apart == token)
            })
            || store.inbox.iter().any(|signal| match signal {
                Signal::Rescued(pair) => pair.token == token,
                Signal::Connect(grant) => *grant == token.grant && token.serial == 0,
                _ => false,
            });
        let in_journal = self
            .workers
            .iter()
            .any(|worker| worker.journal.iter().any(|entry| entry.pair.token == token));
        in_store || in_journal
    }

    pub(super) fn pairs_are_kept(&self) -> bool {
        (0..self.consents).all(|grant| {
            let token = self.working(grant);
            let over = self.ended & (1 << grant) != 0 || self.provider.revoked[usize::from(grant)];
            over || self.read & token.bit() == 0 || self.is_kept(token)
        })
    }

    pub(super) fn new_grant_stays(&self) -> bool {
        let store = &self.store;
        let stored = store.record.as_ref().and_then(|r| r.machine.grant);
        stored.is_none_or(|grant| {
            grant.id >= store.newest
                && grant.token.grant == grant.id
                && store.sealed.is_none_or(|sealed| sealed.grant == grant.id)
        })
    }

    pub(super) fn stays_disconnected(&self) -> bool {
        let store = &self.store;
        let machine = store.record.as_ref().map(|record| &record.machine);
        let off = machine.is_none_or(|machine| {
            machine.phase == Phase::Disconnected
                && machine.grant.is_none()
                && machine.apart.is_empty()
        });
        !store.disconnected || (off && store.sealed.is_none())
    }

    pub(super) fn parked_is_left_alone(&self) -> bool {
        let waits = (self.store.record.as_ref()).is_some_and(|r| r.parked && r.owner.is_none());
        self.damaged || !waits || self.store.due.is_none()
    }

    /// What a person has ended is gone, also where turns kept failing before the machine could hear of it.
    pub(super) fn nothing_is_left_unheard(&self) -> bool {
        self.store.record.as_ref().is_none_or(|record| {
            let unheard = record.parked && record.owner.is_none() && record.barrier > 0;
            !unheard || self.store.sealed.is_none()
        })
    }

    /// The index lets a worker look before what is to be said has come.
    pub(super) fn is_said_in_time(&self) -> bool {
        self.store.record.as_ref().is_none_or(|record| {
            let waits = matches!(record.machine.phase, Phase::Scheduled { .. });
            let free = record.owner.is_none() && !self.damaged;
            let word = record.machine.word;
            !waits || !free || word == FAR || self.store.due.is_some_and(|due| due <= word)
        })
    }

    /// What is kept apart for a try is not known to be spent.
    pub(super) fn nothing_spent_is_kept_apart(&self) -> bool {
        self.store.record.as_ref().is_none_or(|record| {
            let machine = &record.machine;
            machine
                .apart
                .iter()
                .all(|(_, token)| machine.spent & token.bit() == 0)
        })
    }

    /// Whether a grant works, as far as the fleet could know.
    fn is_healthy(&self, grant: u8) -> bool {
        let known = self.read & self.working(grant).bit() != 0;
        known && !self.provider.revoked[usize::from(grant)]
    }

    /// Which promises an end breaks, when nothing more happens by itself.
    pub(super) fn broken_at_the_end(&self) -> u32 {
        let mut broken = 0;
        let mut note = |holds: bool, promise: Promise| {
            broken |= u32::from(!holds) << promise as u32;
        };
        let quiet = self.workers.iter().all(|worker| {
            let empty = worker.journal.is_empty() || self.store.record.is_none();
            worker.up && worker.turn.is_none() && worker.late.is_none() && empty
        });
        let Some(record) = &self.store.record else {
            // Whoever emptied it must consent again, or restore it.
            note(quiet && self.store.due.is_none(), Promise::GoodEnd);
            return broken;
        };
        let heard = self.store.inbox.is_empty() || record.parked;
        note(quiet && heard && record.owner.is_none(), Promise::GoodEnd);
        let machine = &record.machine;
        match (machine.phase, machine.grant) {
            (Phase::Disconnected, grant) => note(grant.is_none(), Promise::GoodEnd),
            (_, None) => note(false, Promise::GoodEnd),
            (Phase::ReconnectRequired(_), Some(grant)) => {
                let good = record.parked || !self.is_healthy(grant.id);
                note(good, Promise::NoneCondemned);
            }
            (Phase::Scheduled { .. } | Phase::Active, Some(grant)) => {
                // A pair that nobody read is lost, and the next refresh finds that out.
                let working = self.working(grant.id);
                let apart = machine.apart.iter().any(|(_, token)| *token == working);
                let good = self.store.sealed == Some(working) || apart;
                let good = good || record.parked || !self.is_healthy(grant.id);
                note(good, Promise::GoodEnd);
            }
            (Phase::Refreshing { .. }, Some(_)) => note(record.parked, Promise::GoodEnd),
        }
        broken
    }
}

impl World {
    /// A commit was written; `before` is the store as it was then.
    pub(super) fn note_written(
        &self,
        state: &mut State,
        before: &Store,
        turn: &Turn,
        run: &Run,
        activity: Option<Request>,
    ) {
        let heard = turn.heard.len();
        let trimmed = &before.inbox[..heard.min(before.inbox.len())];
        let unread = &before.inbox[heard.min(before.inbox.len())..];
        state.note(trimmed != turn.heard, Promise::HeardOnce);
        state.note(run.early, Promise::NoneEarly);
        state.note(run.replaced, Promise::NoneReplaced);
        state.note(run.needless, Promise::NoneNeedless);
        let asks = matches!(run.machine.phase, Phase::Refreshing { .. });
        state.note(activity.is_some() && !asks, Promise::AtOnce);
        // "Sent" here already: the answer that spent the token lies beside the intent.
        let spends = |signal: &Signal| match (signal, activity) {
            (Signal::Rescued(pair), Some(request)) => {
                pair.grant == request.grant && pair.base >= request.generation
            }
            _ => false,
        };
        state.note(unread.iter().any(spends), Promise::SentOnce);
        let overtaken = |signal: &Signal| matches!(signal, Signal::Connect(_) | Signal::Disconnect);
        let writes = activity.is_some() || run.put.is_some();
        state.note(writes && unread.iter().any(overtaken), Promise::AtOnce);
        let old = before.record.as_ref().map(|record| &record.machine);
        let condemned = |m: &Machine| matches!(m.phase, Phase::ReconnectRequired(_));
        if old.is_some_and(condemned)
            && activity.is_some()
            && !trimmed
                .iter()
                .any(|s| matches!(s, Signal::Reset | Signal::Connect(_) | Signal::Rescued(_)))
        {
            state.note(true, Promise::SilentAfterVerdict);
        }
        let paused = |m: &Machine| {
            matches!(
                m.phase,
                Phase::Scheduled {
                    not_before: 1..,
                    ..
                }
            )
        };
        let anew = trimmed.iter().any(overtaken);
        let shortened = old.is_some_and(paused) && activity.is_some() && !anew;
        state.note(shortened, Promise::PauseKept);
        if let (Phase::ReconnectRequired(reason), Some(grant)) =
            (run.machine.phase, run.machine.grant)
            && !old.is_some_and(condemned)
        {
            let revoked = state.provider.revoked[usize::from(grant.id)];
            let uncertain = state.uncertain & (1 << grant.id) != 0;
            let ours = |s: &Signal| matches!(s, Signal::Rescued(pair) if pair.grant == grant.id);
            state.note(unread.iter().any(ours), Promise::NoVerdictUnread);
            match reason {
                Reason::Revoked => state.note(!revoked, Promise::RevokedIsTrue),
                Reason::RotationLost => state.note(!uncertain, Promise::LossIsTrue),
            }
        }
        if activity.is_none()
            && let (Some(request), Some(Outcome::Refreshed(_) | Outcome::Rejected)) =
                (turn.request, turn.outcome)
        {
            state.store.answered |= request.token.bit();
        }
        let mut grant = old.and_then(|machine| machine.grant).map(|grant| grant.id);
        for signal in trimmed {
            match signal {
                Signal::Disconnect => {
                    state.ended |= grant.take().map_or(0, |id| 1 << id);
                    state.store.disconnected = true;
                }
                Signal::Connect(new) => {
                    let before = grant.replace(*new).filter(|id| id != new);
                    state.ended |= before.map_or(0, |id| 1 << id);
                    state.store.disconnected = false;
                    state.store.newest = *new;
                }
                // The mark of the verdict goes: what was rejected may be sent once more.
                Signal::Reset if old.is_some_and(condemned) => {
                    if let Some(grant) = old.and_then(|machine| machine.grant) {
                        state.sent &= !grant.token.bit();
                        state.retried &= !grant.token.bit();
                        state.store.answered &= !grant.token.bit();
                    }
                }
                _ => {}
            }
        }
    }

    /// What a state comes to if nothing more goes wrong: the promises broken then.
    pub(super) fn end_of(&self, state: &State) -> u32 {
        const STEPS_MAX: usize = 200;
        let mut seen = Vec::new();
        let mut now = state.clone();
        let mut ends = self.ends.lock().expect("no checker panics while it looks");
        let end = loop {
            let print = BuildHasherDefault::<DefaultHasher>::default().hash_one(&now);
            if let Some(end) = ends.get(&print) {
                break *end;
            }
            seen.push(print);
            if seen.len() > STEPS_MAX {
                break 1 << Promise::GoodEnd as u32;
            }
            match self.next_fair_step(&now) {
                Some(step) => {
                    self.take(&mut now, step);
                    now.rename();
                }
                None => break now.broken_at_the_end(),
            }
        };
        for print in seen {
            ends.insert(print, end);
        }
        end
    }
}
