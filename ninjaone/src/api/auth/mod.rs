//! Who may call: API keys, their scopes, the tenants that they are bound to.
//!
//! | file | holds |
//! |---|---|
//! | `key` | a key as it is kept: everything but the key itself |
//! | `store` | [`KeyStore`]: making, listing, revoking, and finding the key that a caller presents |
//! | `file` | keys that the operator keeps in a file |
//! | `access` | the extractors that let a request through |

pub(super) mod access;
mod file;
mod key;
mod store;

pub use file::KeysFileError;
pub use key::{Key, Scope};
pub use store::{KeyStore, NewKey, TABLE};
