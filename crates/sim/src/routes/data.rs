//! Calls that answer with figures at once: embeddings and rerank (embeddings-rerank.md).

use axum::extract::{Request, State};
use axum::response::Response;
use bailian_wire::Dialect;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::chat::Orders;
use super::exchange::Exchange;
use crate::checks::{check_account, model_name, parse};
use crate::faults::Fault;
use crate::journal::Verdict;
use crate::keys::KeyState;
use crate::rejection::Rejection;
use crate::schedule::Schedule;
use crate::similarity::{embed, similarity, sparse};
use crate::simulator::Simulator;
use crate::throttle::Ask;
use crate::tokens;

/// The most dimensions that any model has.
const DIMENSIONS: [u64; 8] = [2048, 1536, 1024, 768, 512, 256, 128, 64];

pub(super) async fn compat_embeddings(
    State(simulator): State<Simulator>,
    request: Request,
) -> Response {
    serve(simulator, Dialect::OpenAi, request, embeddings_of_compat).await
}

pub(super) async fn text_embeddings(
    State(simulator): State<Simulator>,
    request: Request,
) -> Response {
    serve(simulator, Dialect::Native, request, embeddings_of_native).await
}

pub(super) async fn multimodal_embeddings(
    State(simulator): State<Simulator>,
    request: Request,
) -> Response {
    serve(simulator, Dialect::Native, request, embeddings_of_contents).await
}

pub(super) async fn rerank(State(simulator): State<Simulator>, request: Request) -> Response {
    serve(simulator, Dialect::Native, request, native_rerank).await
}

pub(super) async fn flat_rerank(State(simulator): State<Simulator>, request: Request) -> Response {
    serve(simulator, Dialect::Native, request, compatible_rerank).await
}

/// An answer and its tokens.
type Answered = Result<(Value, u64), Rejection>;

/// Identifies, checks, counts, answers.
async fn serve(
    simulator: Simulator,
    dialect: Dialect,
    request: Request,
    answer: fn(&Value, &str) -> Answered,
) -> Response {
    let (head, body) = request.into_parts();
    let exchange = Exchange::begin(simulator, dialect, &head.uri, &head.headers);
    let (exchange, caller) = match exchange.known() {
        Ok(known) => known,
        Err(refused) => return refused,
    };
    let (mut exchange, body) = match exchange.receive(body).await {
        Ok(received) => received,
        Err(refused) => return refused,
    };
    let orders = match Orders::read(&head.headers, &exchange.config) {
        Ok(orders) => orders,
        Err(problem) => return exchange.refuse(&Rejection::parameter(problem)),
    };
    let body = match parse(&body) {
        Ok(body) => body,
        Err(rejection) => return exchange.refuse(&rejection),
    };
    let model = model_name(&body).unwrap_or_default().to_owned();
    exchange
        .guard
        .update(|entry| entry.model.clone_from(&model));
    if let Err(rejection) = check_account(&caller) {
        return exchange.refuse(&rejection);
    }
    if caller.state == KeyState::Limited {
        return exchange.refuse(&Rejection::documented("Throttling.RateQuota"));
    }
    let (value, tokens) = match answer(&body, &exchange.request_id) {
        Ok(answered) => answered,
        Err(rejection) => return exchange.refuse(&rejection),
    };
    let workspace = head.headers.get("x-dashscope-workspace");
    let workspace = workspace.and_then(|value| value.to_str().ok());
    let throttle = &exchange.simulator.shared.throttle;
    let ask = || Ask::new(tokens, 0);
    match throttle.admit(&exchange.config, &caller.account, workspace, &model, ask) {
        Ok(meter) => exchange.guard.count_by(meter),
        Err(rejection) => return exchange.refuse(&rejection),
    }
    let faults = match orders.faults {
        Some(faults) => faults,
        None => exchange.configured_faults(&model, head.uri.path(), false),
    };
    let exchange = match exchange.strike(&faults, false).await {
        Ok(exchange) => exchange,
        Err(response) => return response,
    };
    exchange.guard.update(|entry| entry.input_tokens = tokens);
    let body = Bytes::from(value.to_string());
    if faults.iter().all(|fault| matches!(fault, Fault::Delay(_))) {
        return exchange.json(200, body, Verdict::Ok);
    }
    let schedule = Schedule::of_whole(dialect, &exchange.request_id, body, faults);
    exchange.json_in_pieces(schedule)
}

fn unknown_model(id: &str) -> Rejection {
    Rejection::new(404, "ModelNotFound", "Model can not be found.").compat_message(format!(
        "The model `{id}` does not exist or you do not have access to it."
    ))
}

fn texts_of(value: Option<&Value>) -> Result<Vec<String>, Rejection> {
    let wrong = || {
        Rejection::parameter(
            "Value error, contents is neither str nor list of str.: input.contents",
        )
    };
    match value {
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        Some(Value::Array(texts)) if texts.is_empty() => {
            Err(Rejection::parameter("[] is too short"))
        }
        Some(Value::Array(texts)) => texts
            .iter()
            .map(|text| text.as_str().map(str::to_owned).ok_or_else(wrong))
            .collect(),
        _ => Err(wrong()),
    }
}

