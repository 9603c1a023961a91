//! The token endpoint: what a token request is answered, and what it spends.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Request, State as Extract};
use axum::http::{Method, StatusCode, header};
use axum::response::Response;

use super::actions::Action;
use super::clients::{ClientApp, GrantType};
use super::connection::Connection;
use super::delivery::{Fate, Sent, answer, close_unread};
use super::faults::Target;
use super::grants::{Issued, mint, needed, redeem, refresh, refusal};
use super::ledger::{Delivery, Entry};
use super::mint::fingerprint;
use super::queue::Subject;
use super::reply::Reply;
use super::server::{BODY_MAX, Shared};
use super::state::{Presentation, State};
use super::wire::{Form, Name};

const CREDENTIALS: [&str; 5] = [
    "client_id",
    "client_secret",
    "refresh_token",
    "code",
    "grant_type",
];

/// A token request as it came in.
struct Submission {
    path: &'static str,
    method: Method,
    is_form: bool,
    query: Form,
    sent: Sent,
    too_long: bool,
}

pub(super) async fn endpoint(
    Extract(shared): Extract<Arc<Shared>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
) -> Response {
    let path = match request.uri().path() {
        "/ws/oauth/token" => "/ws/oauth/token",
        _ => "/oauth/token",
    };
    let _at_work = shared.at_work();
    let unread = Subject::unread(Target::Token, path);
    let closed = close_unread(&shared, &connection, &unread, |state, now| {
        let entry = Entry {
            fault: Some(Cow::Borrowed("close")),
            delivery: Delivery::Eaten,
            ..blank(path, now)
        };
        state.ledger.record(entry);
    });
    if let Some(closed) = closed {
        return closed;
    }
    let submission = Submission::read(path, request).await;
    let subject = submission.subject(&shared.lock(), shared.now());
    answer(shared, connection, subject, |state, now, fate| {
        submission.carry_out(state, now, fate)
    })
    .await
}

fn blank(path: &'static str, now: u64) -> Entry {
    Entry {
        seq: 0,
        at_ms: now,
        path: Cow::Borrowed(path),
        grant_type: None,
        client_id: None,
        chain: None,
        fingerprint: None,
        presented: None,
        presented_generation: None,
        generation: None,
        issued: false,
        rotated: false,
        access_expires_at_ms: None,
        status: None,
        fault: None,
        delivery: Delivery::Pending,
        settled_at_ms: None,
    }
}

impl Submission {
    async fn read(path: &'static str, request: Request) -> Self {
        let (head, body) = request.into_parts();
        let announced = head.headers.get(header::CONTENT_TYPE);
        let media_type = (announced.and_then(|value| value.to_str().ok()))
            .and_then(|value| value.split(';').next())
            .unwrap_or_default();
        let is_form = media_type
            .trim()
            .eq_ignore_ascii_case("application/x-www-form-urlencoded");
        let body = to_bytes(body, BODY_MAX).await;
        let too_long = body.is_err();
        let raw = body.unwrap_or_default();
        let form = if is_form {
            Form::parse(&raw)
        } else {
            Form::default()
        };
        Self {
            path,
            method: head.method,
            is_form,
            query: Form::parse(head.uri.query().unwrap_or_default().as_bytes()),
            sent: Sent { form, raw },
            too_long,
        }
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.sent.form.get(name)
    }

    fn client_id(&self) -> &str {
        self.field("client_id").unwrap_or_default()
    }

    fn subject(&self, state: &State, now: u64) -> Subject {
        let seen = self.look(state, now);
        let of_code = (self.field("code"))
            .and_then(|code| state.codes.get(code))
            .map(|code| code.grant.clone());
        Subject {
            target: Target::Token,
            path: self.path.to_owned(),
            chain: seen.and_then(|seen| seen.grant).or(of_code),
            client_id: self.field("client_id").map(str::to_owned),
            grant_type: self.field("grant_type").map(str::to_owned),
        }
    }

    /// What the refresh token presented is, if this is a refresh.
    fn look(&self, state: &State, now: u64) -> Option<Presentation> {
        let token = self.field("refresh_token")?;
        Some(state.look_at(token, self.client_id(), now))
    }

