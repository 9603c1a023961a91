//! The faults that wait for their requests, and which one a request takes.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::actions::Action;
use super::faults::{Fault, Target};
use super::options::Refused;
use super::wire::Name;

/// What is known of a request when a fault is looked for.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub target: Target,
    pub path: String,
    pub chain: Option<Name>,
    pub client_id: Option<String>,
    pub grant_type: Option<String>,
}

impl Subject {
    pub(super) fn unread(target: Target, path: &str) -> Self {
        Self {
            target,
            path: path.to_owned(),
            chain: None,
            client_id: None,
            grant_type: None,
        }
    }
}

/// A fault as it is listed.
#[derive(Debug, Clone, Serialize)]
pub struct Queued {
    /// Its number, for releasing it.
    pub id: u64,
    /// What was scripted; `times` is what was scripted, too.
    #[serde(flatten)]
    pub fault: Fault,
    /// Requests that matched but for `nth` and `probability`.
    pub seen: u64,
    /// Requests it was applied to; when they are as many as `times`, it is used up.
    pub applied: u64,
    /// When it ends, however often it was applied, ms since 1970.
    pub ends_at_ms: Option<u64>,
}

impl Queued {
    fn used_up(&self, now: u64) -> bool {
        self.fault.times.is_some_and(|times| self.applied >= times)
            || self.ends_at_ms.is_some_and(|end| now >= end)
    }
}

/// Used-up faults stay listed, so that one can see that they struck; this many of them.
const USED_UP_KEPT: usize = 1000;

/// A fault that was taken for one request.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    pub action: Action,
    pub released: CancellationToken,
}

pub(super) struct Faults {
    queue: VecDeque<Queued>,
    /// What the requests that a hold keeps are waiting for.
    held: HashMap<u64, CancellationToken>,
    next_id: u64,
    dice: u64,
}

impl Faults {
    pub(super) fn new(seed: Option<u64>) -> Self {
        Self {
            queue: VecDeque::new(),
            held: HashMap::new(),
            next_id: 1,
            dice: seed.unwrap_or_else(rand::random),
        }
    }

    pub(super) fn script(&mut self, fault: Fault, now: u64) -> Result<u64, Refused> {
        fault.check()?;
        let id = self.next_id;
        self.next_id += 1;
        if matches!(fault.action, Action::Hold { .. }) {
            self.held.insert(id, CancellationToken::new());
        }
        let used_up = self.queue.iter().filter(|queued| queued.used_up(now));
        if used_up.count() >= USED_UP_KEPT {
            self.forget_used_up(now);
        }
        let span = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        self.queue.push_back(Queued {
            id,
            ends_at_ms: fault.lasts.map(|lasts| now.saturating_add(span(lasts))),
            fault,
            seen: 0,
            applied: 0,
        });
        Ok(id)
    }

    /// A hold stays releasable, since requests may still be waiting on it.
    fn forget_used_up(&mut self, now: u64) {
        self.queue.retain(|queued| {
            !queued.used_up(now) || matches!(queued.fault.action, Action::Hold { .. })
        });
    }

    pub(super) fn applied(&self, id: u64) -> Option<u64> {
        let queued = self.queue.iter().find(|queued| queued.id == id);
        queued.map(|queued| queued.applied)
    }

    pub(super) fn list(&self) -> Vec<Queued> {
        self.queue.iter().cloned().collect()
    }

    /// Lets the requests that a hold keeps go on, and those it would have kept.
    pub(super) fn release(&mut self, id: u64) -> bool {
        let held = self.held.get(&id);
        held.inspect(|held| held.cancel()).is_some()
    }

    /// Forgets all faults and releases what they hold.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        for (_, held) in self.held.drain() {
            held.cancel();
        }
    }

    /// The fault for a request of which only the head has been read.
    pub(super) fn take_unread(&mut self, subject: &Subject, now: u64) -> Option<Taken> {
        self.take_where(subject, now, |action| {
            matches!(action, Action::Close { .. })
        })
    }

    /// The fault for a request that has been read.
    pub(super) fn take(&mut self, subject: &Subject, now: u64) -> Option<Taken> {
        self.take_where(subject, now, |action| {
            !matches!(action, Action::Close { .. })
        })
    }

    fn take_where(
        &mut self,
        subject: &Subject,
        now: u64,
        stage: impl Fn(&Action) -> bool,
    ) -> Option<Taken> {
        for queued in self.queue.iter_mut().filter(|queued| !queued.used_up(now)) {
            let on = &queued.fault.matching;
            if !stage(&queued.fault.action) || !on.meets(subject) {
                continue;
            }
            queued.seen += 1;
            let reached = on.nth.is_none_or(|nth| queued.seen >= nth);
            if reached
                && on
                    .probability
                    .is_none_or(|share| roll(&mut self.dice) < share)
            {
                queued.applied += 1;
                return Some(Taken {
                    action: queued.fault.action.clone(),
                    released: self.held.get(&queued.id).cloned().unwrap_or_default(),
                });
            }
        }
        None
    }
}

/// SplitMix64, from 0 to 1: small, seeded, good enough for dice.
fn roll(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_strikes_whoever_asks_while_it_lasts() {
        let mut faults = Faults::new(Some(1));
        let storm = Fault::respond(429, "").lasts(Duration::from_secs(2));
        let id = faults.script(storm, 10_000).unwrap();
        let asks = Subject::unread(Target::Token, "/ws/oauth/token");
        for now in [10_000, 11_000, 11_999] {
            assert!(faults.take(&asks, now).is_some(), "{now}");
        }
        assert!(faults.take(&asks, 12_000).is_none());
        assert_eq!(faults.applied(id), Some(3));
        let listed = serde_json::to_value(faults.list()).unwrap();
        assert_eq!(listed[0]["lasts"], "2s");
        assert_eq!(listed[0]["ends_at_ms"], 12_000);
        // How often and how long: whichever is over first.
        let one = Fault {
            times: Some(1),
            ..Fault::respond(500, "").lasts(Duration::from_secs(2))
        };
        faults.script(one, 20_000).unwrap();
        assert!(faults.take(&asks, 20_000).is_some());
        assert!(faults.take(&asks, 20_001).is_none());
    }
}
