//! One slot of `tokens.json`: its six members, exactly as the consumer reads and writes them.

use chrono::{DateTime, NaiveDateTime, TimeDelta, TimeZone, Utc};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::{Map, Value};

use super::OnDisk;
use crate::handoff::{Handed, RefreshToken};
use crate::import::when;
use crate::integration::GrantKind;

/// Six digits and no zone: the consumer compares with its own naive local time and stops at
/// anything else; Python up to 3.10 reads no other number of digits than 0, 3 and 6.
const NAIVE: &str = "%Y-%m-%dT%H:%M:%S%.6f";

/// The consumer's own margin: it treats a token as gone after nine tenths of its life.
const TENTHS: u64 = 9;

pub(super) struct Slot {
    access_token: Option<SecretString>,
    refresh_token: Option<SecretString>,
    expires_at: Option<String>,
    scope: Option<String>,
    token_type: String,
    valid: bool,
}

/// What stays of an existing file.
pub(super) struct Kept {
    pub(super) other: Slot,
    /// Something in the file does not parse, so that all of it must be set aside.
    pub(super) damaged: bool,
}

impl Kept {
    pub(super) fn of<Z: TimeZone>(mut map: Map<String, Value>, grant: GrantKind, zone: &Z) -> Self {
        let mut slot = |kind: GrantKind| Slot::parse(map.remove(kind.as_str()), zone);
        let (ours, other) = match grant {
            GrantKind::Client => (slot(GrantKind::Client), slot(GrantKind::User)),
            GrantKind::User => (slot(GrantKind::User), slot(GrantKind::Client)),
        };
        Self {
            damaged: ours.is_none() || other.is_none(),
            other: other.unwrap_or_else(Slot::empty),
        }
    }
}

impl Slot {
    pub(super) fn empty() -> Self {
        Self {
            access_token: None,
            refresh_token: None,
            expires_at: None,
            scope: None,
            token_type: "Bearer".to_owned(),
            valid: false,
        }
    }

    pub(super) fn of<Z: TimeZone>(
        handed: &Handed,
        refresh: RefreshToken,
        now: DateTime<Utc>,
        zone: &Z,
    ) -> Self {
        // A life too long for a clock is cut to one that is not; the provider's are hours.
        let micros = handed.expires_in_s.min(10 * 365 * 86_400) * 1_000_000 / 10 * TENTHS;
        let left = TimeDelta::microseconds(micros.cast_signed());
        let bearer =
            handed.token_type.is_empty() || handed.token_type.eq_ignore_ascii_case("bearer");
        Self {
            access_token: Some(handed.access_token.clone()),
            refresh_token: handed.refresh_token(refresh).cloned(),
            expires_at: Some(spell(&local(now + left, zone))),
            scope: handed.scope.clone(),
            token_type: if bearer {
                "Bearer".to_owned()
            } else {
                handed.token_type.clone()
            },
            valid: handed.expires_in_s > 0,
        }
    }

    /// A slot as it stands in a file. Missing members are filled in, `null` is an empty slot,
    /// times with a zone become naive. `None` is what the consumer could not load either.
    pub(super) fn parse<Z: TimeZone>(value: Option<Value>, zone: &Z) -> Option<Self> {
        let mut map = match value {
            None | Some(Value::Null) => return Some(Self::empty()),
            Some(Value::Object(map)) => map,
            Some(_) => return None,
        };
        let mut text = |name: &str| match map.remove(name) {
            None | Some(Value::Null) => Some(None),
            Some(Value::String(text)) => Some(Some(text)),
            Some(_) => None,
        };
        let access_token = text("access_token")?;
        let refresh_token = text("refresh_token")?;
        let expires_at = match text("expires_at")? {
            Some(text) => Some(readable(text, zone)?),
            None => None,
        };
        let scope = text("scope")?;
        let token_type = text("token_type")?;
        let valid = match map.remove("valid") {
            Some(Value::Bool(valid)) => valid,
            None | Some(Value::Null) => access_token.as_deref().is_some_and(|t| !t.is_empty()),
            Some(_) => return None,
        };
        Some(Self {
            access_token: access_token.map(SecretString::from),
            refresh_token: refresh_token.map(SecretString::from),
            expires_at,
            scope,
            token_type: token_type.unwrap_or_else(|| "Bearer".to_owned()),
            valid,
        })
    }

    pub(super) fn on_disk(self) -> OnDisk {
        OnDisk::Slot {
            access_token: self.access_token.unwrap_or_else(|| "".into()),
            valid: self.valid,
        }
    }

    fn view(&self) -> View<'_> {
        View {
            access_token: self.access_token.as_ref().map(ExposeSecret::expose_secret),
            refresh_token: self.refresh_token.as_ref().map(ExposeSecret::expose_secret),
            expires_at: self.expires_at.as_deref(),
            scope: self.scope.as_deref(),
            token_type: &self.token_type,
            valid: self.valid,
        }
    }
}

/// A time that the consumer can read: its own spelling stays as it is, all others become it.
fn readable<Z: TimeZone>(text: String, zone: &Z) -> Option<String> {
    if let Some(naive) = when::naive(&text) {
        let own = matches!(text.len(), 19 | 23 | 26);
        return Some(if own { text } else { spell(&naive) });
    }
    let at = DateTime::from_timestamp_millis(when::with_offset(&text)?)?;
    // The end of the year 9999 in a zone ahead of it needs a fifth digit, which nobody reads.
    Some(spell(&local(at, zone))).filter(|text| text.len() == 26)
}

fn local<Z: TimeZone>(at: DateTime<Utc>, zone: &Z) -> NaiveDateTime {
    at.with_timezone(zone).naive_local()
}

fn spell(at: &NaiveDateTime) -> String {
    at.format(NAIVE).to_string()
}

/// The members in their order.
#[derive(Serialize)]
struct View<'a> {
    access_token: Option<&'a str>,
    refresh_token: Option<&'a str>,
    expires_at: Option<&'a str>,
    scope: Option<&'a str>,
    token_type: &'a str,
    valid: bool,
}

#[derive(Serialize)]
struct FileView<'a> {
    client: View<'a>,
    user: View<'a>,
}

/// The whole file: two-space indent, ASCII only, no line feed at the end, as Python writes it.
pub(super) fn render(client: &Slot, user: &Slot) -> Result<Zeroizing<String>, serde_json::Error> {
    let file = FileView {
        client: client.view(),
        user: user.view(),
    };
    let text = Zeroizing::new(serde_json::to_string_pretty(&file)?);
    let mut ascii = Zeroizing::new(String::with_capacity(text.len() * 2));
    for c in text.chars() {
        if c.is_ascii() {
            ascii.push(c);
        } else {
            // Outside ASCII there are only the contents of texts.
            for unit in c.encode_utf16(&mut [0; 2]) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    Ok(ascii)
}
