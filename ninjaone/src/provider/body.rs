//! The body of a reply as the loosely held JSON object that it usually is.
//!
//! Members are kept raw and read one by one, so that an `expires_in` of `1e400` costs no token.
//! Of duplicate members the last one counts, as in most parsers.

use std::collections::BTreeMap;

use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use serde_json::value::RawValue;

/// Words in the place of an error code that speak of success.
const NO_ERROR: [&str; 2] = ["success", "ok"];

/// Where a code may stand, in order of preference.
const CODE_MEMBERS: [&str; 4] = ["error", "error_code", "errorCode", "resultCode"];

/// Where a text for people may stand, in order of preference.
const TEXT_MEMBERS: [&str; 3] = ["error_description", "message", "errorMessage"];

type Members<'a> = BTreeMap<String, &'a RawValue>;

/// A body, read as far as it can be.
pub(super) struct Body<'a> {
    /// `None` if the body is not a JSON object.
    members: Option<Members<'a>>,
}

impl<'a> Body<'a> {
    pub(super) fn read(text: &'a str) -> Self {
        // What follows a complete object is ignored: the object may hold a rotated token.
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<Members<'_>>();
        Self {
            members: values.next().and_then(Result::ok),
        }
    }

    /// A member's JSON as it stands.
    pub(super) fn raw(&self, name: &str) -> Option<&'a str> {
        self.members.as_ref()?.get(name).map(|raw| raw.get())
    }

    /// A member that is a string.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.raw(name)?).ok()
    }

    /// A member that is a non-empty string, kept as a secret.
    pub(super) fn token(&self, name: &str) -> Option<SecretString> {
        self.text(name)
            .filter(|token| !token.trim().is_empty())
            .map(SecretString::from)
    }

    /// The error code: the whole value of a member, never a word found somewhere in a text.
    pub(super) fn code(&self) -> Option<String> {
        CODE_MEMBERS
            .into_iter()
            .find_map(|name| code_in(self.raw(name)?))
            .filter(|code| !NO_ERROR.iter().any(|word| code.eq_ignore_ascii_case(word)))
    }

    /// The text for people, uncleaned.
    pub(super) fn description(&self) -> Option<String> {
        TEXT_MEMBERS
            .into_iter()
            .chain(["error"])
            .find_map(|name| {
                let raw = self.raw(name)?;
                if name != "error"
                    && let Ok(text) = serde_json::from_str::<String>(raw)
                {
                    return Some(text);
                }
                let object = serde_json::from_str::<Members<'_>>(raw).ok()?;
                let inner = object.get("message").or_else(|| object.get("code"))?;
                serde_json::from_str(inner.get()).ok()
            })
            .filter(|text| !text.trim().is_empty())
    }
}

/// A code is text, a number, or the `code` of an object.
fn code_in(raw: &str) -> Option<String> {
    let text = match raw.as_bytes().first()? {
        b'"' => serde_json::from_str::<String>(raw).ok()?,
        b'-' | b'0'..=b'9' => raw.to_owned(),
        b'{' => {
            let object = serde_json::from_str::<Members<'_>>(raw).ok()?;
            let inner = object.get("code")?.get();
            if inner.starts_with('{') {
                return None;
            }
            return code_in(inner);
        }
        _ => return None,
    };
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The text of a body, whatever its Content-Type claims: UTF-8, or UTF-16 if a byte order mark says
/// so. Bytes that are neither are replaced; they can only be in text for people.
pub(super) fn decode(bytes: &[u8]) -> Zeroizing<String> {
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    };
    Zeroizing::new(text)
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units: Vec<u16> = bytes
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| unit(*pair))
        .collect();
    String::from_utf16_lossy(&units)
}

