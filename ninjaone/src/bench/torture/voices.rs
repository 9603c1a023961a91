//! What the workers say on standard error, line by line: who set out to send what, and what they complain
//! about. A process that is killed has said everything that it did before, since its log is not buffered.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::sync::watch;

use super::diary::Diary;

/// Lines of panics that are kept.
const PANICS_MAX: usize = 20;
/// What the line says that a worker writes when it works.
const WORKING: &str = "working";
/// Where transitions are told of (`lifecycle/record.rs`).
const TRANSITIONS: &str = "evergreen::transition";

/// What is heard, and what is done, shared by all who hear and do.
#[derive(Clone, Default)]
pub(super) struct Book(Arc<Mutex<Pages>>);

/// See [`Book`].
#[derive(Default)]
pub(super) struct Pages {
    /// What was done to the fleet, and who sent what.
    pub diary: Diary,
    /// Warnings and errors of the workers, by their text.
    pub complaints: BTreeMap<String, u64>,
    /// What a worker said that panicked.
    pub panics: Vec<String>,
}

impl Book {
    /// Never held across an await.
    pub(super) fn open(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line of a worker's log.
#[derive(Deserialize)]
struct Line {
    timestamp: String,
    level: String,
    target: String,
    message: Option<String>,
    /// Of a transition, the state that it came from, and the one that it led to.
    from: Option<String>,
    to: Option<String>,
    workflow: Option<String>,
}

/// Listens to one process until it is gone. Says by `working` when it works. What it says is also
/// appended to a file, where one is named.
pub(super) async fn listen(
    worker: usize,
    voice: impl AsyncRead + Unpin,
    book: Book,
    working: watch::Sender<bool>,
    evidence: Option<std::path::PathBuf>,
) {
    let mut file = evidence.as_deref().and_then(appending);
    let mut lines = BufReader::new(voice).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(file) = &mut file {
            // A convenience; what is judged is heard all the same.
            let _ = writeln!(file, "{line}");
        }
        if hear(worker, &line, &mut book.open()) {
            working.send_replace(true);
        }
    }
}

fn appending(path: &Path) -> Option<std::fs::File> {
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(path);
    file.inspect_err(|error| tracing::warn!(path = %path.display(), %error, "no evidence is kept"))
        .ok()
}

/// Takes in one line; whether it says that the worker works now.
fn hear(worker: usize, text: &str, pages: &mut Pages) -> bool {
    let Ok(line) = serde_json::from_str::<Line>(text) else {
        // Panics are written by the runtime, not by the log.
        if text.contains("panicked at") && pages.panics.len() < PANICS_MAX {
            pages.panics.push(format!("worker {}: {text}", worker + 1));
        }
        return false;
    };
    let message = line.message.as_deref().unwrap_or_default();
    if line.target == TRANSITIONS {
        if let Some(workflow) = &line.workflow
            && let Some(at) = milliseconds(&line.timestamp)
        {
            let (name, from) = (integration(workflow), line.from.as_deref());
            match line.to.as_deref() {
                Some("Refreshing") => pages.diary.intended(name, worker, at),
                Some("ReconnectRequired") if from != line.to.as_deref() => {
                    pages.diary.condemned(name, at);
                }
                _ => {}
            }
        }
    } else if line.level == "WARN" || line.level == "ERROR" {
        let said = format!("{}: {message}", line.level.to_lowercase());
        *pages.complaints.entry(said).or_default() += 1;
    }
    message == WORKING
}

/// `ninjaone.credential:acme/prod@user` is the integration `acme/prod`.
fn integration(workflow: &str) -> &str {
    let name = workflow.split_once(':').map_or(workflow, |(_, name)| name);
    name.split_once('@').map_or(name, |(name, _)| name)
}

fn milliseconds(timestamp: &str) -> Option<u64> {
    let at = chrono::DateTime::parse_from_rfc3339(timestamp).ok()?;
    u64::try_from(at.timestamp_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTENT: &str = r#"{"timestamp":"2026-11-30T21:00:00.250000Z","level":"INFO","message":"transition","workflow":"ninjaone.credential:acme/prod@user","fence":7,"attempt":1,"from":"Scheduled","to":"Refreshing","heard":"TimerFired","target":"evergreen::transition"}"#;

    #[test]
    fn an_intent_says_who_will_send() {
        let mut pages = Pages::default();
        assert!(!hear(2, INTENT, &mut pages));
        let at = 1_796_072_400_250;
        assert_eq!(pages.diary.sender("acme/prod", at + 10), Some(2));
        assert_eq!(pages.diary.sender("acme/prod", at - 10), None);
        let other = INTENT.replace("Refreshing", "ReconnectRequired");
        hear(1, &other, &mut pages);
        assert_eq!(pages.diary.sender("acme/prod", at + 10), Some(2));
        // Told there once, however often it is looked at.
        hear(
            1,
            &other.replace("\"Scheduled\"", "\"ReconnectRequired\""),
            &mut pages,
        );
        let told: Vec<_> = pages.diary.verdicts().collect();
        assert_eq!(told, [("acme/prod", at)]);
    }

    #[test]
    fn complaints_are_counted_by_their_text_and_panics_are_kept() {
        let mut pages = Pages::default();
        let warning = r#"{"timestamp":"2026-11-30T21:00:00Z","level":"WARN","message":"no","error":"x","target":"t"}"#;
        hear(0, warning, &mut pages);
        hear(1, warning, &mut pages);
        hear(0, "thread 'main' panicked at src/x.rs:1:1:", &mut pages);
        assert_eq!(
            pages.complaints,
            BTreeMap::from([("warn: no".to_owned(), 2)])
        );
        assert_eq!(
            pages.panics,
            ["worker 1: thread 'main' panicked at src/x.rs:1:1:"]
        );
    }

    #[tokio::test]
    async fn a_worker_that_works_says_so() {
        let said = br#"{"timestamp":"2026-11-30T21:00:00Z","level":"INFO","message":"working","target":"ninjaone"}"#;
        let (working, mut is_working) = watch::channel(false);
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("worker-1.log");
        listen(0, &said[..], Book::default(), working, Some(file.clone())).await;
        assert!(*is_working.borrow_and_update());
        let kept = std::fs::read_to_string(file).unwrap();
        assert_eq!(kept.trim_end().as_bytes(), said);
    }
}
