//! Every route, once. What is served is written down as it is added, so that a test can hold the
//! OpenAPI document to it.

use std::convert::Infallible;

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};

use super::problem::Problem;
use super::{
    Site, apikeys, backfill, consent, events, fleet, health, integrations, metrics, openapi, pages,
    tokens,
};

/// A router, and what it serves.
pub(super) struct Routes {
    router: Router<Site>,
    pub(super) table: Vec<(&'static str, &'static str)>,
}

impl Routes {
    fn new() -> Self {
        Self {
            router: Router::new(),
            table: Vec::new(),
        }
    }

    fn add<H, T>(mut self, method: &'static str, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Site>,
        T: 'static,
    {
        let filter = match method {
            "put" => MethodFilter::PUT,
            "post" => MethodFilter::POST,
            "delete" => MethodFilter::DELETE,
            _ => MethodFilter::GET,
        };
        let route: MethodRouter<Site, Infallible> = on(filter, handler);
        self.router = self.router.route(path, route);
        self.table.push((method, path));
        self
    }

    fn get<H, T>(self, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Site>,
        T: 'static,
    {
        self.add("get", path, handler)
    }

    /// The finished router: what is not served is answered with a problem.
    pub(super) fn into_router(self, site: Site) -> Router {
        self.router
            .fallback(|| async { Problem::no_route() })
            .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
            .with_state(site)
    }
}

/// What a worker without API serves.
pub(super) fn watched() -> Routes {
    Routes::new()
        .get("/healthz", health::alive)
        .get("/readyz", health::ready)
        .get("/metrics", metrics::show)
}

/// Everything.
pub(super) fn all() -> Routes {
    watched()
        .get("/v1/integrations", integrations::list)
        .get(
            "/v1/integrations/{tenant}/{integration}",
            integrations::status,
        )
        .add(
            "put",
            "/v1/integrations/{tenant}/{integration}",
            integrations::adopt,
        )
        .add(
            "delete",
            "/v1/integrations/{tenant}/{integration}",
            integrations::disconnect,
        )
        .add(
            "post",
            "/v1/integrations/{tenant}/{integration}/refresh",
            integrations::refresh,
        )
        .add(
            "post",
            "/v1/integrations/{tenant}/{integration}/reset",
            integrations::reset,
        )
        .add(
            "post",
            "/v1/integrations/{tenant}/{integration}/requeue",
            integrations::requeue,
        )
        .add(
            "post",
            "/v1/integrations/{tenant}/{integration}/connect",
            consent::invite,
        )
        .get(
            "/v1/integrations/{tenant}/{integration}/token",
            tokens::read,
        )
        .get(
            "/v1/integrations/{tenant}/{integration}/history",
            integrations::history,
        )
        .get(
            "/v1/integrations/{tenant}/{integration}/explain",
            integrations::explain,
        )
        .add("post", "/v1/backfill", backfill::run)
        .get("/v1/events", events::follow)
        .get("/v1/fleet", fleet::show)
        .get("/v1/apikeys", apikeys::list)
        .add("post", "/v1/apikeys", apikeys::create)
        .add("delete", "/v1/apikeys/{id}", apikeys::revoke)
        .get("/oauth/connect/{tenant}/{integration}", consent::begin)
        .get("/oauth/callback", consent::finish)
        .get("/openapi.json", openapi::show)
        .get("/", pages::dashboard)
        .get("/integrations/{tenant}/{integration}", pages::integration)
        .get("/assets/{name}", pages::asset)
}
