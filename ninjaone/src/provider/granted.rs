//! Reading a success: tokens first, every other field after them (RFC 6749 section 5.1).
//!
//! A refresh token that was rotated is lost if an odd `expires_in` fails the whole parse. So each
//! member of the object is read on its own, and none but the tokens can make the reading fail.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::clean::Mask;
use super::request::TokenRequest;

/// The longest life believed, in seconds.
pub const MAX_LIFE_S: u64 = 86_400;
/// The life assumed if the answer names none, in seconds; NinjaOne documents no other.
pub const ASSUMED_LIFE_S: u64 = 3_600;
/// The life taken if the answer says 0 or less, in seconds.
pub const EXPIRED_AT_BIRTH_LIFE_S: u64 = 300;
/// Scopes are shown; this many characters are more than all of NinjaOne's together.
const MAX_SCOPE_CHARS: usize = 512;

/// What a success brought.
#[derive(Debug, Clone)]
pub struct Granted {
    /// `None` if absent or empty: the old one is kept to its expiry.
    pub access_token: Option<SecretString>,
    /// `None` if absent, `null` or empty: the old one is kept (RFC 6749 section 6).
    pub refresh_token: Option<SecretString>,
    /// Whether `refresh_token` is another than the one that was spent.
    pub rotated: bool,
    /// Life of the access token in seconds, from the moment the request was sent; 1 to 86,400.
    pub life_s: u64,
    /// The life is ours, since the answer named none that can be used.
    pub expiry_assumed: bool,
    /// Scopes, separated by spaces.
    pub scope: Option<String>,
    /// `token_type` is absent or `bearer` in any case. If not, the access token is not handed out.
    pub token_type_ok: bool,
    /// What was odd about it.
    pub warnings: Vec<Warning>,
}

/// Something odd about a success that did not keep its tokens from being taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Warning {
    /// An `error` stood beside the tokens.
    ErrorBesideTokens,
    /// A refresh token came without an access token.
    NoAccessToken,
    /// `expires_in` is missing or no number.
    ExpiryAssumed,
    /// `expires_in` is 0 or negative.
    ExpiredAtBirth,
    /// `expires_in` is above [`MAX_LIFE_S`].
    ExpiryClamped,
    /// `token_type` is not bearer.
    TokenType,
    /// Fewer scopes than were asked for.
    ScopeReduced,
    /// A client grant is minted again, never refreshed: its refresh token was not taken.
    RefreshTokenIgnored,
}

impl Warning {
    /// The word used in states, metrics and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ErrorBesideTokens => "error_beside_tokens",
            Self::NoAccessToken => "no_access_token",
            Self::ExpiryAssumed => "expiry_assumed",
            Self::ExpiredAtBirth => "expired_at_birth",
            Self::ExpiryClamped => "expiry_clamped",
            Self::TokenType => "token_type",
            Self::ScopeReduced => "scope_reduced",
            Self::RefreshTokenIgnored => "refresh_token_ignored",
        }
    }
}

impl Granted {
    /// Takes the tokens out of a reply with a success status; `None` if there are none.
    pub(super) fn read(body: &Body<'_>, request: &TokenRequest, mask: &Mask) -> Option<Self> {
        let access_token = body.token("access_token");
        let mut refresh_token = body.token("refresh_token");
        if access_token.is_none() && refresh_token.is_none() {
            return None;
        }
        let mut warnings = Vec::new();
        if access_token.is_none() {
            warnings.push(Warning::NoAccessToken);
        }
        if let TokenRequest::ClientCredentials { .. } = request
            && refresh_token.take().is_some()
        {
            warnings.push(Warning::RefreshTokenIgnored);
            access_token.as_ref()?;
        }
        if body.code().is_some() {
            warnings.push(Warning::ErrorBesideTokens);
        }
        let life = Life::read(body.raw("expires_in"));
        warnings.extend(life.warning);
        let token_type_ok = is_bearer(body);
        if !token_type_ok {
            warnings.push(Warning::TokenType);
        }
        let scope = read_scope(body, mask);
        if let (TokenRequest::ClientCredentials { scope: Some(asked) }, Some(given)) =
            (request, &scope)
            && scope_reduced(asked, given)
        {
            warnings.push(Warning::ScopeReduced);
        }
        let spent = request.spends().map(ExposeSecret::expose_secret);
        Some(Self {
            rotated: refresh_token
                .as_ref()
                .is_some_and(|new| Some(new.expose_secret()) != spent),
            access_token,
            refresh_token,
            life_s: life.seconds,
            expiry_assumed: life.assumed,
            scope,
            token_type_ok,
            warnings,
        })
    }
}

/// Whether `given` lacks one of the scopes in `asked`; order and repetition do not matter.
#[must_use]
pub fn scope_reduced(asked: &str, given: &str) -> bool {
    asked
        .split_whitespace()
        .any(|scope| !given.split_whitespace().any(|other| other == scope))
}

/// How long an access token lives, made usable whatever the answer says.
struct Life {
    seconds: u64,
    assumed: bool,
    warning: Option<Warning>,
}

impl Life {
    /// Reads the raw JSON of `expires_in`: integer, float or numeric text.
    fn read(raw: Option<&str>) -> Self {
        let text = raw.map(|raw| match serde_json::from_str::<String>(raw) {
            Ok(text) => text,
            Err(_) => raw.to_owned(),
        });
        let Some(number) = text.as_deref().and_then(number) else {
            return Self {
                seconds: ASSUMED_LIFE_S,
                assumed: true,
                warning: Some(Warning::ExpiryAssumed),
            };
        };
        if number < 1.0 {
            return Self {
                seconds: EXPIRED_AT_BIRTH_LIFE_S,
                assumed: true,
                warning: Some(Warning::ExpiredAtBirth),
            };
        }
        // A cast from float saturates, so that 1e400, read as infinity, is clamped as well.
        let seconds = number.floor() as u64;
        Self {
            seconds: seconds.min(MAX_LIFE_S),
            assumed: false,
            warning: (seconds > MAX_LIFE_S).then_some(Warning::ExpiryClamped),
        }
    }
}

/// A decimal number in ASCII digits, surrounding white space allowed; too large ones are infinite.
fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
    if plain { text.parse().ok() } else { None }
}

fn is_bearer(body: &Body<'_>) -> bool {
    match body.raw("token_type") {
        None | Some("null") => true,
        Some(_) => body.text("token_type").is_some_and(|kind| {
            kind.trim().is_empty() || kind.trim().eq_ignore_ascii_case("bearer")
        }),
    }
}

fn read_scope(body: &Body<'_>, mask: &Mask) -> Option<String> {
    let raw = body.raw("scope")?;
    let text = match serde_json::from_str::<String>(raw) {
        Ok(text) => text,
        Err(_) => serde_json::from_str::<Vec<String>>(raw).ok()?.join(" "),
    };
    let scopes: Vec<_> = text.split_whitespace().collect();
    let text = mask.text(&scopes.join(" "), MAX_SCOPE_CHARS);
    (!text.is_empty()).then_some(text)
}
