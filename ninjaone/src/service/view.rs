//! What is shown of a grant: the JSON of `status`, `list` and the HTTP API.

use evergreen_engine::time::rfc3339;
use evergreen_engine::{Millis, View};
use serde::{Deserialize, Serialize};

use super::error::Recovery;
use crate::integration::{GrantKind, GrantRef};
use crate::lifecycle::{Credential, Phase, Purpose};
use crate::provider::{Detail, Reason};

/// A grant as it stands. Times are RFC 3339 in UTC; absent values are `null`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StatusView {
    /// `TENANT/INTEGRATION`.
    pub integration: String,
    /// The tenant.
    pub tenant: String,
    /// `user` or `client`.
    pub grant: String,
    /// `Active`, `Scheduled`, `Refreshing`, `ReconnectRequired` or `Disconnected`.
    pub state: String,
    /// What the next attempt is for: `refresh`, `retry` or `probe`.
    pub purpose: Option<String>,
    /// What led to the schedule.
    pub source: Option<String>,
    /// Why a person must consent again.
    pub reason: Option<String>,
    /// What a person must put right.
    pub attention: Option<String>,
    /// What helps: `none`, `wait`, `fix_configuration` or `reconnect`.
    pub recovery: String,
    /// Something odd that stops nothing.
    pub warning: Option<String>,
    /// Consents so far.
    pub epoch: u64,
    /// Rotations and renewals within this consent.
    pub generation: u64,
    /// When the next request is planned.
    pub next_refresh_at: Option<String>,
    /// When the access token expires.
    pub access_token_expires_at: Option<String>,
    /// Whether a valid access token is there at this moment.
    pub access_token_valid: bool,
    /// The provider did not say how long it lives.
    pub expiry_assumed: bool,
    /// When a refresh last succeeded.
    pub last_refresh_at: Option<String>,
    /// When one was last attempted.
    pub last_attempt_at: Option<String>,
    /// Failed attempts in a row.
    pub consecutive_failures: u32,
    /// Since when it has not been known whether a refresh token was spent.
    pub unknown_since: Option<String>,
    /// What may be shown of the provider's last unhappy answer.
    pub provider: Option<ProviderView>,
    /// Scheme and host.
    pub instance_url: Option<String>,
    /// The host wants to be left alone until then, by the whole fleet. Not told by listings.
    #[serde(default)]
    pub host_paused_until: Option<String>,
    /// `closed`; `open` or `half_open` while the fleet holds back because nothing but failures came
    /// back from the host. Not told by listings.
    #[serde(default)]
    pub host_breaker: Option<String>,
    /// The client app.
    pub client_id: Option<String>,
    /// The scopes as the provider told them.
    pub scopes: Option<String>,
    /// A rotated pair waits to be stored.
    pub persist_pending: bool,
    /// Pairs that are kept apart.
    pub quarantined: usize,
    /// Why the workflow waits for a human, if it does.
    pub parked: Option<String>,
    /// Transitions so far.
    pub v: u64,
    /// The worker that holds it at this moment.
    pub owner: Option<String>,
}

/// What may be shown of a provider's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProviderView {
    /// HTTP status.
    pub status: Option<u16>,
    /// Its error code.
    pub code: Option<String>,
    /// Its text, cleaned.
    pub description: Option<String>,
    /// For its support.
    pub incident_id: Option<String>,
    /// For its support.
    pub request_id: Option<String>,
}

impl From<&Detail> for ProviderView {
    fn from(detail: &Detail) -> Self {
        Self {
            status: detail.status,
            code: detail.code.clone(),
            description: detail.description.clone(),
            incident_id: detail.incident_id.clone(),
            request_id: detail.request_id.clone(),
        }
    }
}

fn time(at: Option<Millis>) -> Option<String> {
    at.map(rfc3339)
}

fn word<T: Serialize>(value: T) -> Option<String> {
    serde_json::to_value(value)
        .ok()?
        .as_str()
        .map(str::to_owned)
}

