//! Model lists of both surfaces.

use axum::extract::{Path, Query, State};
use axum::response::Response;
use bailian_wire::Dialect;
use bailian_wire::catalog::{Catalog, Model};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{json_response, presented_key, refuse};
use crate::call::find_model;
use crate::keys::identify;
use crate::rejection::Rejection;
use crate::simulator::Simulator;

fn offered() -> impl Iterator<Item = &'static Model> {
    Catalog::embedded()
        .models()
        .filter(|model| !model.is_retired())
}

fn entry(id: &str) -> Value {
    json!({ "id": id, "object": "model", "created": 1_700_000_000, "owned_by": "system" })
}

pub(super) async fn compat_list(
    State(simulator): State<Simulator>,
    headers: HeaderMap,
) -> Response {
    let id = simulator.next_request_id();
    if let Err(rejection) = identify(&simulator.config(), presented_key(&headers)) {
        return refuse(&simulator, Dialect::OpenAi, &rejection, &id);
    }
    let extra = simulator.config().models.clone();
    let data: Vec<Value> = offered()
        .map(|model| model.id.as_str())
        .chain(extra.iter().map(String::as_str))
        .map(entry)
        .collect();
    json_response(
        200,
        json!({ "object": "list", "data": data }).to_string(),
        &id,
    )
}

pub(super) async fn compat_one(
    State(simulator): State<Simulator>,
    Path(model): Path<String>,
    headers: HeaderMap,
) -> Response {
    let id = simulator.next_request_id();
    let config = simulator.config();
    let found = identify(&config, presented_key(&headers)).and_then(|_| {
        find_model(&model, &config.models).ok_or_else(|| {
            Rejection::new(
                404,
                "ModelNotFound",
                format!("The model `{model}` does not exist."),
            )
        })
    });
    match found {
        Ok(_) => json_response(200, entry(&model).to_string(), &id),
        Err(rejection) => refuse(&simulator, Dialect::OpenAi, &rejection, &id),
    }
}

#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names that the query has")]
pub(super) struct Page {
    page_no: Option<usize>,
    page_size: Option<usize>,
    model: Option<String>,
}

pub(super) async fn native_list(
    State(simulator): State<Simulator>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Response {
    let id = simulator.next_request_id();
    if let Err(rejection) = identify(&simulator.config(), presented_key(&headers)) {
        return refuse(&simulator, Dialect::Native, &rejection, &id);
    }
    let (number, size) = (
        page.page_no.unwrap_or(1).max(1),
        page.page_size.unwrap_or(20).clamp(1, 100),
    );
    let wanted: Vec<&Model> = offered()
        .filter(|model| page.model.as_ref().is_none_or(|name| *name == model.id))
        .collect();
    let models: Vec<Value> = wanted
        .iter()
        .skip((number - 1).saturating_mul(size))
        .take(size)
        .map(|model| {
            json!({
                "model": model.id,
                "model_info": {
                    "context_window": model.context_window,
                    "max_input_tokens": model.max_input,
                    "max_output_tokens": model.max_output,
                    "max_reasoning_tokens": model.max_thinking,
                },
            })
        })
        .collect();
    let body = json!({
        "output": { "total": wanted.len(), "page_no": number, "page_size": size, "models": models },
        "request_id": id,
    });
    json_response(200, body.to_string(), &id)
}
