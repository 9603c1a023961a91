//! Keys of the HTTP API: made once, kept hashed, compared in constant time.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use super::written_in_hex;

/// What every key starts with, so that scanners of repositories and logs can recognise one.
pub const PREFIX: &str = "eg_";

/// Draws a new key: the prefix and 32 random bytes in base64url, 46 characters.
#[must_use]
pub fn generate() -> SecretString {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    rand::fill(&mut bytes[..]);
    // Written in place and at its final size: no copy is left behind by a growing buffer.
    let mut text = String::with_capacity(PREFIX.len() + 43);
    text.push_str(PREFIX);
    URL_SAFE_NO_PAD.encode_string(&bytes[..], &mut text);
    text.into()
}

/// The SHA-256 of a key, which is all that is kept of it; written as 64 hexadecimal digits.
///
/// A plain hash is enough: the keys are 256 random bits, there is nothing to guess.
/// Comparing two takes the same time wherever they differ.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// Hashes a key as it was presented.
    #[must_use]
    pub fn of(key: &SecretString) -> Self {
        Self(Sha256::digest(key.expose_secret().as_bytes()).into())
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        same(&self.0, &other.0)
    }
}

impl Eq for Digest {}

written_in_hex!(Digest, "SHA-256 of an API key");

/// Whether two byte strings are equal, in a time that does not tell where they differ.
///
/// Their lengths are not hidden.
#[must_use]
pub fn same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_recognisable_and_new_each_time() {
        let key = generate();
        assert!(key.expose_secret().starts_with("eg_"));
        assert_eq!(key.expose_secret().len(), 46);
        assert_ne!(key.expose_secret(), generate().expose_secret());
        assert!(!format!("{key:?}").contains("eg_"));
    }

    #[test]
    fn its_digest_is_the_sha256_of_the_whole_text() {
        let digest = Digest::of(&"abc".into());
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.to_string(), known);
        assert_eq!(known.parse(), Ok(digest));
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        assert_ne!(digest, Digest::of(&"abd".into()));
    }

    #[test]
    fn same_compares_content_and_length() {
        assert!(same(b"abc", b"abc"));
        assert!(!same(b"abc", b"abd"));
        assert!(!same(b"abc", b"ab"));
        assert!(same(b"", b""));
    }
}
