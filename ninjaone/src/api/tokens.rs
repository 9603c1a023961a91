//! The one door by which tokens leave.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use evergreen_engine::time::rfc3339;
use secrecy::ExposeSecret;
use serde::Serialize;

use super::Site;
use super::auth::access::{On, Token};
use super::problem::Problem;
use crate::handoff::Handed;
use crate::service::TokenAsk;

/// The longest life that may be asked for.
const MIN_VALIDITY_MAX_S: u64 = 24 * 60 * 60;

/// A token as it is handed out.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct TokenView<'a> {
    /// The access token.
    access_token: &'a str,
    /// As the provider spelt it.
    token_type: &'a str,
    /// Whole seconds that are left.
    expires_in: u64,
    /// When it expires, RFC 3339 in UTC.
    expires_at: Option<String>,
    /// Rotations and renewals before it within its grant.
    generation: u64,
    /// `user` or `client`.
    grant: &'static str,
    /// Where it is valid: scheme and host.
    instance_url: &'a str,
    /// What the caller should know although it got a token.
    warning: Option<&'a str>,
    /// The granted scopes, separated by spaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    /// Only if it was asked for. Whoever spends it kills Evergreen's copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
}

impl<'a> TokenView<'a> {
    fn of(handed: &'a Handed, with_refresh_token: bool) -> Self {
        let refresh_token = handed.refresh_token.as_ref().filter(|_| with_refresh_token);
        Self {
            access_token: handed.access_token.expose_secret(),
            token_type: &handed.token_type,
            expires_in: handed.expires_in_s,
            expires_at: u64::try_from(handed.expires_at_ms).ok().map(rfc3339),
            generation: handed.generation,
            grant: handed.grant.as_str(),
            instance_url: &handed.instance_url,
            warning: handed.warning.as_deref(),
            scope: handed.scope.as_deref(),
            refresh_token: refresh_token.map(ExposeSecret::expose_secret),
        }
    }
}

/// A valid access token; it is refreshed first if it is about to expire.
#[utoipa::path(get, path = "/v1/integrations/{tenant}/{integration}/token", tag = "tokens",
    security(("api_key" = ["token"])),
    params(("tenant" = String, Path), ("integration" = String, Path),
        ("grant" = Option<String>, Query,
            description = "`user` or `client`; otherwise `client` if it can be served now, else `user`"),
        ("min_validity" = Option<u64>, Query,
            description = "Seconds that must be left; refreshed first if they are not"),
        ("refresh_token" = Option<bool>, Query,
            description = "Hand over the refresh token too; whoever spends it kills Evergreen's copy")),
    responses((status = 200, description = "A token; not cacheable", body = TokenView)))]
pub(super) async fn read(State(site): State<Site>, mut on: On<Token>) -> Result<Response, Problem> {
    let min_validity = on.query.number("min_validity", 0, MIN_VALIDITY_MAX_S)?;
    let with_refresh_token = on.query.flag("refresh_token")?;
    on.query.end()?;
    let ask = TokenAsk {
        min_validity: min_validity.map(Duration::from_secs),
        with_refresh_token,
    };
    let handed = site.app().token(&on.target, &ask).await?;
    tracing::info!(
        target: "evergreen::audit",
        key_id = on.key.id,
        key_name = on.key.name,
        integration = %on.target.integration,
        grant = handed.grant.as_str(),
        generation = handed.generation,
        remaining_s = handed.expires_in_s,
        with_refresh_token = with_refresh_token && handed.refresh_token.is_some(),
        "token read"
    );
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::PRAGMA, "no-cache"),
    ];
    Ok((headers, Json(TokenView::of(&handed, with_refresh_token))).into_response())
}
