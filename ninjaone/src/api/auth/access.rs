//! The extractors that let a request through: key, scope, tenant, in this order.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use secrecy::SecretString;

use super::key::{Key, Scope};
use crate::api::Site;
use crate::api::input::Input;
use crate::api::problem::Problem;
use crate::integration::{IntegrationId, Target};
use crate::service::ServiceError;

/// The scope that a handler needs, as a type.
pub(crate) trait Need: Send + Sync {
    /// The scope.
    const SCOPE: Scope;
}

/// Needs `read`.
pub(crate) struct Read;
/// Needs `token`.
pub(crate) struct Token;
/// Needs `admin`.
pub(crate) struct Admin;

impl Need for Read {
    const SCOPE: Scope = Scope::Read;
}
impl Need for Token {
    const SCOPE: Scope = Scope::Token;
}
impl Need for Admin {
    const SCOPE: Scope = Scope::Admin;
}

/// A caller whose key has the scope, and the query that came along.
pub(crate) struct Caller<N: Need> {
    pub(crate) key: Arc<Key>,
    pub(crate) presented: SecretString,
    pub(crate) query: Input,
    need: PhantomData<N>,
}

/// A caller whose key has the scope and sees the integration of the path.
pub(crate) struct On<N: Need> {
    pub(crate) key: Arc<Key>,
    pub(crate) target: Target,
    pub(crate) query: Input,
    need: PhantomData<N>,
}

impl<N: Need> FromRequestParts<Site> for Caller<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        let presented = presented(&parts.headers)?;
        let key = known(site, &presented).await?;
        permit(&key, N::SCOPE)?;
        let query = Input::from_query(parts.uri.query().unwrap_or_default())?;
        Ok(Self {
            key,
            presented,
            query,
            need: PhantomData,
        })
    }
}

impl<N: Need> FromRequestParts<Site> for On<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        let Caller { key, mut query, .. } = Caller::<N>::from_request_parts(parts, site).await?;
        let integration = integration(parts, site).await?;
        let grant = match query.text("grant")? {
            Some(word) => Some(word.parse().map_err(ServiceError::from)?),
            None => None,
        };
        let target = Target { integration, grant };
        see(&key, &target.integration)?;
        Ok(Self {
            key,
            target,
            query,
            need: PhantomData,
        })
    }
}

/// The integration that the path names.
pub(crate) async fn integration(parts: &mut Parts, site: &Site) -> Result<IntegrationId, Problem> {
    let params = RawPathParams::from_request_parts(parts, site)
        .await
        .map_err(|_| Problem::invalid("path", "percent escapes must be UTF-8"))?;
    let named = |name: &str| {
        params
            .iter()
            .find(|(n, _)| *n == name)
            .map_or("", |(_, v)| v)
    };
    let (tenant, integration) = (named("tenant"), named("integration"));
    Ok(IntegrationId::new(tenant, integration).map_err(ServiceError::from)?)
}

/// Another tenant's integration is answered exactly as one that does not exist.
pub(crate) fn see(key: &Key, integration: &IntegrationId) -> Result<(), Problem> {
    if key.sees(integration.tenant()) {
        return Ok(());
    }
    tracing::info!(
        target: "evergreen::audit",
        key_id = key.id, key_name = key.name, %integration, needs = "tenant", "refused"
    );
    Err(ServiceError::NotFound {
        what: integration.to_string(),
    }
    .into())
}

/// The key in the header `Authorization`.
pub(crate) fn presented(headers: &HeaderMap) -> Result<SecretString, Problem> {
    let how = "send `Authorization: Bearer eg_…`; `evergreen apikeys create` makes a key";
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Problem::unauthorized(how));
    };
    let value = value.to_str().map_err(|_| Problem::unauthorized(how))?;
    match value.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => Ok(key.trim().into()),
        _ => Err(Problem::unauthorized(how)),
    }
}

/// What is known of a key that was presented.
pub(crate) async fn known(site: &Site, presented: &SecretString) -> Result<Arc<Key>, Problem> {
    let found = site.keys().find(presented).await?;
    found.ok_or_else(|| Problem::unauthorized("this API key is not known, or was revoked"))
}

/// Whether the key has the scope.
pub(crate) fn permit(key: &Key, scope: Scope) -> Result<(), Problem> {
    if key.may(scope) {
        return Ok(());
    }
    tracing::info!(
        target: "evergreen::audit",
        key_id = key.id, key_name = key.name, needs = scope.as_str(), "refused"
    );
    Err(Problem::forbidden(format!(
        "the API key {} lacks the scope `{scope}`",
        key.id
    )))
}
