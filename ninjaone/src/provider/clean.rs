//! What may be kept of a provider's text: cleaned, with secrets masked, then cut to length, in that
//! order. A cap before the mask would cut a secret in two and leave its first half unrecognised.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use secrecy::{ExposeSecret, SecretString};

/// What stands in the place of a secret.
const MASKED: &str = "[masked]";
/// So many consecutive bytes of a secret are taken for a piece of it.
const WINDOW: usize = 8;
/// Runs of token letters from this length on, with letters and digits, are taken for tokens.
const TOKEN_LENGTH: usize = 20;
/// In codes and ids, which are long by nature, only longer and more mixed runs are.
const TOKEN_LENGTH_IN_ID: usize = 32;
/// Longest error code kept, in characters.
const MAX_CODE: usize = 64;
/// Longest incident or request id kept, in characters.
const MAX_ID: usize = 80;
/// Longest description kept, in characters.
const MAX_DESCRIPTION: usize = 200;

/// Knows the secrets of one exchange and takes them out of text.
pub(super) struct Mask {
    /// All windows of all spellings of all secrets, in lower case: a host name that a secret was
    /// put into has lost its capitals.
    windows: HashSet<[u8; WINDOW]>,
    /// Secrets shorter than a window, in lower case.
    short: Vec<Vec<u8>>,
}

impl Mask {
    pub(super) fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let mut mask = Self {
            windows: HashSet::new(),
            short: Vec::new(),
        };
        for secret in secrets {
            mask.add(secret);
        }
        mask
    }

    /// One more secret, such as a token that stood in the reply itself.
    pub(super) fn add(&mut self, secret: &SecretString) {
        for mut spelling in spellings(secret.expose_secret().trim()) {
            spelling.make_ascii_lowercase();
            if spelling.len() < WINDOW {
                self.short.push(spelling);
            } else {
                self.windows
                    .extend(spelling.array_windows::<WINDOW>().copied());
            }
        }
    }

    /// Text for people, at most `max` characters.
    pub(super) fn text(&self, text: &str, max: usize) -> String {
        let mut letters: Vec<char> = text.chars().map(harmless).collect();
        self.blank_own(&mut letters);
        blank_token_shapes(&mut letters);
        shorten(&spoken(&letters), max)
    }

    /// A description, or nothing if nothing is left of it.
    pub(super) fn description(&self, text: &str) -> Option<String> {
        let text = self.text(text, MAX_DESCRIPTION);
        (!text.is_empty()).then_some(text)
    }

    /// Our own text around a name of the provider's, such as a host, which may well be long.
    pub(super) fn own_only(&self, text: &str) -> String {
        let mut letters: Vec<char> = text.chars().map(harmless).collect();
        self.blank_own(&mut letters);
        shorten(&spoken(&letters), MAX_DESCRIPTION)
    }

    /// An error code.
    pub(super) fn code(&self, text: &str) -> Option<String> {
        self.word(text, MAX_CODE)
    }

    /// An incident or request id.
    pub(super) fn id(&self, text: &str) -> Option<String> {
        self.word(text, MAX_ID)
    }

    fn word(&self, text: &str, max: usize) -> Option<String> {
        let mut letters: Vec<char> = text.chars().map(harmless).collect();
        self.blank_own(&mut letters);
        if letters.contains(&BLANK) || holds_token_shape(&letters) {
            return Some("masked".to_owned());
        }
        let word: String = spoken(&letters)
            .chars()
            .map(|letter| match letter {
                'A'..='Z' | 'a'..='z' | '0'..='9' | ' ' | '_' | '.' | '-' => letter,
                _ => '_',
            })
            .take(max)
            .collect();
        (!word.is_empty()).then_some(word)
    }

    /// Blanks every letter that belongs to a piece of a secret. White space does not hide one.
    fn blank_own(&self, letters: &mut [char]) {
        let mut bytes = Vec::with_capacity(letters.len());
        let mut origins = Vec::with_capacity(letters.len());
        for (at, letter) in letters.iter().enumerate() {
            if *letter == ' ' {
                continue;
            }
            for byte in letter.encode_utf8(&mut [0; 4]).bytes() {
                bytes.push(byte.to_ascii_lowercase());
                origins.push(at);
            }
        }
        let mut blank = |from: usize, length: usize| {
            letters[origins[from]..=origins[from + length - 1]].fill(BLANK);
        };
        for (at, window) in bytes.array_windows::<WINDOW>().enumerate() {
            if self.windows.contains(window) {
                blank(at, WINDOW);
            }
        }
        for secret in &self.short {
            for (at, window) in bytes.windows(secret.len()).enumerate() {
                if window == secret.as_slice() {
                    blank(at, secret.len());
                }
            }
        }
    }
}

