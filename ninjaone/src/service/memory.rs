//! What this process has read last of each grant, for while the store does not answer (PROTOCOL 32).
//!
//! While it does, nothing here is asked: every token that is handed out was read for whoever asked. When
//! it does not, what was read counts for a minute, no longer, so a disconnect that this process could not
//! hear of is heeded a minute later at most; and one that it has heard of at once, because whatever is read
//! takes the place of what was read before. Refresh tokens are not kept: what may be spent meanwhile is not
//! handed out by hearsay.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use evergreen_engine::Millis;
use tokio::time::Instant;

use super::TokenAsk;
use crate::handoff::Handed;
use crate::integration::GrantRef;
use crate::vault::GrantId;

/// For how long after its reading an access token is served while the store does not answer.
const BELIEVED: Duration = Duration::from_secs(60);
/// Grants that are remembered at most.
const GRANTS_MAX: usize = 10_000;
/// Between two removals of what nobody believes any more.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The readings.
#[derive(Default)]
pub(super) struct Memory(Mutex<Readings>);

#[derive(Default)]
struct Readings {
    known: HashMap<GrantRef, Reading>,
    swept_at: Option<Instant>,
}

/// When something was read. By two clocks, because one stands still in a machine that sleeps and the
/// other may be stepped: whatever says that more time has passed is believed.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadAt {
    monotonic: Instant,
    wall: SystemTime,
}

impl ReadAt {
    /// Taken before the store is asked: what happened before is in the answer.
    pub(super) fn now() -> Self {
        Self {
            monotonic: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    fn age(self) -> Duration {
        let by_the_wall = self.wall.elapsed().unwrap_or_default();
        self.monotonic.elapsed().max(by_the_wall)
    }
}

struct Reading {
    at: ReadAt,
    /// Nothing where the grant had no token to give.
    token: Option<Token>,
}

/// An access token with what is needed to judge it later.
struct Token {
    handed: Handed,
    /// How long it lives in all.
    life: Millis,
}

/// What is remembered of a grant.
#[derive(Debug)]
pub(super) enum Recalled {
    /// A token that still does.
    Token(Box<Handed>),
    /// It was read lately, and had none to give.
    NoToken,
    /// It was not read lately, or what it gave does not do.
    Nothing,
}

impl Memory {
    /// Takes the place of what was read before, unless that was read later.
    pub(super) fn remember(&self, grant: &GrantRef, at: ReadAt, token: Option<(&Handed, Millis)>) {
        let mut readings = self.lock();
        readings.sweep();
        let known = readings.known.get(grant);
        if known.is_some_and(|known| known.at.monotonic > at.monotonic) {
            return;
        }
        // Without room it is as if it had not been read.
        if known.is_none() && readings.known.len() >= GRANTS_MAX {
            return;
        }
        let token = token.map(|(handed, life)| Token {
            handed: Handed {
                refresh_token: None,
                ..handed.clone()
            },
            life,
        });
        readings.known.insert(grant.clone(), Reading { at, token });
    }

    /// The grant gives nothing any more, as far as this process is concerned.
    pub(super) fn forget(&self, grant: &GrantRef) {
        self.remember(grant, ReadAt::now(), None);
    }

    /// The provider has refused this token: it is not served again by hearsay.
    pub(super) fn refused(&self, grant: &GrantRef, refused: &Handed) {
        let mut readings = self.lock();
        let is_it = |reading: &Reading| {
            let token = reading.token.as_ref();
            token.is_some_and(|token| named(&token.handed) == named(refused))
        };
        if readings.known.get(grant).is_some_and(is_it) {
            readings.known.remove(grant);
        }
    }

    /// What is remembered, for a caller whom the store does not answer.
    pub(super) fn recall(&self, grant: &GrantRef, ask: &TokenAsk) -> Recalled {
        let readings = self.lock();
        let Some(reading) = readings.known.get(grant) else {
            return Recalled::Nothing;
        };
        let age = reading.at.age();
        if age > BELIEVED {
            return Recalled::Nothing;
        }
        let Some(token) = &reading.token else {
            return Recalled::NoToken;
        };
        if ask.with_refresh_token {
            return Recalled::Nothing;
        }
        let passed = millis(age);
        let left = (token.handed.expires_in_s * 1_000).saturating_sub(passed);
        let wanted = ask.min_validity.map_or(0, millis).min(token.life / 2);
        if left == 0 || left < wanted {
            return Recalled::Nothing;
        }
        let mut handed = token.handed.clone();
        handed.expires_in_s = left / 1_000;
        // What it was warned of then was said to somebody else.
        handed.warning = Some("store_away".to_owned());
        Recalled::Token(Box::new(handed))
    }

    /// Wipes what nobody believes any more.
    pub(super) fn sweep(&self) {
        self.lock().sweep();
    }

    fn lock(&self) -> MutexGuard<'_, Readings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Readings {
    fn sweep(&mut self) {
        if self.swept_at.is_some_and(|at| at.elapsed() < SWEEP_EVERY) {
            return;
        }
        self.swept_at = Some(Instant::now());
        self.known.retain(|_, reading| reading.at.age() <= BELIEVED);
    }
}

fn millis(span: Duration) -> Millis {
    Millis::try_from(span.as_millis()).unwrap_or(Millis::MAX)
}

/// What names a token: its grant and how often that was rotated.
pub(super) fn named(handed: &Handed) -> (Option<GrantId>, u64) {
    (handed.grant_id, handed.generation)
}
