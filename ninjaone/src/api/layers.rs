//! What surrounds every request: a log line without secrets, headers, a net under panics.

use std::panic::AssertUnwindSafe;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use tokio::time::Instant;

use super::problem::Problem;

/// Headers of answers that do not set their own. Pages bring a policy that lets their assets in.
const HEADERS: [(HeaderName, &str); 8] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    ),
    (header::CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=()",
    ),
];

/// Puts the layers around a router; the first named is the innermost.
pub(super) fn around(router: Router) -> Router {
    router
        .layer(from_fn(no_panic))
        .layer(from_fn(headers))
        .layer(from_fn(log))
}

/// A panic ends one request, and its text goes nowhere near the caller.
async fn no_panic(request: Request, next: Next) -> Response {
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => Problem::defect().into_response(),
    }
}

async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

/// One line a request. Of the URL it shows the route's pattern alone: a query may hold a code or a
/// ticket, and what matches no route may hold anything.
async fn log(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "(no route)".to_owned(), |path| path.as_str().to_owned());
    let response = next.run(request).await;
    let status = response.status().as_u16();
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    if status >= 500 {
        tracing::warn!(target: "evergreen::http", %method, route, status, ms, "answered");
    } else if method == Method::GET || method == Method::HEAD {
        tracing::debug!(target: "evergreen::http", %method, route, status, ms, "answered");
    } else {
        tracing::info!(target: "evergreen::http", %method, route, status, ms, "answered");
    }
    response
}