/// Marks a letter that was taken out; [`harmless`] lets no such letter in.
const BLANK: char = '\0';

/// How a secret may come back: raw, percent-encoded, as hex, and as base64 from any of the three
/// offsets it can have within a longer text.
fn spellings(secret: &str) -> Vec<Vec<u8>> {
    if secret.is_empty() {
        return Vec::new();
    }
    let percent: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let json = serde_json::to_string(secret).unwrap_or_default();
    let mut all = vec![
        secret.as_bytes().to_vec(),
        percent.into_bytes(),
        json.trim_matches('"').as_bytes().to_vec(),
        hex::encode(secret).into_bytes(),
    ];
    for offset in 0..3 {
        let mut padded = vec![0; offset];
        padded.extend_from_slice(secret.as_bytes());
        let encoded = STANDARD_NO_PAD.encode(&padded).into_bytes();
        // The first and last letters mix in bits of the neighbours.
        let inner = &encoded[(offset * 8).div_ceil(6)..encoded.len() - 1];
        all.push(inner.to_vec());
        let url_safe = inner.iter().map(|byte| match byte {
            b'+' => b'-',
            b'/' => b'_',
            other => *other,
        });
        all.push(url_safe.collect());
    }
    // A spelling of one or two letters would blank half of every text.
    all.retain(|spelling| spelling.len() > 2);
    all.sort();
    all.dedup();
    all
}

/// Control characters, line ends, bidirectional and invisible marks become spaces.
fn harmless(letter: char) -> char {
    match letter {
        '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => ' ',
        _ if letter.is_control() || letter.is_whitespace() => ' ',
        _ => letter,
    }
}

fn blank_token_shapes(letters: &mut [char]) {
    let is_token_letter =
        |c: &char| c.is_ascii_alphanumeric() || "-_.~+/=%".contains(*c) || *c == BLANK;
    for run in letters.chunk_by_mut(|a, b| is_token_letter(a) == is_token_letter(b)) {
        let digit = run.iter().any(char::is_ascii_digit);
        let letter = run.iter().any(char::is_ascii_alphabetic);
        if run.len() >= TOKEN_LENGTH && digit && letter && is_token_letter(&run[0]) {
            run.fill(BLANK);
        }
    }
}

/// Whether a code or id holds a long run of capitals, small letters and digits, UUIDs aside.
fn holds_token_shape(letters: &[char]) -> bool {
    let text: String = letters.iter().collect();
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
        .any(|run| {
            let run = without_uuids(run);
            run.len() >= TOKEN_LENGTH_IN_ID
                && run.bytes().any(|b| b.is_ascii_digit())
                && run.bytes().any(|b| b.is_ascii_lowercase())
                && run.bytes().any(|b| b.is_ascii_uppercase())
        })
}

fn without_uuids(run: &str) -> String {
    const UUID: usize = 36;
    let is_uuid = |text: &str| {
        text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    };
    let found = (0..run.len().saturating_sub(UUID - 1)).find(|at| is_uuid(&run[*at..*at + UUID]));
    match found {
        Some(at) => format!("{}{}", &run[..at], without_uuids(&run[at + UUID..])),
        None => run.to_owned(),
    }
}