impl StatusView {
    /// Shows what was read.
    #[must_use]
    pub fn of(grant: &GrantRef, view: &View<Credential>) -> Self {
        let record = &view.reading.record;
        let mut shown = Self {
            integration: grant.integration().to_string(),
            tenant: grant.integration().tenant().to_owned(),
            grant: grant.kind().as_str().to_owned(),
            state: record.state.clone(),
            purpose: None,
            source: None,
            reason: None,
            attention: None,
            recovery: word(Recovery::None).unwrap_or_default(),
            warning: None,
            epoch: 0,
            generation: 0,
            next_refresh_at: None,
            access_token_expires_at: None,
            access_token_valid: false,
            expiry_assumed: false,
            last_refresh_at: None,
            last_attempt_at: None,
            consecutive_failures: 0,
            unknown_since: None,
            provider: None,
            instance_url: None,
            host_paused_until: None,
            host_breaker: None,
            client_id: None,
            scopes: None,
            persist_pending: false,
            quarantined: 0,
            parked: record.parked.clone(),
            v: record.v,
            owner: record.owner.clone(),
        };
        match &view.machine {
            Ok((credential, phase)) => shown.fill(grant.kind(), credential, phase, view),
            Err(why) => shown.warning = Some(why.clone()),
        }
        shown
    }

    fn fill(
        &mut self,
        kind: GrantKind,
        credential: &Credential,
        phase: &Phase,
        view: &View<Credential>,
    ) {
        let recovery = match phase {
            Phase::ReconnectRequired { reason } => {
                self.reason = Some(reason.as_str().to_owned());
                Recovery::Reconnect
            }
            Phase::Active { attention } => {
                self.attention = Some(attention.as_str().to_owned());
                Recovery::FixConfiguration
            }
            Phase::Scheduled {
                purpose,
                at,
                source,
                ..
            } => {
                self.purpose = word(purpose);
                self.source = Some(source.as_str().to_owned());
                self.next_refresh_at = time(Some(*at));
                if *purpose == Purpose::Retry {
                    Recovery::Wait
                } else {
                    Recovery::None
                }
            }
            Phase::Refreshing { source, .. } => {
                self.source = Some(source.as_str().to_owned());
                Recovery::None
            }
            Phase::Disconnected {} => Recovery::Reconnect,
        };
        self.recovery = word(recovery).unwrap_or_default();
        self.warning.clone_from(&credential.warning);
        self.epoch = credential.epoch;
        self.last_refresh_at = time(credential.last_refresh_at);
        self.last_attempt_at = time(credential.last_attempt_at);
        self.consecutive_failures = credential.failures.consecutive;
        self.unknown_since = time(credential.failures.unknown_since);
        self.provider = credential.failures.last.as_ref().map(ProviderView::from);
        self.quarantined = credential.quarantined.len();
        if let Some(grant) = &credential.grant {
            self.generation = grant.generation;
            self.access_token_expires_at = time(grant.expires_at);
            self.access_token_valid =
                grant.bearer && grant.expires_at.is_some_and(|at| at > view.reading.now);
            self.expiry_assumed = grant.expiry_assumed;
            self.instance_url = Some(grant.instance_url.clone());
            self.client_id = Some(grant.client_id.clone());
            self.scopes.clone_from(&grant.scopes);
            if kind == GrantKind::User
                && grant.refresh_token.is_none()
                && !matches!(
                    phase,
                    Phase::ReconnectRequired {
                        reason: Reason::MissingCredentials
                    }
                )
            {
                self.warning
                    .get_or_insert_with(|| "no_refresh_token".to_owned());
            }
        }
    }

    /// The command that connects it, as it can be typed, but for a region that nobody knows any more, and for
    /// the file with the secret of an app that is not the fleet's.
    #[must_use]
    pub fn connect_command(&self) -> String {
        let place = match &self.instance_url {
            Some(url) => format!("--instance-url {url}"),
            None => "--region REGION".to_owned(),
        };
        let client = match (self.grant.as_str(), &self.client_id) {
            ("client", Some(id)) => format!(" --grant client --client-id {id}"),
            ("client", None) => " --grant client".to_owned(),
            _ => String::new(),
        };
        format!("evergreen connect {} {place}{client}", self.integration)
    }

    /// Whether a person must act.
    #[must_use]
    pub fn needs_attention(&self) -> bool {
        self.reason.is_some() || self.attention.is_some() || self.parked.is_some()
    }
}
