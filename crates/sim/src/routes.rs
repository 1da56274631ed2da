//! The paths of the service, and the simulator's own under `/__sim/`.

mod chat;
mod control;
mod models;

use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use bailian_wire::Dialect;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, StatusCode, Uri};
use uuid::Builder;

use crate::rejection::Rejection;
use crate::simulator::Simulator;

pub(crate) fn router(simulator: Simulator) -> Router {
    Router::new()
        .route(
            "/api/v1/services/aigc/text-generation/generation",
            post(chat::native_text),
        )
        .route(
            "/api/v1/services/aigc/multimodal-generation/generation",
            post(chat::native_multimodal),
        )
        .route("/compatible-mode/v1/chat/completions", post(chat::compat))
        .route("/compatible-mode/v1/models", get(models::compat_list))
        .route("/compatible-mode/v1/models/{*id}", get(models::compat_one))
        .route("/api/v1/models", get(models::native_list))
        .route("/__sim/journal", get(control::journal))
        .route("/__sim/stats", get(control::stats))
        .route("/__sim/reset", post(control::reset))
        .route(
            "/__sim/config",
            get(control::config).put(control::put_config),
        )
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .with_state(simulator)
}

async fn unknown(State(simulator): State<Simulator>, uri: Uri) -> Response {
    let rejection = Rejection::new(404, "NotFound", "Not found!");
    refuse(
        &simulator,
        dialect_of(uri.path()),
        &rejection,
        &simulator.next_request_id(),
    )
}

async fn wrong_method(
    State(simulator): State<Simulator>,
    method: http::Method,
    uri: Uri,
) -> Response {
    let message = format!("Request method '{method}' is not supported.");
    let rejection = Rejection::new(405, "InvalidParameter", message);
    refuse(
        &simulator,
        dialect_of(uri.path()),
        &rejection,
        &simulator.next_request_id(),
    )
}

fn dialect_of(path: &str) -> Dialect {
    if path.starts_with("/compatible-mode/") {
        Dialect::OpenAi
    } else {
        Dialect::Native
    }
}

impl Simulator {
    /// The next request id: from the seed and a counter, so that a run can be repeated.
    fn next_request_id(&self) -> String {
        let number = self.shared.requests.fetch_add(1, Ordering::Relaxed);
        let seed = self.config().seed;
        let mut rng = fastrand::Rng::with_seed(seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut bytes = [0; 16];
        rng.fill(&mut bytes);
        Builder::from_random_bytes(bytes).into_uuid().to_string()
    }
}

/// The key of a request.
fn presented_key(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get("authorization")?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// The headers that the service puts on every answer (http-native.md §1.4).
fn service_headers(headers: &mut HeaderMap, request_id: &str) {
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-request-id", id);
    }
    headers.insert("x-dashscope-call-gateway", HeaderValue::from_static("true"));
    headers.insert("x-dashscope-timeout", HeaderValue::from_static("180"));
    headers.insert("server", HeaderValue::from_static("istio-envoy"));
}

/// An error answer.
fn refuse(
    simulator: &Simulator,
    dialect: Dialect,
    rejection: &Rejection,
    request_id: &str,
) -> Response {
    let mut response = json_response(
        rejection.status,
        rejection.body(dialect, request_id),
        request_id,
    );
    if rejection.status == 429
        && let Some(seconds) = simulator.config().retry_after
    {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn json_response(status: u16, body: impl Into<Body>, request_id: &str) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::IM_A_TEAPOT);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    service_headers(headers, request_id);
    response
}
