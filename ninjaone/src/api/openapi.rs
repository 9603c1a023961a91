//! The whole surface as a document: `/openapi.json`.

use axum::Json;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Document, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::problem::Problem;
use super::{
    apikeys, backfill, consent, events, fleet, health, integrations, metrics, pages, tokens,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Evergreen",
        description = "Keeps the OAuth credentials of NinjaOne integrations fresh. Errors are \
            problem details (RFC 9457): `type` is stable, `recovery` says what helps. Another \
            tenant's integration is answered exactly as one that does not exist."
    ),
    paths(
        health::alive, health::ready, metrics::show,
        integrations::list, integrations::status, integrations::adopt, integrations::disconnect,
        integrations::refresh, integrations::reset, integrations::requeue, integrations::history, integrations::explain,
        consent::invite, consent::begin, consent::finish,
        tokens::read, backfill::run, events::follow, fleet::show, apikeys::list, apikeys::create, apikeys::revoke,
        show, pages::dashboard, pages::integration, pages::asset,
    ),
    components(schemas(Problem)),
    modifiers(&Keys, &Problems),
)]
struct Surface;

/// The document.
#[must_use]
pub fn document() -> Document {
    Surface::openapi()
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "watching", responses(
    (status = 200, description = "OpenAPI", body = serde_json::Value)))]
pub(super) async fn show() -> Json<Document> {
    Json(document())
}

/// How callers prove who they are.
struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut Document) {
        let about = "An API key (`eg_…`, made by `evergreen apikeys create`). The scopes are \
             `read`, `token` and `admin`; `admin` includes `read`, not `token`.";
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(about))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("api_key", SecurityScheme::Http(scheme));
    }
}

/// Whatever may go wrong is told in one form, so it is said once for every operation of `/v1`.
struct Problems;

impl Modify for Problems {
    fn modify(&self, document: &mut Document) {
        let problem: Response = ResponseBuilder::new()
            .description("A problem: 401, 403, 404, 409, 422, 502, 503 and so on")
            .content(
                "application/problem+json",
                Content::new(Some(RefOr::Ref(Ref::from_schema_name("Problem")))),
            )
            .build();
        for (path, item) in &mut document.paths.paths {
            if !path.starts_with("/v1/") {
                continue;
            }
            let all = [
                &mut item.get,
                &mut item.put,
                &mut item.post,
                &mut item.delete,
            ];
            for operation in all.into_iter().flatten() {
                let responses = &mut operation.responses.responses;
                responses
                    .entry("default".to_owned())
                    .or_insert(RefOr::T(problem.clone()));
            }
        }
    }
}

/// The shape of a report, for the document alone; the report itself lives with the imports.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Report)]
pub(super) struct ReportShape {
    /// What became of each.
    rows: Vec<LineShape>,
    /// How many were adopted.
    adopted: usize,
    /// How many were there already.
    unchanged: usize,
    /// How many were refused.
    refused: usize,
}

#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = ReportLine)]
struct LineShape {
    /// `TENANT/INTEGRATION`, with `@client` for a client grant.
    id: Option<String>,
    tenant: Option<String>,
    integration: Option<String>,
    /// `adopted`, `unchanged` or `refused`.
    result: String,
    /// The field that is wrong, if it was refused.
    field: Option<String>,
    /// Why it was refused.
    reason: Option<String>,
    /// What is odd all the same; absent if nothing is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}
