//! What callers send: query parameters and JSON bodies, read name by name.
//!
//! Whatever is wrong is told as a field and what is allowed. The content is never repeated: serde's
//! own messages quote what they found, and in this API that may be a token in the wrong place.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use secrecy::SecretString;
use serde_json::Value;

use super::problem::Problem;

/// The largest body that is read.
pub(super) const BODY_MAX: usize = 1024 * 1024;
/// How long a body may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(20);

/// Named values that wait to be taken. What nobody takes is an error, found by [`Input::end`].
pub(super) struct Input {
    values: BTreeMap<String, Value>,
    asked: Vec<&'static str>,
}

impl Input {
    /// Reads a query string; a name may come once.
    pub(super) fn from_query(query: &str) -> Result<Self, Problem> {
        let mut values = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let field = shown(&name);
            if values
                .insert(name.into_owned(), value.into_owned().into())
                .is_some()
            {
                return Err(Problem::invalid(&field, "may be given once"));
            }
        }
        Ok(Self {
            values,
            asked: Vec::new(),
        })
    }

    /// Reads a body that is one JSON object; an empty body is an empty object.
    pub(super) async fn from_body(body: Body) -> Result<Self, Problem> {
        let read = tokio::time::timeout(BODY_PATIENCE, to_bytes(body, BODY_MAX));
        let bytes = match read.await {
            Err(_) => return Err(Problem::too_slow()),
            Ok(Err(error)) if is_too_large(&error) => return Err(Problem::too_large()),
            Ok(Err(_)) => return Err(Problem::malformed("the body ended early".to_owned())),
            Ok(Ok(bytes)) => bytes,
        };
        let none = Self {
            values: BTreeMap::new(),
            asked: Vec::new(),
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(none);
        }
        match serde_json::from_slice::<Value>(&bytes) {
            Ok(Value::Object(members)) => Ok(Self {
                values: members.into_iter().collect(),
                ..none
            }),
            Ok(_) => Err(Problem::malformed(
                "the body must be one JSON object".to_owned(),
            )),
            Err(error) => Err(Problem::malformed(format!(
                "the body is not JSON: line {}, column {}",
                error.line(),
                error.column()
            ))),
        }
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.asked.push(name);
        self.values
            .remove(name)
            .filter(|value| !value.is_null() && value.as_str() != Some(""))
    }

    /// A text, if it is there; an empty one counts as absent.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Problem::invalid(name, "must be a text")),
        }
    }

    /// A list of texts, if it is there.
    pub(super) fn texts(&mut self, name: &'static str) -> Result<Option<Vec<String>>, Problem> {
        let wrong = || Problem::invalid(name, "must be a list of texts");
        let one = |value: Value| value.as_str().map(str::to_owned).ok_or_else(wrong);
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(all)) => all.into_iter().map(one).collect::<Result<_, _>>().map(Some),
            Some(_) => Err(wrong()),
        }
    }

    /// A text that nobody may see.
    pub(super) fn secret(&mut self, name: &'static str) -> Result<Option<SecretString>, Problem> {
        Ok(self.text(name)?.map(SecretString::from))
    }

    /// `true` or `false`; absent means `false`.
    pub(super) fn flag(&mut self, name: &'static str) -> Result<bool, Problem> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(Value::String(text)) if text == "true" => Ok(true),
            Some(Value::String(text)) if text == "false" => Ok(false),
            Some(_) => Err(Problem::invalid(name, "allowed are `true` and `false`")),
        }
    }

    /// A whole number within bounds.
    pub(super) fn number(
        &mut self,
        name: &'static str,
        least: u64,
        most: u64,
    ) -> Result<Option<u64>, Problem> {
        let number = match self.take(name) {
            None => return Ok(None),
            Some(Value::String(text)) => text.parse().ok(),
            Some(value) => value.as_u64(),
        };
        match number {
            Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(Problem::invalid(
                name,
                &format!("a whole number from {least} to {most}"),
            )),
        }
    }

    /// A moment: RFC 3339, or milliseconds since 1970.
    pub(super) fn moment(&mut self, name: &'static str) -> Result<Option<u64>, Problem> {
        let moment = match self.take(name) {
            None => return Ok(None),
            Some(Value::String(text)) => text.parse().ok().or_else(|| {
                let at = chrono::DateTime::parse_from_rfc3339(&text).ok()?;
                u64::try_from(at.timestamp_millis()).ok()
            }),
            Some(value) => value.as_u64(),
        };
        let rule = "RFC 3339, such as 2026-01-31T12:00:00Z, or milliseconds since 1970";
        moment.map(Some).ok_or_else(|| Problem::invalid(name, rule))
    }

    /// Nothing may be left over: a misspelt name would otherwise pass for a default.
    pub(super) fn end(self) -> Result<(), Problem> {
        match self.values.keys().next() {
            None => Ok(()),
            Some(name) if self.asked.is_empty() => Err(Problem::invalid(
                &shown(name),
                "is not known here; nothing is taken",
            )),
            Some(name) => {
                let rule = format!("is not known here; allowed are {}", self.asked.join(", "));
                Err(Problem::invalid(&shown(name), &rule))
            }
        }
    }
}

