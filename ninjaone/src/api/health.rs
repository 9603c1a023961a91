//! For whatever starts, stops and routes to processes.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Site;
use super::problem::Problem;

/// The process runs.
#[utoipa::path(get, path = "/healthz", tag = "watching", responses(
    (status = 200, description = "The process runs; says nothing about the store", body = Value),
))]
pub(super) async fn alive() -> Json<Value> {
    Json(json!({ "alive": true }))
}

/// The process can do its work: the store answers and is as it must be.
#[utoipa::path(get, path = "/readyz", tag = "watching", responses(
    (status = 200, description = "Ready", body = Value),
    (status = 503, description = "What is missing", body = Problem,
     content_type = "application/problem+json"),
))]
pub(super) async fn ready(State(site): State<Site>) -> Result<Json<Value>, Problem> {
    match site.app().ready().await {
        Ok(()) => Ok(Json(json!({ "ready": true }))),
        Err(reasons) => Err(Problem::not_ready(&reasons)),
    }
}
