//! Tokens from outside, and client grants.

use evergreen_engine::store::Signalled;
use evergreen_engine::{Delivery, Millis};
use secrecy::{ExposeSecret, SecretString};

use super::find::{Found, workflow_id};
use super::offer::{AdoptOptions, Adopted, ClientConnect, Offer};
use super::{App, ServiceError, StatusView};
use crate::integration::{GrantKind, GrantRef};
use crate::lifecycle::{Adoption, Credential, NewGrant, Phase, Signal, Source, adoption};
use crate::provider::{InstanceUrl, TokenPath};
use crate::refresher::{stored_pair, workflow};
use crate::vault::{AppCredentials, GrantId, Pair, Place};

fn refused(field: &'static str, reason: impl Into<String>) -> Adopted {
    Adopted::Refused {
        field,
        reason: reason.into(),
    }
}

const SECRET_ALONE: &str = "missing: a client_secret came without it, and the two belong together";

/// A secret without its id would be dropped, and the tokens be spent with another app.
fn secret_alone(client_id: Option<&str>, client_secret: Option<&SecretString>) -> bool {
    client_secret.is_some_and(|secret| !secret.expose_secret().is_empty())
        && client_id.is_none_or(|id| id.trim().is_empty())
}

/// Why a grant was not taken at once; it may be taken yet.
pub(crate) const BUSY: &str = "it is busy; import it again";

/// The app that a grant was made with, and whether it is another than the fleet's.
pub(super) struct WhichApp {
    pub(super) client_id: String,
    pub(super) own: Option<AppCredentials>,
}