/// A name as it may be repeated: what does not look like a field's name could be a secret.
fn shown(name: &str) -> String {
    let like_a_field = name.len() <= 32
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if like_a_field {
        name.to_owned()
    } else {
        "(a name)".to_owned()
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    // The limit is the only cause that `to_bytes` adds to those of the connection.
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if error.to_string().contains("length limit exceeded") {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(text: &str) -> Result<Input, Problem> {
        Input::from_body(Body::from(text.to_owned())).await
    }

    #[tokio::test]
    async fn a_wrong_member_is_named_and_never_quoted() {
        let mut input = body(r#"{"access_token":["CANARY"],"dry_run":"CANARY"}"#)
            .await
            .unwrap();
        let problem = input.secret("access_token").unwrap_err();
        assert_eq!(problem.field.as_deref(), Some("access_token"));
        assert!(!problem.detail.contains("CANARY"));
        let problem = input.flag("dry_run").unwrap_err();
        assert_eq!(problem.detail, "dry_run: allowed are `true` and `false`");
    }

    #[tokio::test]
    async fn what_nobody_takes_is_refused() {
        let mut input = body(r#"{"limit":1,"dryrun":true}"#).await.unwrap();
        assert_eq!(input.number("limit", 1, 500).unwrap(), Some(1));
        let problem = input.end().unwrap_err();
        assert_eq!(
            problem.detail,
            "dryrun: is not known here; allowed are limit"
        );
        let input = body(r#"{"eyJhbGciOiJIUzI1NiJ9":1}"#).await.unwrap();
        assert!(!input.end().unwrap_err().detail.contains("eyJ"));
    }

    #[tokio::test]
    async fn a_body_is_one_object_of_json_within_its_bound() {
        assert!(body("  ").await.unwrap().end().is_ok());
        for (text, status) in [("[1]", 400), ("{", 400), ("\"CANARY\"", 400)] {
            let problem = body(text).await.err().unwrap();
            assert_eq!(problem.status, status, "{text}");
            assert!(!problem.detail.contains("CANARY"), "{problem:?}");
        }
        let large = format!("{{\"a\":\"{}\"}}", "x".repeat(BODY_MAX));
        assert_eq!(body(&large).await.err().unwrap().status, 413);
    }

    #[test]
    fn a_query_is_read_by_name_and_bounds() {
        let mut input = Input::from_query("limit=7&state=&attention=true").unwrap();
        assert_eq!(input.number("limit", 1, 500).unwrap(), Some(7));
        assert_eq!(input.text("state").unwrap(), None);
        assert!(input.flag("attention").unwrap());
        assert!(input.end().is_ok());
        let mut input = Input::from_query("limit=501").unwrap();
        assert_eq!(
            input.number("limit", 1, 500).unwrap_err().field.as_deref(),
            Some("limit")
        );
        assert!(Input::from_query("a=1&a=2").is_err());
    }

    #[test]
    fn a_moment_is_a_date_or_milliseconds() {
        let mut input = Input::from_query("a=2026-01-01T00:00:00Z&b=1767225600000&c=soon").unwrap();
        assert_eq!(input.moment("a").unwrap(), Some(1_767_225_600_000));
        assert_eq!(input.moment("b").unwrap(), Some(1_767_225_600_000));
        assert!(input.moment("c").is_err());
    }
}
