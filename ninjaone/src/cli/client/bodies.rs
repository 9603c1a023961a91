//! What is sent to the API and what it answers, where that is not a type of the service itself.

use std::fmt;

use chrono::DateTime;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};

use crate::handoff::Handed;
use crate::import::{Candidate, ExpiresAt};
use crate::integration::GrantKind;
use crate::service::StatusView;

/// A page of `GET /v1/integrations`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Page {
    /// The grants.
    pub integrations: Vec<StatusView>,
    /// How to ask for the next page; `null` on the last.
    pub next: Option<String>,
}

/// Which grants to list.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Filter {
    /// Only those in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Only those that a person must look at.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub attention: bool,
    /// Only this tenant's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// The answer of `GET …/history`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct History {
    /// `TENANT/INTEGRATION`.
    pub integration: String,
    /// `user` or `client`.
    pub grant: String,
    /// The log, oldest first.
    pub transitions: Vec<serde_json::Value>,
}

/// The answer of `DELETE …`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Disconnected {
    /// The grants that were ended.
    pub disconnected: Vec<StatusView>,
    /// Never, as long as NinjaOne has no way to.
    pub revoked_at_provider: bool,
    /// What that means.
    pub note: Option<String>,
}

/// The answer of `POST …/connect`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ConsentLink {
    /// To be opened in a browser, once.
    pub url: String,
    /// For how many seconds.
    pub expires_in: u64,
}

/// How an offer was answered.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Offered {
    /// The tokens were looked at.
    Judged(Judged),
    /// There were none to look at: the client grant was minted, and stands like this.
    Minted(Box<StatusView>),
}

/// What became of offered tokens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Judged {
    /// `adopted`, `unchanged` or `refused`.
    pub result: crate::import::report::Verdict,
    /// What is wrong.
    #[serde(default)]
    pub field: Option<String>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Tokens, or what a client grant needs, for `PUT …`. No `Debug`: it is full of secrets.
#[derive(Default, Serialize)]
pub(crate) struct Offer {
    /// The access token.
    #[serde(serialize_with = "exposed", skip_serializing_if = "Option::is_none")]
    pub access_token: Option<SecretString>,
    /// The refresh token.
    #[serde(serialize_with = "exposed", skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<SecretString>,
    /// Milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    /// Where the tenant lives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_url: Option<String>,
    /// The client app, where it is not the fleet's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Its secret.
    #[serde(serialize_with = "exposed", skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<SecretString>,
    /// Separated by spaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<String>,
    /// Try `/oauth/token` first.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub legacy_token_path: bool,
}

impl From<&Candidate> for Offer {
    fn from(candidate: &Candidate) -> Self {
        Self {
            access_token: candidate.access_token.clone(),
            refresh_token: candidate.refresh_token.clone(),
            expires_at: match candidate.expires_at {
                ExpiresAt::Known(at) => Some(at),
                ExpiresAt::Unknown => None,
            },
            instance_url: candidate.instance_url.clone(),
            client_id: candidate.client_id.clone(),
            client_secret: candidate.client_secret.clone(),
            scopes: candidate.scope.clone(),
            legacy_token_path: candidate.token_path_hint == Some(crate::import::LEGACY_TOKEN_PATH),
        }
    }
}

fn exposed<S: Serializer>(secret: &Option<SecretString>, to: S) -> Result<S::Ok, S::Error> {
    secret
        .as_ref()
        .map(ExposeSecret::expose_secret)
        .serialize(to)
}

/// The answer of `GET …/token`.
#[derive(Deserialize)]
pub(super) struct Token {
    access_token: String,
    token_type: String,
    expires_in: u64,
    expires_at: Option<String>,
    generation: u64,
    grant: GrantKind,
    instance_url: String,
    #[serde(default)]
    warning: Option<String>,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default)]
    scope: Option<String>,
}

impl Token {
    /// `now_ms` stands in for an expiry that was not told.
    pub(super) fn handed(self, now_ms: i64) -> Handed {
        let told = self
            .expires_at
            .and_then(|at| DateTime::parse_from_rfc3339(&at).ok())
            .map(|at| at.timestamp_millis());
        let life_ms = i64::try_from(self.expires_in)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000);
        Handed {
            access_token: self.access_token.into(),
            refresh_token: self.refresh_token.map(SecretString::from),
            token_type: self.token_type,
            expires_in_s: self.expires_in,
            expires_at_ms: told.unwrap_or(now_ms.saturating_add(life_ms)),
            scope: self.scope,
            grant: self.grant,
            grant_id: None,
            instance_url: self.instance_url,
            generation: self.generation,
            warning: self.warning,
        }
    }
}

/// An API key as it is listed; never the key itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListedKey {
    /// By which it is revoked.
    pub id: String,
    /// What somebody called it.
    #[serde(default)]
    pub name: String,
    /// What it may do.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// For which tenants; all where `null`.
    #[serde(default)]
    pub tenants: Option<Vec<String>>,
    /// Since when.
    #[serde(default)]
    pub created_at: Option<String>,
}

/// The answer of `GET /v1/apikeys`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ListedKeys {
    /// All of them.
    pub keys: Vec<ListedKey>,
}

/// What a new API key may do, for `POST /v1/apikeys`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct NewKey {
    /// What to call it.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// For which tenants; all where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenants: Option<Vec<String>>,
}

/// An API key just made: the only time that it is told.
#[derive(Deserialize)]
pub(crate) struct MadeKey {
    /// By which it is revoked.
    pub id: String,
    /// The key.
    #[serde(deserialize_with = "secret")]
    pub key: SecretString,
}

fn secret<'de, D: serde::Deserializer<'de>>(from: D) -> Result<SecretString, D::Error> {
    String::deserialize(from).map(SecretString::from)
}

impl fmt::Debug for MadeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MadeKey").field("id", &self.id).finish()
    }
}
