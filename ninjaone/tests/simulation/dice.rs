//! Chance, drawn from the seed: one stream for each that draws, so that they do not disturb each other.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub(crate) struct Dice(Mutex<StdRng>);

impl Dice {
    pub(crate) fn new(seed: u64, stream: &str) -> Self {
        let seed = fnv(stream.as_bytes(), seed ^ 0x9e37_79b9_7f4a_7c15);
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    pub(crate) fn bits(&self) -> u64 {
        let mut random = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        random.random()
    }

    pub(crate) fn chance(&self, odds: f64) -> bool {
        odds > 0.0 && (self.bits() >> 11) as f64 / ((1_u64 << 53) as f64) < odds
    }

    /// `from` to `to`, both included.
    pub(crate) fn number(&self, from: u64, to: u64) -> u64 {
        from + self.bits() % (to - from + 1)
    }

    pub(crate) fn millis(&self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.number(from, to))
    }

    pub(crate) fn seconds(&self, from: u64, to: u64) -> Duration {
        self.millis(from * 1_000, to * 1_000)
    }

    pub(crate) fn pick<'a, T>(&self, from: &'a [T]) -> &'a T {
        let place = self.number(0, from.len() as u64 - 1);
        &from[usize::try_from(place).expect("a place in a list")]
    }
}

/// FNV-1a: for streams and traces, where nothing but repeating matters.
pub(crate) fn fnv(bytes: &[u8], begin: u64) -> u64 {
    bytes
        .iter()
        .fold(begin ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
}
