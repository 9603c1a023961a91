//! Opening a file that somebody else wrote: bounded, never waiting, never out of its directory.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;
use secrecy::zeroize::Zeroizing;

/// The bytes of a file of secrets, wiped when dropped.
pub(crate) type Bytes = Zeroizing<Vec<u8>>;

/// Why a file could not be read. Its `Display` goes behind the name of the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("is not there")]
    Missing,
    #[error("is a symbolic link that leads nowhere")]
    LeadsNowhere,
    #[error("is a symbolic link that leaves the directory")]
    LeavesBase,
    #[error("is a symbolic link")]
    SymbolicLink,
    #[error("is not a regular file")]
    NotAFile,
    #[error("is too large")]
    TooLarge,
    #[error("cannot be read ({0})")]
    Unreadable(io::ErrorKind),
}

impl Problem {
    fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing,
            kind => Self::Unreadable(kind),
        }
    }
}

/// Whether a symbolic link in the place of the file itself is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    Follow,
    Refuse,
}

/// Reads at most `limit` bytes of a regular file.
pub(crate) fn read(path: &Path, links: Links, limit: usize) -> Result<Bytes, Problem> {
    // NONBLOCK, because opening a named pipe would wait for its writer for ever.
    let mut flags = OFlags::NONBLOCK;
    if links == Links::Refuse {
        flags |= OFlags::NOFOLLOW;
    }
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|e| {
            let looped = e.raw_os_error() == Some(Errno::LOOP.raw_os_error());
            if looped && links == Links::Refuse {
                Problem::SymbolicLink
            } else {
                Problem::of(&e)
            }
        })?;
    let meta = file.metadata().map_err(|e| Problem::of(&e))?;
    if !meta.is_file() {
        return Err(Problem::NotAFile);
    }
    // The size is only a hint; what counts is what comes. One allocation, so that no copy of a
    // secret stays behind when the buffer would grow.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
    file.take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Problem::Unreadable(e.kind()))?;
    if bytes.len() > limit {
        return Err(Problem::TooLarge);
    }
    Ok(bytes)
}

/// Where `path` really is, provided that this is inside `base` (which must be canonical).
pub(crate) fn inside(base: &Path, path: &Path) -> Result<PathBuf, Problem> {
    let real = path.canonicalize().map_err(|e| match Problem::of(&e) {
        Problem::Missing if path.symlink_metadata().is_ok() => Problem::LeadsNowhere,
        problem => problem,
    })?;
    if real.starts_with(base) {
        Ok(real)
    } else {
        Err(Problem::LeavesBase)
    }
}

/// Reads a file below `base`: links are followed as long as they stay inside.
///
/// The real path is opened with links refused, so a file exchanged for a link in between is not
/// followed out of the directory.
pub(crate) fn read_inside(base: &Path, path: &Path, limit: usize) -> Result<Bytes, Problem> {
    read(&inside(base, path)?, Links::Refuse, limit)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_no_plain_file_is_refused_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        fs::write(base.join("big"), [b'x'; 11]).unwrap();
        fs::write(base.join("fits"), [b'x'; 10]).unwrap();
        fs::create_dir(base.join("dir")).unwrap();
        symlink("loop", base.join("loop")).unwrap();
        symlink("gone", base.join("dangling")).unwrap();
        symlink("fits", base.join("link")).unwrap();
        #[cfg(not(target_vendor = "apple"))]
        rustix::fs::mknodat(
            rustix::fs::CWD,
            base.join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        let read = |name: &str| read_inside(&base, &base.join(name), 10);
        assert_eq!(read("big").unwrap_err(), Problem::TooLarge);
        assert_eq!(read("fits").unwrap().len(), 10);
        assert_eq!(read("link").unwrap().len(), 10);
        assert_eq!(read("dir").unwrap_err(), Problem::NotAFile);
        #[cfg(not(target_vendor = "apple"))]
        assert_eq!(read("pipe").unwrap_err(), Problem::NotAFile);
        assert_eq!(read("gone").unwrap_err(), Problem::Missing);
        assert_eq!(read("dangling").unwrap_err(), Problem::LeadsNowhere);
        assert!(matches!(read("loop").unwrap_err(), Problem::Unreadable(_)));
        let direct = super::read(&base.join("link"), Links::Refuse, 10);
        assert_eq!(direct.unwrap_err(), Problem::SymbolicLink);
    }

    #[test]
    fn a_link_out_of_the_directory_is_refused() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "x").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        symlink(outside.path().join("secret"), base.join("file")).unwrap();
        symlink(outside.path(), base.join("folder")).unwrap();
        for name in ["file", "folder/secret"] {
            let problem = read_inside(&base, &base.join(name), 10).unwrap_err();
            assert_eq!(problem, Problem::LeavesBase, "{name}");
        }
    }
}
