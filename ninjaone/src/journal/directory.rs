//! The real disk: the directory of a host, the names in it, locks, modes, orphans.
//!
//! The lock is `flock` on the file itself, so that it ends with the process, however that ends. Two
//! traps follow from it. A renamed copy is another file, so it is locked before it takes the name.
//! And who waits for a lock may get it on a file that has meanwhile been replaced or deleted, so a
//! lock counts only if the name still leads to the file that was locked.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::disk::{Disk, Orphans};
use super::record;

/// How the files of workers end.
const SUFFIX: &str = ".journal";
/// How a copy ends that has not yet taken its file's name; it belongs to who holds the lock.
const FRESH_SUFFIX: &str = ".fresh";
/// Processes with the same worker id that may use one directory at once.
const NAMESAKES_MAX: usize = 100;
/// Why a file is left alone by an older release.
const NEWER: &str = "it holds records of a newer release";

/// A worker's own file in the directory of its host.
pub(super) struct Directory {
    path: PathBuf,
    name: String,
    file: File,
    fresh: Option<File>,
    /// Held, and locked, until their entries are safe in the own file.
    orphans: Vec<(String, File)>,
}

impl Directory {
    /// Takes the file of this worker, or of a namesake number if another process has it, and
    /// returns what is in it.
    pub(super) fn open(path: &Path, worker_id: &str) -> io::Result<(Self, Vec<u8>)> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let stem = file_stem(worker_id);
        for number in 1..=NAMESAKES_MAX {
            let name = match number {
                1 => format!("{stem}{SUFFIX}"),
                _ => format!("{stem}-{number}{SUFFIX}"),
            };
            let path_of_file = path.join(&name);
            drop(options().create(true).open(&path_of_file)?);
            let Taken::Whole(file, bytes) = take(&path_of_file)? else {
                continue;
            };
            let own = Self {
                path: path.to_owned(),
                name,
                file,
                fresh: None,
                orphans: Vec::new(),
            };
            return Ok((own, bytes));
        }
        Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "every file name of this worker id is taken",
        ))
    }

    fn fresh_path(&self) -> PathBuf {
        self.path.join(format!("{}{FRESH_SUFFIX}", self.name))
    }
}

impl Disk for Directory {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn write_fresh(&mut self, bytes: &[u8]) -> io::Result<()> {
        let path = self.fresh_path();
        self.fresh = None;
        remove(&path)?;
        let mut file = options().create_new(true).open(&path)?;
        let written = flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(io::Error::from)
            .and_then(|()| file.write_all(bytes));
        match written {
            Ok(()) => self.fresh = Some(file),
            // Half a copy on a full disk takes the room that a record could have had.
            Err(_) => remove(&path)?,
        }
        written
    }

    fn sync_fresh(&mut self) -> io::Result<()> {
        self.fresh
            .as_ref()
            .map_or_else(|| Err(no_fresh_copy()), File::sync_all)
    }

    fn install_fresh(&mut self) -> io::Result<()> {
        let fresh = self.fresh.take().ok_or_else(no_fresh_copy)?;
        fs::rename(self.fresh_path(), self.path.join(&self.name))?;
        self.file = fresh;
        Ok(())
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn take_orphans(&mut self) -> io::Result<Orphans> {
        let mut found = Orphans::default();
        for name in journal_names(&self.path)? {
            if name == self.name || self.orphans.iter().any(|(held, _)| *held == name) {
                continue;
            }
            match take(&self.path.join(&name)) {
                Ok(Taken::Whole(file, bytes)) => {
                    found.taken.push((name.clone(), bytes));
                    self.orphans.push((name, file));
                }
                Ok(Taken::Alive) => {}
                Ok(Taken::Newer) => found.left.push((name, NEWER.to_owned())),
                Err(error) => found.left.push((name, error.to_string())),
            }
        }
        Ok(found)
    }

    fn delete_orphans(&mut self) -> io::Result<()> {
        while let Some((name, _locked)) = self.orphans.last() {
            remove(&self.path.join(format!("{name}{FRESH_SUFFIX}")))?;
            remove(&self.path.join(name))?;
            self.orphans.pop();
        }
        Ok(())
    }
}

/// The names of all workers' files in a directory, sorted.
pub(super) fn journal_names(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for item in fs::read_dir(path)? {
        let item = item?;
        // Not a name that any release gives is not ours to touch.
        let Ok(name) = item.file_name().into_string() else {
            continue;
        };
        if name.ends_with(SUFFIX) && item.file_type()?.is_file() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Those of them that a live process holds. Each lock that can be had is given back at once.
pub(super) fn held_names(path: &Path) -> io::Result<Vec<String>> {
    let mut held = Vec::new();
    for name in journal_names(path)? {
        let file = match options().open(path.join(&name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => held.push(name),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(held)
}

/// A worker id as the beginning of a file name: letters, digits, `.`, `_` and `-` stay as they are.
fn file_stem(worker_id: &str) -> String {
    let stem: String = worker_id
        .chars()
        .take(100)
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' => c,
            _ => '_',
        })
        .collect();
    match stem.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None if stem.is_empty() => "worker".to_owned(),
        None => stem,
    }
}

/// Readable and writable by the owner alone, and no symbolic link is followed.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .append(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

/// What came of reaching for a worker's file.
enum Taken {
    /// It is ours, and this is in it.
    Whole(File, Vec<u8>),
    /// A live process holds it, or it has just gone.
    Alive,
    /// It holds records that this release does not know.
    Newer,
}

fn take(path: &Path) -> io::Result<Taken> {
    let Some(mut file) = lock(path)? else {
        return Ok(Taken::Alive);
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    if record::scan(&bytes).unknown > 0 {
        return Ok(Taken::Newer);
    }
    Ok(Taken::Whole(file, bytes))
}

/// Opens and locks a file; nothing if another process holds it or it has gone.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = match options().open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    Ok(still_named(&file, path)?.then_some(file))
}

/// Whether the name still leads to this file, or it was replaced or adopted before it was locked.
fn still_named(file: &File, path: &Path) -> io::Result<bool> {
    let locked = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (locked.dev(), locked.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Deletes a file that need not be there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn no_fresh_copy() -> io::Error {
    io::Error::other("no fresh copy was written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_lost_its_name_is_not_ours() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("w.journal");
        let first = options().create(true).open(&path).unwrap();
        assert!(still_named(&first, &path).unwrap());
        // Adopted by another: deleted, and then made anew by the next of that name.
        fs::remove_file(&path).unwrap();
        assert!(!still_named(&first, &path).unwrap());
        let second = options().create(true).open(&path).unwrap();
        assert!(!still_named(&first, &path).unwrap());
        assert!(still_named(&second, &path).unwrap());
    }
}