/// What a text model embeds at once, and its dimensions (§1.1).
fn check_texts(model: &str, texts: &[String], asked: Option<u64>) -> Result<usize, Rejection> {
    let (most, default, steps): (usize, u64, &[u64]) = match model {
        "text-embedding-v1" | "text-embedding-v2" => (25, 1536, &[1536]),
        "text-embedding-v3" => (10, 1024, &DIMENSIONS[2..]),
        "text-embedding-v4" | "qwen3.7-text-embedding" => (10, 1024, &DIMENSIONS),
        other => return Err(unknown_model(other)),
    };
    if texts.len() > most {
        return Err(Rejection::parameter(format!(
            "Value error, batch size is invalid, it should not be larger than {most}.: input.contents"
        ))
        .compat_message(format!(
            "<400> InternalError.Algo.InvalidParameter: Value error, batch size is invalid, it should not be larger than {most}.: input.contents"
        )));
    }
    let dimensions = asked.unwrap_or(default);
    if !steps.contains(&dimensions) {
        return Err(Rejection::parameter(format!(
            "Value error, dimension is invalid, it should be in {steps:?}.: parameters.dimension"
        )));
    }
    Ok(usize::try_from(dimensions).unwrap_or(1024))
}

fn count(texts: &[String]) -> u64 {
    texts.iter().map(|text| tokens::count(text)).sum()
}

fn embeddings_of_compat(body: &Value, request_id: &str) -> Answered {
    let model = model_name(body).unwrap_or_default();
    let texts = texts_of(body.get("input"))?;
    let asked = body.get("dimensions").and_then(Value::as_u64);
    let dimensions = check_texts(model, &texts, asked)?;
    let data: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            json!({ "embedding": embed(text, dimensions), "index": index, "object": "embedding" })
        })
        .collect();
    let total = count(&texts);
    let answer = json!({
        "data": data, "model": model, "object": "list", "id": request_id,
        "usage": { "prompt_tokens": total, "total_tokens": total },
    });
    Ok((answer, total))
}

fn embeddings_of_native(body: &Value, request_id: &str) -> Answered {
    let model = model_name(body).unwrap_or_default();
    let texts = texts_of(body.pointer("/input/texts"))?;
    let asked = body
        .pointer("/parameters/dimension")
        .and_then(Value::as_u64);
    let dimensions = check_texts(model, &texts, asked)?;
    let kind = body
        .pointer("/parameters/output_type")
        .and_then(Value::as_str)
        .unwrap_or("dense");
    let (dense, thin) = match kind {
        "dense" => (true, false),
        "sparse" => (false, true),
        "dense&sparse" => (true, true),
        _ => return Err(Rejection::parameter("output_type is invalid.")),
    };
    let embeddings: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let mut entry = json!({ "text_index": index });
            if thin {
                entry["sparse_embedding"] = sparse(text)
                    .into_iter()
                    .map(|(index, value, token)| {
                        json!({ "index": index, "value": value, "token": token })
                    })
                    .collect();
            }
            if dense {
                entry["embedding"] = embed(text, dimensions).into();
            }
            entry
        })
        .collect();
    let total = count(&texts);
    let answer = json!({
        "output": { "embeddings": embeddings },
        "usage": { "total_tokens": total },
        "request_id": request_id,
    });
    Ok((answer, total))
}

