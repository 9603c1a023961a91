//! Reading one value after the other, and remembering everything that is wrong.

use std::fmt;

use super::keys::Key;
use super::sources::{Found, Lookup, Sources};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: a flag, a variable, or a key of the file.
    pub setting: String,
    /// What is wrong, and what is allowed. Never the value.
    pub wrong: String,
}

impl Problem {
    pub(super) fn new(setting: impl Into<String>, wrong: impl Into<String>) -> Self {
        Self {
            setting: setting.into(),
            wrong: wrong.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.wrong)
    }
}

/// Everything that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => one.fmt(f),
            all => {
                write!(f, "{} settings are wrong", all.len())?;
                all.iter().try_for_each(|one| write!(f, "\n  {one}"))
            }
        }
    }
}

impl std::error::Error for Problems {}

pub(super) struct Reader<'a> {
    lookup: Lookup<'a>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(sources: &'a Sources) -> Self {
        let mut problems = Vec::new();
        Self {
            lookup: Lookup::new(sources, &mut problems),
            problems,
        }
    }

    /// The value, if there is one.
    pub(super) fn found(&mut self, key: Key) -> Option<Found> {
        match self.lookup.find(key) {
            Ok(found) => found,
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    /// Reads a value that may be absent. `parse` says what is wrong, without repeating the value.
    pub(super) fn read<T, E: fmt::Display>(
        &mut self,
        key: Key,
        allowed: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let found = self.found(key)?;
        let parsed = if found.text.is_empty() {
            Err("is empty".to_owned())
        } else {
            parse(&found.text).map_err(|why| why.to_string())
        };
        match parsed {
            Ok(value) => Some(value),
            Err(why) => {
                let wrong = format!("{why}; allowed is {allowed}");
                self.problems.push(Problem::new(found.name, wrong));
                None
            }
        }
    }

    /// How a setting is called in messages: as it was given, else its variable.
    pub(super) fn name(&self, key: Key) -> String {
        match self.lookup.find(key) {
            Ok(Some(found)) => found.name,
            _ => key.variable(),
        }
    }

    pub(super) fn wrong(&mut self, setting: impl Into<String>, wrong: impl Into<String>) {
        self.problems.push(Problem::new(setting, wrong));
    }

    pub(super) fn slips(&self) -> Vec<String> {
        self.lookup.slips()
    }

    /// The value if nothing was wrong. `None` without a problem does not happen: whoever gives up
    /// has said why.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Problems> {
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(Problems(self.problems)),
        }
    }
}