impl App {
    /// Takes tokens from outside, if they are better than what is stored.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn adopt(&self, offer: Offer, how: AdoptOptions) -> Result<Adopted, ServiceError> {
        let Some(instance) = &offer.instance_url else {
            return Ok(refused(
                "instance_url",
                "missing: which NinjaOne host do the tokens belong to?",
            ));
        };
        let instance = match InstanceUrl::parse(instance, self.host_policy()) {
            Ok(instance) => instance,
            Err(error) => return Ok(refused("instance_url", error.rule)),
        };
        if secret_alone(offer.client_id.as_deref(), offer.client_secret.as_ref()) {
            return Ok(refused("client_id", SECRET_ALONE));
        }
        let Some(app) = self.which_app(offer.client_id.clone(), offer.client_secret.clone()) else {
            let why = "missing: name the client app, or configure the fleet's";
            return Ok(refused("client_id", why));
        };
        let minted = offer.grant.kind() == GrantKind::Client;
        let empty = |token: &Option<SecretString>| {
            token
                .as_ref()
                .is_none_or(|token| token.expose_secret().is_empty())
        };
        if !minted && empty(&offer.refresh_token) && empty(&offer.access_token) {
            return Ok(refused(
                "access_token",
                "missing, and so is refresh_token: nothing to adopt",
            ));
        }
        let grant = offer.grant.clone();
        let now = self.store().now().await?;
        let refresh_token = offer.refresh_token.clone().filter(|_| !minted);
        let fingerprint = refresh_token
            .as_ref()
            .map(|t| self.0.refresher.fingerprints.fingerprint(t));
        let alone = fingerprint.is_none();
        let before = self.find(&grant, alone).await?;
        let verdict = match &before {
            None => Adoption::Adopted,
            Some(found) => {
                let (credential, phase) = found.machine()?;
                match adoption(credential, phase, fingerprint.as_ref()) {
                    // Where there is no refresh token, only the access token tells that it is stored.
                    Adoption::Adopted if alone && self.holds(found, &offer)? => Adoption::Unchanged,
                    verdict => verdict,
                }
            }
        };
        let replaces = how.replace
            && matches!(
                verdict,
                Adoption::Unchanged | Adoption::Disconnected | Adoption::Healthy
            );
        if verdict != Adoption::Adopted && !replaces {
            return Ok(told(verdict));
        }
        if how.dry_run {
            return Ok(Adopted::Adopted);
        }
        let id = GrantId::random();
        let lasting = minted || refresh_token.is_some();
        let bearer = !empty(&offer.access_token);
        let pair = Pair {
            access_token: offer.access_token.unwrap_or_default(),
            refresh_token,
        };
        let new = self.new_grant(
            &grant,
            id,
            instance,
            &app,
            &pair,
            now,
            offer.expires_at.filter(|_| bearer),
            Source::Import,
        )?;
        let new = NewGrant {
            scopes: offer.scopes,
            bearer,
            token_path: offer.legacy_token_path.then_some(TokenPath::Plain),
            ..new
        };
        let signal = if replaces {
            Signal::Connect(new)
        } else {
            Signal::Adopt(new)
        };
        // What the machine may refuse must not end a turn that is under way.
        let found = self
            .deliver_grant(&grant, signal, replaces && lasting)
            .await?;
        let (credential, phase) = found.machine()?;
        if credential
            .grant
            .as_ref()
            .is_some_and(|stored| stored.id == id)
        {
            return Ok(Adopted::Adopted);
        }
        // Somebody was faster, or it waits behind a turn under way.
        Ok(match adoption(credential, phase, fingerprint.as_ref()) {
            Adoption::Adopted => refused("grant", BUSY),
            verdict => told(verdict),
        })
    }

    /// Makes a client grant; its first token is minted at once.
    ///
    /// # Errors
    /// No client app is known, or the store does not answer. What the provider said is in the status.
    pub async fn connect_client(&self, ask: ClientConnect) -> Result<StatusView, ServiceError> {
        if secret_alone(ask.client_id.as_deref(), ask.client_secret.as_ref()) {
            return Err(ServiceError::Invalid {
                field: "client_id".to_owned(),
                rule: SECRET_ALONE.to_owned(),
            });
        }
        let app = self
            .which_app(ask.client_id, ask.client_secret)
            .ok_or_else(|| ServiceError::Invalid {
                field: "client_id".to_owned(),
                rule: "needed, since the fleet has no client app of its own".to_owned(),
            })?;
        let grant = ask.integration.grant(GrantKind::Client);
        let now = self.store().now().await?;
        let pair = Pair {
            access_token: SecretString::default(),
            refresh_token: None,
        };
        let new = NewGrant {
            scopes: ask.scopes,
            bearer: false,
            ..self.new_grant(
                &grant,
                GrantId::random(),
                ask.instance_url,
                &app,
                &pair,
                now,
                None,
                Source::OauthConnected,
            )?
        };
        let found = self
            .deliver_grant(&grant, Signal::Connect(new), true)
            .await?;
        Ok(self.shown(&found).await)
    }

    /// Whether the access token that is offered is the one that is stored.
    fn holds(&self, found: &Found, offer: &Offer) -> Result<bool, ServiceError> {
        let (credential, _) = found.machine()?;
        let (Some(stored), Some(offered)) = (&credential.grant, &offer.access_token) else {
            return Ok(false);
        };
        let parts = &self.0.refresher;
        let sealed = &found.view.reading.sealed;
        let pair = stored_pair(parts, &found.id, stored.id, stored.generation, sealed);
        // What cannot be opened is not known to be this one.
        let print = |token: &SecretString| parts.fingerprints.fingerprint(token);
        Ok(pair.is_ok_and(|pair| print(&pair.access_token) == print(offered)))
    }

    /// Whether this is the client app that the fleet uses where none is named.
    #[must_use]
    pub fn is_fleet_client(&self, client_id: &str) -> bool {
        let fleet = self.0.refresher.client.as_ref();
        fleet.is_some_and(|fleet| fleet.client_id == client_id.trim())
    }

    /// The app of a grant: the named one, else the fleet's.
    pub(super) fn which_app(
        &self,
        client_id: Option<String>,
        client_secret: Option<SecretString>,
    ) -> Option<WhichApp> {
        let fleet = self.0.refresher.client.as_ref();
        let named = client_id.filter(|id| !id.trim().is_empty());
        // The fleet's app by name, with another secret than the fleet's, is what its name does not say.
        let same = |secret: &SecretString| {
            let fleets = fleet.and_then(|fleet| fleet.client_secret.as_ref());
            fleets.is_some_and(|fleets| fleets.expose_secret() == secret.expose_secret())
        };
        let fleets_secret = client_secret.as_ref().is_none_or(same);
        match (named, fleet) {
            (Some(id), Some(fleet)) if id == fleet.client_id && fleets_secret => Some(WhichApp {
                client_id: id,
                own: None,
            }),
            (Some(id), _) => {
                let own = AppCredentials {
                    client_id: id.clone(),
                    client_secret,
                };
                Some(WhichApp {
                    client_id: id,
                    own: Some(own),
                })
            }
            (None, Some(fleet)) => Some(WhichApp {
                client_id: fleet.client_id.clone(),
                own: None,
            }),
            (None, None) => None,
        }
    }

    #[expect(clippy::too_many_arguments)]
    pub(super) fn new_grant(
        &self,
        grant: &GrantRef,
        id: GrantId,
        instance: InstanceUrl,
        app: &WhichApp,
        pair: &Pair,
        obtained_at: Millis,
        expires_at: Option<Millis>,
        source: Source,
    ) -> Result<NewGrant, ServiceError> {
        let workflow_id = workflow_id(grant)?;
        let place = Place::Signal {
            workflow: workflow(&workflow_id),
            grant: id,
        };
        let refresher = &self.0.refresher;
        Ok(NewGrant {
            grant: id,
            instance_url: instance.to_string(),
            client_id: app.client_id.clone(),
            pair: refresher.ring.seal_pair(&place, pair),
            app: app
                .own
                .as_ref()
                .map(|own| refresher.ring.seal_app(&place, own)),
            refresh_token: pair
                .refresh_token
                .as_ref()
                .map(|token| refresher.fingerprints.fingerprint(token)),
            obtained_at,
            expires_at,
            expiry_assumed: false,
            scopes: None,
            bearer: true,
            token_path: None,
            source,
        })
    }

    /// Delivers a new grant and waits for the commit that takes it, or does not.
    pub(super) async fn deliver_grant(
        &self,
        grant: &GrantRef,
        signal: Signal,
        preemptive: bool,
    ) -> Result<Found, ServiceError> {
        let id = workflow_id(grant)?;
        let delivery = Delivery {
            preemptive,
            // Whoever sends the same consent again ends no lease again.
            once: signal.consent(),
            create: true,
            durable: true,
            ..Delivery::default()
        };
        match self
            .engine()
            .signal::<Credential>(&id, &signal, delivery)
            .await?
        {
            Signalled::Queued {
                confirmed: true, ..
            } => {}
            Signalled::Queued { .. } => return Err(super::operate::unconfirmed(grant)),
            Signalled::Unknown | Signalled::Full => {
                return Err(ServiceError::TryLater {
                    integration: grant.to_string(),
                    why: "too many wishes wait already".to_owned(),
                    after_s: 2,
                });
            }
        }
        let taken = |found: &Found| {
            let reading = &found.view.reading;
            reading.inbox_len == 0
                && !reading.record.barrier
                && !matches!(found.view.machine, Ok((_, Phase::Refreshing { .. })))
        };
        self.drive_until(grant, preemptive, taken).await
    }
}

fn told(verdict: Adoption) -> Adopted {
    match verdict {
        Adoption::Adopted => Adopted::Adopted,
        Adoption::Unchanged | Adoption::Healthy => Adopted::Unchanged,
        Adoption::Spent => refused("refresh_token", "spent: Evergreen has rotated it since"),
        Adoption::Disconnected => {
            refused("grant", "disconnected by a person; --replace connects it")
        }
    }
}
