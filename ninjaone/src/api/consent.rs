//! A person's way to NinjaOne and back.
//!
//! A browser cannot send an API key along when it follows a link, so an operator's link carries a
//! ticket: good for one integration, once, for ten minutes. From there on the consent is tied to
//! the browser by a random value in a cookie, which the callback must bring along.

use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::Site;
use super::auth::Scope;
use super::auth::access::{self, Admin, On};
use super::input::Input;
use super::integrations::{acted, instance};
use super::pages::message;
use super::problem::Problem;
use crate::integration::{IntegrationId, Target};
use crate::provider::InstanceUrl;
use crate::service::{Callback, ConsentAsk};

/// How long a consent may take, and a ticket waits.
const LIFE_S: u32 = 600;
const COOKIE: &str = "evergreen_consent";
/// A binding is 32 random bytes in base64url.
const BINDING_LENGTH: usize = 43;

/// Where the person who consents lives.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(super) struct Where {
    /// Scheme and host of the NinjaOne instance.
    instance_url: Option<String>,
    /// Instead of it: the name of a region.
    region: Option<String>,
}

/// A link that begins one consent.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(super) struct Invitation {
    /// To be opened in the browser of whoever consents; good once.
    url: String,
    /// For how many seconds.
    expires_in: u32,
}

/// Makes a link that lets a browser begin one consent without an API key.
#[utoipa::path(post, path = "/v1/integrations/{tenant}/{integration}/connect", tag = "consent",
    security(("api_key" = ["admin"])),
    params(("tenant" = String, Path), ("integration" = String, Path)),
    request_body = Where,
    responses((status = 200, description = "The link", body = Invitation)))]
pub(super) async fn invite(
    State(site): State<Site>,
    on: On<Admin>,
    body: Body,
) -> Result<Json<Invitation>, Problem> {
    on.query.end()?;
    let mut input = Input::from_body(body).await?;
    let instance = instance(site.app(), &mut input)?;
    input.end()?;
    let integration = &on.target.integration;
    let ticket = site.app().issue_ticket(integration, &instance).await?;
    acted(&on.key, "invite", &on.target);
    let public_url = site.app().public_url().trim_end_matches('/');
    let url = format!("{public_url}/oauth/connect/{integration}?ticket={ticket}");
    Ok(Json(Invitation {
        url,
        expires_in: LIFE_S,
    }))
}

/// Sends the browser to NinjaOne's consent page.
#[utoipa::path(get, path = "/oauth/connect/{tenant}/{integration}", tag = "consent",
    security((), ("api_key" = ["admin"])),
    params(("tenant" = String, Path), ("integration" = String, Path),
        ("ticket" = Option<String>, Query, description = "From `POST …/connect`; instead of a key"),
        ("instance_url" = Option<String>, Query, description = "With an API key only"),
        ("region" = Option<String>, Query, description = "Instead of `instance_url`")),
    responses(
        (status = 303, description = "To NinjaOne's page; sets the cookie that ties the consent \
            to this browser"),
        (status = 400, description = "In words, for the person", content_type = "text/html")))]
pub(super) async fn begin(State(site): State<Site>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    // A look ahead by a mail scanner or a browser must not use up the ticket.
    if parts.method == Method::HEAD || is_prefetch(&parts.headers) {
        return (
            StatusCode::NO_CONTENT,
            [(header::CACHE_CONTROL, "no-store")],
        )
            .into_response();
    }
    match started(&site, &mut parts).await {
        Ok(response) => response,
        Err(problem) if wants_a_page(&parts.headers) => said_no(&problem),
        Err(problem) => problem.into_response(),
    }
}

async fn started(site: &Site, parts: &mut Parts) -> Result<Response, Problem> {
    let query = Input::from_query(parts.uri.query().unwrap_or_default())?;
    let (integration, instance_url) = permitted(site, parts, query).await?;
    let binding = match binding(&parts.headers) {
        // Kept, so that consents in two tabs of one browser do not shut each other out.
        Some(binding) => binding.to_owned(),
        None => fresh_binding(),
    };
    let ask = ConsentAsk {
        integration,
        instance_url,
        binding: binding.clone(),
    };
    let start = site.app().begin_consent(ask).await?;
    let secure = if site.app().public_url().starts_with("https:") {
        "; Secure"
    } else {
        ""
    };
    let cookie = format!(
        "{COOKIE}={binding}; Path=/oauth; Max-Age={LIFE_S}; HttpOnly; SameSite=Lax{secure}"
    );
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| Problem::defect());
    let mut response = StatusCode::SEE_OTHER.into_response();
    response
        .headers_mut()
        .insert(header::LOCATION, value(&start.authorize_url)?);
    response
        .headers_mut()
        .insert(header::SET_COOKIE, value(&cookie)?);
    Ok(response)
}

