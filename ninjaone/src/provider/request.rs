//! What is asked of the token endpoint, and the address a person's browser is sent to.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use super::host::InstanceUrl;

/// The two places where NinjaOne hosts keep their OAuth endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenPath {
    /// Below `/ws/oauth`, as documented.
    Ws,
    /// Below `/oauth`, as some hosts have it, and as Alga and the MCP server use it.
    Plain,
}

impl TokenPath {
    /// The path of the token endpoint.
    #[must_use]
    pub fn token(self) -> &'static str {
        match self {
            Self::Ws => "/ws/oauth/token",
            Self::Plain => "/oauth/token",
        }
    }

    /// The path of the authorization endpoint.
    #[must_use]
    pub fn authorize(self) -> &'static str {
        match self {
            Self::Ws => "/ws/oauth/authorize",
            Self::Plain => "/oauth/authorize",
        }
    }

    /// The one to try when this one does not exist.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Ws => Self::Plain,
            Self::Plain => Self::Ws,
        }
    }
}

impl fmt::Display for TokenPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.token())
    }
}

/// The client app as NinjaOne knows it (RFC 6749 section 2.3.1).
#[derive(Debug, Clone)]
pub struct ClientApp {
    /// Not a secret.
    pub client_id: String,
    /// `None` for native and single-page apps, which have none.
    pub client_secret: Option<SecretString>,
}

/// One request to the token endpoint.
#[derive(Debug, Clone)]
pub enum TokenRequest {
    /// Spend a refresh token (RFC 6749 section 6). No scope is sent.
    Refresh {
        /// The refresh token to spend.
        refresh_token: SecretString,
    },
    /// Exchange an authorization code (RFC 6749 section 4.1.3, RFC 7636 section 4.5).
    Code {
        /// The code, usable once.
        code: SecretString,
        /// Identical, character by character, to the one of the authorization request.
        redirect_uri: String,
        /// The verifier whose S256 challenge was sent before.
        code_verifier: SecretString,
    },
    /// Mint a token for the app itself (RFC 6749 section 4.4.2).
    ClientCredentials {
        /// Scopes separated by spaces; `None` asks for all scopes of the app.
        scope: Option<String>,
    },
}

impl TokenRequest {
    /// The body, form-encoded, credentials included (RFC 6749 sections 2.3.1 and 4.1.3).
    #[must_use]
    pub fn form(&self, app: &ClientApp) -> SecretString {
        let mut form = form_urlencoded::Serializer::new(String::new());
        match self {
            Self::Refresh { refresh_token } => {
                form.append_pair("grant_type", "refresh_token");
                form.append_pair("refresh_token", refresh_token.expose_secret());
            }
            Self::Code {
                code,
                redirect_uri,
                code_verifier,
            } => {
                form.append_pair("grant_type", "authorization_code");
                form.append_pair("code", code.expose_secret());
                form.append_pair("redirect_uri", redirect_uri);
                form.append_pair("code_verifier", code_verifier.expose_secret());
            }
            Self::ClientCredentials { scope } => {
                form.append_pair("grant_type", "client_credentials");
                if let Some(scope) = scope {
                    form.append_pair("scope", scope);
                }
            }
        }
        form.append_pair("client_id", &app.client_id);
        if let Some(secret) = &app.client_secret {
            form.append_pair("client_secret", secret.expose_secret());
        }
        form.finish().into()
    }

    /// The refresh token that this request spends.
    #[must_use]
    pub fn spends(&self) -> Option<&SecretString> {
        match self {
            Self::Refresh { refresh_token } => Some(refresh_token),
            Self::Code { .. } | Self::ClientCredentials { .. } => None,
        }
    }

    /// Everything in this request that must not come back in a log.
    pub(super) fn secrets<'a>(&'a self, app: &'a ClientApp) -> Vec<&'a SecretString> {
        let mut secrets: Vec<_> = app.client_secret.iter().collect();
        match self {
            Self::Refresh { refresh_token } => secrets.push(refresh_token),
            Self::Code {
                code,
                code_verifier,
                ..
            } => secrets.extend([code, code_verifier]),
            Self::ClientCredentials { .. } => {}
        }
        secrets
    }
}

