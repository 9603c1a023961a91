//! What is sealed: the tokens of a grant, and the credentials of an integration's own client app.

use secrecy::{ExposeSecret, SecretString};

use super::fields;
use super::{KeyRing, OpenError, Place, Sealed};

/// An access token and, where the grant has one, the refresh token that came with it.
#[derive(Debug, Clone)]
pub struct Pair {
    /// What requests are made with.
    pub access_token: SecretString,
    /// What the next pair is bought with; a client grant has none.
    pub refresh_token: Option<SecretString>,
}

/// The client app of one integration, where it does not use the fleet's.
#[derive(Debug, Clone)]
pub struct AppCredentials {
    /// The app's id. Not secret by itself, but sealed with the secret so that the two stay together.
    pub client_id: String,
    /// The app's secret; native and single-page apps have none.
    pub client_secret: Option<SecretString>,
}

// Shapes and tags are stored: a new meaning takes a new number.
const PAIR: u8 = 1;
const APP: u8 = 2;
const ACCESS_TOKEN: u8 = b'a';
const REFRESH_TOKEN: u8 = b'r';
const CLIENT_ID: u8 = b'i';
const CLIENT_SECRET: u8 = b's';

impl KeyRing {
    /// Seals a pair for its place.
    #[must_use]
    pub fn seal_pair(&self, place: &Place<'_>, pair: &Pair) -> Sealed {
        let mut parts = vec![(ACCESS_TOKEN, pair.access_token.expose_secret())];
        if let Some(token) = &pair.refresh_token {
            parts.push((REFRESH_TOKEN, token.expose_secret()));
        }
        self.seal(place, &fields::write(PAIR, &parts))
    }

    /// Opens a pair at its place.
    ///
    /// # Errors
    /// As [`KeyRing::open`]; [`OpenError::Malformed`] where something else was sealed.
    pub fn open_pair(&self, place: &Place<'_>, sealed: &Sealed) -> Result<Pair, OpenError> {
        let bytes = self.open(place, sealed)?;
        let fields = fields::read(PAIR, &bytes).ok_or(OpenError::Malformed)?;
        match fields[..] {
            [(ACCESS_TOKEN, access)] => Ok(Pair {
                access_token: access.into(),
                refresh_token: None,
            }),
            [(ACCESS_TOKEN, access), (REFRESH_TOKEN, refresh)] => Ok(Pair {
                access_token: access.into(),
                refresh_token: Some(refresh.into()),
            }),
            _ => Err(OpenError::Malformed),
        }
    }

    /// Seals the credentials of a client app for their place.
    #[must_use]
    pub fn seal_app(&self, place: &Place<'_>, app: &AppCredentials) -> Sealed {
        let mut parts = vec![(CLIENT_ID, app.client_id.as_str())];
        if let Some(secret) = &app.client_secret {
            parts.push((CLIENT_SECRET, secret.expose_secret()));
        }
        self.seal(place, &fields::write(APP, &parts))
    }

    /// Opens the credentials of a client app at their place.
    ///
    /// # Errors
    /// As [`KeyRing::open`]; [`OpenError::Malformed`] where something else was sealed.
    pub fn open_app(
        &self,
        place: &Place<'_>,
        sealed: &Sealed,
    ) -> Result<AppCredentials, OpenError> {
        let bytes = self.open(place, sealed)?;
        let fields = fields::read(APP, &bytes).ok_or(OpenError::Malformed)?;
        match fields[..] {
            [(CLIENT_ID, id)] => Ok(AppCredentials {
                client_id: id.to_owned(),
                client_secret: None,
            }),
            [(CLIENT_ID, id), (CLIENT_SECRET, secret)] => Ok(AppCredentials {
                client_id: id.to_owned(),
                client_secret: Some(secret.into()),
            }),
            _ => Err(OpenError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{GrantId, Workflow};
    use super::*;

    const WORKFLOW: Workflow<'static> = Workflow {
        kind: "ninjaone.credential",
        id: "acme/prod@user",
    };

    fn ring() -> KeyRing {
        let key = KeyRing::generate().unwrap();
        KeyRing::parse(key.printable.expose_secret()).unwrap()
    }

    #[test]
    fn a_pair_comes_back_with_and_without_a_refresh_token() {
        let ring = ring();
        let place = Place::Signal {
            workflow: WORKFLOW,
            grant: GrantId::random(),
        };
        for refresh in [None, Some("R0 with \"quotes\" \\ and ü"), Some("")] {
            let pair = Pair {
                access_token: "A0".into(),
                refresh_token: refresh.map(SecretString::from),
            };
            let opened = ring
                .open_pair(&place, &ring.seal_pair(&place, &pair))
                .unwrap();
            assert_eq!(opened.access_token.expose_secret(), "A0");
            assert_eq!(
                opened
                    .refresh_token
                    .as_ref()
                    .map(ExposeSecret::expose_secret),
                refresh
            );
        }
    }

    #[test]
    fn an_app_comes_back_and_is_not_mistaken_for_a_pair() {
        let ring = ring();
        let place = Place::Client {
            workflow: WORKFLOW,
            grant: GrantId::random(),
        };
        for secret in [None, Some("S0")] {
            let app = AppCredentials {
                client_id: "app-1".into(),
                client_secret: secret.map(SecretString::from),
            };
            let sealed = ring.seal_app(&place, &app);
            let opened = ring.open_app(&place, &sealed).unwrap();
            assert_eq!(opened.client_id, "app-1");
            assert_eq!(
                opened
                    .client_secret
                    .as_ref()
                    .map(ExposeSecret::expose_secret),
                secret
            );
            assert!(matches!(
                ring.open_pair(&place, &sealed),
                Err(OpenError::Malformed)
            ));
        }
    }

    #[test]
    fn debug_shows_no_token_and_no_secret() {
        let pair = Pair {
            access_token: "CANARY-A".into(),
            refresh_token: Some("CANARY-R".into()),
        };
        let app = AppCredentials {
            client_id: "app-1".into(),
            client_secret: Some("CANARY-S".into()),
        };
        assert!(!format!("{pair:?} {app:?}").contains("CANARY"));
    }
}
