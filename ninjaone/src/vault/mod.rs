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
//! | `hex_text.rs` | the text form that ids and digests share |
//!
//! Nothing in here reads a clock, waits or talks to anybody; randomness comes from the operating
//! system. A secret leaves only through [`secrecy`], so that no `Debug`, error or log can show one.

pub mod apikey;
mod fields;
mod fingerprint;
mod grant;
mod hex_text;
mod pair;
mod place;
mod ring;
mod seal;

pub use fingerprint::{Fingerprint, FingerprintKey};
pub use grant::GrantId;
pub use hex_text::HexError;
pub(crate) use hex_text::{from_hex, written_in_hex};
pub use pair::{AppCredentials, Pair};
pub use place::{Place, Workflow};
pub use ring::{KeyRing, NewKey, RingError};
pub use seal::{OpenError, Sealed};
