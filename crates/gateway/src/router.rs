//! Which path leads where.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State as Shared};
use axum::response::Response;
use axum::routing::{MethodRouter, any, get, post};
use bailian_wire::Dialect;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode, Uri};

use crate::admin;
use crate::errors::Refusal;
use crate::record::RequestId;
use crate::relay;
use crate::worker::Worker;

/// Paths of OpenAI chat: the short one and the service's own.
const OPENAI_CHAT: [&str; 2] = [
    "/v1/chat/completions",
    "/compatible-mode/v1/chat/completions",
];

/// The service's own path of native text generation.
const NATIVE_CHAT: &str = "/api/v1/services/aigc/text-generation/generation";

/// The dialect of a chat path.
pub(crate) fn chat_dialect(path: &str) -> Option<Dialect> {
    if OPENAI_CHAT.contains(&path) {
        Some(Dialect::OpenAi)
    } else if path == NATIVE_CHAT {
        Some(Dialect::Native)
    } else {
        None
    }
}

/// The dialect in which a caller of `path` reads errors.
fn error_dialect(path: &str) -> Dialect {
    if path.starts_with("/api/") {
        Dialect::Native
    } else if path.starts_with("/anthropic/") || path.starts_with("/apps/anthropic/") {
        Dialect::Anthropic
    } else {
        Dialect::OpenAi
    }
}

pub(crate) fn router(worker: Worker) -> Router {
    let chat = |dialect: Dialect| -> MethodRouter<Worker> {
        post(move |Shared(worker): Shared<Worker>, request: Request| {
            relay::handle(worker, dialect, request)
        })
        .fallback(|shared, uri: Uri| wrong_method("POST", shared, &uri))
    };
    let mut router = Router::new()
        .route(NATIVE_CHAT, chat(Dialect::Native))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/admin/v1/lanes", get(admin::lanes));
    for path in OPENAI_CHAT {
        router = router.route(path, chat(Dialect::OpenAi));
    }
    for root in ["/v1", "/compatible-mode/v1"] {
        router = router
            .route(
                &format!("{root}/models"),
                get(models).fallback(|shared, uri: Uri| wrong_method("GET", shared, &uri)),
            )
            .route(
                &format!("{root}/models/{{*id}}"),
                get(model).fallback(|shared, uri: Uri| wrong_method("GET", shared, &uri)),
            );
    }
    router.fallback(any(unknown_route)).with_state(worker)
}

async fn healthz(Shared(worker): Shared<Worker>) -> Response {
    let kind = "text/plain; charset=utf-8";
    typed_response(&worker, StatusCode::OK, kind, "ok\n")
}

/// Ready as soon as it listens; while it stops it does not listen any more. Without Redis a replica
/// still works, with its last share of the limits, and says so.
async fn readyz(Shared(worker): Shared<Worker>) -> Response {
    let mut detail = serde_json::json!({ "status": "ready" });
    if let Some(sharing) = worker.state.pacing.sharing() {
        let now = worker.state.clock.now();
        let since = now.saturating_duration_since(sharing.since);
        detail["redis"] = serde_json::json!({
            "connected": sharing.connected,
            "for_seconds": since.as_secs(),
            "replicas": sharing.replicas,
            "last_error": sharing.last_error,
        });
    }
    json_response(&worker, StatusCode::OK, Bytes::from(detail.to_string()))
}

async fn metrics(Shared(worker): Shared<Worker>) -> Response {
    match worker.state.metrics.render(&worker.state.pacing) {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            typed_response(&worker, StatusCode::OK, kind, text)
        }
        Err(_) => refuse(&worker, "/metrics", &Refusal::internal()),
    }
}

async fn models(Shared(worker): Shared<Worker>, uri: Uri, headers: HeaderMap) -> Response {
    if !is_authenticated(&worker, &headers) {
        return refuse(&worker, uri.path(), &Refusal::unauthenticated());
    }
    let body = worker.state.models.all();
    json_response(&worker, StatusCode::OK, body)
}

async fn model(
    Shared(worker): Shared<Worker>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    if !is_authenticated(&worker, &headers) {
        return refuse(&worker, uri.path(), &Refusal::unauthenticated());
    }
    match worker.state.models.one(&id) {
        Some(body) => json_response(&worker, StatusCode::OK, body),
        None => refuse(&worker, uri.path(), &Refusal::unknown_model(&id)),
    }
}

fn is_authenticated(worker: &Worker, headers: &HeaderMap) -> bool {
    relay::presented_key(headers).is_some_and(|key| worker.state.keys.authenticate(key).is_some())
}

fn wrong_method(
    allow: &'static str,
    Shared(worker): Shared<Worker>,
    uri: &Uri,
) -> std::future::Ready<Response> {
    std::future::ready(refuse(
        &worker,
        uri.path(),
        &Refusal::method_not_allowed(allow),
    ))
}

async fn unknown_route(Shared(worker): Shared<Worker>, uri: Uri) -> Response {
    refuse(&worker, uri.path(), &Refusal::unknown_route(uri.path()))
}

pub(crate) fn refuse(worker: &Worker, path: &str, refusal: &Refusal) -> Response {
    let id = RequestId::new(worker.state.clock.unix_millis());
    let mut response = refusal.to_response(error_dialect(path), id.as_str());
    relay::stamp(response.headers_mut(), id);
    response
}

pub(crate) fn json_response(worker: &Worker, status: StatusCode, body: Bytes) -> Response {
    typed_response(worker, status, "application/json", body)
}

fn typed_response(
    worker: &Worker,
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Body>,
) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    relay::stamp(headers, RequestId::new(worker.state.clock.unix_millis()));
    response
}
