//! The operator's side: tenants, projects and keys, what was used, how the gateway is. Behind a
//! token of its own, which is no virtual key.
//!
//! The document at `openapi.json` is made of the handlers: a route is registered with its
//! description or not at all.

#![allow(
    unused_qualifications,
    reason = "utoipa's macros write paths in full where types stand in attributes, too"
)]

mod audit;
mod content;
mod export;
mod fault;
mod guard;
mod input;
mod keys;
mod lanes;
mod names;
mod nodes;
mod projects;
mod query;
mod quote;
mod records;
mod status;
mod tenants;
mod usage;
mod view;

use axum::Router;
use axum::body::Body;
use axum::extract::Extension;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi, RefOr, Schema};
use utoipa::{PartialSchema as _, ToSchema as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::fault::{ErrorBody, Fault};
pub(crate) use self::guard::AdminToken;
use crate::worker::Workers;

/// Where the admin API is.
pub(crate) const ROOT: &str = "/admin/v1";

/// The document, made once for each router.
#[derive(Clone, Debug)]
struct Document(Bytes);

/// The admin paths, for a router that has others, too.
pub(crate) fn router(workers: &Workers) -> Router<Workers> {
    let (router, document) = parts();
    let document = Document(document.to_json().unwrap_or_default().into());
    let operator = from_fn_with_state(workers.clone(), guard::operator);
    let stamp = from_fn_with_state(workers.clone(), guard::stamp);
    let router = router
        .fallback(|| async { Fault::unknown_path() })
        .layer(Extension(document))
        .layer(operator.clone())
        .layer(stamp.clone());
    // Nobody else learns which paths there are.
    let unknown = axum::routing::any(unknown).layer(operator).layer(stamp);
    Router::new()
        .nest(ROOT, router)
        .route("/admin", unknown.clone())
        .route("/admin/{*rest}", unknown)
}

/// The admin paths and nothing else, for a listener of their own.
pub(crate) fn own_router(workers: Workers) -> Router {
    let host = from_fn_with_state(workers.clone(), guard::host);
    router(&workers)
        .fallback(unknown)
        .layer(host)
        .with_state(workers)
}

/// Beside the paths there is nothing to see, for nobody.
async fn unknown() -> Response {
    Fault::unknown_path().into_response()
}

fn parts() -> (Router<Workers>, OpenApi) {
    let router = OpenApiRouter::<Workers>::new()
        .routes(routes!(tenants::list, tenants::create))
        .routes(routes!(tenants::get, tenants::patch, tenants::delete))
        .routes(routes!(projects::list, projects::create))
        .routes(routes!(projects::get, projects::patch, projects::delete))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::get, keys::patch, keys::delete))
        .routes(routes!(keys::rotate))
        .routes(routes!(keys::revoke))
        .routes(routes!(usage::of_key))
        .routes(routes!(usage::usage))
        .routes(routes!(records::records))
        .routes(routes!(content::get, content::delete))
        .routes(routes!(export::export))
        .routes(routes!(audit::list))
        .routes(routes!(quote::quote))
        .routes(routes!(status::status))
        .routes(routes!(lanes::list))
        .routes(routes!(openapi));
    let (router, document) = router.split_for_parts();
    (router, finished(document))
}

/// The document with what no handler knows.
fn finished(mut document: OpenApi) -> OpenApi {
    "bailian admin API".clone_into(&mut document.info.title);
    env!("CARGO_PKG_VERSION").clone_into(&mut document.info.version);
    let paths = std::mem::take(&mut document.paths.paths);
    document.paths.paths = paths
        .into_iter()
        .map(|(path, item)| (format!("{ROOT}{path}"), item))
        .collect();
    let components = document.components.get_or_insert_default();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    // What only `Faults` names is not collected from the handlers.
    let mut schemas = vec![(ErrorBody::name().into_owned(), ErrorBody::schema())];
    ErrorBody::schemas(&mut schemas);
    components.schemas.extend(schemas);
    components.add_security_scheme("operator", SecurityScheme::Http(bearer));
    document.security = Some(vec![SecurityRequirement::new("operator", [""; 0])]);
    // An unknown member of settings is refused, but the same members stand in larger objects.
    if let Some(RefOr::T(Schema::Object(settings))) = components.schemas.get_mut("SettingsInput") {
        settings.additional_properties = None;
    }
    document
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "status",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Object))
)]
async fn openapi(Extension(document): Extension<Document>) -> Response {
    let mut response = Response::new(Body::from(document.0));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
