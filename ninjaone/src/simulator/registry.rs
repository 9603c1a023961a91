//! The apps registered with one host, and how an administrator changes them.

use std::collections::HashMap;

use secrecy::SecretString;
use serde::Deserialize;

use super::clients::{ClientApp, GrantType, Platform};
use super::options::Refused;

/// Adds an app or changes one; what is absent stays, or is what the platform offers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientChange {
    /// Which app.
    pub client_id: String,
    /// The new secret; `null` takes it away.
    #[serde(default, deserialize_with = "super::wire::secret_change")]
    pub client_secret: Option<Option<SecretString>>,
    /// The new redirect URIs.
    #[serde(default)]
    pub redirect_uris: Option<Vec<String>>,
    /// The new platform. A new app is a web app if it has a secret, else native.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// The grants ticked.
    #[serde(default)]
    pub grants: Option<Vec<GrantType>>,
    /// The scopes ticked.
    #[serde(default)]
    pub scopes: Option<Vec<String>>,
    /// Takes the app away; its tokens then answer as if it had never existed.
    #[serde(default)]
    pub remove: bool,
}

/// The apps of one host.
#[derive(Debug, Clone)]
pub(super) struct Clients(HashMap<String, ClientApp>);

impl Clients {
    pub(super) fn new(apps: &[ClientApp]) -> Self {
        let by_id = |app: &ClientApp| (app.client_id.clone(), app.clone());
        Self(apps.iter().map(by_id).collect())
    }

    pub(super) fn get(&self, client_id: &str) -> Option<&ClientApp> {
        self.0.get(client_id)
    }

    /// In the order of their ids.
    pub(super) fn all(&self) -> Vec<&ClientApp> {
        let mut apps: Vec<_> = self.0.values().collect();
        apps.sort_by(|a, b| a.client_id.cmp(&b.client_id));
        apps
    }

    pub(super) fn change(&mut self, change: ClientChange) -> Result<(), Refused> {
        if change.remove {
            let gone = self.0.remove(&change.client_id);
            return gone.map(|_| ()).ok_or_else(|| {
                Refused::new(
                    "client_id",
                    "no such app; GET /simulator/clients lists them",
                )
            });
        }
        let has_secret = matches!(change.client_secret, Some(Some(_)));
        let new_platform = change.platform.unwrap_or(if has_secret {
            Platform::Web
        } else {
            Platform::Native
        });
        let mut app = match self.0.get(&change.client_id) {
            Some(known) => known.clone(),
            None => ClientApp::new(&change.client_id, new_platform),
        };
        if let Some(platform) = change.platform.filter(|new| *new != app.platform) {
            let ticked = ClientApp::new(&change.client_id, platform);
            app = ClientApp {
                client_secret: app.client_secret,
                redirect_uris: app.redirect_uris,
                ..ticked
            };
        }
        if let Some(secret) = change.client_secret {
            app.client_secret = secret;
        }
        app.redirect_uris = change.redirect_uris.unwrap_or(app.redirect_uris);
        app.grants = change.grants.unwrap_or(app.grants);
        app.scopes = change.scopes.unwrap_or(app.scopes);
        app.check()?;
        self.0.insert(app.client_id.clone(), app);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(json: &str) -> ClientChange {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_secret_is_changed_alone_and_null_is_not_absent() {
        let mut clients = Clients::new(&[ClientApp::demo()]);
        clients
            .change(change(
                r#"{"client_id":"evergreen-demo","client_secret":"new"}"#,
            ))
            .unwrap();
        let app = clients.get("evergreen-demo").unwrap();
        assert!(app.secret_matches(Some("new")));
        assert_eq!(app.redirect_uris.len(), 1);
        let gone = change(r#"{"client_id":"evergreen-demo","client_secret":null}"#);
        assert_eq!(clients.change(gone).unwrap_err().field, "client_secret");
    }

    #[test]
    fn an_app_can_be_added_and_removed() {
        let mut clients = Clients::new(&[]);
        let add = r#"{"client_id":"n","redirect_uris":["http://localhost:1/cb"]}"#;
        clients.change(change(add)).unwrap();
        assert_eq!(clients.get("n").unwrap().platform, Platform::Native);
        let remove = r#"{"client_id":"n","remove":true}"#;
        clients.change(change(remove)).unwrap();
        assert_eq!(
            clients.change(change(remove)).unwrap_err().field,
            "client_id"
        );
    }
}
