//! A person's consent: from the ticket over NinjaOne's page to the callback (RFC 6749 section 4.1,
//! RFC 7636, RFC 9700).

mod asked;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::find::Found;
use super::{App, Recovery, SCOPES, ServiceError};

pub use self::asked::{Callback, Connected, ConsentAsk, ConsentError, ConsentStart};

use crate::integration::{GrantKind, IntegrationId};
use crate::lifecycle::{NewGrant, Phase, Signal, Source};
use crate::provider::{
    Answer, Attention, AuthorizeRequest, ClientApp, InstanceUrl, TokenCall, TokenPath,
    TokenRequest, authorize_url,
};
use crate::refresher::{Admitted, Slot, Wish, said};
use crate::vault::{GrantId, Pair, Place, apikey};

/// How long a consent may take.
const LIFE: Duration = Duration::from_secs(600);
/// How long the exchange of a code may take.
const EXCHANGE: Duration = Duration::from_secs(15);

/// How long a person waits until their code may be exchanged.
const PLACE: Duration = Duration::from_secs(10);

const NO_CLIENT: &str = "there is no client app to consent to; set EVERGREEN_NINJAONE_CLIENT_ID and \
     EVERGREEN_NINJAONE_CLIENT_SECRET where the API runs, and start it anew";

/// What is kept, sealed, while the person is on the provider's page.
#[derive(Serialize, Deserialize)]
struct Pending {
    tenant: String,
    integration: String,
    instance_url: String,
    verifier: String,
    binding: String,
    redirect_uri: String,
}

#[derive(Serialize, Deserialize)]
struct Ticket {
    tenant: String,
    integration: String,
    instance_url: String,
}

fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

