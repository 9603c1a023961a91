//! The authorize endpoint: who asks for what, whether a person agrees, and the way back.

use std::sync::Arc;

use axum::body::{Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State as Extract};
use axum::http::StatusCode;
use axum::response::Response;

use super::clients::{ClientApp, GrantType};
use super::connection::Connection;
use super::delivery::{Sent, answer, close_unread};
use super::faults::Target;
use super::queue::Subject;
use super::reply::{Reply, page};
use super::server::{BODY_MAX, Shared};
use super::state::{Code, State, millis};
use super::wire::{Form, escape_html};

/// The fields of an authorization request, as the consent page hands them on.
const FIELDS: [&str; 7] = [
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
];

/// What the person said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Unasked,
    Approved,
    Denied,
}

/// A person arrives with an authorization request.
pub(super) async fn ask(
    shared: Extract<Arc<Shared>>,
    connection: ConnectInfo<Connection>,
    request: Request,
) -> Response {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let path = request.uri().path().to_owned();
    respond(shared.0, connection.0, &path, query.into()).await
}

/// A person has pressed a button of the consent page.
pub(super) async fn decide(
    shared: Extract<Arc<Shared>>,
    connection: ConnectInfo<Connection>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let form = to_bytes(body, BODY_MAX).await.unwrap_or_default();
    respond(shared.0, connection.0, head.uri.path(), form).await
}

async fn respond(
    shared: Arc<Shared>,
    connection: Connection,
    path: &str,
    asked: Bytes,
) -> Response {
    let sent = Sent {
        form: Form::parse(&asked),
        raw: asked,
    };
    let unread = Subject::unread(Target::Authorize, path);
    if let Some(closed) = close_unread(&shared, &connection, &unread, |_, _| {}) {
        return closed;
    }
    let subject = Subject {
        client_id: sent.form.get("client_id").map(str::to_owned),
        ..unread
    };
    answer(shared, connection, subject, |state, now, fate| {
        let reply = fate.reply(&sent, || {
            consider(state, path, &sent.form, now).unwrap_or_else(|refusal| refusal)
        });
        (reply, None)
    })
    .await
}

/// An authorization request that may be answered at its redirect URI.
struct Asked<'f> {
    app: ClientApp,
    redirect_uri: &'f str,
    state: Option<&'f str>,
}

fn consider(state: &mut State, path: &str, form: &Form, now: u64) -> Result<Reply, Reply> {
    if !state.options.paths.has(path) {
        return Err(Reply::failure(StatusCode::NOT_FOUND, &state.mint.uuid()));
    }
    let asked = known(state, form)?;
    let (scope, challenge) = asked.check(form)?;
    let decision = match form.get("decision") {
        Some("approve") => Decision::Approved,
        Some(_) => Decision::Denied,
        None if state.options.auto_approve => Decision::Approved,
        None => Decision::Unasked,
    };
    Ok(match decision {
        Decision::Unasked => consent_page(path, &asked, &scope, form),
        Decision::Denied => asked.back(&[("error", "access_denied")]),
        Decision::Approved => {
            let code = issue(state, &asked, scope, challenge, now);
            asked.back(&[("code", &code)])
        }
    })
}

/// The app and the redirect URI come first: until both are known, nobody is sent anywhere.
fn known<'f>(state: &mut State, form: &'f Form) -> Result<Asked<'f>, Reply> {
    let app = state.clients.get(form.get("client_id").unwrap_or_default());
    let Some(app) = app.cloned() else {
        return Err(Reply::client_unknown(&state.mint.uuid()));
    };
    let redirect_uri = form.get("redirect_uri").unwrap_or_default();
    let interactive = app.platform.offers(GrantType::AuthorizationCode);
    if !interactive || !app.redirect_uris.iter().any(|uri| uri == redirect_uri) {
        // The page answers 404 with the usual body; the reason stands in its URL only.
        let reason = "/ws/oauth/error?error=unauthorized_client\
                      &error_description=Invalid+redirect_uri";
        return Err(Reply::redirect(StatusCode::FOUND, reason));
    }
    Ok(Asked {
        app,
        redirect_uri,
        state: form.get("state"),
    })
}

impl Asked<'_> {
    /// The scope and the challenge, or the way back with an error.
    fn check(&self, form: &Form) -> Result<(String, Option<String>), Reply> {
        let refused = |error| self.back(&[("error", error)]);
        if form.repeats() {
            return Err(refused("invalid_request"));
        }
        if form.get("response_type") != Some("code") {
            return Err(refused("unsupported_response_type"));
        }
        if !(self.app.grants).contains(&GrantType::AuthorizationCode) {
            return Err(refused("unauthorized_client"));
        }
        let scope = self.app.scope_for(form.get("scope"));
        let scope = scope.ok_or_else(|| refused("invalid_scope"))?;
        let challenge = form.get("code_challenge");
        let challenge_fits = match (challenge, form.get("code_challenge_method")) {
            // A public app has nothing but its verifier to show.
            (None, None) => self.app.platform.has_secret(),
            (Some(challenge), Some("S256")) => challenge.len() == 43,
            _ => false,
        };
        if !challenge_fits {
            return Err(refused("invalid_request"));
        }
        Ok((scope, challenge.map(str::to_owned)))
    }

    /// Back to the app, with the state it sent.
    fn back(&self, said: &[(&str, &str)]) -> Reply {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(said);
        if let Some(state) = self.state {
            query.append_pair("state", state);
        }
        let joint = if self.redirect_uri.contains('?') {
            '&'
        } else {
            '?'
        };
        let location = format!("{}{joint}{}", self.redirect_uri, query.finish());
        Reply::redirect(StatusCode::FOUND, &location)
    }
}

fn issue(
    state: &mut State,
    asked: &Asked<'_>,
    scope: String,
    challenge: Option<String>,
    now: u64,
) -> String {
    state.forget_old_codes(now);
    let grant = state.mint.uuid();
    let text = state.mint.code(&grant);
    let code = Code {
        grant,
        client_id: asked.app.client_id.clone(),
        redirect_uri: asked.redirect_uri.to_owned(),
        challenge,
        scope,
        expires_at: now + millis(state.options.code_life),
    };
    state.codes.insert(text.clone(), code);
    text
}

fn consent_page(path: &str, asked: &Asked<'_>, scope: &str, form: &Form) -> Reply {
    let hidden: String = (FIELDS.iter())
        .filter_map(|name| Some((name, form.get(name)?)))
        .map(|(name, value)| {
            let value = escape_html(value);
            format!("<input type=\"hidden\" name=\"{name}\" value=\"{value}\">\n")
        })
        .collect();
    let scopes: String = (scope.split(' '))
        .map(|scope| format!("<li>{}</li>", escape_html(scope)))
        .collect();
    let app = escape_html(&asked.app.client_id);
    let body = format!(
        "<p><b>{app}</b> asks for access to this simulated NinjaOne:</p>\n<ul>{scopes}</ul>\n\
         <form method=\"post\" action=\"{path}\">\n{hidden}\
         <button name=\"decision\" value=\"approve\">Approve</button>\
         <button name=\"decision\" value=\"deny\">Deny</button>\n</form>"
    );
    let mut reply = Reply::html(StatusCode::OK, page("Authorize", &body));
    reply.set_header("cache-control", "no-store");
    reply.set_header("referrer-policy", "no-referrer");
    reply
}
