//! What one process remembers of one host.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::line::Line;

pub(super) struct Host {
    pub(super) name: String,
    pub(super) line: Arc<Line>,
    /// The fleet's gate wants to hear of answers.
    pub(super) troubled: AtomicBool,
    /// The fleet does not know of a pause that this process knows of.
    pub(super) owes: AtomicBool,
    /// It is named in the table of gates.
    pub(super) named: AtomicBool,
    /// How often this process has heard of a pause.
    pauses: AtomicU64,
}

impl Host {
    pub(super) fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            line: Arc::default(),
            troubled: AtomicBool::new(false),
            owes: AtomicBool::new(false),
            named: AtomicBool::new(false),
            pauses: AtomicU64::new(0),
        })
    }

    pub(super) fn heard_of_a_pause(&self) {
        self.pauses.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn pauses(&self) -> u64 {
        self.pauses.load(Ordering::Relaxed)
    }
}
