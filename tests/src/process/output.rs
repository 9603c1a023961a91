//! What a process prints, line by line, while it runs.

use std::io::{BufRead, BufReader, Read};
use std::process::{ChildStderr, ChildStdout};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::wait::within;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Stdout,
    Stderr,
}

#[derive(Debug)]
struct Line {
    stream: Stream,
    text: String,
}

/// The lines of both streams, collected by one thread each until the stream is closed.
#[derive(Debug)]
pub(super) struct Output {
    lines: Arc<Mutex<Vec<Line>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Output {
    pub(super) fn collect((out, err): (Option<ChildStdout>, Option<ChildStderr>)) -> Self {
        let lines = Arc::default();
        let readers = [
            out.map(|stream| follow(stream, Stream::Stdout, &lines)),
            err.map(|stream| follow(stream, Stream::Stderr, &lines)),
        ];
        Self {
            readers: readers.into_iter().flatten().collect(),
            lines,
        }
    }

    /// Waits until both streams are closed, for at most `deadline`.
    pub(super) async fn until_closed(&self, deadline: Duration) {
        let closed = async || {
            self.readers
                .iter()
                .all(JoinHandle::is_finished)
                .then_some(())
        };
        within(deadline, closed).await;
    }

    /// The first line so far that contains `pattern`.
    pub(super) fn find(&self, pattern: &str) -> Option<String> {
        let lines = lock(&self.lines);
        lines
            .iter()
            .find(|line| line.text.contains(pattern))
            .map(|line| line.text.clone())
    }

    pub(super) fn text(&self) -> String {
        self.joined(|_| true)
    }

    pub(super) fn stdout(&self) -> String {
        self.joined(|stream| stream == Stream::Stdout)
    }

    pub(super) fn stderr(&self) -> String {
        self.joined(|stream| stream == Stream::Stderr)
    }

    fn joined(&self, wanted: impl Fn(Stream) -> bool) -> String {
        let lines = lock(&self.lines);
        lines
            .iter()
            .filter(|line| wanted(line.stream))
            .map(|line| format!("{}\n", line.text))
            .collect()
    }
}

fn follow(
    from: impl Read + Send + 'static,
    stream: Stream,
    lines: &Arc<Mutex<Vec<Line>>>,
) -> JoinHandle<()> {
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        // Bytes, because a line that is not UTF-8 must not end the reading.
        for line in BufReader::new(from).split(b'\n') {
            let Ok(line) = line else { return };
            let text = String::from_utf8_lossy(&line).into_owned();
            lock(&lines).push(Line { stream, text });
        }
    })
}

/// A reader that panicked has pushed whole lines or none.
fn lock(lines: &Mutex<Vec<Line>>) -> MutexGuard<'_, Vec<Line>> {
    lines
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
