//! `/v1/events`: the outbox as server-sent events (the HTML standard, section 9.2).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use secrecy::SecretString;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::Site;
use super::auth::Key;
use super::auth::access::{Caller, Read};
use super::problem::Problem;
use crate::service::{EventCursor, EventView, Follow};

/// How often it is asked whether the key still holds.
const KEY_CHECK: Duration = Duration::from_secs(5);
/// A line at least so often, so that proxies and callers know that the stream lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Events as they happen, until the caller hangs up or the server ends.
#[utoipa::path(get, path = "/v1/events", tag = "events",
    security(("api_key" = ["read"])),
    params(
        ("after" = Option<String>, Query, description = "Go on after this cursor"),
        ("from" = Option<String>, Query,
            description = "`now` (otherwise), or `start` for the oldest that is kept"),
        ("tenant" = Option<String>, Query, description = "Only events of this tenant"),
        ("Last-Event-ID" = Option<String>, Header, description = "As `after`; wins over it"),
    ),
    responses((status = 200, content_type = "text/event-stream", body = crate::service::EventView,
        description = "Server-sent events: `id` is the cursor, `event` the name, `data` this JSON")))]
pub(super) async fn follow(
    State(site): State<Site>,
    mut caller: Caller<Read>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = caller.query.text("after")?;
    let from = caller.query.text("from")?;
    let tenant = caller.query.text("tenant")?;
    caller.query.end()?;
    let last = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok());
    let cursor = match (last.or(after.as_deref()), from.as_deref()) {
        (Some(text), _) => text
            .parse()
            .map_err(|error: crate::service::ServiceError| Problem::from(error))?,
        (None, None | Some("now")) => site.app().events_end().await?,
        (None, Some("start")) => EventCursor::default(),
        (None, Some(_)) => return Err(Problem::invalid("from", "allowed are `now` and `start`")),
    };
    // Whoever asks while the store is away is told so, and not that nothing has happened.
    site.app().store_answers().await?;
    let Ok(permit) = Arc::clone(site.streams()).try_acquire_owned() else {
        return Err(Problem::busy(
            "as many event streams are open as this process serves",
        ));
    };
    let ending = site.ending().clone();
    let follower = Follower {
        follow: site.app().follow(cursor),
        site,
        key: caller.key,
        presented: caller.presented,
        tenant,
        key_check_at: Instant::now() + KEY_CHECK,
        _permit: permit,
    };
    let events = futures::stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok::<_, Infallible>(event), follower))
    })
    .take_until(ending.cancelled_owned());
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("still here");
    let unbuffered = [("x-accel-buffering", "no")];
    Ok((unbuffered, Sse::new(events).keep_alive(keep_alive)).into_response())
}

/// One caller's place in the stream.
struct Follower {
    site: Site,
    key: Arc<Key>,
    presented: SecretString,
    tenant: Option<String>,
    follow: Follow,
    key_check_at: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    /// The next event that this caller may see; `None` once its key is revoked.
    async fn next(&mut self) -> Option<Event> {
        loop {
            // Looked at here, because a stream that never pauses never times out.
            if Instant::now() >= self.key_check_at {
                if !self.key_holds().await {
                    return None;
                }
                self.key_check_at = Instant::now() + KEY_CHECK;
            }
            if let Ok(event) = timeout_at(self.key_check_at, self.follow.next()).await
                && self.shows(&event)
                && let Some(event) = written(&event)
            {
                return Some(event);
            }
        }
    }

    fn shows(&self, event: &EventView) -> bool {
        let tenant = event.integration.split('/').next().unwrap_or_default();
        self.key.sees(tenant) && self.tenant.as_deref().is_none_or(|only| only == tenant)
    }

    async fn key_holds(&mut self) -> bool {
        match self.site.keys().find(&self.presented).await {
            Ok(Some(key)) => {
                self.key = key;
                self.key.may(super::auth::Scope::Read)
            }
            Ok(None) => false,
            // The store is away: there is nothing new to show either.
            Err(_) => true,
        }
    }
}

fn written(event: &EventView) -> Option<Event> {
    let data = serde_json::to_string(event).ok()?;
    Some(
        Event::default()
            .id(event.cursor.to_string())
            .event(&event.event)
            .data(data),
    )
}
