//! Makes tokens and reads them back without remembering any.
//!
//! A token carries what the host must know about it (grant, generation, expiry), masked and
//! authenticated with the simulator's key. So a spent token is told from a made-up one after any
//! number of rotations, at no memory per token. To clients they are opaque, as NinjaOne's are.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::wire::Name;

/// A refresh token: 8 bytes of generation under a 24 byte tag are 43 base64url characters.
const REFRESH_TAG: usize = 24;
const ACCESS_TAG: usize = 16;

pub(super) struct Mint {
    key: [u8; 64],
    serial: u64,
}

impl Mint {
    pub(super) fn new(seed: Option<u64>) -> Self {
        let mut key = [0; 64];
        match seed {
            Some(seed) => key[..32].copy_from_slice(&Sha256::digest(seed.to_be_bytes())),
            None => key[..32].copy_from_slice(&rand::random::<[u8; 32]>()),
        }
        Self { key, serial: 0 }
    }

    /// A new UUID (version 4 in form): a grant, an incident.
    pub(super) fn uuid(&mut self) -> Name {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.fresh("uuid")[..16]);
        Name::from(uuid_text(bytes).as_str())
    }

    /// A code starts with the id of the grant that it will become.
    pub(super) fn code(&mut self, grant: &Name) -> String {
        format!("{grant}.{}", URL_SAFE_NO_PAD.encode(self.fresh("code")))
    }

    /// `<uuid of the grant>.<43 base64url characters>`
    pub(super) fn refresh_token(&self, grant: &Name, generation: u64) -> String {
        let context = grant.as_str().as_bytes();
        let sealed = self.seal::<REFRESH_TAG>("refresh", context, &generation.to_be_bytes());
        format!("{grant}.{}", URL_SAFE_NO_PAD.encode(sealed))
    }

    /// The grant and the generation, if this simulator made the token.
    pub(super) fn read_refresh_token<'t>(&self, token: &'t str) -> Option<(&'t str, u64)> {
        let (grant, rest) = token.split_once('.')?;
        let sealed = URL_SAFE_NO_PAD.decode(rest).ok()?;
        let payload = self.open::<REFRESH_TAG>("refresh", grant.as_bytes(), &sealed)?;
        Some((grant, u64::from_be_bytes(payload.try_into().ok()?)))
    }

    /// 64 base64url characters, no two alike.
    pub(super) fn access_token(&mut self, grant: &Name, expires_at: u64) -> String {
        self.serial += 1;
        let mut payload = [0; 32];
        payload[..16].copy_from_slice(&uuid_bytes(grant.as_str()).unwrap_or_default());
        payload[16..24].copy_from_slice(&expires_at.to_be_bytes());
        payload[24..].copy_from_slice(&self.serial.to_be_bytes());
        URL_SAFE_NO_PAD.encode(self.seal::<ACCESS_TAG>("access", b"", &payload))
    }

    /// The grant and the expiry (ms), if this simulator made the token.
    pub(super) fn read_access_token(&self, token: &str) -> Option<(Name, u64)> {
        let sealed = URL_SAFE_NO_PAD.decode(token).ok()?;
        let payload: [u8; 32] =
            (self.open::<ACCESS_TAG>("access", b"", &sealed)?.try_into()).ok()?;
        let (grant, rest) = payload.split_first_chunk::<16>()?;
        let expires_at = u64::from_be_bytes(*rest.first_chunk()?);
        Some((Name::from(uuid_text(*grant).as_str()), expires_at))
    }

    /// Tag first, then the payload under a mask that the tag determines.
    fn seal<const TAG: usize>(&self, label: &str, context: &[u8], payload: &[u8]) -> Vec<u8> {
        let tag = self.keyed(label, &[context, payload]);
        let mut sealed = tag[..TAG].to_vec();
        sealed.extend(mask(payload, &self.keyed("mask", &[&tag[..TAG]])));
        sealed
    }

    fn open<const TAG: usize>(
        &self,
        label: &str,
        context: &[u8],
        sealed: &[u8],
    ) -> Option<Vec<u8>> {
        let (tag, masked) = sealed.split_at_checked(TAG)?;
        let payload: Vec<u8> = mask(masked, &self.keyed("mask", &[tag])).collect();
        (masked.len() <= 32 && self.keyed(label, &[context, &payload])[..TAG] == *tag)
            .then_some(payload)
    }

    fn fresh(&mut self, label: &str) -> [u8; 32] {
        self.serial += 1;
        self.keyed(label, &[&self.serial.to_be_bytes()])
    }

    fn keyed(&self, label: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        for part in std::iter::once(label.as_bytes()).chain(parts.iter().copied()) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

fn mask<'a>(text: &'a [u8], key: &'a [u8; 32]) -> impl Iterator<Item = u8> + 'a {
    text.iter().zip(key).map(|(a, b)| a ^ b)
}

/// What may be shown of a token: enough to tell two apart, nothing to use.
pub(super) fn fingerprint(token: &str) -> String {
    let mut digest = hex::encode(Sha256::digest(token));
    digest.truncate(12);
    digest
}

/// A UUID that owes nothing to the seed, for headers.
pub(super) fn random_uuid() -> String {
    uuid_text(rand::random())
}

fn uuid_text(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex::encode(bytes);
    let [a, b, c, d, e] =
        [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| digits.get(part).unwrap_or_default());
    format!("{a}-{b}-{c}-{d}-{e}")
}

fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    hex::decode(text.replace('-', "")).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_the_shape_of_ninjaones_and_read_back() {
        let mut mint = Mint::new(Some(7));
        let grant = mint.uuid();
        let token = mint.refresh_token(&grant, 41);
        let (uuid, rest) = token.split_once('.').unwrap();
        assert_eq!((uuid.len(), rest.len()), (36, 43));
        assert_eq!(mint.read_refresh_token(&token), Some((grant.as_str(), 41)));
        assert!(mint.code(&grant).starts_with(grant.as_str()));
        let access = mint.access_token(&grant, 1_763_700_000_123);
        assert_ne!(access, mint.access_token(&grant, 1_763_700_000_123));
        assert_eq!(
            mint.read_access_token(&access),
            Some((grant, 1_763_700_000_123))
        );
    }

    #[test]
    fn a_token_that_was_tampered_with_or_made_elsewhere_is_unknown() {
        let mut mint = Mint::new(Some(7));
        let (grant, other) = (mint.uuid(), mint.uuid());
        let token = mint.refresh_token(&grant, 1);
        let moved = token.replace(grant.as_str(), other.as_str());
        assert_eq!(mint.read_refresh_token(&moved), None);
        assert_eq!(Mint::new(Some(8)).read_refresh_token(&token), None);
        for odd in ["", ".", "a.b", "....", &token[..70], &format!("{token}A")] {
            assert_eq!(mint.read_refresh_token(odd), None, "{odd}");
            assert_eq!(mint.read_access_token(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_seed_repeats_and_no_seed_does_not() {
        assert_eq!(Mint::new(Some(1)).uuid(), Mint::new(Some(1)).uuid());
        assert_ne!(Mint::new(None).uuid(), Mint::new(None).uuid());
    }
}
