//! What happened, in words, and a number that two equal runs share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::dice::fnv;

pub(crate) struct Trace {
    begin: Instant,
    lines: Mutex<Vec<String>>,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self {
            begin: Instant::now(),
            lines: Mutex::default(),
        }
    }

    pub(crate) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).expect("a short run")
    }

    pub(crate) fn say(&self, who: &str, what: impl AsRef<str>) {
        let at = self.elapsed_ms();
        let line = format!(
            "{:>4}.{:03} {who:<9} {}",
            at / 1_000,
            at % 1_000,
            what.as_ref()
        );
        self.lines().push(line);
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.lines().clone()
    }

    /// Equal for runs that said the same at the same times.
    pub(crate) fn hash(&self) -> u64 {
        let lines = self.lines();
        lines
            .iter()
            .fold(0, |hash, line| fnv(line.as_bytes(), hash))
    }

    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
