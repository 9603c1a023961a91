//! The key ring: which key seals, which keys open.
//!
//! A key is written `id:base64`: an id of 1 to 32 characters of `A-Z a-z 0-9 _ -`, a colon, and 32
//! bytes in base64, all printable ASCII. A ring is a list of keys separated by commas or line ends;
//! the first seals, all of them open. To rotate, put a new key in front; take the old one out once
//! `evergreen keys rotate` says that nothing uses it any more.
//!
//! While a new ring is being given to a fleet, one worker after the other, a worker that has it must
//! not seal what those that lack it cannot open. So which key seals can be set: the first that
//! everybody has ([`KeyRing::seal_with_first`]).

use std::fmt;
use std::io::Read as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rand::TryRng as _;
use rand::rngs::{SysError, SysRng};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretBox, SecretString};

use super::{FingerprintKey, apikey};

const KEY_BYTES: usize = 32;
const ID_CHARACTERS_MAX: usize = 32;
/// Far above any ring; keeps a wrong path, such as a device, from being read for ever.
const FILE_BYTES_MAX: usize = 64 * 1024;

// Keys made by other tools may lack the padding or use the URL-safe alphabet.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// The seal keys of a fleet. Wiped when dropped, never shown.
pub struct KeyRing {
    /// Never empty.
    keys: Vec<Key>,
    /// Which of them seals.
    sealing: AtomicUsize,
}

pub(super) struct Key {
    pub(super) id: String,
    pub(super) material: SecretBox<[u8; KEY_BYTES]>,
}

/// A key just made.
#[derive(Debug)]
pub struct NewKey {
    /// Its id, random too: `k` and eight hexadecimal digits.
    pub id: String,
    /// `id:base64`, as it goes into the ring.
    pub printable: SecretString,
}

