//! The random id of one consent: what machines compare to know whether two pairs belong together.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{HexError, from_hex};

/// One grant, drawn at random by whoever stores it; written as 16 hexadecimal digits.
///
/// A counter would start again in an emptied store, and an old journal entry could then replace the
/// customer's new grant; random ids cannot meet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct GrantId(u64);

impl GrantId {
    /// Draws a new one.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The id as it goes into associated data.
    pub(super) fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrantId({self})")
    }
}

impl FromStr for GrantId {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        from_hex("grant id", text).map(|bytes| Self(u64::from_be_bytes(bytes)))
    }
}

impl From<GrantId> for String {
    fn from(id: GrantId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for GrantId {
    type Error = HexError;

    fn try_from(text: String) -> Result<Self, HexError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_sixteen_digits_and_read_back() {
        let id = GrantId(0xab);
        assert_eq!(id.to_string(), "00000000000000ab");
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"00000000000000ab\"");
        assert_eq!(
            serde_json::from_str::<GrantId>("\"00000000000000ab\"").unwrap(),
            id
        );
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in [
            "",
            "ab",
            "00000000000000AB",
            "00000000000000abc",
            "00000000000000a ",
        ] {
            assert!(text.parse::<GrantId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn two_draws_differ() {
        assert_ne!(GrantId::random(), GrantId::random());
    }
}
