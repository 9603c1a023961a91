//! Scheduling what is stored but was never scheduled.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::Site;
use super::auth::access::{Admin, Caller, see};
use super::input::Input;
use super::problem::Problem;
use crate::import::report::Report;
use crate::integration::Target;
use crate::service::{BackfillAsk, ServiceError};

/// What to look at.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(super) struct Backfill {
    /// `TENANT/INTEGRATION`, perhaps with `@user` or `@client`; otherwise all.
    only: Option<String>,
    /// At most so many.
    limit: Option<u64>,
    /// Say what would happen, change nothing.
    dry_run: Option<bool>,
}

/// Schedules what is stored but unscheduled. A second run changes nothing.
#[utoipa::path(post, path = "/v1/backfill", tag = "integrations",
    security(("api_key" = ["admin"])), request_body = Backfill,
    responses((status = 200, description = "What became of each",
        body = super::openapi::ReportShape)))]
pub(super) async fn run(
    State(site): State<Site>,
    caller: Caller<Admin>,
    body: Body,
) -> Result<Json<Report>, Problem> {
    caller.query.end()?;
    let mut input = Input::from_body(body).await?;
    let only = match input.text("only")? {
        Some(text) => Some(text.parse::<Target>().map_err(ServiceError::from)?),
        None => None,
    };
    let limit = input
        .number("limit", 1, 1_000_000)?
        .and_then(|n| usize::try_from(n).ok());
    let dry_run = input.flag("dry_run")?;
    input.end()?;
    match &only {
        Some(target) => see(&caller.key, &target.integration)?,
        None if caller.key.tenants.is_some() => {
            let rule = "needed: this API key is bound to tenants, so name one of its integrations";
            return Err(Problem::invalid("only", rule));
        }
        None => {}
    }
    if !dry_run {
        tracing::info!(
            target: "evergreen::audit",
            key_id = caller.key.id, key_name = caller.key.name, what = "backfill", "changed"
        );
    }
    Ok(Json(
        site.app()
            .backfill(&BackfillAsk {
                only,
                limit,
                dry_run,
            })
            .await?,
    ))
}
