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
use crate::keys::Peer;
use crate::metrics::Kept;
use crate::readiness;
use crate::record::RequestId;
use crate::relay;
use crate::surface::{NATIVE_EMBEDDINGS, NATIVE_MULTIMODAL, NATIVE_TEXT, Root, STORED, Surface};
use crate::worker::{Worker, Workers};

/// The roots under which OpenAI's protocol is served: the short one and the service's own.
const OPENAI: [&str; 2] = ["/v1", "/compatible-mode/v1"];
/// The same for Anthropic's.
const ANTHROPIC: [&str; 2] = ["/anthropic", "/apps/anthropic"];
/// Where responses and conversations are, and where they once were (compat.md §1.1).
const RESPONSES: [&str; 3] = [
    "/v1",
    "/compatible-mode/v1",
    "/api/v2/apps/protocols/compatible-mode/v1",
];
/// Flat rerank calls.
const RERANK: [&str; 4] = [
    "/v1/rerank",
    "/v1/reranks",
    "/compatible-api/v1/reranks",
    "/compatible-mode/v1/reranks",
];

/// The dialect in which a caller of `path` reads errors.
fn error_dialect(path: &str) -> Dialect {
    if path.starts_with("/api/v1/") || RERANK.contains(&path) {
        Dialect::Native
    } else if path.starts_with("/anthropic/") || path.starts_with("/apps/anthropic/") {
        Dialect::Anthropic
    } else {
        Dialect::OpenAi
    }
}

/// What the paths of chat ask for, which nearly all requests do.
pub(crate) fn chat_surface(path: &str) -> Option<Surface> {
    let dialect = match path {
        "/v1/chat/completions" | "/compatible-mode/v1/chat/completions" => Dialect::OpenAi,
        "/anthropic/v1/messages" | "/apps/anthropic/v1/messages" => Dialect::Anthropic,
        _ if path.strip_prefix("/api/v1") == Some(NATIVE_TEXT) => Dialect::Native,
        _ => return None,
    };
    Some(Surface::Chat(dialect))
}

/// A path that is answered by upstream.
fn served(surface: Surface) -> MethodRouter<Workers> {
    post(move |Shared(worker): Shared<Worker>, request: Request| {
        let peer = Peer::of(&request);
        relay::handle(worker, surface, request, peer)
    })
    .fallback(|shared, uri: Uri| wrong_method("POST", shared, &uri))
}

pub(crate) fn router(workers: Workers) -> Router {
    let mut router = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route(
            &format!("/api/v1{NATIVE_TEXT}"),
            served(Surface::Chat(Dialect::Native)),
        )
        .route(
            &format!("/api/v1{NATIVE_MULTIMODAL}"),
            served(Surface::NativeMultimodal),
        )
        .route(
            "/api/v1/services/{*path}",
            post(native_service).fallback(|shared, uri: Uri| wrong_method("POST", shared, &uri)),
        )
        .route(
            "/api/v1/apps/{app}/completion",
            post(application).fallback(|shared, uri: Uri| wrong_method("POST", shared, &uri)),
        );
    if !workers.state().has_admin_listener {
        router = router.merge(admin::router(&workers));
    }
    for root in OPENAI {
        let at = |path: &str| format!("{root}{path}");
        let completions = Surface::other(Root::OpenAi, "/completions");
        router = router
            .route(
                &at("/chat/completions"),
                served(Surface::Chat(Dialect::OpenAi)),
            )
            .route(&at("/completions"), served(completions))
            .route(
                &at("/embeddings"),
                served(Surface::Embeddings(Dialect::OpenAi)),
            )
            .route(
                &at("/models"),
                get(models).fallback(|shared, uri: Uri| wrong_method("GET", shared, &uri)),
            )
            .route(
                &at("/models/{*id}"),
                get(model).fallback(|shared, uri: Uri| wrong_method("GET", shared, &uri)),
            );
    }
    for path in RERANK {
        router = router.route(path, served(Surface::other(Root::Rerank, "/reranks")));
    }
    for root in ANTHROPIC {
        let at = |path: &str| format!("{root}/v1/{path}");
        router = router
            .route(&at("messages"), served(Surface::Chat(Dialect::Anthropic)))
            .route(&at("messages/count_tokens"), post(count_tokens))
            .route(&at("models"), get(anthropic_models));
    }
    let kept = || {
        get(stored)
            .post(stored)
            .delete(stored)
            .fallback(|shared, uri: Uri| wrong_method("GET, POST, DELETE", shared, &uri))
    };
    for root in RESPONSES {
        router = router
            .route(&format!("{root}/responses"), served(Surface::Responses))
            .route(&format!("{root}/responses/{{*rest}}"), kept())
            // A list of them would be the account's.
            .route(
                &format!("{root}/conversations"),
                post(stored).fallback(|shared, uri: Uri| wrong_method("POST", shared, &uri)),
            )
            .route(&format!("{root}/conversations/{{*rest}}"), kept());
    }
    router.fallback(any(unknown_route)).with_state(workers)
}

