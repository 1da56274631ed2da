//! Model lists of both surfaces.

use axum::extract::{Path, State};
use axum::response::Response;
use bailian_wire::Dialect;
use bailian_wire::catalog::{Catalog, Model};
use bytes::Bytes;
use http::{HeaderMap, Uri};
use serde_json::{Value, json};

use super::exchange::Exchange;
use crate::call::find_model;
use crate::journal::Verdict;
use crate::rejection::Rejection;
use crate::simulator::Simulator;

pub(super) fn offered() -> impl Iterator<Item = &'static Model> {
    Catalog::embedded()
        .models()
        .filter(|model| !model.is_retired())
}

fn entry(id: &str) -> Value {
    json!({ "id": id, "object": "model", "created": 1_700_000_000, "owned_by": "system" })
}

/// Sends what `answer` gives to a caller with a good key.
fn respond(
    exchange: Exchange,
    answer: impl FnOnce(&Exchange) -> Result<Value, Rejection>,
) -> Response {
    match exchange.identify().and_then(|_| answer(&exchange)) {
        Ok(body) => exchange.json(200, Bytes::from(body.to_string()), Verdict::Ok),
        Err(rejection) => exchange.refuse(&rejection),
    }
}

pub(super) async fn compat_list(
    State(simulator): State<Simulator>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let exchange = Exchange::begin(simulator, Dialect::OpenAi, &uri, &headers);
    respond(exchange, |exchange| {
        let data: Vec<Value> = offered()
            .map(|model| model.id.as_str())
            .chain(exchange.config.models.iter().map(String::as_str))
            .map(entry)
            .collect();
        Ok(json!({ "object": "list", "data": data }))
    })
}

pub(super) async fn compat_one(
    State(simulator): State<Simulator>,
    Path(model): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let exchange = Exchange::begin(simulator, Dialect::OpenAi, &uri, &headers);
    respond(exchange, |exchange| {
        match find_model(&model, &exchange.config.models) {
            Some(_) => Ok(entry(&model)),
            None => Err(Rejection::new(
                404,
                "ModelNotFound",
                format!("The model `{model}` does not exist."),
            )),
        }
    })
}

pub(super) async fn native_list(
    State(simulator): State<Simulator>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let exchange = Exchange::begin(simulator, Dialect::Native, &uri, &headers);
    respond(exchange, |exchange| page(&uri, &exchange.request_id))
}

/// What `page_no`, `page_size` and `model` of the query ask for.
pub(super) fn page_of(uri: &Uri) -> Result<(usize, usize, Option<&str>), Rejection> {
    let (mut number, mut size, mut name) = (1usize, 20usize, None);
    for pair in uri.query().unwrap_or_default().split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let count = || {
            value.parse().ok().filter(|n| *n > 0).ok_or_else(|| {
                Rejection::parameter(format!(
                    "Required parameter({key}) missing or invalid, please check the request \
                     parameters."
                ))
            })
        };
        match key {
            "page_no" => number = count()?,
            "page_size" => size = count()?.min(100),
            "model" | "name" => name = Some(value),
            _ => {}
        }
    }
    Ok((number, size, name))
}

fn page(uri: &Uri, request_id: &str) -> Result<Value, Rejection> {
    let (number, size, name) = page_of(uri)?;
    let wanted: Vec<&Model> = offered()
        .filter(|model| name.is_none_or(|name| name == model.id))
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
    Ok(json!({
        "output": { "total": wanted.len(), "page_no": number, "page_size": size, "models": models },
        "request_id": request_id,
    }))
}
