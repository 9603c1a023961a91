//! Secrets that sing: planted as credentials, then looked for in everything that comes out.
//!
//! A secret leaks in disguise as easily as in the open: base64 in a dump, percent-encoded in a
//! URL, hexadecimal in a debug print, cut to half its length in an error. All of these are found.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Length of the random part.
const LENGTH: usize = 32;

/// A piece of the random part that counts as a leak: enough never to occur by chance.
const PIECE: usize = 12;

/// The secrets of one test, by name.
#[derive(Debug, Default)]
pub struct Canaries {
    watched: Vec<Watched>,
}

struct Watched {
    name: String,
    secret: String,
    /// How much of it, anywhere in it, counts as a leak.
    piece: usize,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// One secret found where it must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// The name under which the secret was planted.
    pub name: String,
    /// How it was written there.
    pub form: &'static str,
    /// At which byte.
    pub at: usize,
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, at byte {})", self.name, self.form, self.at)
    }
}

impl Canaries {
    /// No secrets yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new secret. It contains `/`, `+` and `=`, so that each encoding writes it differently.
    pub fn plant(&mut self, name: &str) -> String {
        let random: String = std::iter::repeat_with(|| char::from(alphanumeric()))
            .take(LENGTH)
            .collect();
        let (front, back) = random.split_at(LENGTH / 2);
        let secret = format!("{front}/+{back}=");
        self.look_for(name, &secret, PIECE);
        secret
    }

    /// Looks out for a secret that came from elsewhere, say a token that the simulator issued.
    /// Only the whole of it counts, because parts of it may be no secret.
    pub fn watch(&mut self, name: &str, secret: &str) {
        assert!(
            secret.len() >= PIECE,
            "{name} is too short to be recognised"
        );
        self.look_for(name, secret, secret.len());
    }

    fn look_for(&mut self, name: &str, secret: &str, piece: usize) {
        let (name, secret) = (name.to_owned(), secret.to_owned());
        self.watched.push(Watched {
            name,
            secret,
            piece,
        });
    }

    /// Every secret that `output` contains, in any form; one entry for each way of writing it.
    pub fn find(&self, output: impl AsRef<[u8]>) -> Vec<Leak> {
        let output = output.as_ref();
        let mut leaks = Vec::new();
        for Watched {
            name,
            secret,
            piece,
        } in &self.watched
        {
            for (form, needles) in forms(secret, *piece) {
                let at = needles
                    .iter()
                    .filter_map(|needle| position(output, needle))
                    .min();
                leaks.extend(at.map(|at| Leak {
                    name: name.clone(),
                    form,
                    at,
                }));
            }
        }
        leaks
    }

    /// Panics if `output` contains a secret, naming the secret and `place` but not its value.
    #[track_caller]
    pub fn assert_absent(&self, place: &str, output: impl AsRef<[u8]>) {
        let leaks: Vec<String> = self.find(output).iter().map(Leak::to_string).collect();
        assert!(leaks.is_empty(), "secrets in {place}: {}", leaks.join(", "));
    }
}

/// All ways in which `length` bytes of `secret` may have been written.
fn forms(secret: &str, length: usize) -> Vec<(&'static str, Vec<String>)> {
    // In base64 three bytes become four characters, so a secret within something longer is
    // written in one of three ways, and only whole triples are the secret's alone: two bytes less
    // than is looked for leave room to begin at each of the three.
    let triples = (length - 2) / 3 * 3;
    vec![
        ("raw", pieces(secret, length, str::to_owned)),
        (
            "percent-encoded",
            disguised(secret, length, percent_encoded),
        ),
        (
            "percent-encoded",
            disguised(secret, length, |piece| {
                percent_encoded(piece).to_lowercase()
            }),
        ),
        (
            "JSON with escaped slashes",
            disguised(secret, length, |piece| piece.replace('/', "\\/")),
        ),
        (
            "hexadecimal",
            pieces(secret, length, |piece| hex::encode(piece)),
        ),
        (
            "hexadecimal",
            pieces(secret, length, |piece| hex::encode_upper(piece)),
        ),
        (
            "base64",
            pieces(secret, triples, |piece| STANDARD_NO_PAD.encode(piece)),
        ),
        (
            "base64url",
            pieces(secret, triples, |piece| URL_SAFE_NO_PAD.encode(piece)),
        ),
    ]
}