/// Native services that answer at once, each at its own path.
async fn native_service(
    Shared(worker): Shared<Worker>,
    Path(path): Path<String>,
    request: Request,
) -> Response {
    let is_task = request
        .headers()
        .get("x-dashscope-async")
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"enable"));
    if is_task {
        return refuse(&worker, request.uri().path(), &Refusal::no_tasks());
    }
    let surface = match format!("/services/{path}") {
        path if path == NATIVE_EMBEDDINGS => Surface::Embeddings(Dialect::Native),
        path => Surface::other(Root::Native, path),
    };
    pass_on(worker, is_plain_path(&path), surface, request).await
}

/// An application of the service's console, which has a limit of its own in the place of a model's.
async fn application(
    Shared(worker): Shared<Worker>,
    Path(app): Path<String>,
    request: Request,
) -> Response {
    let surface = Surface::Other {
        root: Root::Native,
        path: format!("/apps/{app}/completion").into(),
        model: Some(format!("app-{app}").into()),
    };
    // An encoded slash would lead elsewhere.
    let is_plain = is_plain_path(&app) && !app.contains('/');
    pass_on(worker, is_plain, surface, request).await
}

/// Responses and conversations that the account has stored.
async fn stored(Shared(worker): Shared<Worker>, request: Request) -> Response {
    let path = request.uri().path();
    let below = ["/responses", "/conversations"]
        .iter()
        .find_map(|name| path.find(name))
        .map_or_else(String::new, |at| path[at..].to_owned());
    if let Some(id) = below.strip_prefix("/responses/")
        && let Some(kept) = kept_here(&worker, id, &request)
    {
        return json_response(&worker, StatusCode::OK, Bytes::from(kept.to_string()));
    }
    let surface = Surface::Other {
        root: Root::OpenAi,
        path: below.as_str().into(),
        model: Some(STORED.into()),
    };
    pass_on(worker, is_plain_path(&below), surface, request).await
}

/// A response that the gateway made itself.
fn kept_here(worker: &Worker, below: &str, request: &Request) -> Option<serde_json::Value> {
    let state = &worker.state;
    let key = relay::presented_key(request.headers());
    let id = RequestId::new(state.clock.unix_millis());
    let owner = state.authenticate(key, Peer::of(request), id)?;
    let (method, query) = (request.method(), request.uri().query());
    let now = state.clock.now();
    state
        .responses
        .answer(method, below, query, &owner.tenant_key(), now)
}

/// Passes a call on to a path that is partly the caller's word, if that is plain.
async fn pass_on(worker: Worker, is_plain: bool, surface: Surface, request: Request) -> Response {
    if is_plain {
        let peer = Peer::of(&request);
        return relay::handle(worker, surface, request, peer).await;
    }
    let path = request.uri().path();
    refuse(&worker, path, &Refusal::unknown_route(path))
}

/// Whether a path that a caller chose can be put below a root: no way up, nothing encoded.
fn is_plain_path(path: &str) -> bool {
    (1..=MAX_PATH_BYTES).contains(&path.len())
        && path
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
        && path.split('/').all(|part| part != ".." && part != ".")
}