/// A complete `"refresh_token":"..."` in text that is no longer JSON as a whole; the last one counts.
pub(super) fn salvage(text: &str) -> Option<SecretString> {
    const NAME: &str = "\"refresh_token\"";
    text.rmatch_indices(NAME).find_map(|(at, _)| {
        let value = text[at + NAME.len()..].trim_start().strip_prefix(':')?;
        let mut values = serde_json::Deserializer::from_str(value).into_iter::<String>();
        let token = values.next()?.ok()?;
        (!token.trim().is_empty()).then(|| token.into())
    })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn code(body: &str) -> Option<String> {
        Body::read(body).code()
    }

    #[test]
    fn a_code_is_the_whole_value_of_a_member() {
        for (body, expected) in [
            (r#"{"error":"invalid_token"}"#, Some("invalid_token")),
            (r#"{"error":" invalid_grant \n"}"#, Some("invalid_grant")),
            (
                r#"{"error":{"code":"invalid_grant","message":"m"}}"#,
                Some("invalid_grant"),
            ),
            (r#"{"error":{"message":"m"},"error_code":10}"#, Some("10")),
            (r#"{"error":null,"errorCode":"e"}"#, Some("e")),
            (r#"{"error":"","resultCode":"FAILURE"}"#, Some("FAILURE")),
            (r#"{"resultCode":"SUCCESS"}"#, None),
            (r#"{"error":{"code":{"code":"x"}}}"#, None),
            (r#"{"error":true}"#, None),
            (r#"["invalid_token"]"#, None),
            (r#""invalid_token""#, None),
            ("<html>invalid_token</html>", None),
            ("null", None),
            ("", None),
            (r#"{"error":"a","error":"b"}"#, Some("b")),
        ] {
            assert_eq!(code(body).as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn the_text_for_people_may_be_an_object() {
        for (body, expected) in [
            (r#"{"error":"e","error_description":"d"}"#, Some("d")),
            (r#"{"errorMessage":{"code":"c","params":{}}}"#, Some("c")),
            (r#"{"error":{"code":"c","message":"m"}}"#, Some("m")),
            (r#"{"error":"only a code"}"#, None),
            (r#"{"error_description":"  "}"#, None),
        ] {
            assert_eq!(
                Body::read(body).description().as_deref(),
                expected,
                "{body}"
            );
        }
    }

    #[test]
    fn one_impossible_member_does_not_spoil_the_others() {
        let body = Body::read(r#"{"expires_in":1e400,"refresh_token":"R1","x":"\ud800"} trailing"#);
        assert_eq!(body.raw("expires_in"), Some("1e400"));
        assert_eq!(body.token("refresh_token").unwrap().expose_secret(), "R1");
        assert_eq!(body.text("x"), None);
    }

    #[test]
    fn byte_order_marks_are_understood() {
        let utf16: Vec<u8> = "\u{feff}{}"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(*decode(&utf16), "{}");
        assert_eq!(*decode(b"\xef\xbb\xbf{}"), "{}");
        assert_eq!(*decode(b"\xfe\xff\x00{\x00}"), "{}");
        assert_eq!(*decode(b"a\xffb"), "a\u{fffd}b");
    }

    #[test]
    fn only_a_complete_value_is_salvaged() {
        for (text, expected) in [
            (
                r#"{"access_token":"A1","refresh_token":"R1","expi"#,
                Some("R1"),
            ),
            (r#"{"refresh_token" : "R1""#, Some("R1")),
            (r#"{"refresh_token":"a\/b\u0063","#, Some("a/bc")),
            (r#"{"refresh_token":"R1","refresh_token":"R2"}"#, Some("R2")),
            (r#"{"refresh_token":"R1","refresh_token":"R"#, Some("R1")),
            (r#"{"refresh_token":"R1"#, None),
            (r#"{"refresh_token":"R1\"#, None),
            (r#"{"refresh_token":""}"#, None),
            (r#"{"refresh_token":null,"#, None),
            (r#"{"d":"\"refresh_token\":\"R1\""}"#, None),
            ("", None),
        ] {
            let found = salvage(text);
            let found = found.as_ref().map(ExposeSecret::expose_secret);
            assert_eq!(found, expected, "{text}");
        }
    }
}
