//! Sealing and opening: XChaCha20-Poly1305 under a key of the ring, bound to a [`Place`].
//!
//! The text form is `v1.<key id>.<base64url of nonce and ciphertext>`, so that `redis-cli` shows
//! which key sealed a blob. Nonces are 24 random bytes: no counter has to survive anything.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use secrecy::ExposeSecret as _;
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};

use super::ring::{Key, is_key_id};
use super::{KeyRing, Place};

const VERSION: &str = "v1";
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// A sealed blob. Safe to store and to show: without the key and the place it says nothing but its
/// length and which key sealed it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Sealed {
    key_id: String,
    /// Nonce, ciphertext and tag.
    body: Vec<u8>,
}

/// Why a blob did not open. None of these means that credentials are missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It was sealed with a key that the ring does not hold.
    #[error("sealed with the key `{key_id}`, which is not in the key ring")]
    UnknownKey {
        /// The id of the key that is wanted.
        key_id: String,
    },
    /// The key of that id does not open it here: another key of the same id, another place, or
    /// damage. Cryptography cannot tell these apart.
    #[error("it does not open here: sealed for another place, damaged, or under another key")]
    WrongPlaceOrDamaged,
    /// It is not a sealed blob of this version, or something else was sealed in it.
    #[error("it is not a sealed blob of the kind that belongs here")]
    Malformed,
}

impl Sealed {
    /// The id of the key that sealed it.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }
}

impl KeyRing {
    /// Seals bytes for one place with the current key.
    ///
    /// # Panics
    /// If the plaintext is longer than the cipher's 256 GiB.
    #[must_use]
    pub fn seal(&self, place: &Place<'_>, plaintext: &[u8]) -> Sealed {
        let key = self.sealing();
        let mut nonce = [0; NONCE_BYTES];
        rand::fill(&mut nonce);
        let payload = Payload {
            msg: plaintext,
            aad: &place.to_bytes(),
        };
        let ciphertext = cipher(key)
            .encrypt(&XNonce::from(nonce), payload)
            .expect("a credential is shorter than 256 GiB");
        Sealed {
            key_id: key.id.clone(),
            body: [&nonce[..], &ciphertext].concat(),
        }
    }

    /// Opens a blob that was sealed for this place.
    ///
    /// # Errors
    /// Says whether the key is unknown or the blob does not open here.
    pub fn open(
        &self,
        place: &Place<'_>,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let key = self
            .key(&sealed.key_id)
            .ok_or_else(|| OpenError::UnknownKey {
                key_id: sealed.key_id.clone(),
            })?;
        let (nonce, ciphertext) = sealed
            .body
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(OpenError::Malformed)?;
        let payload = Payload {
            msg: ciphertext,
            aad: &place.to_bytes(),
        };
        cipher(key)
            .decrypt(&XNonce::from(*nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| OpenError::WrongPlaceOrDamaged)
    }

    /// Seals a blob anew for the place where it is, if the key that sealed it stands behind the one that
    /// seals now; else it stays as it is.
    ///
    /// # Errors
    /// As [`KeyRing::open`]: what does not open is nobody's to replace.
    pub fn seal_anew(&self, place: &Place<'_>, sealed: &Sealed) -> Result<Sealed, OpenError> {
        match self.is_behind(&sealed.key_id) {
            Some(true) => Ok(self.seal(place, &self.open(place, sealed)?)),
            Some(false) => Ok(sealed.clone()),
            None => Err(OpenError::UnknownKey {
                key_id: sealed.key_id.clone(),
            }),
        }
    }
}

/// The cipher under one key; it wipes its copy of the key when dropped.
fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.material.expose_secret().into())
}

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = URL_SAFE_NO_PAD.encode(&self.body);
        write!(f, "{VERSION}.{}.{body}", self.key_id)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Sealed({VERSION}.{}, {} bytes)",
            self.key_id,
            self.body.len()
        )
    }
}

impl FromStr for Sealed {
    type Err = OpenError;

    fn from_str(text: &str) -> Result<Self, OpenError> {
        let mut parts = text.splitn(3, '.');
        let (Some(VERSION), Some(key_id), Some(body)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(OpenError::Malformed);
        };
        let body = URL_SAFE_NO_PAD
            .decode(body)
            .map_err(|_| OpenError::Malformed)?;
        if !is_key_id(key_id) || body.len() < NONCE_BYTES + TAG_BYTES {
            return Err(OpenError::Malformed);
        }
        Ok(Self {
            key_id: key_id.to_owned(),
            body,
        })
    }
}

impl From<Sealed> for String {
    fn from(sealed: Sealed) -> Self {
        sealed.to_string()
    }
}

impl TryFrom<String> for Sealed {
    type Error = OpenError;

    fn try_from(text: String) -> Result<Self, OpenError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests;
