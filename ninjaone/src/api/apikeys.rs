//! `/v1/apikeys`: the keys of this very API.
//!
//! A key that is bound to tenants rules over keys bound to these tenants alone, so that it cannot
//! make itself one that sees more.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::Site;
use super::auth::access::{Admin, Caller};
use super::auth::{Key, Scope};
use super::input::Input;
use super::problem::Problem;
use crate::service::ServiceError;

/// All keys that the caller rules over.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(super) struct Keys {
    /// Without the keys themselves, which are kept nowhere.
    keys: Vec<KeyView>,
}

/// What is known of a key.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(super) struct KeyView {
    /// By which it is revoked.
    id: String,
    /// What its owner calls it.
    name: String,
    /// `read`, `token`, `admin`.
    scopes: Vec<String>,
    /// The tenants that it is bound to; `null` for all.
    tenants: Option<Vec<String>>,
    /// When it was made, RFC 3339 in UTC, where that is known.
    created_at: Option<String>,
}

impl From<Key> for KeyView {
    fn from(key: Key) -> Self {
        Self {
            id: key.id,
            name: key.name,
            scopes: key.scopes.iter().map(ToString::to_string).collect(),
            tenants: key.tenants,
            created_at: key.created_at,
        }
    }
}

/// The key to be made.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(super) struct NewKey {
    /// What to call it.
    name: String,
    /// `read`, `token`, `admin`, separated by spaces.
    scope: String,
    /// The tenant to bind it to; all where absent.
    tenant: Option<String>,
}

/// A key just made. It is told this once.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct MadeKey {
    /// By which it is revoked.
    id: String,
    /// What callers present.
    key: String,
}

/// What became of a key.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(super) struct RevokedKey {
    /// The key that is good for nothing any more, in every process within five seconds.
    revoked: String,
}

/// Whether a caller rules over keys that are bound like this.
fn rules(caller: &Key, bound: Option<&[String]>) -> bool {
    match (&caller.tenants, bound) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(_), Some(tenants)) => tenants.iter().all(|tenant| caller.sees(tenant)),
    }
}

/// The API keys that the caller rules over.
#[utoipa::path(get, path = "/v1/apikeys", tag = "keys", security(("api_key" = ["admin"])),
    responses((status = 200, description = "Without the keys themselves", body = Keys)))]
pub(super) async fn list(
    State(site): State<Site>,
    caller: Caller<Admin>,
) -> Result<Json<Keys>, Problem> {
    caller.query.end()?;
    let all = site.keys().list().await?;
    let seen = all
        .into_iter()
        .filter(|key| rules(&caller.key, key.tenants.as_deref()));
    Ok(Json(Keys {
        keys: seen.map(KeyView::from).collect(),
    }))
}

/// Makes an API key. Its text is told this once and kept nowhere.
#[utoipa::path(post, path = "/v1/apikeys", tag = "keys", security(("api_key" = ["admin"])),
    request_body = NewKey,
    responses((status = 201, description = "The new key", body = MadeKey)))]
pub(super) async fn create(
    State(site): State<Site>,
    caller: Caller<Admin>,
    body: Body,
) -> Result<(StatusCode, Json<MadeKey>), Problem> {
    caller.query.end()?;
    let mut input = Input::from_body(body).await?;
    let name = input.text("name")?.unwrap_or_default();
    let scope = input.text("scope")?.unwrap_or_default();
    let tenant = input.text("tenant")?;
    input.end()?;
    let scopes: Vec<Scope> = scope
        .split_ascii_whitespace()
        .map(str::parse)
        .collect::<Result<_, String>>()
        .map_err(|rule| Problem::invalid("scope", &rule))?;
    let bound = tenant.as_ref().map(std::slice::from_ref);
    if !rules(&caller.key, bound) {
        let rule = "this API key is bound to tenants, so name one of them";
        return Err(Problem::invalid("tenant", rule));
    }
    let made = site
        .keys()
        .create(&name, &scopes, tenant.as_deref())
        .await?;
    tracing::info!(
        target: "evergreen::audit",
        key_id = caller.key.id, key_name = caller.key.name, what = "apikey made", made = made.id,
        "changed"
    );
    let shown = MadeKey {
        id: made.id,
        key: made.key.expose_secret().to_owned(),
    };
    Ok((StatusCode::CREATED, Json(shown)))
}

/// Revokes an API key.
#[utoipa::path(delete, path = "/v1/apikeys/{id}", tag = "keys", security(("api_key" = ["admin"])),
    params(("id" = String, Path)),
    responses((status = 200, description = "It is good for nothing any more", body = RevokedKey)))]
pub(super) async fn revoke(
    State(site): State<Site>,
    caller: Caller<Admin>,
    Path(id): Path<String>,
) -> Result<Json<RevokedKey>, Problem> {
    caller.query.end()?;
    let missing = || Problem {
        detail: "there is no such API key".to_owned(),
        ..Problem::from(ServiceError::NotFound {
            what: "API key".to_owned(),
        })
    };
    let all = site.keys().list().await?;
    let found = all.iter().find(|key| key.id == id).ok_or_else(missing)?;
    if !rules(&caller.key, found.tenants.as_deref()) || !site.keys().revoke(&id).await? {
        return Err(missing());
    }
    tracing::info!(
        target: "evergreen::audit",
        key_id = caller.key.id, key_name = caller.key.name, what = "apikey revoked",
        revoked = found.id, "changed"
    );
    Ok(Json(RevokedKey { revoked: id }))
}
