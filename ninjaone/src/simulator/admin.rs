//! The admin endpoint under `/simulator`: the [`Handle`] over HTTP, in JSON.
//!
//! | request | answers |
//! |---|---|
//! | `POST /seed` [`SeedRequest`] | `{"grants": [..]}`, or import lines with `?format=jsonl` |
//! | `POST /faults` one [`Fault`] or a list | `{"ids": [..]}` |
//! | `GET /faults` | `{"faults": [..]}`, used-up ones too |
//! | `POST /faults/{id}/release` | 204; lets what a `hold` keeps go on |
//! | `DELETE /faults` | 204 |
//! | `GET /ledger`, `?chains=false` | [`Report`](super::Report) |
//! | `GET /ledger/entries?after=&limit=&wait=` | [`Page`](super::Page); waits for the first entry if told to |
//! | `GET /grants/{chain}` | [`ChainReport`](super::ChainReport) |
//! | `POST /grants/{chain}/revoke` | 204 |
//! | `POST /clients` [`ClientChange`] | 204 |
//! | `GET /clients` | `{"clients": [..]}` without secrets |
//! | `POST /settings` [`SettingsChange`], `GET /settings` | the settings |
//! | `POST /reset` | 204 |
//!
//! A refusal is 400 (404 for what does not exist) with `{"field", "rule"}`.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State as Extract};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::faults::Fault;
use super::handle::Handle;
use super::options::{Refused, SettingsChange};
use super::registry::ClientChange;
use super::seed::{SeedRequest, SeededGrant};
use super::wire::Form;

/// Longest wait for a ledger entry.
const WAIT_MAX: Duration = Duration::from_secs(60);

pub(super) fn routes() -> Router<Handle> {
    Router::new()
        .route("/seed", post(seed))
        .route("/faults", get(faults).post(script).delete(clear))
        .route("/faults/{id}/release", post(release))
        .route("/ledger", get(ledger))
        .route("/ledger/entries", get(entries))
        .route("/grants/{chain}", get(chain))
        .route("/grants/{chain}/revoke", post(revoke))
        .route("/clients", get(clients).post(change_client))
        .route("/settings", get(settings).post(change_settings))
        .route("/reset", post(reset))
}

/// Why an admin request was refused.
enum Refusal {
    Field(Refused),
    Missing(&'static str),
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self::Field(refused)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Field(refused) => (StatusCode::BAD_REQUEST, Json(refused)).into_response(),
            Self::Missing(field) => {
                let refused = Refused::new(field, "there is none of this id");
                (StatusCode::NOT_FOUND, Json(refused)).into_response()
            }
        }
    }
}

/// Reads a body as JSON whatever its content type says; an empty one is `{}`.
fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refused> {
    let text: &[u8] = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(text).map_err(|error| Refused::new("body", error.to_string()))
}

async fn seed(
    handle: Extract<Handle>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<Response, Refusal> {
    let query = Form::parse(query.unwrap_or_default().as_bytes());
    let lines = match query.get("format") {
        None | Some("json") => false,
        Some("jsonl") => true,
        Some(_) => return Err(Refused::new("format", "allowed are json and jsonl").into()),
    };
    let grants = handle.seed(read::<SeedRequest>(&body)?)?;
    if !lines {
        return Ok(Json(json!({"grants": grants})).into_response());
    }
    let text: String = (grants.iter().map(SeededGrant::jsonl))
        .map(|line| line + "\n")
        .collect();
    let content_type = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((content_type, text).into_response())
}

async fn script(handle: Extract<Handle>, body: Bytes) -> Result<Response, Refusal> {
    let is_list = body.trim_ascii_start().starts_with(b"[");
    let faults = if is_list {
        read::<Vec<Fault>>(&body)?
    } else {
        vec![read::<Fault>(&body)?]
    };
    faults.iter().try_for_each(Fault::check)?;
    let ids: Result<Vec<u64>, Refused> = (faults.into_iter())
        .map(|fault| handle.script(fault))
        .collect();
    Ok(Json(json!({"ids": ids?})).into_response())
}

async fn faults(handle: Extract<Handle>) -> Response {
    Json(json!({"faults": handle.faults()})).into_response()
}

async fn clear(handle: Extract<Handle>) -> StatusCode {
    handle.clear_faults();
    StatusCode::NO_CONTENT
}

async fn release(handle: Extract<Handle>, Path(id): Path<String>) -> Result<StatusCode, Refusal> {
    let id = id.parse().map_err(|_| Refusal::Missing("fault"))?;
    found(handle.release(id), "fault")
}

fn found(found: bool, field: &'static str) -> Result<StatusCode, Refusal> {
    if found {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Refusal::Missing(field))
    }
}

async fn ledger(handle: Extract<Handle>, RawQuery(query): RawQuery) -> Response {
    let query = Form::parse(query.unwrap_or_default().as_bytes());
    let mut report = handle.ledger();
    if query.get("chains") == Some("false") {
        report.chains.clear();
    }
    Json(report).into_response()
}

async fn entries(handle: Extract<Handle>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = Form::parse(query.unwrap_or_default().as_bytes());
    let number = |name: &str, default: u64| match query.get(name) {
        None => Ok(default),
        Some(text) => (text.parse()).map_err(|_| Refused::new(name, "a whole number")),
    };
    let after = number("after", 0)?;
    let limit = usize::try_from(number("limit", 1000)?).unwrap_or(usize::MAX);
    if let Some(text) = query.get("wait") {
        let wait = humantime::parse_duration(text).ok();
        let wait = wait.filter(|wait| *wait <= WAIT_MAX);
        let wait = wait.ok_or_else(|| Refused::new("wait", "a duration such as 5s, up to 1m"))?;
        // The page says for itself whether an entry came in time.
        let came = tokio::time::timeout(wait, handle.entry(after, |_| true));
        handle.unless_stopping(came).await;
    }
    Ok(Json(handle.entries(after, limit)).into_response())
}

async fn chain(handle: Extract<Handle>, Path(chain): Path<String>) -> Result<Response, Refusal> {
    let report = handle.chain(&chain).ok_or(Refusal::Missing("chain"))?;
    Ok(Json(report).into_response())
}

async fn revoke(handle: Extract<Handle>, Path(chain): Path<String>) -> Result<StatusCode, Refusal> {
    found(handle.revoke(&chain), "chain")
}

async fn clients(handle: Extract<Handle>) -> Response {
    let clients: Vec<_> = (handle.clients().into_iter())
        .map(|app| {
            json!({
                "client_id": app.client_id,
                "has_secret": app.client_secret.is_some(),
                "redirect_uris": app.redirect_uris,
                "platform": app.platform,
                "grants": app.grants,
                "scopes": app.scopes,
            })
        })
        .collect();
    Json(json!({"clients": clients})).into_response()
}

async fn change_client(handle: Extract<Handle>, body: Bytes) -> Result<StatusCode, Refusal> {
    handle.change_client(read::<ClientChange>(&body)?)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn settings(handle: Extract<Handle>) -> Response {
    Json(handle.options()).into_response()
}

async fn change_settings(handle: Extract<Handle>, body: Bytes) -> Result<Response, Refusal> {
    handle.change_settings(read::<SettingsChange>(&body)?)?;
    Ok(Json(handle.options()).into_response())
}

async fn reset(handle: Extract<Handle>) -> StatusCode {
    handle.reset();
    StatusCode::NO_CONTENT
}