/// The longest path below a root that a caller can choose, in bytes.
const MAX_PATH_BYTES: usize = 300;

/// `POST …/messages/count_tokens`: the service has no such call, so it is estimated here
/// (compat.md §6).
async fn count_tokens(
    Shared(worker): Shared<Worker>,
    uri: Uri,
    peer: Peer,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if let Some(refused) = refused(&worker, &uri, &headers, peer) {
        return refused;
    }
    match relay::count_tokens(&worker, &headers, body).await {
        Ok(tokens) => {
            let body = serde_json::json!({ "input_tokens": tokens });
            json_response(&worker, StatusCode::OK, Bytes::from(body.to_string()))
        }
        Err(refusal) => refuse(&worker, uri.path(), &refusal),
    }
}

async fn anthropic_models(
    Shared(worker): Shared<Worker>,
    uri: Uri,
    peer: Peer,
    headers: HeaderMap,
) -> Response {
    if let Some(refused) = refused(&worker, &uri, &headers, peer) {
        return refused;
    }
    let body = worker.state.models.all_for_anthropic();
    json_response(&worker, StatusCode::OK, body)
}

async fn healthz(Shared(worker): Shared<Worker>) -> Response {
    let kind = "text/plain; charset=utf-8";
    typed_response(&worker, StatusCode::OK, kind, "ok\n")
}

/// Ready as soon as it listens; while it stops it does not listen any more.
async fn readyz(Shared(worker): Shared<Worker>) -> Response {
    let detail = readiness::of(&worker.state);
    json_response(&worker, StatusCode::OK, Bytes::from(detail.to_string()))
}

async fn metrics(Shared(worker): Shared<Worker>) -> Response {
    let state = &worker.state;
    let kept = state.accounting.as_ref().map(|accounting| Kept {
        ledger: accounting.ledger.status(),
        keys_store_ok: accounting
            .store_health
            .failing_for(state.clock.now())
            .is_none(),
        contents_written: accounting.contents.kept(),
        contents_dropped: accounting.contents.dropped(),
        clock_behind: accounting.clock.behind(),
    });
    let text = state
        .metrics
        .render(&state.pacing, state.cache.as_deref(), kept.as_ref());
    match text {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            typed_response(&worker, StatusCode::OK, kind, text)
        }
        Err(_) => refuse(&worker, "/metrics", &Refusal::internal()),
    }
}

async fn models(
    Shared(worker): Shared<Worker>,
    uri: Uri,
    peer: Peer,
    headers: HeaderMap,
) -> Response {
    if let Some(refused) = refused(&worker, &uri, &headers, peer) {
        return refused;
    }
    let body = worker.state.models.all();
    json_response(&worker, StatusCode::OK, body)
}

async fn model(
    Shared(worker): Shared<Worker>,
    Path(id): Path<String>,
    uri: Uri,
    peer: Peer,
    headers: HeaderMap,
) -> Response {
    if let Some(refused) = refused(&worker, &uri, &headers, peer) {
        return refused;
    }
    match worker.state.models.one(&id) {
        Some(body) => json_response(&worker, StatusCode::OK, body),
        None => refuse(&worker, uri.path(), &Refusal::unknown_model(&id)),
    }
}

/// The refusal of a caller without a valid key, under the id that the log has.
fn refused(worker: &Worker, uri: &Uri, headers: &HeaderMap, peer: Peer) -> Option<Response> {
    let id = RequestId::new(worker.state.clock.unix_millis());
    let key = relay::presented_key(headers);
    let owner = worker.state.authenticate(key, peer, id);
    owner
        .is_none()
        .then(|| refuse_as(id, uri.path(), &Refusal::unauthenticated()))
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
    refuse_as(
        RequestId::new(worker.state.clock.unix_millis()),
        path,
        refusal,
    )
}

fn refuse_as(id: RequestId, path: &str, refusal: &Refusal) -> Response {
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