/// Texts, pictures and videos (§3).
fn embeddings_of_contents(body: &Value, request_id: &str) -> Answered {
    let model = model_name(body).unwrap_or_default();
    let dimensions = match model {
        "qwen3-vl-embedding" => 2560,
        "tongyi-embedding-vision-plus" | "tongyi-embedding-vision-plus-2026-03-06" => 1152,
        "tongyi-embedding-vision-flash" | "tongyi-embedding-vision-flash-2026-03-06" => 768,
        "qwen2.5-vl-embedding" | "multimodal-embedding-v1" => 1024,
        other => return Err(unknown_model(other)),
    };
    let contents = body.pointer("/input/contents").and_then(Value::as_array);
    let contents = contents.filter(|contents| !contents.is_empty());
    let contents = contents.ok_or_else(|| Rejection::parameter("[] is too short"))?;
    if contents.len() > 20 {
        return Err(Rejection::parameter(
            "Value error, batch size is invalid, it should not be larger than 20.",
        ));
    }
    let (mut text_tokens, mut image_tokens) = (0, 0);
    let mut parts = Vec::new();
    for content in contents {
        let (kind, what) = match content {
            Value::String(text) => ("text", text.clone()),
            Value::Object(members) => {
                let known = ["text", "image", "video", "multi_images"];
                let found = known
                    .iter()
                    .find_map(|kind| Some((*kind, members.get(*kind)?)));
                let (kind, value) =
                    found.ok_or_else(|| Rejection::parameter("contents is invalid."))?;
                (
                    kind,
                    value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned),
                )
            }
            _ => return Err(Rejection::parameter("contents is invalid.")),
        };
        if kind == "text" {
            text_tokens += tokens::count(&what);
        } else {
            image_tokens += 402;
        }
        parts.push((kind, what));
    }
    let fused = body.pointer("/parameters/enable_fusion") == Some(&Value::Bool(true))
        || model == "qwen2.5-vl-embedding";
    let embeddings: Vec<Value> = if fused {
        let all: String = parts.iter().map(|(_, what)| what.as_str()).collect();
        vec![json!({ "index": 0, "embedding": embed(&all, dimensions), "type": "fusion" })]
    } else {
        parts
            .iter()
            .enumerate()
            .map(|(index, (kind, what))| {
                let kind = if model == "qwen3-vl-embedding" {
                    "vl"
                } else {
                    kind
                };
                json!({ "index": index, "embedding": embed(what, dimensions), "type": kind })
            })
            .collect()
    };
    let input = text_tokens + image_tokens;
    let answer = json!({
        "output": { "embeddings": embeddings },
        "usage": {
            "input_tokens": input,
            "input_tokens_details": { "image_tokens": image_tokens, "text_tokens": text_tokens },
            "output_tokens": 1,
            "total_tokens": input + 1,
        },
        "request_id": request_id,
    });
    Ok((answer, input))
}

/// What is ranked, and how.
struct Ranking {
    results: Vec<Value>,
    tokens: u64,
}

fn rank(
    model: &str,
    query: &Value,
    documents: Option<&Value>,
    options: &Map<String, Value>,
) -> Result<Ranking, Rejection> {
    let text = |value: &Value| {
        value.as_str().map(str::to_owned).or_else(|| {
            let members = value.as_object()?;
            let known = ["text", "image", "video"];
            let found = known.iter().find_map(|kind| members.get(*kind)?.as_str());
            found.map(str::to_owned)
        })
    };
    let query = text(query).ok_or_else(|| Rejection::parameter("query is required."))?;
    let documents = documents.and_then(Value::as_array);
    let documents = documents.filter(|documents| !documents.is_empty());
    let documents = documents.ok_or_else(|| Rejection::parameter("documents is required."))?;
    let most = if model == "qwen3-vl-rerank" { 100 } else { 500 };
    if documents.len() > most {
        return Err(Rejection::parameter(format!(
            "documents size is invalid, it should not be larger than {most}."
        )));
    }
    let returns = options.get("return_documents") == Some(&Value::Bool(true));
    let mut tokens = tokens::count(&query) * documents.len() as u64;
    let mut scored = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        let what = text(document).ok_or_else(|| Rejection::parameter("documents is invalid."))?;
        tokens += tokens::count(&what);
        scored.push((similarity(&query, &what), index, document));
    }
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let top = options.get("top_n").and_then(Value::as_u64);
    let top = top.and_then(|top| usize::try_from(top).ok());
    scored.truncate(top.unwrap_or(usize::MAX));
    let results = scored.into_iter().map(|(score, index, document)| {
        let mut result = json!({ "index": index, "relevance_score": score });
        if returns {
            result["document"] = match document {
                Value::String(text) => json!({ "text": text }),
                other => other.clone(),
            };
        }
        result
    });
    Ok(Ranking {
        results: results.collect(),
        tokens,
    })
}

fn native_rerank(body: &Value, request_id: &str) -> Answered {
    let model = model_name(body).unwrap_or_default();
    let known = [
        "gte-rerank-v2",
        "qwen3-vl-rerank",
        "qwen3-rerank",
        "qwen3.7-text-rerank",
    ];
    if !known.contains(&model) {
        return Err(unknown_model(model));
    }
    let options = body.get("parameters").and_then(Value::as_object).cloned();
    let input = &body["input"];
    let ranking = rank(
        model,
        &input["query"],
        input.get("documents"),
        &options.unwrap_or_default(),
    )?;
    let answer = json!({
        "output": { "results": ranking.results },
        "usage": { "total_tokens": ranking.tokens },
        "request_id": request_id,
    });
    Ok((answer, ranking.tokens))
}

fn compatible_rerank(body: &Value, request_id: &str) -> Answered {
    let model = model_name(body).unwrap_or_default();
    if model != "qwen3-rerank" {
        return Err(unknown_model(model));
    }
    let mut options = body.as_object().cloned().unwrap_or_default();
    options.remove("return_documents");
    let ranking = rank(model, &body["query"], body.get("documents"), &options)?;
    let answer = json!({
        "object": "list", "results": ranking.results, "model": model, "id": request_id,
        "usage": { "total_tokens": ranking.tokens },
    });
    Ok((answer, ranking.tokens))
}
