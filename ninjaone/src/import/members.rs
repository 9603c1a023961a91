//! The members of one JSON object, taken out one by one and checked. Nothing here repeats content:
//! `serde_json` quotes what it read when types do not fit, so only the place of a fault is kept.

use secrecy::SecretString;
use secrecy::zeroize::Zeroize;
use serde_json::{Map, Value};

use super::candidate::Fault;
use crate::integration::GrantKind;

/// The members not taken yet.
pub(crate) struct Members(Map<String, Value>);

impl Members {
    /// Reads one object; a byte order mark and white space around it are nothing.
    pub(crate) fn parse(bytes: &[u8], field: &'static str) -> Result<Self, Fault> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            Ok(_) => Err(Fault::new(field, "is not a JSON object")),
            Err(e) => {
                let (line, column) = (e.line(), e.column());
                let reason = format!("is not JSON (line {line}, column {column})");
                Err(Fault::new(field, reason))
            }
        }
    }

    pub(crate) fn from_map(map: Map<String, Value>) -> Self {
        Self(map)
    }

    pub(crate) fn into_map(self) -> Map<String, Value> {
        self.0
    }

    /// Takes a member as it stands.
    pub(crate) fn take(&mut self, field: &str) -> Option<Value> {
        self.0.remove(field)
    }

    /// How many members nobody asked for.
    pub(crate) fn left(&self) -> usize {
        self.0.len()
    }

    /// Takes a text. Missing, `null` and blank are all "not there".
    pub(crate) fn text(&mut self, field: &'static str) -> Result<Option<String>, Fault> {
        match self.0.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => clean(text, field),
            Some(_) => Err(Fault::new(field, "is not text")),
        }
    }

    /// Takes a secret text.
    pub(crate) fn secret(&mut self, field: &'static str) -> Result<Option<SecretString>, Fault> {
        Ok(self.text(field)?.map(SecretString::from))
    }

    /// Takes scopes: a text, or an array of texts.
    pub(crate) fn scope(&mut self) -> Result<Option<String>, Fault> {
        if let Some(Value::Array(items)) = self.0.get("scope") {
            let words: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            let joined = words.map(|words| words.join(" "));
            self.0.remove("scope");
            return match joined {
                Some(text) => clean(text, "scope"),
                None => Err(Fault::new("scope", "is neither text nor an array of texts")),
            };
        }
        self.text("scope")
    }

    /// Takes the two tokens, by the rules of the grant.
    pub(crate) fn tokens(
        &mut self,
        kind: GrantKind,
        warnings: &mut Vec<String>,
    ) -> Result<Tokens, Fault> {
        let access = self.text("access_token")?;
        if let Some(token) = &access
            && !token.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(Fault::new(
                "access_token",
                "holds characters that no request header can carry",
            ));
        }
        let mut refresh = self.secret("refresh_token")?;
        if kind == GrantKind::Client && refresh.take().is_some() {
            warnings.push("refresh_token left out: a client grant is minted anew".to_owned());
        }
        Ok(Tokens {
            access: access.map(SecretString::from),
            refresh,
        })
    }
}

/// The two tokens of a grant.
pub(crate) struct Tokens {
    pub(crate) access: Option<SecretString>,
    pub(crate) refresh: Option<SecretString>,
}

/// The warning for an access token that nothing can follow.
pub(crate) const NO_REFRESH_TOKEN: &str =
    "no refresh_token: it ends with its access token unless somebody consents again";

/// Trims, and refuses what would break a line, a header or a terminal.
pub(crate) fn clean(mut text: String, field: &'static str) -> Result<Option<String>, Fault> {
    let trimmed = text.trim();
    if trimmed.chars().any(char::is_control) {
        text.zeroize();
        return Err(Fault::new(field, "holds control characters"));
    }
    if trimmed.is_empty() {
        return Ok(None);
    }
    if trimmed.len() == text.len() {
        return Ok(Some(text));
    }
    let kept = trimmed.to_owned();
    text.zeroize();
    Ok(Some(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_tells_the_place_and_not_the_content() {
        for (text, reason) in [
            (
                "{\"access_token\": CANARY}",
                "is not JSON (line 1, column 18)",
            ),
            ("\"CANARY\"", "is not a JSON object"),
            ("", "is not JSON (line 1, column 0)"),
        ] {
            let fault = Members::parse(text.as_bytes(), "file").err().unwrap();
            assert_eq!(fault.reason, reason);
        }
    }

    #[test]
    fn blank_is_absent_and_other_types_are_named() {
        let json = b"\xef\xbb\xbf {\"a\":\"  \",\"b\":null,\"c\":7,\"d\":\" x \",\"e\":\"x\\ny\"} ";
        let mut members = Members::parse(json, "file").unwrap();
        assert_eq!(members.text("a").unwrap(), None);
        assert_eq!(members.text("b").unwrap(), None);
        assert_eq!(members.text("c").unwrap_err().reason, "is not text");
        assert_eq!(members.text("d").unwrap().as_deref(), Some("x"));
        assert_eq!(
            members.text("e").unwrap_err().reason,
            "holds control characters"
        );
        assert_eq!(members.left(), 0);
    }

    #[test]
    fn a_client_grant_leaves_its_refresh_token_behind() {
        let json = br#"{"access_token":"a","refresh_token":"r"}"#;
        let mut warnings = Vec::new();
        let mut members = Members::parse(json, "file").unwrap();
        let tokens = members.tokens(GrantKind::Client, &mut warnings).unwrap();
        assert!(tokens.access.is_some() && tokens.refresh.is_none());
        assert_eq!(warnings.len(), 1);
    }
}
