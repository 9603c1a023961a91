//! `/v1/fleet`: the fleet at a glance.

use axum::Json;
use axum::extract::State;

use super::Site;
use super::auth::access::{Caller, Read};
use super::problem::Problem;
use crate::service::FleetStatus;

/// How many integrations stand how, what is next, what is late, who works.
#[utoipa::path(get, path = "/v1/fleet", tag = "watching", security(("api_key" = ["read"])),
    responses((status = 200, description = "The fleet at a glance, a few seconds old at most; a key \
        that is bound to tenants sees their part", body = FleetStatus)))]
pub(super) async fn show(
    State(site): State<Site>,
    caller: Caller<Read>,
) -> Result<Json<FleetStatus>, Problem> {
    caller.query.end()?;
    let fleet = site.app().fleet(caller.key.tenants.as_deref()).await?;
    Ok(Json((*fleet).clone()))
}