    fn carry_out(&self, state: &mut State, now: u64, fate: &Fate) -> (Reply, Option<u64>) {
        let seen = self.look(state, now);
        let mut issued = None;
        let reply = fate.reply(&self.sent, || match self.grant(state, now, fate, &seen) {
            Ok((reply, given)) => {
                issued = Some(given);
                reply
            }
            Err(refusal) => refusal,
        });
        let chain = (seen.as_ref())
            .and_then(|seen| seen.grant.clone())
            .or(issued.as_ref().map(|issued| issued.grant.clone()));
        let generation = (chain.as_ref())
            .and_then(|chain| state.grants.get(chain))
            .map(|grant| grant.generation);
        let entry = Entry {
            grant_type: self.field("grant_type").map(|word| {
                GrantType::from_wire(word).map_or(Cow::Borrowed("other"), |grant| {
                    Cow::Borrowed(grant.as_str())
                })
            }),
            client_id: self.field("client_id").map(|id| {
                let known = state.clients.get(id).is_some();
                Name::from(if known { id } else { "unknown" })
            }),
            chain,
            fingerprint: self.field("refresh_token").map(fingerprint),
            presented: seen.as_ref().map(|seen| seen.presented),
            presented_generation: seen.and_then(|seen| seen.generation),
            generation,
            issued: issued.is_some(),
            rotated: issued.as_ref().is_some_and(|issued| issued.rotated),
            access_expires_at_ms: issued.map(|issued| issued.access_expires_at),
            status: fate.has_status().then(|| reply.status.as_u16()),
            fault: fate.action().map(|action| Cow::Borrowed(action.name())),
            ..blank(self.path, now)
        };
        let seq = state.ledger.record(entry);
        (reply, Some(seq))
    }

    /// What the host itself answers.
    fn grant(
        &self,
        state: &mut State,
        now: u64,
        fate: &Fate,
        seen: &Option<Presentation>,
    ) -> Result<(Reply, Issued), Reply> {
        let exists = state.options.paths.has(self.path);
        let mut failure = |status| Err(Reply::failure(status, &state.mint.uuid()));
        if !exists {
            return failure(StatusCode::NOT_FOUND);
        }
        if self.method != Method::POST {
            return failure(StatusCode::METHOD_NOT_ALLOWED);
        }
        if self.too_long {
            return failure(StatusCode::PAYLOAD_TOO_LARGE);
        }
        if !self.is_form {
            return failure(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        let in_query = (CREDENTIALS.iter()).any(|name| self.query.get(name).is_some());
        if in_query || self.sent.form.repeats() {
            return Err(refusal("invalid_request"));
        }
        let grant_type = needed(&self.sent.form, "grant_type")?;
        let grant_type =
            GrantType::from_wire(grant_type).ok_or(refusal("unsupported_grant_type"))?;
        let app = self.authenticated(state, grant_type)?;
        match grant_type {
            GrantType::RefreshToken => {
                needed(&self.sent.form, "refresh_token")?;
                let keeps = matches!(
                    fate.action(),
                    Some(Action::Edit(edit)) if edit.refresh_token.is_some()
                );
                let seen = seen.as_ref().ok_or(refusal("invalid_request"))?;
                refresh(state, seen, keeps, now)
            }
            GrantType::AuthorizationCode => redeem(&self.sent.form, state, &app, now),
            GrantType::ClientCredentials => mint(&self.sent.form, state, &app, now),
        }
    }

    fn authenticated(&self, state: &mut State, grant: GrantType) -> Result<ClientApp, Reply> {
        let client_id = needed(&self.sent.form, "client_id")?;
        let app = state.clients.get(client_id);
        // The wrong kind of app is answered as if it did not exist.
        let Some(app) = app.filter(|app| app.platform.offers(grant)).cloned() else {
            return Err(Reply::client_unknown(&state.mint.uuid()));
        };
        if !app.secret_matches(self.field("client_secret")) {
            return Err(Reply::oauth(StatusCode::UNAUTHORIZED, "invalid_client"));
        }
        if !app.grants.contains(&grant) {
            return Err(refusal("unauthorized_client"));
        }
        Ok(app)
    }
}
