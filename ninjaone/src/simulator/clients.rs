//! Client apps: what an administrator registers at NinjaOne, and what each platform may do.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::options::Refused;

/// What kind of application an app is registered for; it decides which grants exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Platform {
    /// Machine to machine: client credentials only, no `offline_access`.
    ApiServices,
    /// A server with users: authorization code, refresh token, client credentials if ticked.
    Web,
    /// A program on a device: authorization code with PKCE, no secret.
    Native,
    /// A page in a browser: as native.
    SinglePage,
}

impl Platform {
    /// Whether apps of this platform have a secret.
    #[must_use]
    pub fn has_secret(self) -> bool {
        matches!(self, Self::ApiServices | Self::Web)
    }

    /// Whether the grant exists for this platform at all.
    #[must_use]
    pub fn offers(self, grant: GrantType) -> bool {
        match grant {
            GrantType::AuthorizationCode | GrantType::RefreshToken => self != Self::ApiServices,
            GrantType::ClientCredentials => self.has_secret(),
        }
    }
}

/// The grants of the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// RFC 6749 section 4.1.
    AuthorizationCode,
    /// RFC 6749 section 6.
    RefreshToken,
    /// RFC 6749 section 4.4.
    ClientCredentials,
}

impl GrantType {
    /// All of them.
    pub const ALL: [Self; 3] = [
        Self::AuthorizationCode,
        Self::RefreshToken,
        Self::ClientCredentials,
    ];

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::ClientCredentials => "client_credentials",
        }
    }

    pub(super) fn from_wire(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grant| grant.as_str() == text)
    }
}

/// The scope that must be asked for to get a refresh token.
pub(super) const OFFLINE_ACCESS: &str = "offline_access";
const SCOPES: [&str; 4] = ["monitoring", "management", "control", OFFLINE_ACCESS];

/// One registered app.
#[derive(Debug, Clone)]
pub struct ClientApp {
    /// Its public id.
    pub client_id: String,
    /// Its secret, where the platform has one.
    pub client_secret: Option<SecretString>,
    /// Where users may be sent back to; compared character by character.
    pub redirect_uris: Vec<String>,
    /// What it is registered for.
    pub platform: Platform,
    /// The grants ticked on it.
    pub grants: Vec<GrantType>,
    /// The scopes ticked on it.
    pub scopes: Vec<String>,
}

impl ClientApp {
    /// The app of a fresh simulator: a web app for an Evergreen on this machine.
    #[must_use]
    pub fn demo() -> Self {
        Self::web(
            "evergreen-demo",
            "evergreen-demo-secret",
            "http://127.0.0.1:8080/oauth/callback",
        )
    }

    /// A web app with every grant and scope ticked.
    #[must_use]
    pub fn web(client_id: &str, client_secret: &str, redirect_uri: &str) -> Self {
        Self {
            client_secret: Some(client_secret.into()),
            redirect_uris: vec![redirect_uri.to_owned()],
            ..Self::new(client_id, Platform::Web)
        }
    }

    /// A native app: public, PKCE required.
    #[must_use]
    pub fn native(client_id: &str, redirect_uri: &str) -> Self {
        Self {
            redirect_uris: vec![redirect_uri.to_owned()],
            ..Self::new(client_id, Platform::Native)
        }
    }

    /// A machine app: client credentials only.
    #[must_use]
    pub fn api_services(client_id: &str, client_secret: &str) -> Self {
        Self {
            client_secret: Some(client_secret.into()),
            ..Self::new(client_id, Platform::ApiServices)
        }
    }

    /// An app with all that its platform offers, no secret and no redirect URI.
    pub(super) fn new(client_id: &str, platform: Platform) -> Self {
        let interactive = platform.offers(GrantType::AuthorizationCode);
        Self {
            client_id: client_id.to_owned(),
            client_secret: None,
            redirect_uris: Vec::new(),
            platform,
            grants: (GrantType::ALL.into_iter())
                .filter(|grant| platform.offers(*grant))
                .collect(),
            scopes: (SCOPES.into_iter())
                .filter(|scope| interactive || *scope != OFFLINE_ACCESS)
                .map(str::to_owned)
                .collect(),
        }
    }

    /// Whether this is the secret; an app without one accepts a request without one only.
    pub(super) fn secret_matches(&self, presented: Option<&str>) -> bool {
        self.client_secret.as_ref().map(ExposeSecret::expose_secret) == presented
    }

    /// The scopes of a grant: those asked for if the app has them all. Asking for none gives all
    /// but `offline_access`, which is never given unasked.
    pub(super) fn scope_for(&self, asked: Option<&str>) -> Option<String> {
        let wanted: Vec<&str> = match asked {
            Some(asked) => asked.split_ascii_whitespace().collect(),
            None => (self.scopes.iter().map(String::as_str))
                .filter(|scope| *scope != OFFLINE_ACCESS)
                .collect(),
        };
        let known = |scope: &&str| self.scopes.iter().any(|own| own == scope);
        wanted.iter().all(known).then(|| wanted.join(" "))
    }

    pub(super) fn check(&self) -> Result<(), Refused> {
        let printable = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        if !printable(&self.client_id) || self.client_id.len() > 100 {
            return Err(Refused::new(
                "client_id",
                "1 to 100 visible ASCII characters",
            ));
        }
        if self.platform.has_secret() != self.client_secret.is_some() {
            return Err(Refused::new(
                "client_secret",
                "needed for the platforms api_services and web, not allowed for native and single_page",
            ));
        }
        if !self.secret_is_printable() {
            return Err(Refused::new("client_secret", "visible ASCII characters"));
        }
        for uri in &self.redirect_uris {
            if !url::Url::parse(uri).is_ok_and(|parsed| parsed.fragment().is_none()) {
                return Err(Refused::new(
                    "redirect_uris",
                    "absolute URIs without a fragment",
                ));
            }
        }
        if !(self.grants.iter()).all(|grant| self.platform.offers(*grant)) {
            return Err(Refused::new("grants", "only those the platform offers"));
        }
        if !(self.scopes.iter()).all(|scope| SCOPES.contains(&scope.as_str())) {
            return Err(Refused::new(
                "scopes",
                format!("allowed are {}", SCOPES.join(", ")),
            ));
        }
        Ok(())
    }

    fn secret_is_printable(&self) -> bool {
        self.client_secret.as_ref().is_none_or(|secret| {
            let secret = secret.expose_secret();
            !secret.is_empty() && secret.bytes().all(|b| b.is_ascii_graphic())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_all_or_nothing_and_offline_access_is_never_given_unasked() {
        let app = ClientApp::demo();
        let all = "monitoring management control";
        assert_eq!(app.scope_for(None).as_deref(), Some(all));
        let asked = "monitoring offline_access";
        assert_eq!(app.scope_for(Some(asked)).as_deref(), Some(asked));
        assert_eq!(app.scope_for(Some("monitoring admin")), None);
        let machine = ClientApp::api_services("m", "s");
        assert_eq!(machine.scope_for(Some("offline_access")), None);
    }

    #[test]
    fn what_the_platform_does_not_offer_cannot_be_ticked() {
        let mut app = ClientApp::api_services("m", "s");
        app.grants.push(GrantType::RefreshToken);
        assert_eq!(app.check().unwrap_err().field, "grants");
        let mut app = ClientApp::native("n", "http://localhost/#here");
        assert_eq!(app.check().unwrap_err().field, "redirect_uris");
        app.redirect_uris.clear();
        app.client_secret = Some("s".into());
        assert_eq!(app.check().unwrap_err().field, "client_secret");
    }
}
