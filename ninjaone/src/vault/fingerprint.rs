//! Telling refresh tokens apart without keeping them.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{HexError, from_hex, written_in_hex};

/// The salt of a fleet's fingerprints: 32 random bytes, kept in `evergreen:meta` as hex.
///
/// It is not a seal key: it keeps a fingerprint in a log from being looked up in a table of tokens
/// elsewhere, and makes the fingerprints of two installations incomparable.
pub struct FingerprintKey(SecretBox<[u8; 32]>);

impl FingerprintKey {
    /// Draws a new salt, for a store that has none yet.
    #[must_use]
    pub fn random() -> Self {
        Self(SecretBox::init_with_mut(|bytes: &mut [u8; 32]| {
            rand::fill(bytes);
        }))
    }

    /// Reads the salt from its 64 hexadecimal digits.
    ///
    /// # Errors
    /// Says how many digits are expected; never repeats the text.
    pub fn from_hex(text: &str) -> Result<Self, HexError> {
        from_hex("fingerprint salt", text).map(|bytes| Self(SecretBox::new(Box::new(bytes))))
    }

    /// The salt as it is kept in `evergreen:meta`.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(self.0.expose_secret())
    }

    /// The first eight bytes of the token's HMAC-SHA256 under this salt.
    #[must_use]
    pub fn fingerprint(&self, token: &SecretString) -> Fingerprint {
        let mac = Hmac::<Sha256>::new_from_slice(self.0.expose_secret())
            .expect("HMAC takes a key of any length")
            .chain_update(token.expose_secret().as_bytes())
            .finalize()
            .into_bytes();
        let mut first = [0; 8];
        first.copy_from_slice(&mac[..8]);
        Fingerprint(first)
    }
}

impl fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FingerprintKey(..)")
    }
}

/// A token's keyed fingerprint, written as 16 hexadecimal digits; safe to store, log and show.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Fingerprint([u8; 8]);

written_in_hex!(Fingerprint, "fingerprint");

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: &str = "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";

    #[test]
    fn it_is_the_head_of_a_plain_hmac_sha256() {
        // openssl dgst -sha256 -mac HMAC -macopt hexkey:0b…0b over the bytes `Hi There`.
        let key = FingerprintKey::from_hex(SALT).unwrap();
        let fingerprint = key.fingerprint(&"Hi There".into());
        assert_eq!(fingerprint.to_string(), "198a607eb44bfbc6");
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
    }

    #[test]
    fn another_token_or_another_salt_gives_another_fingerprint() {
        let key = FingerprintKey::random();
        let same = FingerprintKey::from_hex(&key.to_hex()).unwrap();
        let one = key.fingerprint(&"one".into());
        assert_eq!(one, same.fingerprint(&"one".into()));
        assert_ne!(one, key.fingerprint(&"two".into()));
        assert_ne!(one, FingerprintKey::random().fingerprint(&"one".into()));
    }

    #[test]
    fn debug_shows_no_salt() {
        let shown = format!("{:?}", FingerprintKey::from_hex(SALT).unwrap());
        assert_eq!(shown, "FingerprintKey(..)");
        let refused = FingerprintKey::from_hex("0b0bCANARY").unwrap_err();
        assert!(!format!("{refused} {refused:?}").contains("CANARY"));
    }
}
