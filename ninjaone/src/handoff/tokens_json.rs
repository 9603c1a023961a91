//! Writing the `tokens.json` of the NinjaRMM MCP server, so that it starts with our token.
//!
//! The file is replaced, never edited: a new one is written beside it (`.<name>.XXXXXX`, mode
//! 0600), made durable, and renamed over it. Whoever reads sees the old file or the new one, and
//! a crash at any moment leaves one of the two. A symbolic link is not followed. What does not
//! parse is set aside first, and nothing of it is lost.
//!
//! The other slot is kept. The consumer itself keeps neither: it reads the file once and rewrites
//! all of it from memory, which is what [`super::watch`] is for.

mod slot;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeZone, Utc};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use self::slot::{Kept, Slot};
use super::{Handed, RefreshToken};
use crate::import::file::{Links, Problem};
use crate::import::{aside, tokens_json as import};
use crate::integration::GrantKind;

/// Why the file was not written. The one that was there is untouched, or set aside.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is a symbolic link, a directory, too large, or cannot be read.
    #[error("{}: {reason}", path.display())]
    Unusable {
        /// The file to write.
        path: PathBuf,
        /// What is wrong with it; never its content.
        reason: String,
    },
    /// The existing file does not parse and could not be set aside.
    #[error("setting {} aside", path.display())]
    Aside {
        /// The file to write.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The new file could not be written or put in place.
    #[error("writing {}", path.display())]
    Write {
        /// The file to write.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The token has no place in the format.
    #[error("putting the token into the format of tokens.json")]
    Format(#[source] serde_json::Error),
}

/// What else happened while the file was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Where the old file went because it, or a part of it, did not parse.
    pub set_aside: Option<PathBuf>,
}

/// What a slot of the file holds, for the comparison with what was written there.
#[derive(Debug, Clone)]
pub enum OnDisk {
    /// There is no such file.
    NoFile,
    /// The file, or this slot of it, does not parse.
    Damaged,
    /// What the consumer would take from it.
    Slot {
        /// Empty means "no token" to the consumer.
        access_token: SecretString,
        /// False means "no token", too.
        valid: bool,
    },
}

/// The text of a file that holds only this token, for standard output.
///
/// `now` and `zone` are the consumer's: the file speaks its naive local time
/// ([`chrono::Local`], which goes by `TZ`).
///
/// # Errors
/// None that is known: every member is a text or a truth value.
pub fn text<Z: TimeZone>(
    handed: &Handed,
    refresh: RefreshToken,
    now: DateTime<Utc>,
    zone: &Z,
) -> Result<SecretString, serde_json::Error> {
    let text = render(handed, refresh, &Slot::empty(), now, zone)?;
    Ok(text.as_str().into())
}

/// Puts the token into its slot of the file, and makes the file if there is none.
///
/// # Errors
/// As [`Error`] says; the file is then as it was, or set aside.
pub async fn write<Z: TimeZone>(
    path: &Path,
    handed: &Handed,
    refresh: RefreshToken,
    now: DateTime<Utc>,
    zone: &Z,
) -> Result<Written, Error> {
    let kept = kept(path, handed.grant, zone).await?;
    let text = render(handed, refresh, &kept.other, now, zone).map_err(Error::Format)?;
    let owned = path.to_owned();
    // Makes the file durable, which takes as long as the disk takes.
    tokio::task::spawn_blocking(move || replace(&owned, &text, kept.damaged, now))
        .await
        .unwrap_or_else(|e| {
            Err(Error::Write {
                path: path.to_owned(),
                source: io::Error::other(e),
            })
        })
}

/// Puts a file with this text in place of the one that is there, which is set aside if it is
/// damaged.
fn replace(path: &Path, text: &str, damaged: bool, now: DateTime<Utc>) -> Result<Written, Error> {
    let failed = |source| Error::Write {
        path: path.to_owned(),
        source,
    };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Mode 0600 from the first moment on, and gone if anything below fails.
    let mut fresh = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .tempfile_in(directory)
        .map_err(failed)?;
    fresh.write_all(text.as_bytes()).map_err(failed)?;
    fresh.as_file().sync_all().map_err(failed)?;
    let set_aside = if damaged {
        let aside = aside::link(path, now).map_err(|source| Error::Aside {
            path: path.to_owned(),
            source,
        })?;
        Some(aside)
    } else {
        None
    };
    // A rename replaces a link instead of following it, should one have appeared meanwhile.
    fresh.persist(path).map_err(|e| failed(e.error))?;
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed)?;
    Ok(Written { set_aside })
}

/// What the file now holds for a grant. Waits a moment if it does not parse: the consumer writes in
/// place, so that may be half of a save, and it is read again.
///
/// # Errors
/// When it is there but is no file that could be replaced.
pub async fn look(path: &Path, grant: GrantKind) -> Result<OnDisk, Error> {
    let Some(loaded) = load(path).await? else {
        return Ok(OnDisk::NoFile);
    };
    let slot = loaded
        .ok()
        .and_then(|mut map| Slot::parse(map.remove(grant.as_str()), &Utc));
    Ok(match slot {
        Some(slot) => slot.on_disk(),
        None => OnDisk::Damaged,
    })
}

/// The other slot of the existing file, and whether anything in the file does not parse.
async fn kept<Z: TimeZone>(path: &Path, grant: GrantKind, zone: &Z) -> Result<Kept, Error> {
    Ok(match load(path).await? {
        None => Kept {
            other: Slot::empty(),
            damaged: false,
        },
        Some(Ok(map)) => Kept::of(map, grant, zone),
        Some(Err(_)) => Kept {
            other: Slot::empty(),
            damaged: true,
        },
    })
}

type Loaded = Result<serde_json::Map<String, serde_json::Value>, ()>;

async fn load(path: &Path) -> Result<Option<Loaded>, Error> {
    match import::load(path, Links::Refuse).await {
        Ok(loaded) => Ok(Some(loaded.map_err(drop))),
        Err(Problem::Missing) => Ok(None),
        Err(problem) => Err(Error::Unusable {
            path: path.to_owned(),
            reason: problem.to_string(),
        }),
    }
}

fn render<Z: TimeZone>(
    handed: &Handed,
    refresh: RefreshToken,
    other: &Slot,
    now: DateTime<Utc>,
    zone: &Z,
) -> Result<Zeroizing<String>, serde_json::Error> {
    let ours = Slot::of(handed, refresh, now, zone);
    match handed.grant {
        GrantKind::Client => slot::render(&ours, other),
        GrantKind::User => slot::render(other, &ours),
    }
}