/// Who may begin, and for which instance: a ticket, a key with `admin`, or anybody in `dev`.
async fn permitted(
    site: &Site,
    parts: &mut Parts,
    mut query: Input,
) -> Result<(IntegrationId, InstanceUrl), Problem> {
    if let Some(ticket) = query.text("ticket")? {
        query.end()?;
        let named = access::integration(parts, site).await?;
        return match site.app().take_ticket(&ticket).await? {
            Some((integration, instance)) if integration == named => Ok((integration, instance)),
            _ => Err(Problem::unauthorized(
                "this link was used already, is older than ten minutes, or belongs to another \
                 integration; ask for a new one",
            )),
        };
    }
    if parts.headers.contains_key(header::AUTHORIZATION) || !site.open_connect() {
        let presented = access::presented(&parts.headers)?;
        let key = access::known(site, &presented).await?;
        access::permit(&key, Scope::Admin)?;
        let integration = access::integration(parts, site).await?;
        access::see(&key, &integration)?;
        let instance = instance(site.app(), &mut query)?;
        query.end()?;
        acted(
            &key,
            "connect",
            &Target {
                integration: integration.clone(),
                grant: None,
            },
        );
        return Ok((integration, instance));
    }
    let integration = access::integration(parts, site).await?;
    let instance = instance(site.app(), &mut query)?;
    query.end()?;
    Ok((integration, instance))
}

/// What NinjaOne's page sends along.
struct Brought(Callback);

impl Brought {
    /// `None` if a name comes twice: then nobody can say which was meant.
    fn read(query: &str) -> Option<Self> {
        let mut brought = Callback::default();
        let mut seen = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if seen.contains(&name) {
                return None;
            }
            let value = value.into_owned();
            match &*name {
                "state" => brought.state = Some(value),
                "code" => brought.code = Some(value.into()),
                "error" => brought.error = Some(value),
                "error_description" => brought.error_description = Some(value),
                "iss" => brought.iss = Some(value),
                // RFC 6749 section 4.1.2: the client ignores what it does not know.
                _ => {}
            }
            seen.push(name);
        }
        Some(Self(brought))
    }
}

/// Where NinjaOne's page sends the browser back to.
#[utoipa::path(get, path = "/oauth/callback", tag = "consent",
    params(
        ("state" = Option<String>, Query, description = "Ours, used once"),
        ("code" = Option<String>, Query, description = "Exchanged once"),
        ("error" = Option<String>, Query, description = "Instead of a code"),
        ("error_description" = Option<String>, Query, description = "Its text"),
        ("iss" = Option<String>, Query, description = "Who says so (RFC 9207)")),
    responses(
        (status = 200, description = "Connected, in words", content_type = "text/html"),
        (status = 400, description = "Not connected, in words", content_type = "text/html")))]
pub(super) async fn finish(
    State(site): State<Site>,
    method: Method,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    if method == Method::HEAD || is_prefetch(&headers) {
        return (
            StatusCode::NO_CONTENT,
            [(header::CACHE_CONTROL, "no-store")],
        )
            .into_response();
    }
    let Some(Brought(callback)) = Brought::read(query.as_deref().unwrap_or_default()) else {
        let why = "The address that NinjaOne sent you to is damaged. Start the connection again.";
        return message(400, "Not connected", why, None);
    };
    match site.app().finish_consent(callback, binding(&headers)).await {
        Ok(connected) => {
            let integration = connected.integration.to_string();
            tracing::info!(target: "evergreen::audit", integration, what = "connected", "changed");
            let text = format!(
                "{integration} is connected to NinjaOne. Its tokens are kept fresh from now on; \
                 you can close this page."
            );
            message(
                200,
                "Connected",
                &text,
                Some(&format!("/integrations/{integration}")),
            )
        }
        Err(error) => {
            let status = error.status();
            // The page shows what a problem would: words of ours, nothing of the store's or a defect's.
            let text = match error {
                crate::service::ConsentError::Service(error) => Problem::from(error).detail,
                error => error.to_string(),
            };
            message(status, "Not connected", &text, None)
        }
    }
}

fn said_no(problem: &Problem) -> Response {
    message(problem.status, &problem.title, &problem.detail, None)
}

fn wants_a_page(headers: &HeaderMap) -> bool {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

fn is_prefetch(headers: &HeaderMap) -> bool {
    ["sec-purpose", "purpose", "x-moz"].iter().any(|name| {
        let value = headers.get(*name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| value.contains("prefetch"))
    })
}

/// The binding in the browser's cookie, if it looks like one of ours.
fn binding(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value)
        .find(|value| {
            value.len() == BINDING_LENGTH
                && value
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

fn fresh_binding() -> String {
    let mut bytes = [0_u8; 32];
    rand::fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_is_found_among_other_cookies_and_only_in_its_form() {
        let fresh = fresh_binding();
        assert_eq!(fresh.len(), BINDING_LENGTH);
        let mut headers = HeaderMap::new();
        let line = format!("a=b; {COOKIE}={fresh}; c=d");
        headers.insert(header::COOKIE, line.parse().unwrap());
        assert_eq!(binding(&headers), Some(fresh.as_str()));
        headers.insert(header::COOKIE, format!("{COOKIE}=short").parse().unwrap());
        assert_eq!(binding(&headers), None);
    }

    #[test]
    fn a_name_that_comes_twice_makes_the_callback_void() {
        let Brought(callback) = Brought::read("state=s&code=c&session=x").unwrap();
        assert_eq!(callback.state.as_deref(), Some("s"));
        assert!(Brought::read("state=s&state=t").is_none());
    }
}