/// Blanked runs become the mask, runs of spaces one space.
fn spoken(letters: &[char]) -> String {
    let mut text = String::with_capacity(letters.len());
    for run in letters.chunk_by(|a, b| (*a == BLANK) == (*b == BLANK)) {
        if run[0] == BLANK {
            text.push_str(MASKED);
        } else {
            text.extend(run);
        }
    }
    text.split(' ')
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn shorten(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(max.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "CANARY/refresh+Token==Zq7xW";

    fn mask() -> Mask {
        Mask::new([&SecretString::from(SECRET)])
    }

    /// No eight letters of the secret, in any case, may be left.
    fn assert_no_trace(text: &str) {
        let lower = text.to_ascii_lowercase();
        for piece in SECRET.to_ascii_lowercase().as_bytes().windows(8) {
            let piece = std::str::from_utf8(piece).unwrap();
            assert!(!lower.contains(piece), "{piece} in {text}");
        }
    }

    #[test]
    fn our_own_secret_is_masked_in_every_spelling() {
        let form = format!("refresh_token={SECRET}&x=");
        for offset in 0..3 {
            let around = format!("{}{form}", "-".repeat(offset));
            let encoded = STANDARD_NO_PAD.encode(&around);
            let shown = mask().own_only(&format!("bad: {encoded}!"));
            assert!(shown.contains(MASKED), "{shown}");
            let plain = STANDARD_NO_PAD.encode(SECRET);
            assert!(!shown.contains(&plain[4..12]), "{shown}");
        }
        let percent: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
        for echo in [
            SECRET.to_owned(),
            SECRET.to_lowercase(),
            percent.to_ascii_lowercase(),
            percent,
            hex::encode(SECRET),
            SECRET[..14].to_owned(),
            SECRET[13..].to_owned(),
            format!("{} {}", &SECRET[..6], &SECRET[6..]),
            format!("{}\r\n{}", &SECRET[..10], &SECRET[10..]),
            format!("{}\u{200b}{}", &SECRET[..5], &SECRET[5..]),
        ] {
            let shown = mask().own_only(&format!("token {echo} is bad"));
            assert_eq!(shown, "token [masked] is bad", "{echo}");
            assert_no_trace(&shown);
        }
    }

    #[test]
    fn the_cap_comes_after_the_mask() {
        for before in 170..205 {
            let shown = mask().description(&format!("{}{SECRET}", ". ".repeat(before / 2)));
            let shown = shown.unwrap();
            assert_no_trace(&shown);
            assert!(!shown.to_lowercase().contains("cana"), "{shown}");
            assert!(shown.chars().count() <= MAX_DESCRIPTION);
        }
    }

    #[test]
    fn a_short_secret_is_masked_whole_and_an_empty_one_masks_nothing() {
        let short = Mask::new([&SecretString::from("R0x"), &SecretString::from("")]);
        assert_eq!(short.own_only("token r0X!"), "token [masked]!");
        assert_eq!(short.own_only("fine"), "fine");
    }

    #[test]
    fn strings_shaped_like_tokens_are_masked_though_nobody_knows_them() {
        let nobody = Mask::new([]);
        for token in [
            "0f8fad5b-d9cb-469f-a165-70867728950e.dGhpcyBpcyBhIHRva2VuIHRoYXQgaXMgNDMgbG9uZw",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
            "d41d8cd98f00b204e9800998ecf8427e",
        ] {
            assert_eq!(
                nobody.text(&format!("Token {token} expired"), 200),
                "Token [masked] expired"
            );
            assert_eq!(
                nobody.text(&format!("access_token={token}"), 200),
                "[masked]"
            );
        }
        let words = "The refresh token has expired, please authorize again (invalid_redirect_uri).";
        assert_eq!(nobody.text(words, 200), words);
    }

    #[test]
    fn nothing_can_move_the_cursor_or_the_reading_direction() {
        let shown = Mask::new([]).text("a\x1b[31mb\r\nc\u{202e}d\u{0}e\u{9b}f\u{2028}g", 200);
        assert_eq!(shown, "a [31mb c d e f g");
    }

    #[test]
    fn codes_and_ids_keep_their_alphabet_and_their_length() {
        let nobody = Mask::new([]);
        assert_eq!(
            nobody.code("Client app not exist").as_deref(),
            Some("Client app not exist")
        );
        assert_eq!(nobody.code("a<b>\u{e9}\n").as_deref(), Some("a_b__"));
        assert_eq!(nobody.code(&"a".repeat(100)).unwrap().len(), 64);
        assert_eq!(nobody.code("  "), None);
        let incident = "WEB_MGMT_SERVICE-0f8fad5b-d9cb-469f-a165-70867728950e";
        assert_eq!(nobody.id(incident).as_deref(), Some(incident));
        assert_eq!(
            nobody.id("0f8fad5b-d9cb-469f-a165-70867728950e.dGhpcyBpcyBhIHRva2VuIHRoYXQgaXMgNDMgbG9uZw").as_deref(),
            Some("masked")
        );
        assert_eq!(mask().code(&SECRET[3..14]).as_deref(), Some("masked"));
    }
}