/// The authorization request that a person's browser carries (RFC 6749 section 4.1.1, RFC 7636
/// section 4.3). The client secret has no place in it.
#[derive(Debug, Clone, Copy)]
pub struct AuthorizeRequest<'a> {
    /// Where the tenant lives.
    pub instance: &'a InstanceUrl,
    /// Where that host keeps its OAuth endpoints; [`TokenPath::Ws`] unless known otherwise.
    pub path: TokenPath,
    /// The client app.
    pub client_id: &'a str,
    /// Where the browser comes back to.
    pub redirect_uri: &'a str,
    /// Scopes separated by spaces.
    pub scope: &'a str,
    /// At least 128 random bits, used once.
    pub state: &'a str,
    /// `BASE64URL(SHA256(code_verifier))`.
    pub code_challenge: &'a str,
}

/// Where to send the person's browser.
#[must_use]
pub fn authorize_url(request: &AuthorizeRequest<'_>) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("response_type", "code")
        .append_pair("client_id", request.client_id)
        .append_pair("redirect_uri", request.redirect_uri)
        .append_pair("scope", request.scope)
        .append_pair("state", request.state)
        .append_pair("code_challenge", request.code_challenge)
        .append_pair("code_challenge_method", "S256")
        .finish();
    format!("{}{}?{query}", request.instance, request.path.authorize())
}

#[cfg(test)]
mod tests {
    use super::super::policy::HostPolicy;
    use super::*;

    fn web_app() -> ClientApp {
        ClientApp {
            client_id: "app 1".to_owned(),
            client_secret: Some("s&cret=+".into()),
        }
    }

    #[test]
    fn a_refresh_is_a_form_with_credentials_and_without_scope() {
        let refresh = TokenRequest::Refresh {
            refresh_token: "R0/+".into(),
        };
        assert_eq!(
            refresh.form(&web_app()).expose_secret(),
            "grant_type=refresh_token&refresh_token=R0%2F%2B&client_id=app+1&client_secret=s%26cret%3D%2B"
        );
    }

    #[test]
    fn a_public_app_sends_no_secret() {
        let code = TokenRequest::Code {
            code: "C".into(),
            redirect_uri: "https://e.example/cb?x=1".to_owned(),
            code_verifier: "V".into(),
        };
        let app = ClientApp {
            client_id: "native".to_owned(),
            client_secret: None,
        };
        assert_eq!(
            code.form(&app).expose_secret(),
            "grant_type=authorization_code&code=C&redirect_uri=https%3A%2F%2Fe.example%2Fcb%3Fx%3D1\
             &code_verifier=V&client_id=native"
        );
    }

    #[test]
    fn client_credentials_name_their_scope_if_there_is_one() {
        let some = TokenRequest::ClientCredentials {
            scope: Some("monitoring management".to_owned()),
        };
        assert_eq!(
            some.form(&web_app()).expose_secret(),
            "grant_type=client_credentials&scope=monitoring+management&client_id=app+1\
             &client_secret=s%26cret%3D%2B"
        );
        let all = TokenRequest::ClientCredentials { scope: None };
        assert!(!all.form(&web_app()).expose_secret().contains("scope"));
    }

    #[test]
    fn nothing_secret_is_in_the_debug_form() {
        let request = TokenRequest::Code {
            code: "CANARY-1".into(),
            redirect_uri: String::new(),
            code_verifier: "CANARY-2".into(),
        };
        let app = ClientApp {
            client_id: "app".to_owned(),
            client_secret: Some("CANARY-3".into()),
        };
        let shown = format!("{request:?} {app:?} {:?}", request.form(&app));
        assert!(!shown.contains("CANARY"), "{shown}");
    }

    #[test]
    fn the_browser_gets_a_challenge_and_no_secret() {
        let instance = InstanceUrl::parse("eu.ninjarmm.com", &HostPolicy::new()).unwrap();
        let url = authorize_url(&AuthorizeRequest {
            instance: &instance,
            path: TokenPath::Ws,
            client_id: "id",
            redirect_uri: "https://e.example/oauth/callback",
            scope: "monitoring offline_access",
            state: "S",
            code_challenge: "C",
        });
        assert_eq!(
            url,
            "https://eu.ninjarmm.com/ws/oauth/authorize?response_type=code&client_id=id\
             &redirect_uri=https%3A%2F%2Fe.example%2Foauth%2Fcallback\
             &scope=monitoring+offline_access&state=S&code_challenge=C&code_challenge_method=S256"
        );
    }
}
