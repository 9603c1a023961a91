//! What webhooks are signed with.
//!
//! A secret is written as the specification says: `whsec_` and base64. The prefix may be missing, as it is
//! in what some receivers show. Several secrets sign each webhook several times, so that a receiver can
//! change from one to the other without missing an event.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;

/// How a secret begins.
const PREFIX: &str = "whsec_";
/// Bytes of a secret, at least (the specification's bound).
const BYTES_MIN: usize = 24;
/// Bytes of a secret, at most (the specification's bound).
const BYTES_MAX: usize = 64;
/// Secrets that sign at once: the old one, the new one, and one more.
const SECRETS_MAX: usize = 3;

/// Base64 with or without the signs that fill it up.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The signing secrets, at least one. Clones share them.
#[derive(Clone)]
pub struct SigningSecrets(Arc<[SecretSlice<u8>]>);

/// Why a secret was refused. It never repeats it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {entry} {rule}")]
pub struct SecretRefused {
    /// Which one, counted from 1.
    pub entry: usize,
    /// What is wrong with it.
    pub rule: &'static str,
}

impl SigningSecrets {
    /// What is allowed, for messages.
    pub const ALLOWED: &str = "whsec_ and 24 to 64 random bytes in base64, or up to 3 of them with \
                               blanks between, such as whsec_\"$(openssl rand -base64 32)\"";

    /// Reads one secret or several with blanks or commas between.
    ///
    /// # Errors
    /// Says which is wrong and how.
    pub fn parse(text: &str) -> Result<Self, SecretRefused> {
        let blank = |c: char| c.is_whitespace() || c == ',';
        let entries = text.split(blank).filter(|entry| !entry.is_empty());
        let mut secrets = Vec::new();
        for (index, entry) in entries.enumerate() {
            let refused = |rule| SecretRefused {
                entry: index + 1,
                rule,
            };
            if index >= SECRETS_MAX {
                return Err(refused("is one too many"));
            }
            secrets.push(read(entry).map_err(refused)?);
        }
        if secrets.is_empty() {
            let rule = "is missing";
            return Err(SecretRefused { entry: 1, rule });
        }
        Ok(Self(secrets.into()))
    }

    /// `v1,` and the signature in base64, one for each secret, with blanks between.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp_s: u64, body: &str) -> String {
        let signatures: Vec<String> = self
            .0
            .iter()
            .map(|secret| {
                let mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret())
                    .expect("HMAC takes a key of any length")
                    .chain_update(format!("{id}.{timestamp_s}."))
                    .chain_update(body)
                    .finalize()
                    .into_bytes();
                format!("v1,{}", STANDARD.encode(mac))
            })
            .collect();
        signatures.join(" ")
    }
}

fn read(entry: &str) -> Result<SecretSlice<u8>, &'static str> {
    let text = entry.strip_prefix(PREFIX).unwrap_or(entry);
    let decoded = LENIENT.decode(text);
    let bytes = Zeroizing::new(decoded.map_err(|_| "is not base64")?);
    match bytes.len() {
        0..BYTES_MIN => Err("is too short"),
        BYTES_MIN..=BYTES_MAX => Ok(SecretSlice::from(bytes.to_vec())),
        _ => Err("is too long"),
    }
}

impl fmt::Debug for SigningSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningSecrets({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification and of its reference libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn sign(secrets: &str) -> String {
        let secrets = SigningSecrets::parse(secrets).unwrap();
        secrets.sign(ID, 1_614_265_330, r#"{"test": 2432232314}"#)
    }

    #[test]
    fn the_example_of_the_specification_is_signed_as_it_says() {
        assert_eq!(sign(SECRET), SIGNATURE);
        assert_eq!(sign(SECRET.strip_prefix(PREFIX).unwrap()), SIGNATURE);
    }

    #[test]
    fn several_secrets_sign_each_for_itself() {
        let other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
        let both = sign(&format!("{other} {SECRET}"));
        let (first, second) = both.split_once(' ').unwrap();
        assert_eq!((first, second), (sign(other).as_str(), SIGNATURE));
        assert_eq!(sign(&format!("{other},\n{SECRET}")), both);
    }

    #[test]
    fn what_is_no_secret_is_told_by_number_and_not_repeated() {
        let long = format!("whsec_{}", "A".repeat(100));
        let many = [SECRET; 4].join(" ");
        for (text, told) in [
            ("", "entry 1 is missing"),
            ("whsec_", "entry 1 is too short"),
            ("whsec_c2hvcnQ=", "entry 1 is too short"),
            (&format!("{SECRET} whsec_CANARY!"), "entry 2 is not base64"),
            (&long, "entry 1 is too long"),
            (&many, "entry 4 is one too many"),
        ] {
            let refused = SigningSecrets::parse(text).unwrap_err().to_string();
            assert_eq!(refused, told);
        }
        let shown = format!("{:?}", SigningSecrets::parse(SECRET).unwrap());
        assert_eq!(shown, "SigningSecrets(1)");
    }

    #[test]
    fn base64_need_not_be_filled_up() {
        let bare = STANDARD.encode([7; 32]);
        assert!(bare.ends_with('='));
        let full = SigningSecrets::parse(&bare).unwrap();
        let cut = SigningSecrets::parse(bare.trim_end_matches('=')).unwrap();
        assert_eq!(full.sign("a", 1, "{}"), cut.sign("a", 1, "{}"));
    }
}
