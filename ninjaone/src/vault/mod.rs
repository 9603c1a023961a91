//! Sealing: the key ring, sealed blobs bound to their place, keyed fingerprints.
//!
//! | file | holds |
//! |---|---|
//! | `ring.rs` | the seal keys: reading them, making one, never showing one |
//! | `place.rs` | where a blob belongs, as the associated data of its seal |
//! | `seal.rs` | sealing and opening, and the text form of a sealed blob |
//! | `pair.rs` | what is sealed: tokens, and the credentials of an integration's own app |
//! | `fields.rs` | how that is written down between the seals |
//! | `grant.rs` | the random id of one consent |
//! | `fingerprint.rs` | telling refresh tokens apart without keeping them |
//! | `apikey.rs` | keys of the HTTP API: made once, kept hashed, compared in constant time |
//!
//! Nothing in here reads a clock, waits or talks to anybody; randomness comes from the operating
//! system. A secret leaves only through [`secrecy`], so that no `Debug`, error or log can show one.

pub mod apikey;
mod fields;
mod fingerprint;
mod grant;
mod pair;
mod place;
mod ring;
mod seal;

pub use fingerprint::{Fingerprint, FingerprintKey};
pub use grant::GrantId;
pub use pair::{AppCredentials, Pair};
pub use place::{Place, Workflow};
pub use ring::{KeyRing, NewKey, RingError};
pub use seal::{OpenError, Sealed};

/// A text that should have been so many hexadecimal digits and is not.
///
/// It says what was expected and never repeats what came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what}: expected {digits} lower-case hexadecimal digits")]
pub struct HexError {
    /// What was being read.
    pub what: &'static str,
    /// How many digits it has.
    pub digits: usize,
}

/// Reads exactly `N` bytes of lower-case hex: one spelling, so that equal ids are equal texts.
fn from_hex<const N: usize>(what: &'static str, text: &str) -> Result<[u8; N], HexError> {
    let wrong = HexError {
        what,
        digits: 2 * N,
    };
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(wrong);
    }
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| wrong)?;
    Ok(bytes)
}