/// Why a ring was refused. It names the variable and the entry, never what the entry holds.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// There is no key at all, and without one nothing may be stored.
    #[error("{variable}: at least one key is needed, written id:base64")]
    Empty {
        /// Where the ring was looked for.
        variable: &'static str,
    },
    /// One entry is wrong.
    #[error("{variable}: entry {position}: {rule}")]
    Entry {
        /// Where the ring was looked for.
        variable: &'static str,
        /// Which entry of the list; the first is 1.
        position: usize,
        /// What it breaks.
        rule: &'static str,
    },
    /// The file could not be read.
    #[error("{}: reading {path}", KeyRing::FILE_VARIABLE)]
    File {
        /// The file.
        path: String,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The operating system gave no random bytes.
    #[error("drawing a key from the operating system's randomness")]
    Randomness(#[source] SysError),
}

impl KeyRing {
    /// The variable that holds a ring.
    pub const VARIABLE: &str = "EVERGREEN_SEAL_KEYS";
    /// The variable that names a file holding a ring.
    pub const FILE_VARIABLE: &str = "EVERGREEN_SEAL_KEYS_FILE";

    /// Reads a ring as it stands in [`KeyRing::VARIABLE`].
    ///
    /// # Errors
    /// Names the variable and the position of the entry that is wrong.
    pub fn parse(text: &str) -> Result<Self, RingError> {
        Self::parse_from(Self::VARIABLE, text)
    }

    /// Reads a ring from the file that [`KeyRing::FILE_VARIABLE`] names.
    ///
    /// # Errors
    /// As [`KeyRing::parse`], and if the file cannot be read.
    pub fn from_file(path: &Path) -> Result<Self, RingError> {
        let text = read(path).map_err(|source| RingError::File {
            path: path.display().to_string(),
            source,
        })?;
        Self::parse_from(Self::FILE_VARIABLE, &text)
    }

    /// Makes a new key.
    ///
    /// # Errors
    /// If the operating system has no randomness to give.
    pub fn generate() -> Result<NewKey, RingError> {
        let mut id = [0_u8; 4];
        let mut material = Zeroizing::new([0_u8; KEY_BYTES]);
        SysRng
            .try_fill_bytes(&mut id)
            .and_then(|()| SysRng.try_fill_bytes(&mut material[..]))
            .map_err(RingError::Randomness)?;
        let id = format!("k{}", hex::encode(id));
        // At its final size from the start: a growing buffer would leave copies behind.
        let mut printable = String::with_capacity(id.len() + 1 + KEY_BYTES.div_ceil(3) * 4);
        printable.push_str(&id);
        printable.push(':');
        STANDARD.encode_string(&material[..], &mut printable);
        Ok(NewKey {
            id,
            printable: printable.into(),
        })
    }

    /// The id of the key that seals.
    #[must_use]
    pub fn current(&self) -> &str {
        &self.sealing().id
    }

    /// The id of the first key: the one that is meant to seal.
    #[must_use]
    pub fn first(&self) -> &str {
        &self.keys[0].id
    }

    /// The ids of all keys, in their order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }

    /// Seals from now on with the first key that this is true of, or with the very first if it is true
    /// of none. Tells whether that is another than before.
    pub fn seal_with_first(&self, everybody_has: impl Fn(&str) -> bool) -> bool {
        let shared = self.keys.iter().position(|key| everybody_has(&key.id));
        let chosen = shared.unwrap_or(0);
        self.sealing.swap(chosen, Ordering::Relaxed) != chosen
    }

    /// Seals from now on with the last key, which is the oldest: where nothing is known of the others, the one
    /// that they most likely have.
    pub fn seal_with_last(&self) {
        self.sealing.store(self.keys.len() - 1, Ordering::Relaxed);
    }

    /// What tells this ring from one with the same ids and other keys, and says nothing of the keys: each
    /// id with the keyed fingerprint of its key.
    #[must_use]
    pub fn prints(&self, salt: &FingerprintKey) -> Vec<String> {
        let print = |key: &Key| {
            let text = SecretString::from(STANDARD.encode(key.material.expose_secret()));
            format!("{}={}", key.id, salt.fingerprint(&text))
        };
        self.keys.iter().map(print).collect()
    }

    pub(super) fn sealing(&self) -> &Key {
        // It was found in this very list.
        &self.keys[self.sealing.load(Ordering::Relaxed)]
    }

    /// Whether the key of this id stands behind the one that seals; `None` if the ring lacks it.
    pub(super) fn is_behind(&self, id: &str) -> Option<bool> {
        let at = self.keys.iter().position(|key| key.id == id)?;
        Some(at > self.sealing.load(Ordering::Relaxed))
    }

    pub(super) fn key(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }

    fn parse_from(variable: &'static str, text: &str) -> Result<Self, RingError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(RingError::Empty { variable });
        }
        let mut keys: Vec<Key> = Vec::new();
        for (index, entry) in text.split([',', '\n']).enumerate() {
            let wrong = |rule| RingError::Entry {
                variable,
                position: index + 1,
                rule,
            };
            let key = parse_key(entry.trim()).map_err(wrong)?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(wrong("its id stands twice in the list"));
            }
            if keys.iter().any(|other| other.holds_the_same(&key)) {
                return Err(wrong("its key stands in the list under another id already"));
            }
            keys.push(key);
        }
        Ok(Self {
            keys,
            sealing: AtomicUsize::new(0),
        })
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

impl Key {
    fn holds_the_same(&self, other: &Self) -> bool {
        apikey::same(
            self.material.expose_secret(),
            other.material.expose_secret(),
        )
    }
}

/// Whether a text may be the id of a key: printable, and without the signs that separate ids from
/// other things in a ring and in a sealed blob.
pub(super) fn is_key_id(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    (1..=ID_CHARACTERS_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

fn parse_key(entry: &str) -> Result<Key, &'static str> {
    let (id, encoded) = entry
        .split_once(':')
        .ok_or("an entry is written id:base64")?;
    if !is_key_id(id) {
        return Err("the id before the colon is 1 to 32 characters of A-Z a-z 0-9 _ -");
    }
    // The decoder wants room for whole groups of three, so the buffer is larger than a key.
    let mut bytes = Zeroizing::new([0_u8; KEY_BYTES + 16]);
    let engine = if encoded.contains(['-', '_']) {
        URL_SAFE
    } else {
        STANDARD
    };
    match engine.decode_slice(encoded, &mut bytes[..]) {
        Ok(KEY_BYTES) => Ok(Key {
            id: id.to_owned(),
            material: SecretBox::init_with_mut(|key: &mut [u8; KEY_BYTES]| {
                key.copy_from_slice(&bytes[..KEY_BYTES]);
            }),
        }),
        Ok(_) | Err(base64::DecodeSliceError::OutputSliceTooSmall) => {
            Err("the key after the colon must be exactly 32 bytes")
        }
        Err(base64::DecodeSliceError::DecodeError(_)) => {
            Err("what follows the colon is not base64")
        }
    }
}

fn read(path: &Path) -> std::io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX + 1));
    std::fs::File::open(path)?
        .take(FILE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(std::io::Error::other("the file is larger than 64 KiB"));
    }
    let text = str::from_utf8(&bytes).map_err(|_| std::io::Error::other("it is not text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests;
