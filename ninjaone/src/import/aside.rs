//! Keeping a file that does not parse: it goes to `<name>.unreadable-<time>`, and nothing is ever
//! overwritten there.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

/// How many names are tried for files set aside within one second.
const NAMES: usize = 100;

/// Moves the file away.
pub(crate) fn rename(path: &Path, now: DateTime<Utc>) -> io::Result<PathBuf> {
    first_free(path, now, |aside| {
        // An empty file of our own takes the name, so that the rename replaces nothing else.
        let mut placeholder = OpenOptions::new();
        placeholder.write(true).create_new(true).mode(0o600);
        placeholder.open(aside)?;
        fs::rename(path, aside).inspect_err(|_| {
            // The name is ours and empty; if even that fails, an empty file is left behind.
            let _ = fs::remove_file(aside);
        })
    })
}

/// Gives the file its second name and leaves the first in place, to be replaced by a rename: so
/// there is no moment without a file. File systems without hard links get [`rename`].
pub(crate) fn link(path: &Path, now: DateTime<Utc>) -> io::Result<PathBuf> {
    match first_free(path, now, |aside| fs::hard_link(path, aside)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => rename(path, now),
        done => done,
    }
}

fn first_free(
    path: &Path,
    now: DateTime<Utc>,
    take: impl Fn(&Path) -> io::Result<()>,
) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let stamp = now.format("%Y%m%dT%H%M%SZ");
    for n in 1..=NAMES {
        let mut aside = OsString::from(name);
        aside.push(format!(".unreadable-{stamp}"));
        if n > 1 {
            aside.push(format!("-{n}"));
        }
        let aside = path.with_file_name(aside);
        match take(&aside) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
            Ok(()) => return Ok(aside),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_files_of_one_second_both_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.json");
        let now = DateTime::from_timestamp(1_759_591_800, 0).unwrap();
        let names: Vec<String> = ["one", "two", "three"]
            .iter()
            .map(|content| {
                fs::write(&path, content).unwrap();
                let aside = if *content == "three" {
                    link(&path, now).unwrap()
                } else {
                    rename(&path, now).unwrap()
                };
                assert_eq!(fs::read_to_string(&aside).unwrap(), *content);
                aside.file_name().unwrap().to_string_lossy().into_owned()
            })
            .collect();
        assert_eq!(
            names,
            [
                "tokens.json.unreadable-20251004T153000Z",
                "tokens.json.unreadable-20251004T153000Z-2",
                "tokens.json.unreadable-20251004T153000Z-3",
            ]
        );
        assert!(path.exists(), "a linked file keeps its first name");
    }
}
