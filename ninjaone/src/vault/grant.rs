//! The random id of one consent: what machines compare to know whether two pairs belong together.

use serde::{Deserialize, Serialize};

use super::written_in_hex;

/// One grant, drawn at random by whoever stores it; written as 16 hexadecimal digits.
///
/// A counter would start again in an emptied store, and an old journal entry could then replace the
/// customer's new grant; random ids cannot meet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct GrantId([u8; 8]);

impl GrantId {
    /// Draws a new one.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The id as it goes into associated data.
    pub(super) fn to_bytes(self) -> [u8; 8] {
        self.0
    }
}

written_in_hex!(GrantId, "grant id");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_sixteen_digits_and_read_back() {
        let id = GrantId([0, 0, 0, 0, 0, 0, 0, 0xab]);
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
