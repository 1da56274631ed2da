//! More texts than a model embeds at once (compat.md §3.1) go out in several requests, one after
//! the other; the caller gets one answer.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::response::Response;
use bailian_wire::Dialect;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body_util::{BodyExt as _, Limited};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

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
    let mut body: Value = serde_json::from_slice(&call.bytes).ok()?;
    let texts = texts_of(&mut body, call.surface.dialect())?
        .as_array()?
        .len();
    (batch < texts && texts <= MOST_TEXTS).then_some((body, batch))
}

/// Where a body has its texts.
fn texts_of(body: &mut Value, dialect: Dialect) -> Option<&mut Value> {
    body.pointer_mut(match dialect {
        Dialect::Native => "/input/texts",
        _ => "/input",
    })
}

/// Serves such a call.
pub(super) async fn serve(
    worker: Worker,
    call: Box<Call>,
    mut body: Value,
    batch: usize,
    mut record: Box<Record>,
) -> Response {
    let dialect = call.surface.dialect();
    let texts = match texts_of(&mut body, dialect).map(Value::take) {
        Some(Value::Array(texts)) => texts,
        _ => Vec::new(),
    };
    let mut joined = Joined::default();
    for part in texts.chunks(batch) {
        if let Some(place) = texts_of(&mut body, dialect) {
            *place = part.to_vec().into();
        }
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
        record.leave();
        let whole = Limited::new(upstream, MAX_ANSWER_BYTES).collect().await;
        record.come_back();
        let added = whole
            .ok()
            .is_some_and(|whole| joined.add(&whole.to_bytes(), dialect).is_some());
        if !added {
            return refuse(&Refusal::unreadable(), record);
        }
        joined.headers = headers::to_client(&head.headers, false);
    }
    record.usage = Some(TokenCounts {
        input_tokens: joined.tokens,
        ..TokenCounts::default()
    });
    let Some(body) = joined.written(&call) else {
        return refuse(&Refusal::unreadable(), record);
    };
    let mut response = Response::new(Body::from(body));
    *response.headers_mut() = joined.headers;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    record.note_first_byte();
    record.end_as(Outcome::Completed);
    response
}

/// One vector with what stands beside it. Figures stay as they are written: read and written again,
/// a number may come out as its neighbour.
type Entry = BTreeMap<String, Box<RawValue>>;

/// An answer of either dialect, as far as it is needed.
#[derive(Deserialize)]
struct Answered {
    data: Option<Vec<Entry>>,
    output: Option<Output<Vec<Entry>>>,
    usage: Option<Usage>,
    model: Option<Box<RawValue>>,
    id: Option<Box<RawValue>>,
    request_id: Option<Box<RawValue>>,
}

#[derive(Deserialize, Serialize)]
struct Output<E> {
    embeddings: E,
}

#[derive(Deserialize, Serialize)]
struct Usage {
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens: Option<u64>,
    total_tokens: Option<u64>,
}

/// The whole in OpenAI's form.
#[derive(Serialize)]
struct OpenAi<'a> {
    object: &'static str,
    data: &'a [Entry],
    model: Box<RawValue>,
    id: &'a Option<Box<RawValue>>,
    usage: Usage,
}

/// The whole in the native form.
#[derive(Serialize)]
struct Native<'a> {
    output: Output<&'a [Entry]>,
    usage: Usage,
    request_id: &'a Option<Box<RawValue>>,
}

/// The answers so far.
#[derive(Default)]
struct Joined {
    entries: Vec<Entry>,
    tokens: u64,
    model: Option<Box<RawValue>>,
    id: Option<Box<RawValue>>,
    headers: http::HeaderMap,
}

impl Joined {
    /// Adds the next part, or nothing where it has not the form of an answer.
    fn add(&mut self, whole: &[u8], dialect: Dialect) -> Option<()> {
        let answer: Answered = serde_json::from_slice(whole).ok()?;
        let (entries, index, id) = match dialect {
            Dialect::Native => (answer.output?.embeddings, "text_index", answer.request_id),
            _ => (answer.data?, "index", answer.id),
        };
        let first = self.entries.len() as u64;
        for (mut entry, place) in entries.into_iter().zip(0u64..) {
            let told = entry.get(index).and_then(|index| index.get().parse().ok());
            let index_in_whole = to_raw_value(&(first + told.unwrap_or(place))).ok()?;
            entry.insert(index.to_owned(), index_in_whole);
            self.entries.push(entry);
        }
        self.tokens += answer
            .usage
            .and_then(|usage| usage.total_tokens)
            .unwrap_or(0);
        self.model = answer.model;
        self.id = id;
        Some(())
    }

    /// The body of the one answer.
    fn written(&self, call: &Call) -> Option<String> {
        let total_tokens = Some(self.tokens);
        let written = match call.surface.dialect() {
            Dialect::Native => serde_json::to_string(&Native {
                output: Output {
                    embeddings: &self.entries,
                },
                usage: Usage {
                    prompt_tokens: None,
                    total_tokens,
                },
                request_id: &self.id,
            }),
            _ => serde_json::to_string(&OpenAi {
                object: "list",
                data: &self.entries,
                model: match &self.model {
                    Some(model) => model.clone(),
                    None => to_raw_value(&*call.demand.model).ok()?,
                },
                id: &self.id,
                usage: Usage {
                    prompt_tokens: total_tokens,
                    total_tokens,
                },
            }),
        };
        written.ok()
    }
}
