//! `/v1/integrations`: what is, what was, and the verbs of the operator.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Site;
use super::auth::Key;
use super::auth::access::{Admin, Caller, On, Read};
use super::input::Input;
use super::problem::Problem;
use crate::integration::{GrantKind, Target};
use crate::provider::{InstanceUrl, Region};
use crate::service::{
    AdoptOptions, Adopted, App, BUSY, ClientConnect, Explanation, ListQuery, Listing, Offer,
    RequeueAnswer, ServiceError, StatusView,
};

/// Integrations on one page, if the caller does not say.
const PAGE: u64 = 100;
/// Integrations on one page at most.
const PAGE_MAX: u64 = 500;

/// What is said after a disconnect.
const NO_REVOCATION: &str = "Revocation at the provider is unsupported: NinjaOne offers no \
     endpoint for it. The credentials are erased here; to end the grant itself, remove the app's \
     authorization in NinjaOne.";

/// All integrations that the key sees, a page at a time, in no order. A page may be short although
/// more follow (`next` tells), and while the fleet changes an integration may come twice.
#[utoipa::path(get, path = "/v1/integrations", tag = "integrations",
    security(("api_key" = ["read"])),
    params(
        ("state" = Option<String>, Query, description = "Only those in this state"),
        ("attention" = Option<bool>, Query, description = "Only those that a person must look at"),
        ("tenant" = Option<String>, Query, description = "Only those of this tenant"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u64>, Query, description = "1 to 500, otherwise 100"),
    ),
    responses((status = 200, description = "One page", body = Listing)))]
pub(super) async fn list(
    State(site): State<Site>,
    mut caller: Caller<Read>,
) -> Result<Json<Listing>, Problem> {
    let query = &mut caller.query;
    let state = query.text("state")?;
    let tenant = query.text("tenant")?;
    let ask = ListQuery {
        state,
        attention: query.flag("attention")?,
        tenants: tenants(&caller.key, tenant),
        cursor: query.text("cursor")?,
        limit: usize::try_from(query.number("limit", 1, PAGE_MAX)?.unwrap_or(PAGE)).unwrap_or(100),
    };
    caller.query.end()?;
    if ask.tenants.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Json(Listing {
            integrations: Vec::new(),
            next: None,
        }));
    }
    Ok(Json(site.app().list(&ask).await?))
}

/// The tenants to be shown: those of the key, those asked for, or both at once. `None` means all.
fn tenants(key: &Key, asked: Option<String>) -> Option<Vec<String>> {
    match asked {
        None => key.tenants.clone(),
        Some(tenant) if key.sees(&tenant) => Some(vec![tenant]),
        Some(_) => Some(Vec::new()),
    }
}

/// How an integration stands.
#[utoipa::path(get, path = "/v1/integrations/{tenant}/{integration}", tag = "integrations",
    security(("api_key" = ["read"])),
    params(("tenant" = String, Path), ("integration" = String, Path),
        ("grant" = Option<String>, Query, description = "`user` or `client`")),
    responses((status = 200, description = "How it stands", body = StatusView)))]
pub(super) async fn status(
    State(site): State<Site>,
    on: On<Read>,
) -> Result<Json<StatusView>, Problem> {
    on.query.end()?;
    Ok(Json(site.app().status(&on.target).await?))
}

/// Transitions of an integration, oldest first.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(super) struct History {
    /// `TENANT/INTEGRATION`.
    integration: String,
    /// `user` or `client`.
    grant: String,
    /// What was, oldest first: `at`, `from`, `to`, `on`, `wake_at`, `attempt`, `fence`, notes.
    transitions: Vec<Value>,
}

/// What became of an integration, transition by transition.
#[utoipa::path(get, path = "/v1/integrations/{tenant}/{integration}/history", tag = "integrations",
    security(("api_key" = ["read"])),
    params(("tenant" = String, Path), ("integration" = String, Path),
        ("grant" = Option<String>, Query, description = "`user` or `client`")),
    responses((status = 200, description = "Its transitions", body = History)))]
pub(super) async fn history(
    State(site): State<Site>,
    on: On<Read>,
) -> Result<Json<History>, Problem> {
    on.query.end()?;
    // Which grant is meant if none was named is for the service to say.
    let status = site.app().status(&on.target).await?;
    let transitions = site.app().history(&on.target).await?;
    Ok(Json(History {
        integration: status.integration,
        grant: status.grant,
        transitions,
    }))
}

/// Explains an integration: what happens next, and what stops or delays it.
#[utoipa::path(get, path = "/v1/integrations/{tenant}/{integration}/explain", tag = "integrations",
    security(("api_key" = ["read"])),
    params(("tenant" = String, Path), ("integration" = String, Path),
        ("grant" = Option<String>, Query, description = "`user` or `client`")),
    responses((status = 200, description = "What happens next, and why", body = Explanation)))]
