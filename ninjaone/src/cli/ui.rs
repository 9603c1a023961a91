//! Where a command writes: its result to standard output, everything else to standard error.
//!
//! With `--json` the result is JSON: one document, or for `events` and `connect` one object a line.
//! What would be an error or a note is then never on standard output.

use std::io::{self, IsTerminal, Write};

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::failure::{Exit, Failure};

/// Where a command writes, and for whom.
pub(crate) struct Ui {
    /// `--json` was given.
    pub json: bool,
    /// The time that relative times are told from; `None` asks the clock.
    pub now: Option<DateTime<Utc>>,
    /// Columns of a table; `None` asks the terminal.
    pub width: Option<u16>,
    /// Somebody watches standard error.
    pub watched: bool,
    /// Standard output is a terminal.
    pub live: bool,
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
}

impl Ui {
    /// The streams of this process.
    #[must_use]
    pub(crate) fn of_process(json: bool) -> Self {
        Self {
            json,
            now: None,
            width: None,
            watched: io::stderr().is_terminal(),
            live: io::stdout().is_terminal(),
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
        }
    }

    /// Writes somewhere else, as of a fixed time.
    #[cfg(test)]
    pub(super) fn for_test(
        json: bool,
        out: impl Write + Send + 'static,
        err: impl Write + Send + 'static,
    ) -> Self {
        Self {
            json,
            now: "2026-03-26T12:00:00Z".parse().ok(),
            width: Some(120),
            watched: false,
            live: false,
            out: Box::new(out),
            err: Box::new(err),
        }
    }

    /// The time to tell relative times from.
    #[must_use]
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.now.unwrap_or_else(Utc::now)
    }

    /// Writes a text and a line feed to standard output.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn say(&mut self, text: &str) -> Result<(), Failure> {
        written(write(&mut self.out, text.trim_end_matches('\n'), "\n"))
    }

    /// Writes a secret to standard output, exactly as it is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn hand_over(&mut self, text: &SecretString) -> Result<(), Failure> {
        written(write(&mut self.out, text.expose_secret(), ""))
    }

    /// Writes to standard output what moves its cursor, exactly as it is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn draw(&mut self, text: &str) -> Result<(), Failure> {
        written(write(&mut self.out, text, ""))
    }

    /// Writes a value as JSON on several lines to standard output.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn document(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(unwritable)?;
        self.say(&text)
    }

    /// Writes a value as JSON on one line to standard output.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn line(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(unwritable)?;
        self.say(&text)
    }

    /// Writes a line to standard error; what cannot be written there is lost.
    pub(crate) fn note(&mut self, text: &str) {
        let _ = write(&mut self.err, text, "\n");
    }

    /// Tells why a command failed, on standard error.
    pub(crate) fn fail(&mut self, failure: &Failure) {
        if failure.is_silent() {
            return;
        }
        let text = if self.json {
            failure.json()
        } else {
            failure.to_string()
        };
        self.note(&text);
    }
}

fn write(to: &mut Box<dyn Write + Send>, text: &str, end: &str) -> io::Result<()> {
    to.write_all(text.as_bytes())?;
    to.write_all(end.as_bytes())?;
    to.flush()
}

fn written(result: io::Result<()>) -> Result<(), Failure> {
    result.map_err(|e| match e.kind() {
        // `evergreen list | head` has all it wants.
        io::ErrorKind::BrokenPipe => Failure::new(Exit::Ok, "writing the result", e),
        _ => Failure::new(Exit::Failed, "writing the result", e),
    })
}

fn unwritable(error: serde_json::Error) -> Failure {
    Failure::new(Exit::Failed, "writing the result", error)
}

/// What was written, for tests.
#[cfg(test)]
#[derive(Clone, Default)]
pub(super) struct Kept(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

#[cfg(test)]
impl Kept {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text()).unwrap()
    }
}

#[cfg(test)]
impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let kept = Kept::default();
        let mut ui = Ui::for_test(false, Gone, kept.clone());
        let failure = ui.say("text").unwrap_err();
        assert_eq!(failure.exit, Exit::Ok);
        ui.fail(&failure);
        assert_eq!(kept.text(), "");
    }

    #[test]
    fn a_failure_goes_to_standard_error_in_the_form_asked_for() {
        for (json, begin) in [
            (false, "error: a: b\n"),
            (true, "{\"error\":{\"doing\":\"a\""),
        ] {
            let (out, err) = (Kept::default(), Kept::default());
            let mut ui = Ui::for_test(json, out.clone(), err.clone());
            ui.fail(&Failure::usage("a", "b"));
            assert!(err.text().starts_with(begin), "{}", err.text());
            assert_eq!(out.text(), "");
        }
    }
}
