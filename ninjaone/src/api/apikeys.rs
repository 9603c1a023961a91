//! `/v1/apikeys`: making, listing and revoking keys from afar.
//!
//! Nobody gives away more than they have: a key hands on only scopes of its own, and a key that is
//! bound to tenants only keys that are bound within them. The first key is made where the fleet
//! runs.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;
use serde::Serialize;

use super::Site;
use super::auth::access::{Admin, Caller};
use super::auth::{Key, Scope};
use super::input::Input;
use super::problem::Problem;

/// The keys that the caller may see.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Keys {
    /// Never the keys themselves.
    keys: Vec<Key>,
}

/// The keys within the caller's tenants.
#[utoipa::path(get, path = "/v1/apikeys", tag = "keys", security(("api_key" = ["admin"])),
    responses((status = 200, description = "The keys; never their text", body = Keys)))]
pub(super) async fn list(
    State(site): State<Site>,
    caller: Caller<Admin>,
) -> Result<Json<Keys>, Problem> {
    caller.query.end()?;
    let mut keys = site.keys().list().await?;
    keys.retain(|key| within(&caller.key, key.tenants.as_deref()));
    Ok(Json(Keys { keys }))
}

/// A key to be made.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Wanted {
    /// What its owner calls it.
    name: String,
    /// What it may do; only what the caller may.
    scopes: Vec<Scope>,
    /// The tenants that it is bound to; all where absent.
    tenants: Option<Vec<String>>,
}

/// A key that was made.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Made<'a> {
    /// By which it is listed and revoked.
    id: &'a str,
    /// The key. It is told this once.
    key: &'a str,
}

/// Makes a key. Its text is told this once.
#[utoipa::path(post, path = "/v1/apikeys", tag = "keys", security(("api_key" = ["admin"])),
    request_body = Wanted,
    responses((status = 201, description = "The key; not cacheable", body = Made)))]
pub(super) async fn create(
    State(site): State<Site>,
    caller: Caller<Admin>,
    body: Body,
) -> Result<Response, Problem> {
    caller.query.end()?;
    let mut input = Input::from_body(body).await?;
    let name = input.text("name")?.unwrap_or_default();
    let words = input.texts("scopes")?.unwrap_or_default();
    let tenants = input.texts("tenants")?;
    input.end()?;
    let mut scopes = Vec::new();
    for word in words {
        let scope: Scope = word
            .parse()
            .map_err(|rule: String| Problem::invalid("scopes", &rule))?;
        if !caller.key.may(scope) {
            let rule = format!("this API key lacks the scope `{scope}` and cannot give it away");
            return Err(Problem::invalid("scopes", &rule));
        }
        scopes.push(scope);
    }
    if !within(&caller.key, tenants.as_deref()) {
        let rule = "this API key is bound to tenants; a key that it makes is bound within them";
        return Err(Problem::invalid("tenants", rule));
    }
    let new = site
        .keys()
        .create(&name, &scopes, tenants.as_deref())
        .await?;
    acted(&caller.key, "key made", &new.id);
    let made = Made {
        id: &new.id,
        key: new.key.expose_secret(),
    };
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

/// A key that was revoked.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Revoked {
    /// Its id.
    revoked: String,
}

/// Revokes a key; every process forgets it within five seconds.
#[utoipa::path(delete, path = "/v1/apikeys/{id}", tag = "keys", security(("api_key" = ["admin"])),
    params(("id" = String, Path, description = "As it is listed")),
    responses((status = 200, description = "It is revoked", body = Revoked)))]
pub(super) async fn revoke(
    State(site): State<Site>,
    caller: Caller<Admin>,
    Path(id): Path<String>,
) -> Result<Json<Revoked>, Problem> {
    caller.query.end()?;
    let keys = site.keys().list().await?;
    let known = keys.iter().find(|key| key.id == id);
    let ours = known.is_some_and(|key| within(&caller.key, key.tenants.as_deref()));
    if !ours || !site.keys().revoke(&id).await? {
        return Err(Problem::no_such_key());
    }
    acted(&caller.key, "key revoked", &id);
    Ok(Json(Revoked { revoked: id }))
}

/// Whether a key so bound lies within what the caller sees.
fn within(caller: &Key, tenants: Option<&[String]>) -> bool {
    match tenants {
        None => caller.tenants.is_none(),
        Some(tenants) => tenants.iter().all(|tenant| caller.sees(tenant)),
    }
}

fn acted(key: &Key, what: &str, id: &str) {
    tracing::info!(
        target: "evergreen::audit",
        key_id = key.id, key_name = key.name, what, subject = id, "changed"
    );
}
