//! Secrets that commands are given: from a file or standard input, because arguments are public.

use std::io::Read as _;
use std::path::Path;

use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use super::failure::{Exit, Failure};

const BYTES_MAX: u64 = 64 * 1024;

/// Reads a secret without the white space around it; `-` is standard input.
pub(super) fn read(path: &Path) -> Result<SecretString, Failure> {
    let doing = || format!("reading {}", path.display());
    let mut text = Zeroizing::new(String::with_capacity(256));
    let read = if path == Path::new("-") {
        std::io::stdin().take(BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|e| Failure::new(Exit::Usage, doing(), e))?;
    let secret = text.trim();
    if secret.is_empty() {
        return Err(Failure::usage(doing(), "it is empty"));
    }
    Ok(secret.into())
}