pub(super) async fn explain(
    State(site): State<Site>,
    on: On<Read>,
) -> Result<Json<Explanation>, Problem> {
    on.query.end()?;
    Ok(Json(site.app().explain(&on.target).await?))
}

/// Refreshes now, and waits for what becomes of it.
#[utoipa::path(post, path = "/v1/integrations/{tenant}/{integration}/refresh", tag = "integrations",
    security(("api_key" = ["admin"])),
    params(("tenant" = String, Path), ("integration" = String, Path),
        ("grant" = Option<String>, Query, description = "`user` or `client`")),
    responses((status = 200, description = "How it stands afterwards", body = StatusView)))]
pub(super) async fn refresh(
    State(site): State<Site>,
    on: On<Admin>,
) -> Result<Json<StatusView>, Problem> {
    on.query.end()?;
    acted(&on.key, "refresh", &on.target);
    Ok(Json(site.app().refresh(&on.target).await?))
}

/// Tries once more what was given up.
#[utoipa::path(post, path = "/v1/integrations/{tenant}/{integration}/reset", tag = "integrations",
    security(("api_key" = ["admin"])),
    params(("tenant" = String, Path), ("integration" = String, Path),
        ("grant" = Option<String>, Query, description = "`user` or `client`")),
    responses((status = 200, description = "How it stands afterwards", body = StatusView)))]
pub(super) async fn reset(
    State(site): State<Site>,
    on: On<Admin>,
) -> Result<Json<StatusView>, Problem> {
    on.query.end()?;
    acted(&on.key, "reset", &on.target);
    Ok(Json(site.app().reset(&on.target).await?))
}

/// Gives an integration back to the workers that waits for a human.
#[utoipa::path(post, path = "/v1/integrations/{tenant}/{integration}/requeue", tag = "integrations",
    security(("api_key" = ["admin"])),
    params(("tenant" = String, Path), ("integration" = String, Path),
        ("grant" = Option<String>, Query, description = "`user` or `client`")),
    responses((status = 200, description = "Whether it was parked, and how it stands",
        body = RequeueAnswer)))]
pub(super) async fn requeue(
    State(site): State<Site>,
    on: On<Admin>,
) -> Result<Json<RequeueAnswer>, Problem> {
    on.query.end()?;
    acted(&on.key, "requeue", &on.target);
    Ok(Json(site.app().requeue(&on.target).await?))
}

/// What a disconnect did.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(super) struct Disconnected {
    /// The grants that were ended.
    disconnected: Vec<StatusView>,
    /// Always `false`: the provider offers no way.
    revoked_at_provider: bool,
    /// What that means.
    note: String,
}

/// Ends every grant of an integration, or the named one, and erases its credentials.
#[utoipa::path(delete, path = "/v1/integrations/{tenant}/{integration}", tag = "integrations",
    security(("api_key" = ["admin"])),
    params(("tenant" = String, Path), ("integration" = String, Path),
        ("grant" = Option<String>, Query, description = "`user` or `client`; otherwise both")),
    responses((status = 200, description = "What was ended", body = Disconnected)))]
pub(super) async fn disconnect(
    State(site): State<Site>,
    on: On<Admin>,
) -> Result<Json<Disconnected>, Problem> {
    on.query.end()?;
    acted(&on.key, "disconnect", &on.target);
    let disconnected = site.app().disconnect(&on.target).await?;
    let note = NO_REVOCATION.to_owned();
    Ok(Json(Disconnected {
        disconnected,
        revoked_at_provider: false,
        note,
    }))
}

/// Credentials from outside. Either tokens, or a client app that mints its own (`grant=client`).
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(super) struct Credentials {
    access_token: Option<String>,
    refresh_token: Option<String>,
    /// RFC 3339, or milliseconds since 1970.
    expires_at: Option<String>,
    instance_url: Option<String>,
    /// Instead of `instance_url`, for the client grant.
    region: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    /// Separated by spaces.
    scopes: Option<String>,
    /// The host is known to use the older token path.
    legacy_token_path: Option<bool>,
}

/// What became of an offer.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(super) struct Verdict {
    /// `adopted`, `unchanged` or `refused`.
    result: String,
    /// The field that is wrong, if it was refused.
    field: Option<String>,
    /// Why it was refused.
    reason: Option<String>,
}

/// Minting with the fleet's app acts for all tenants: a key that is bound to some may not start it.
fn own_app(
    bound: bool,
    kind: GrantKind,
    client_id: Option<&str>,
    app: &App,
) -> Result<(), Problem> {
    let own = client_id.is_some_and(|id| !id.trim().is_empty() && !app.is_fleet_client(id));
    if bound && kind == GrantKind::Client && !own {
        let rule = "this API key is bound to tenants: name an app of the tenant's own";
        return Err(Problem::invalid("client_id", rule));
    }
    Ok(())
}

