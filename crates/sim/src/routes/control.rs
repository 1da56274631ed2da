//! The simulator's own paths.

use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::Response;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::simulator::Simulator;

#[derive(Deserialize)]
pub(super) struct JournalQuery {
    format: Option<String>,
}

/// A JSON array with one entry per line, or one entry per line alone where NDJSON is asked for.
pub(super) async fn journal(
    State(simulator): State<Simulator>,
    Query(query): Query<JournalQuery>,
    headers: HeaderMap,
) -> Response {
    let lines: Vec<String> = simulator
        .journal()
        .iter()
        .map(|entry| serde_json::to_string(entry).unwrap_or_default())
        .collect();
    let asked = headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let ndjson = query.format.as_deref() == Some("ndjson") || asked.contains("ndjson");
    if ndjson {
        let text: String = lines
            .iter()
            .flat_map(|line| [line.as_str(), "\n"])
            .collect();
        return typed(StatusCode::OK, "application/x-ndjson", text);
    }
    typed(
        StatusCode::OK,
        "application/json",
        format!("[{}]\n", lines.join(",\n")),
    )
}

pub(super) async fn stats(State(simulator): State<Simulator>) -> Response {
    let journal = &simulator.shared.journal;
    let body = json!({ "accounts": journal.totals(), "dropped": journal.dropped() });
    typed(StatusCode::OK, "application/json", body.to_string())
}

pub(super) async fn limits(State(simulator): State<Simulator>) -> Response {
    let body = json!({ "limits": simulator.shared.throttle.report() });
    typed(StatusCode::OK, "application/json", body.to_string())
}

pub(super) async fn reset(State(simulator): State<Simulator>) -> Response {
    simulator.reset();
    typed(
        StatusCode::OK,
        "application/json",
        json!({ "reset": true }).to_string(),
    )
}

pub(super) async fn config(State(simulator): State<Simulator>) -> Response {
    effective(&simulator)
}

/// Merges the members of the body into the settings and answers with all of them.
pub(super) async fn put_config(State(simulator): State<Simulator>, body: String) -> Response {
    let patch: Result<Value, _> = serde_json::from_str(&body);
    let patched = match patch {
        Ok(patch) => simulator
            .config()
            .patched(&patch)
            .map_err(|error| error.to_string()),
        Err(error) => Err(format!("the body is not JSON: {error}")),
    };
    match patched {
        Ok(config) => {
            simulator.set_config(config);
            effective(&simulator)
        }
        Err(error) => {
            let body = json!({ "error": error });
            typed(
                StatusCode::BAD_REQUEST,
                "application/json",
                body.to_string(),
            )
        }
    }
}

pub(super) fn unknown(path: &str) -> Response {
    let error = format!("there is no {path}; there are journal, stats, limits, reset and config");
    typed(
        StatusCode::NOT_FOUND,
        "application/json",
        json!({ "error": error }).to_string(),
    )
}

pub(super) fn wrong_method(method: &http::Method) -> Response {
    let error = format!(
        "not with {method}: journal, stats, limits and config are read, reset is posted, config is put"
    );
    typed(
        StatusCode::METHOD_NOT_ALLOWED,
        "application/json",
        json!({ "error": error }).to_string(),
    )
}

fn effective(simulator: &Simulator) -> Response {
    let body = serde_json::to_string_pretty(&*simulator.config()).unwrap_or_default();
    typed(StatusCode::OK, "application/json", body)
}

fn typed(status: StatusCode, kind: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
