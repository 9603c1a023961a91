//! Ids and digests that are written as lower-case hexadecimal digits, one spelling each.

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

/// Reads exactly `N` bytes. Capitals are refused, so that equal ids are equal texts.
pub(crate) fn from_hex<const N: usize>(
    what: &'static str,
    text: &str,
) -> Result<[u8; N], HexError> {
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

/// Gives a newtype around bytes its text form: `Display`, `Debug`, `FromStr`, and the conversions
/// that serde's `into` and `try_from` ask for.
macro_rules! written_in_hex {
    ($type:ident, $what:literal) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({self})", stringify!($type))
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::vault::HexError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::vault::from_hex($what, text).map(Self)
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }

        impl TryFrom<String> for $type {
            type Error = $crate::vault::HexError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
    };
}

pub(crate) use written_in_hex;