fn random_text() -> String {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

impl App {
    /// A ticket lets a browser begin one consent, without an API key in its address bar.
    ///
    /// # Errors
    /// No client app is configured, so that no consent could begin, or the store does not answer.
    pub async fn issue_ticket(
        &self,
        integration: &IntegrationId,
        instance: &InstanceUrl,
    ) -> Result<String, ServiceError> {
        self.client_for_consent(integration)?;
        let ticket = random_text();
        let held = Ticket {
            tenant: integration.tenant().to_owned(),
            integration: integration.integration().to_owned(),
            instance_url: instance.to_string(),
        };
        let text = serde_json::to_string(&held).map_err(|error| internal("a ticket", &error))?;
        self.store()
            .slip_put(&format!("ticket:{}", hash(&ticket)), &text, LIFE)
            .await?;
        Ok(ticket)
    }

    /// Redeems a ticket, once.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn take_ticket(
        &self,
        ticket: &str,
    ) -> Result<Option<(IntegrationId, InstanceUrl)>, ServiceError> {
        let held = self
            .store()
            .slip_take(&format!("ticket:{}", hash(ticket)))
            .await?;
        let Some(held) = held.and_then(|text| serde_json::from_str::<Ticket>(&text).ok()) else {
            return Ok(None);
        };
        let integration = IntegrationId::new(&held.tenant, &held.integration)?;
        Ok(Some((
            integration,
            InstanceUrl::parse(&held.instance_url, self.host_policy())?,
        )))
    }

    /// Begins a consent: state and verifier are fresh, kept sealed for ten minutes, and used once.
    ///
    /// # Errors
    /// No client app is configured, or the store does not answer.
    pub async fn begin_consent(&self, ask: ConsentAsk) -> Result<ConsentStart, ServiceError> {
        let client = self.client_for_consent(&ask.integration)?;
        self.host_policy().admit(&ask.instance_url)?;
        let (state, verifier) = (random_text(), random_text());
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        let pending = Pending {
            tenant: ask.integration.tenant().to_owned(),
            integration: ask.integration.integration().to_owned(),
            instance_url: ask.instance_url.to_string(),
            verifier,
            binding: hash(&ask.binding),
            redirect_uri: self.0.redirect_uri.clone(),
        };
        let state_hash = hash(&state);
        let text = serde_json::to_vec(&pending).map_err(|error| internal("a consent", &error))?;
        let place = Place::Consent {
            state_hash: &state_hash,
        };
        let sealed = self.0.refresher.ring.seal(&place, &text).to_string();
        self.store()
            .slip_put(&format!("consent:{state_hash}"), &sealed, LIFE)
            .await?;
        let path = self
            .0
            .refresher
            .endpoint
            .known_path(&ask.instance_url)
            .unwrap_or(TokenPath::Ws);
        let authorize_url = authorize_url(&AuthorizeRequest {
            instance: &ask.instance_url,
            path,
            client_id: &client.client_id,
            redirect_uri: &self.0.redirect_uri,
            scope: SCOPES,
            state: &state,
            code_challenge: &challenge,
        });
        Ok(ConsentStart { authorize_url })
    }

    /// Ends a consent: the code is exchanged once, and the grant is stored when this answers.
    ///
    /// # Errors
    /// In words for the page.
    pub async fn finish_consent(
        &self,
        callback: Callback,
        binding: Option<&str>,
    ) -> Result<Connected, ConsentError> {
        let pending = self.take_pending(&callback, binding).await?;
        if let Some(error) = &callback.error {
            return Err(match error.as_str() {
                "access_denied" => ConsentError::Denied,
                "unauthorized_client" | "invalid_request"
                    if callback
                        .error_description
                        .as_ref()
                        .is_some_and(|words| words.to_lowercase().contains("redirect")) =>
                {
                    ConsentError::RedirectUri {
                        redirect_uri: pending.redirect_uri,
                    }
                }
                _ => ConsentError::Provider(known_code(error)),
            });
        }
        let code = callback.code.ok_or(ConsentError::NotOurs)?;
        let integration = IntegrationId::new(&pending.tenant, &pending.integration)
            .map_err(ServiceError::from)?;
        let instance = InstanceUrl::parse(&pending.instance_url, self.host_policy())
            .map_err(ServiceError::from)?;
        if let Some(issuer) = &callback.iss
            && InstanceUrl::parse(issuer, self.host_policy()).ok().as_ref() != Some(&instance)
        {
            return Err(ConsentError::NotOurs);
        }
        let new = self.exchange(&integration, instance, code, pending).await?;
        let id = new.grant;
        let lasting = new.refresh_token.is_some();
        let grant = integration.grant(GrantKind::User);
        let found = self
            .deliver_grant(&grant, Signal::Connect(new), lasting)
            .await?;
        let stored = found
            .machine()?
            .0
            .grant
            .as_ref()
            .is_some_and(|grant| grant.id == id);
        match (stored, lasting) {
            (true, _) => Ok(Connected {
                integration,
                status: self.shown(&found).await,
            }),
            (false, false) => Err(ConsentError::NoRefreshToken),
            (false, true) => Err(superseded(&found).into()),
        }
    }

    /// The consent that a callback belongs to. It is gone afterwards, whatever comes of it.
    async fn take_pending(
        &self,
        callback: &Callback,
        binding: Option<&str>,
    ) -> Result<Pending, ConsentError> {
        let state = callback.state.as_deref().ok_or(ConsentError::NotOurs)?;
        let state_hash = hash(state);
        let sealed = self
            .store()
            .slip_take(&format!("consent:{state_hash}"))
            .await
            .map_err(ServiceError::from)?
            .ok_or(ConsentError::NotOurs)?;
        let place = Place::Consent {
            state_hash: &state_hash,
        };
        let opened = sealed
            .parse()
            .ok()
            .and_then(|sealed| self.0.refresher.ring.open(&place, &sealed).ok())
            .ok_or(ConsentError::NotOurs)?;
        let pending: Pending =
            serde_json::from_slice(&opened).map_err(|_| ConsentError::NotOurs)?;
        let bound = binding.map(hash).unwrap_or_default();
        if !apikey::same(bound.as_bytes(), pending.binding.as_bytes()) {
            return Err(ConsentError::NotOurs);
        }
        Ok(pending)
    }

    async fn exchange(
        &self,
        integration: &IntegrationId,
        instance: InstanceUrl,
        code: SecretString,
        pending: Pending,
    ) -> Result<NewGrant, ConsentError> {
        let client = self.client_for_consent(integration)?;
        let slot = self.place_for(integration, &instance).await?;
        let now = self.store().now().await.map_err(ServiceError::from)?;
        let request = TokenRequest::Code {
            code,
            redirect_uri: pending.redirect_uri,
            code_verifier: pending.verifier.into(),
        };
        let call = TokenCall::new(
            instance.clone(),
            client.clone(),
            request,
            Instant::now() + EXCHANGE,
        );
        let reply = self.0.refresher.endpoint.send(call).await;
        drop(slot);
        let when = (said::When::InTime, now);
        said::tell(&self.0.refresher, instance.as_str(), &reply.answer, when).await;
        let Answer::Granted(granted) = reply.answer else {
            return Err(ConsentError::Provider(reply.detail.to_string()));
        };
        let Some(access_token) = granted.access_token else {
            return Err(ConsentError::Provider("no access token came".to_owned()));
        };
        let app = super::adopt::WhichApp {
            client_id: client.client_id,
            own: None,
        };
        let pair = Pair {
            access_token,
            refresh_token: granted.refresh_token,
        };
        let expires_at = now.saturating_add(granted.life_s.saturating_mul(1_000));
        let grant = integration.grant(GrantKind::User);
        let new = self.new_grant(
            &grant,
            GrantId::random(),
            instance,
            &app,
            &pair,
            now,
            Some(expires_at),
            Source::OauthConnected,
        )?;
        Ok(NewGrant {
            expiry_assumed: granted.expiry_assumed,
            scopes: granted.scope,
            bearer: granted.token_type_ok && !pair.access_token.expose_secret().is_empty(),
            token_path: Some(reply.path),
            ..new
        })
    }

    /// A place among the requests to the host. Connecting goes through an open breaker, and not into a
    /// pause: a short one is waited for, with the person.
    async fn place_for(
        &self,
        integration: &IntegrationId,
        instance: &InstanceUrl,
    ) -> Result<Slot, ServiceError> {
        let wish = Wish {
            instance_url: instance.as_str(),
            expires_at: None,
            exempt: false,
            connecting: true,
            now: 0,
        };
        let until = Instant::now() + PLACE;
        let later = |after_s: u64| ServiceError::TryLater {
            integration: integration.to_string(),
            why: format!(
                "NinjaOne asked to be left alone; begin the connection again in {after_s} s"
            ),
            after_s,
        };
        loop {
            let entered = timeout_at(until, self.0.refresher.gate.enter(&wish)).await;
            match entered {
                Ok(Admitted::In(slot)) => return Ok(slot),
                Ok(Admitted::Held(left) | Admitted::Elsewhere(left)) => {
                    let over = Instant::now() + Duration::from_millis(left);
                    if over > until {
                        return Err(later(left.div_ceil(1_000)));
                    }
                    sleep_until(over).await;
                }
                Err(_) => return Err(later(PLACE.as_secs())),
            }
        }
    }

    fn client_for_consent(&self, integration: &IntegrationId) -> Result<ClientApp, ServiceError> {
        let client = self.0.refresher.client.clone();
        client.ok_or_else(|| ServiceError::NeedsAttention {
            integration: integration.to_string(),
            why: format!("{}: {NO_CLIENT}", Attention::NoClient),
            recovery: Recovery::FixConfiguration,
        })
    }
}

fn superseded(found: &Found) -> ServiceError {
    let state = match &found.view.machine {
        Ok((_, Phase::Disconnected {})) => "it was disconnected meanwhile",
        _ => "another consent was faster",
    };
    ServiceError::Conflict {
        what: found.grant.to_string(),
        why: state.to_owned(),
    }
}

fn internal(doing: &str, error: &serde_json::Error) -> ServiceError {
    ServiceError::Internal {
        doing: doing.to_owned(),
        why: error.to_string(),
    }
}

/// An error code as it may be shown: short, and of harmless letters.
fn known_code(code: &str) -> String {
    let harmless = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    code.chars().filter(harmless).take(64).collect()
}
