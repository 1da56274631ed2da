//! More texts than a model embeds at once (compat.md §3.1) go out in several requests, one after
//! the other; the caller gets one answer.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body_util::{BodyExt as _, Limited};
use serde_json::{Value, json};

use super::exchange::Exchange;
use super::{Call, answer, headers, refuse};
use crate::errors::Refusal;
use crate::metrics::Outcome;
use crate::record::Record;
use crate::route::Spread;
use crate::usage::TokenCounts;
use crate::worker::Worker;

/// The most texts of one call; more are refused by upstream in its own words.
const MOST_TEXTS: usize = 10_000;

/// The largest answer of one request, in bytes: 25 vectors of 2,048 figures are below a megabyte.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// How many texts the service embeds at once.
fn batch_of(model: &str) -> Option<usize> {
    match model {
        "text-embedding-v1" | "text-embedding-v2" => Some(25),
        "qwen3.7-text-embedding" => Some(10),
        _ if model.starts_with("text-embedding-v") => Some(10),
        _ => None,
    }
}

/// The body of a call that has to be split, and how many texts go into each part.
pub(super) fn too_many(worker: &Worker, call: &Call) -> Option<(Value, usize)> {
    let state = &worker.state;
    if !state.repairs.embeddings {
        return None;
    }
    let plan = state
        .routes
        .plan(&call.demand.model, Spread::InOrder, state.clock.now());
    let target = plan.targets.first()?;
    if !state.accounts.get(target.account)?.is_service() {
        return None;
    }
    let batch = batch_of(target.model.as_deref().unwrap_or(&call.demand.model))?;
    // Fewer commas than texts would need: not worth a look at the whole body.
    memchr::memchr_iter(b',', &call.bytes).nth(batch - 1)?;
    let body: Value = serde_json::from_slice(&call.bytes).ok()?;
    let texts = body.get("input")?.as_array()?.len();
    (batch < texts && texts <= MOST_TEXTS).then_some((body, batch))
}

/// Serves such a call.
pub(super) async fn serve(
    worker: Worker,
    call: Box<Call>,
    mut body: Value,
    batch: usize,
    mut record: Record,
) -> Response {
    let texts = match body["input"].take() {
        Value::Array(texts) => texts,
        _ => Vec::new(),
    };
    let mut joined = Joined::default();
    for part in texts.chunks(batch) {
        body["input"] = part.to_vec().into();
        let mut part = call.clone();
        part.bytes = Bytes::from(body.to_string());
        part.demand.model_span = None;
        let exchange = Exchange::new(worker.clone(), part, record);
        let (back, result) = exchange.rest(0).await;
        record = back;
        let answered = match result {
            Ok(answered) => answered,
            Err(refusal) => return refuse(&refusal, record),
        };
        if !answered.answer.status().is_success() {
            // What was embedded before is lost with it: half an answer helps nobody.
            return answer::relay(answered, record).await;
        }
        let (head, upstream) = answered.answer.into_parts();
        let whole = Limited::new(upstream, MAX_ANSWER_BYTES).collect().await;
        let added = whole
            .ok()
            .and_then(|whole| serde_json::from_slice(&whole.to_bytes()).ok())
            .is_some_and(|answer| joined.add(answer));
        if !added {
            return refuse(&Refusal::unreadable(), record);
        }
        joined.headers = headers::to_client(&head.headers, false);
    }
    record.usage = Some(TokenCounts {
        input_tokens: joined.tokens,
        output_tokens: 0,
    });
    record.note_first_byte();
    record.end_as(Outcome::Completed);
    joined.into_response(&call)
}

/// The answers so far.
#[derive(Default)]
struct Joined {
    data: Vec<Value>,
    tokens: u64,
    model: Value,
    id: Value,
    headers: http::HeaderMap,
}

impl Joined {
    /// Adds the next part. Says whether it had the form of an answer.
    fn add(&mut self, mut answer: Value) -> bool {
        let Value::Array(entries) = answer["data"].take() else {
            return false;
        };
        let first = self.data.len();
        for (mut entry, place) in entries.into_iter().zip(0u64..) {
            let index = entry["index"].as_u64().unwrap_or(place);
            entry["index"] = (first as u64 + index).into();
            self.data.push(entry);
        }
        let tokens = answer
            .pointer("/usage/total_tokens")
            .and_then(Value::as_u64);
        self.tokens += tokens.unwrap_or(0);
        self.model = answer["model"].take();
        self.id = answer["id"].take();
        true
    }

    fn into_response(self, call: &Call) -> Response {
        let model = match self.model {
            Value::Null => json!(&*call.demand.model),
            model => model,
        };
        let body = json!({
            "object": "list",
            "data": self.data,
            "model": model,
            "id": self.id,
            "usage": { "prompt_tokens": self.tokens, "total_tokens": self.tokens },
        });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.headers_mut() = self.headers;
        let kind = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}
