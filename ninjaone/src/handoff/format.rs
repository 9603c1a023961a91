//! The formats of `evergreen token` that are one text on standard output.

use chrono::{DateTime, SecondsFormat};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::{Handed, RefreshToken};
use crate::integration::GrantKind;

/// The formats of `evergreen token --format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// The access token and nothing else.
    #[default]
    Raw,
    /// Lines for a shell to evaluate.
    Env,
    /// One JSON object.
    Json,
    /// The `tokens.json` of the NinjaRMM MCP server.
    TokensJson,
}

/// The members of the JSON format, in their order.
#[derive(Serialize)]
struct Json<'a> {
    access_token: &'a str,
    token_type: &'a str,
    expires_in: u64,
    expires_at: Option<String>,
    generation: u64,
    grant: GrantKind,
    instance_url: &'a str,
    warning: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
}

/// The access token and a line feed.
#[must_use]
pub fn raw(handed: &Handed) -> SecretString {
    format!("{}\n", handed.access_token.expose_secret()).into()
}

/// One JSON object on several lines. `expires_at` is RFC 3339 in UTC.
///
/// # Errors
/// None that is known: every member is a text or a number.
pub fn json(handed: &Handed, refresh: RefreshToken) -> Result<SecretString, serde_json::Error> {
    let text = serde_json::to_string_pretty(&Json {
        access_token: handed.access_token.expose_secret(),
        token_type: &handed.token_type,
        expires_in: handed.expires_in_s,
        expires_at: DateTime::from_timestamp_millis(handed.expires_at_ms)
            .map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true)),
        generation: handed.generation,
        grant: handed.grant,
        instance_url: &handed.instance_url,
        warning: handed.warning.as_deref(),
        refresh_token: handed
            .refresh_token(refresh)
            .map(ExposeSecret::expose_secret),
    })?;
    Ok(format!("{text}\n").into())
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn raw_is_the_access_token() {
        let handed = sample(GrantKind::User);
        assert_eq!(raw(&handed).expose_secret(), "CANARY-access\n");
    }

    #[test]
    fn json_has_the_promised_members() {
        let mut handed = sample(GrantKind::Client);
        let plain = json(&handed, RefreshToken::Withheld).unwrap();
        assert_eq!(
            plain.expose_secret(),
            r#"{
  "access_token": "CANARY-access",
  "token_type": "bearer",
  "expires_in": 3600,
  "expires_at": "2025-10-04T16:30:00.000Z",
  "generation": 7,
  "grant": "client",
  "instance_url": "https://ca.ninjarmm.com",
  "warning": null
}
"#
        );
        handed.warning = Some("odd".to_owned());
        let whole = json(&handed, RefreshToken::Included).unwrap();
        let value: serde_json::Value = serde_json::from_str(whole.expose_secret()).unwrap();
        assert_eq!(value["refresh_token"], "CANARY-refresh");
        assert_eq!(value["warning"], "odd");
        handed.refresh_token = None;
        let none = json(&handed, RefreshToken::Included).unwrap();
        assert!(!none.expose_secret().contains("refresh_token"));
    }

    #[test]
    fn debug_shows_no_secret() {
        let handed = sample(GrantKind::User);
        let shown = format!(
            "{handed:?} {:?} {:?}",
            raw(&handed),
            json(&handed, RefreshToken::Included)
        );
        assert!(!shown.contains("CANARY"), "{shown}");
    }
}
