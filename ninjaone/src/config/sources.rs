//! What was given, and which of it counts: a flag before a variable before the file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::file;
use super::keys::{ALL, Key, nearest};
use super::reader::Problem;

/// The file that is read where no other is named.
const DEFAULT_FILE: &str = "evergreen.toml";
/// Far above any configuration; keeps a wrong path, such as a device, from being read for ever.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// The text of a configuration file.
#[derive(Clone)]
pub struct File {
    /// Where it was found, for messages.
    pub path: PathBuf,
    /// What it holds; may hold secrets.
    pub text: String,
}

/// Everything that settings are read from. Holds secrets, so there is no `Debug`.
#[derive(Clone, Default)]
pub struct Sources {
    /// Flags by the setting's name in the file.
    pub flags: BTreeMap<&'static str, String>,
    /// The environment.
    pub env: BTreeMap<String, OsString>,
    /// The configuration file, if there is one.
    pub file: Option<File>,
}

/// Why the configuration file could not be read.
#[derive(Debug, thiserror::Error)]
#[error("reading {}", path.display())]
pub struct SourcesError {
    /// The file.
    pub path: PathBuf,
    /// What the operating system said.
    #[source]
    pub source: std::io::Error,
}

impl Sources {
    /// Takes the environment of this process, and the file: the named one, which must be there, or
    /// `./evergreen.toml` if there is one.
    ///
    /// # Errors
    /// When a file is there, or was named, and cannot be read.
    pub fn of_process(
        flags: BTreeMap<&'static str, String>,
        named: Option<&Path>,
    ) -> Result<Self, SourcesError> {
        let ours = |(name, value): (OsString, OsString)| {
            let name = name.into_string().ok()?;
            name.starts_with("EVERGREEN_").then_some((name, value))
        };
        let path = named.unwrap_or_else(|| Path::new(DEFAULT_FILE));
        let file = match read(path) {
            Ok(text) => Some(File {
                path: path.to_owned(),
                text,
            }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && named.is_none() => None,
            Err(source) => {
                return Err(SourcesError {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        Ok(Self {
            flags,
            env: std::env::vars_os().filter_map(ours).collect(),
            file,
        })
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other("it is larger than 256 KiB"));
    }
    Ok(text)
}

/// A value, and what to call it in messages.
#[derive(Clone)]
pub(super) struct Found {
    /// White space around it is gone.
    pub(super) text: String,
    /// `--lease`, `EVERGREEN_LEASE` or `lease in evergreen.toml`.
    pub(super) name: String,
}

/// The sources, their file parsed.
pub(super) struct Lookup<'a> {
    sources: &'a Sources,
    file: BTreeMap<String, String>,
    path: String,
}

impl<'a> Lookup<'a> {
    /// Parses the file; what is wrong in it is told, the rest of it counts.
    pub(super) fn new(sources: &'a Sources, problems: &mut Vec<Problem>) -> Self {
        let (file, path) = match &sources.file {
            None => (BTreeMap::new(), String::new()),
            Some(given) => (
                file::parse(given, problems),
                given.path.display().to_string(),
            ),
        };
        Self {
            sources,
            file,
            path,
        }
    }

    /// The value that counts.
    pub(super) fn find(&self, key: Key) -> Result<Option<Found>, Problem> {
        let found = |text: &str, name: String| {
            let text = text.trim().to_owned();
            Ok(Some(Found { text, name }))
        };
        if let Some(text) = self.sources.flags.get(key.0) {
            return found(text, key.flag());
        }
        let variable = key.variable();
        if let Some(value) = self.sources.env.get(&variable) {
            return match value.to_str() {
                Some(text) => found(text, variable),
                None => Err(Problem::new(variable, "is not UTF-8")),
            };
        }
        match self.file.get(key.0) {
            Some(text) => found(text, format!("{} in {}", key.0, self.path)),
            None => Ok(None),
        }
    }

    /// Variables that look like a slip of the pen.
    pub(super) fn slips(&self) -> Vec<String> {
        let known: Vec<String> = ALL.iter().map(|key| key.variable()).collect();
        let unknown = self.sources.env.keys().filter(|name| !known.contains(name));
        unknown
            .filter_map(|name| {
                let (meant, distance) = nearest(&name.strip_prefix("EVERGREEN_")?.to_lowercase());
                (1..=2).contains(&distance).then(|| {
                    let meant = Key(meant).variable();
                    format!("{name} is no setting and was ignored; did you mean {meant}?")
                })
            })
            .collect()
    }
}
