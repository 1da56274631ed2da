//! The paths of the service, and the simulator's own under `/__sim/`.

mod anthropic;
mod application;
mod chat;
mod control;
mod data;
mod exchange;
mod models;
mod quotas;
mod responses;
mod stored;
mod wrapped;

use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{any, get, post};
use bailian_wire::Dialect;
use http::{HeaderMap, Method, Uri};
use uuid::Builder;

use self::exchange::Exchange;
use crate::rejection::Rejection;
use crate::simulator::Simulator;

/// Where responses and conversations are, and where they once were (compat.md §1.1).
const RESPONSES: [&str; 2] = [
    "/compatible-mode/v1",
    "/api/v2/apps/protocols/compatible-mode/v1",
];

pub(crate) fn router(simulator: Simulator) -> Router {
    let mut router = Router::new();
    for root in RESPONSES {
        router = router
            .route(&format!("{root}/responses"), post(chat::responses))
            .route(
                &format!("{root}/responses/{{*rest}}"),
                any(stored::response),
            )
            .route(
                &format!("{root}/conversations"),
                post(stored::new_conversation),
            )
            .route(
                &format!("{root}/conversations/{{*rest}}"),
                any(stored::conversation),
            );
    }
    router
        .route(
            "/api/v1/services/aigc/text-generation/generation",
            post(chat::native_text),
        )
        .route(
            "/api/v1/services/aigc/multimodal-generation/generation",
            post(chat::native_multimodal),
        )
        .route("/compatible-mode/v1/chat/completions", post(chat::compat))
        .route("/compatible-mode/v1/completions", post(chat::completions))
        .route("/api/v1/apps/{app}/completion", post(chat::application))
        .route("/apps/anthropic/v1/messages", post(chat::anthropic))
        .route(
            "/compatible-mode/v1/embeddings",
            post(data::compat_embeddings),
        )
        .route(
            "/api/v1/services/embeddings/text-embedding/text-embedding",
            post(data::text_embeddings),
        )
        .route(
            "/api/v1/services/embeddings/multimodal-embedding/multimodal-embedding",
            post(data::multimodal_embeddings),
        )
        .route(
            "/api/v1/services/rerank/text-rerank/text-rerank",
            post(data::native_rerank),
        )
        .route("/compatible-api/v1/reranks", post(data::flat_rerank))
        .route("/compatible-mode/v1/models", get(models::compat_list))
        .route("/compatible-mode/v1/models/{*id}", get(models::compat_one))
        .route("/api/v1/models", get(models::native_list))
        .route("/api/v1/quotas", get(quotas::list))
        .route(
            "/api/v1/models/limits",
            get(quotas::list).post(quotas::change),
        )
        .route("/__sim/journal", get(control::journal))
        .route("/__sim/stats", get(control::stats))
        .route("/__sim/limits", get(control::limits))
        .route("/__sim/reset", post(control::reset))
        .route(
            "/__sim/config",
            get(control::config).put(control::put_config),
        )
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .with_state(simulator)
}

async fn unknown(State(simulator): State<Simulator>, uri: Uri, headers: HeaderMap) -> Response {
    if uri.path().starts_with("/__sim/") {
        return control::unknown(uri.path());
    }
    let exchange = Exchange::begin(simulator, dialect_of(uri.path()), &uri, &headers);
    exchange.refuse(&Rejection::new(404, "NotFound", "Not found!"))
}

async fn wrong_method(
    State(simulator): State<Simulator>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    if uri.path().starts_with("/__sim/") {
        return control::wrong_method(&method);
    }
    let exchange = Exchange::begin(simulator, dialect_of(uri.path()), &uri, &headers);
    let message = format!("Request method '{method}' is not supported.");
    exchange.refuse(&Rejection::new(405, "InvalidParameter", message))
}

fn dialect_of(path: &str) -> Dialect {
    if path.starts_with("/compatible-mode/") || path.starts_with("/api/v2/") {
        Dialect::OpenAi
    } else if path.starts_with("/apps/anthropic/") {
        Dialect::Anthropic
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