fn pieces(secret: &str, length: usize, encode: impl Fn(&str) -> String) -> Vec<String> {
    let starts = 0..=secret.len() - length;
    // A piece that begins inside a character is none.
    starts
        .filter_map(|at| secret.get(at..at + length))
        .map(encode)
        .collect()
}

/// Those pieces that the encoding changes; the others are looked for as they are.
fn disguised(secret: &str, length: usize, encode: impl Fn(&str) -> String) -> Vec<String> {
    let plain = pieces(secret, length, str::to_owned);
    let encoded = pieces(secret, length, encode);
    plain
        .iter()
        .zip(encoded)
        .filter(|(plain, encoded)| *plain != encoded)
        .map(|(_, e)| e)
        .collect()
}

fn percent_encoded(secret: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encode = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    secret.bytes().map(encode).collect()
}

fn position(haystack: &[u8], needle: &str) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle.as_bytes())
}

fn alphanumeric() -> u8 {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    ALPHABET[rand::random_range(0..ALPHABET.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms_found(canaries: &Canaries, output: &str) -> Vec<&'static str> {
        let mut forms: Vec<_> = canaries.find(output).iter().map(|leak| leak.form).collect();
        forms.dedup();
        forms
    }

    #[test]
    fn a_secret_is_found_in_every_disguise_and_wherever_it_stands() {
        let mut canaries = Canaries::new();
        let secret = canaries.plant("refresh token");
        for before in ["", "a", "ab", "abc"] {
            let text = format!("{before}{secret}, and what follows");
            assert_eq!(forms_found(&canaries, &text), ["raw"]);
            assert_eq!(forms_found(&canaries, &hex::encode(&text)), ["hexadecimal"]);
            assert_eq!(
                forms_found(&canaries, &hex::encode_upper(&text)),
                ["hexadecimal"]
            );
            assert!(forms_found(&canaries, &STANDARD_NO_PAD.encode(&text)).contains(&"base64"));
            assert!(forms_found(&canaries, &URL_SAFE_NO_PAD.encode(&text)).contains(&"base64url"));
            assert!(forms_found(&canaries, &percent_encoded(&text)).contains(&"percent-encoded"));
        }
    }

    #[test]
    fn half_of_a_planted_secret_is_a_leak() {
        let mut canaries = Canaries::new();
        let secret = canaries.plant("access token");
        assert_eq!(
            forms_found(&canaries, &format!("token={}…", &secret[..16])),
            ["raw"]
        );
        assert_eq!(
            forms_found(&canaries, &format!("…{}", &secret[20..])),
            ["raw"]
        );
    }

    #[test]
    fn of_a_foreign_secret_only_the_whole_is_a_leak() {
        let mut canaries = Canaries::new();
        canaries.watch("token", "acme-prod-access-0001");
        assert_eq!(canaries.find("acme-prod-access-0002"), []);
        let leaks = canaries.find("Bearer acme-prod-access-0001");
        assert_eq!(
            leaks,
            [Leak {
                name: "token".into(),
                form: "raw",
                at: 7
            }]
        );
    }

    #[test]
    #[should_panic(expected = "secrets in the log: client secret (raw, at byte 4)")]
    fn the_complaint_names_the_secret_but_does_not_repeat_it() {
        let mut canaries = Canaries::new();
        let secret = canaries.plant("client secret");
        assert!(!format!("{canaries:?}").contains(&secret));
        canaries.assert_absent("the log", format!("got {secret}"));
    }
}
