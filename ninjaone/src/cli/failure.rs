//! Why a command did not do what was asked, and the exit code that says so.

use std::fmt;

use serde::Serialize;
use serde_json::json;

/// How a command ends. Scripts rely on the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: done.
    Ok,
    /// 1: a defect, ours or the server's.
    Failed,
    /// 2: the command, a setting or the API key is wrong.
    Usage,
    /// 3: there is no such integration.
    NotFound,
    /// 4: a person must act: reconnect, or correct the configuration.
    Attention,
    /// 5: the store, the server or the provider is not available; the same command may work later.
    Unavailable,
    /// What a child process ended with.
    Child(u8),
}

impl Exit {
    /// The number.
    #[must_use]
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Attention => 4,
            Self::Unavailable => 5,
            Self::Child(code) => code,
        }
    }
}

/// What is told when a command fails. Never a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What was being done.
    pub doing: String,
    /// Why it failed.
    pub why: String,
    /// What to do next.
    pub help: Option<String>,
    /// What the server told beside that.
    pub told: Option<Box<Told>>,
}

/// What a server tells of a problem for programs to act on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// The problem's stable word.
    pub kind: String,
    /// What helps: `none`, `wait`, `fix_configuration` or `reconnect`.
    pub recovery: Option<String>,
    /// Seconds after which to ask again.
    pub retry_after: Option<u64>,
}

/// How a command ended.
pub(crate) type Ended = Result<Exit, Failure>;

#[derive(Serialize)]
struct Shown<'a> {
    doing: &'a str,
    why: &'a str,
    help: Option<&'a str>,
    kind: Option<&'a str>,
    recovery: Option<&'a str>,
    retry_after: Option<u64>,
    exit_code: u8,
}

impl Failure {
    /// A failure without help.
    #[must_use]
    pub(crate) fn new(exit: Exit, doing: impl Into<String>, why: impl fmt::Display) -> Self {
        Self {
            exit,
            doing: doing.into(),
            why: why.to_string(),
            help: None,
            told: None,
        }
    }

    /// The same with what to do next.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// A wrong flag, setting or file.
    #[must_use]
    pub(crate) fn usage(doing: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, doing, why)
    }

    /// An error with its sources, in one line.
    #[must_use]
    pub(crate) fn of(exit: Exit, doing: impl Into<String>, error: &dyn std::error::Error) -> Self {
        Self::new(exit, doing, chain(error))
    }

    /// Whether whoever read our output has gone away, which is nobody's fault.
    #[must_use]
    pub(crate) fn is_silent(&self) -> bool {
        self.exit == Exit::Ok
    }

    /// The problem's stable word, where a server told it.
    #[must_use]
    pub(crate) fn kind(&self) -> Option<&str> {
        self.told.as_ref().map(|told| told.kind.as_str())
    }

    /// As one JSON object: `{"error": {…}}`.
    #[must_use]
    pub(crate) fn json(&self) -> String {
        let told = self.told.as_ref();
        let shown = Shown {
            doing: &self.doing,
            why: &self.why,
            help: self.help.as_deref(),
            kind: self.kind(),
            recovery: told.and_then(|told| told.recovery.as_deref()),
            retry_after: told.and_then(|told| told.retry_after),
            exit_code: self.exit.code(),
        };
        json!({ "error": shown }).to_string()
    }
}

/// For people: `error: what was being done: why`, and `help: what to do next`.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}: {}", self.doing, self.why)?;
        if let Some(help) = &self.help {
            write!(f, "\nhelp: {help}")?;
        }
        Ok(())
    }
}

/// An error and its sources, separated by colons.
#[must_use]
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let told = inner.to_string();
        // Some libraries repeat their source in their own text.
        if !text.ends_with(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_two_lines_and_programs_one_object() {
        let failure = Failure::new(Exit::Unavailable, "reading acme/prod", "no answer")
            .help("try again later");
        assert_eq!(
            failure.to_string(),
            "error: reading acme/prod: no answer\nhelp: try again later"
        );
        let json: serde_json::Value = serde_json::from_str(&failure.json()).unwrap();
        assert_eq!(json["error"]["exit_code"], 5);
        assert_eq!(json["error"]["help"], "try again later");
        assert_eq!(json["error"]["kind"], serde_json::Value::Null);
    }

    #[test]
    fn the_promised_codes() {
        let codes = [
            Exit::Ok,
            Exit::Failed,
            Exit::Usage,
            Exit::NotFound,
            Exit::Attention,
            Exit::Unavailable,
            Exit::Child(77),
        ];
        assert_eq!(codes.map(Exit::code), [0, 1, 2, 3, 4, 5, 77]);
    }
}
