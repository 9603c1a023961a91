//! A progress bar on standard error, where somebody watches.

use indicatif::{ProgressBar, ProgressStyle};

use super::ui::Ui;
use crate::import::report::{Line, Verdict};

/// The progress of rows.
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn new(rows: usize, ui: &Ui) -> Self {
        if !ui.watched || ui.json || rows < 2 {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(rows as u64);
        // The template is ours and right; without it the bar has its usual look.
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {eta:>5} left {msg}")
        {
            bar.set_style(style);
        }
        Self(bar)
    }

    pub(super) fn step(&self, line: &Line) {
        self.0.inc(1);
        if line.result == Verdict::Refused {
            self.0.set_message("(some refused)");
        }
    }

    pub(super) fn end(&self) {
        self.0.finish_and_clear();
    }
}