/// Adopts existing credentials, or connects by client credentials.
#[utoipa::path(put, path = "/v1/integrations/{tenant}/{integration}", tag = "integrations",
    security(("api_key" = ["admin"])),
    params(("tenant" = String, Path), ("integration" = String, Path),
        ("grant" = Option<String>, Query, description = "`user` (otherwise) or `client`"),
        ("replace" = Option<bool>, Query, description = "Even over a grant that works"),
        ("dry_run" = Option<bool>, Query, description = "Say what would happen, change nothing")),
    request_body = Credentials,
    responses(
        (status = 200, description = "Unchanged, or a dry run; for a client grant without tokens \
            how it stands (StatusView)", body = Verdict),
        (status = 201, description = "Adopted", body = Verdict),
        (status = 409, description = "Refused", body = Verdict)))]
pub(super) async fn adopt(
    State(site): State<Site>,
    mut on: On<Admin>,
    body: Body,
) -> Result<Response, Problem> {
    let how = AdoptOptions {
        replace: on.query.flag("replace")?,
        dry_run: on.query.flag("dry_run")?,
    };
    on.query.end()?;
    let mut input = Input::from_body(body).await?;
    let kind = on.target.grant.unwrap_or(GrantKind::User);
    let bound = on.key.tenants.is_some();
    let access_token = input.secret("access_token")?;
    let refresh_token = input.secret("refresh_token")?;
    if access_token.is_none() && refresh_token.is_none() {
        if kind == GrantKind::User {
            let rule = "a user grant needs a refresh token, or at least an access token";
            return Err(Problem::invalid("refresh_token", rule));
        }
        let ask = ClientConnect {
            integration: on.target.integration.clone(),
            instance_url: instance(site.app(), &mut input)?,
            client_id: input.text("client_id")?,
            client_secret: input.secret("client_secret")?,
            scopes: input.text("scopes")?,
        };
        input.end()?;
        own_app(bound, kind, ask.client_id.as_deref(), site.app())?;
        if how.dry_run {
            return Err(Problem::invalid(
                "dry_run",
                "is for tokens; this would mint one",
            ));
        }
        acted(&on.key, "connect", &on.target);
        return Ok(Json(site.app().connect_client(ask).await?).into_response());
    }
    let offer = Offer {
        grant: on.target.integration.grant(kind),
        access_token,
        refresh_token,
        expires_at: input.moment("expires_at")?,
        instance_url: input.text("instance_url")?,
        client_id: input.text("client_id")?,
        client_secret: input.secret("client_secret")?,
        scopes: input.text("scopes")?,
        legacy_token_path: input.flag("legacy_token_path")?,
    };
    input.end()?;
    own_app(bound, kind, offer.client_id.as_deref(), site.app())?;
    let dry_run = how.dry_run;
    let adopted = site.app().adopt(offer, how).await;
    // What is on its way may be taken later, whatever the answer is.
    let may_change = match &adopted {
        Ok(Adopted::Unchanged) => false,
        Ok(Adopted::Refused { reason, .. }) => reason == BUSY,
        Ok(Adopted::Adopted) | Err(_) => true,
    };
    if !dry_run && may_change {
        acted(&on.key, "adopt", &on.target);
    }
    let adopted = adopted?;
    let (status, result, field, reason) = match adopted {
        Adopted::Adopted if dry_run => (StatusCode::OK, "adopted", None, None),
        Adopted::Adopted => (StatusCode::CREATED, "adopted", None, None),
        Adopted::Unchanged => (StatusCode::OK, "unchanged", None, None),
        Adopted::Refused { field, reason } => (
            StatusCode::CONFLICT,
            "refused",
            Some(field.to_owned()),
            Some(reason),
        ),
    };
    let verdict = Verdict {
        result: result.to_owned(),
        field,
        reason,
    };
    Ok((status, Json(verdict)).into_response())
}

/// Where NinjaOne is for this integration: `instance_url`, or the name of a region.
pub(super) fn instance(app: &App, input: &mut Input) -> Result<InstanceUrl, Problem> {
    match (input.text("instance_url")?, input.text("region")?) {
        (Some(url), None) => {
            Ok(InstanceUrl::parse(&url, app.host_policy()).map_err(ServiceError::from)?)
        }
        (None, Some(word)) => Region::ALL
            .into_iter()
            .find(|region| region.as_str() == word)
            .map(Region::url)
            .ok_or_else(|| {
                let all: Vec<&str> = Region::ALL.into_iter().map(Region::as_str).collect();
                Problem::invalid("region", &format!("allowed are {}", all.join(", ")))
            }),
        (Some(_), Some(_)) => Err(Problem::invalid("region", "either this or instance_url")),
        (None, None) => Err(Problem::invalid(
            "instance_url",
            "needed: this, or the name of a region",
        )),
    }
}

/// What changed an integration goes into the audit log: who, what, which.
pub(super) fn acted(key: &Key, what: &str, target: &Target) {
    tracing::info!(
        target: "evergreen::audit",
        key_id = key.id, key_name = key.name, what, integration = %target, "changed"
    );
}
