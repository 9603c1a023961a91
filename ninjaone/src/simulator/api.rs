//! A little of NinjaOne's API: enough to see whether an access token is good.

use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State as Extract};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Serialize;

use super::connection::Connection;
use super::delivery::{Sent, answer, close_unread};
use super::faults::Target;
use super::queue::Subject;
use super::reply::Reply;
use super::server::Shared;
use super::state::{Grant, State};
use super::wire::Form;

/// The prefixes under which regional hosts serve the same API.
const PREFIXES: [&str; 3] = ["/v2", "/api/v2", "/ws/api/v2"];
const PAGE_MAX: usize = 1000;

#[derive(Clone, Copy)]
enum Resource {
    Organizations,
    Devices,
    Ticket,
}

impl Resource {
    /// By the end of one of the paths in [`routes`].
    fn at(path: &str) -> Self {
        match path.rsplit('/').next() {
            Some("organizations") => Self::Organizations,
            Some("devices") => Self::Devices,
            _ => Self::Ticket,
        }
    }
}

pub(super) fn routes() -> Router<Arc<Shared>> {
    PREFIXES.into_iter().fold(Router::new(), |router, prefix| {
        router
            .route(&format!("{prefix}/organizations"), get(respond))
            .route(&format!("{prefix}/devices"), get(respond))
            .route(&format!("{prefix}/ticketing/ticket"), post(respond))
    })
}

async fn respond(
    Extract(shared): Extract<Arc<Shared>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
) -> Response {
    let path = request.uri().path();
    let resource = Resource::at(path);
    let unread = Subject::unread(Target::Api, path);
    if let Some(closed) = close_unread(&shared, &connection, &unread, |_, _| {}) {
        return closed;
    }
    let query = request.uri().query().unwrap_or_default().to_owned();
    let authorization = Authorization::read(request.headers());
    let subject = {
        let state = shared.lock();
        let token = authorization.token().unwrap_or_default();
        match state.authenticate(token, shared.now()) {
            Some((id, grant)) => Subject {
                chain: Some(id.clone()),
                client_id: Some(grant.client_id.to_string()),
                ..unread
            },
            None => unread,
        }
    };
    let sent = Sent {
        form: Form::parse(query.as_bytes()),
        raw: query.clone().into(),
    };
    answer(shared, connection, subject, |state, now, fate| {
        let reply = fate.reply(&sent, || {
            look_up(resource, state, &authorization, &sent.form, now)
                .unwrap_or_else(|refusal| refusal)
        });
        (reply, None)
    })
    .await
}

/// What the header `Authorization` holds.
enum Authorization {
    Missing,
    Malformed,
    Bearer(String),
}

impl Authorization {
    fn read(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            return Self::Missing;
        };
        let bearer = (value.to_str().ok())
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .filter(|token| !token.is_empty() && !token.contains(' '));
        match bearer {
            Some(token) => Self::Bearer(token.to_owned()),
            None => Self::Malformed,
        }
    }

    fn token(&self) -> Option<&str> {
        match self {
            Self::Bearer(token) => Some(token),
            _ => None,
        }
    }
}

fn look_up(
    resource: Resource,
    state: &mut State,
    authorization: &Authorization,
    query: &Form,
    now: u64,
) -> Result<Reply, Reply> {
    let token = match authorization {
        Authorization::Missing => {
            let (error, said) = ("missing_header", "Missing required header");
            return Err(Reply::gate(StatusCode::BAD_REQUEST, error, said, 2));
        }
        Authorization::Malformed => {
            let (error, said) = ("invalid_header", "Invalid 'Authorization' header");
            return Err(Reply::gate(StatusCode::BAD_REQUEST, error, said, 1));
        }
        Authorization::Bearer(token) => token,
    };
    let Some((_, grant)) = state.authenticate(token, now) else {
        let (error, said) = ("not_authenticated", "Invalid credentials");
        return Err(Reply::gate(StatusCode::UNAUTHORIZED, error, said, 10));
    };
    let grant = grant.clone();
    let (organizations, devices) = (state.options.organizations, state.options.devices);
    match resource {
        Resource::Organizations => {
            needs(&grant, "monitoring", state)?;
            page(query, organizations, organization)
        }
        Resource::Devices => {
            needs(&grant, "monitoring", state)?;
            page(query, devices, |id| device(id, organizations))
        }
        Resource::Ticket if !grant.user => {
            let said = "Access key does not have user context which is required for this request";
            let forbidden = StatusCode::FORBIDDEN;
            Err(Reply::gate(forbidden, "user_context_required", said, 5))
        }
        Resource::Ticket => {
            needs(&grant, "management", state)?;
            Ok(Reply::list(r#"{"id":1001,"version":1}"#.to_owned()))
        }
    }
}

fn needs(grant: &Grant, scope: &str, state: &mut State) -> Result<(), Reply> {
    if grant.scope.split(' ').any(|own| own == scope) {
        Ok(())
    } else {
        Err(Reply::insufficient_privileges(&state.mint.uuid()))
    }
}

/// Items 1 to `many`, those after `after`, `pageSize` of them, as a bare JSON list.
fn page<T: Serialize>(query: &Form, many: u32, item: impl Fn(u32) -> T) -> Result<Reply, Reply> {
    let number = |name: &str, default: u32| match query.get(name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| bad_parameter(name)),
    };
    let after = number("after", 0)?;
    let size = number("pageSize", 1000)?;
    if size == 0 {
        return Err(bad_parameter("pageSize"));
    }
    let items: Vec<T> = (1..=many)
        .skip(usize::try_from(after).unwrap_or(usize::MAX))
        .take(usize::try_from(size).unwrap_or(usize::MAX).min(PAGE_MAX))
        .map(item)
        .collect();
    match serde_json::to_string(&items) {
        Ok(body) => Ok(Reply::list(body)),
        Err(_) => Err(bad_parameter("pageSize")),
    }
}

fn bad_parameter(name: &str) -> Reply {
    Reply::gate(
        StatusCode::BAD_REQUEST,
        "invalid_parameter",
        &format!("Invalid parameter '{name}'"),
        3,
    )
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Organization {
    id: u32,
    name: String,
    node_approval_mode: &'static str,
}

fn organization(id: u32) -> Organization {
    Organization {
        id,
        name: format!("Organization {id}"),
        node_approval_mode: "AUTOMATIC",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    id: u32,
    organization_id: u32,
    location_id: u32,
    node_class: &'static str,
    approval_status: &'static str,
    offline: bool,
    system_name: String,
    dns_name: String,
}

fn device(id: u32, organizations: u32) -> Device {
    let organization_id = (id - 1) % organizations + 1;
    Device {
        id,
        organization_id,
        location_id: organization_id,
        node_class: if id.is_multiple_of(5) {
            "WINDOWS_SERVER"
        } else {
            "WINDOWS_WORKSTATION"
        },
        approval_status: "APPROVED",
        offline: id.is_multiple_of(7),
        system_name: format!("DEVICE-{id:05}"),
        dns_name: format!("device-{id:05}.organization-{organization_id}.example"),
    }
}
