//! Calls that answer with figures at once: embeddings and rerank (embeddings-rerank.md).

mod contents;
mod rerank;

use axum::extract::{Request, State};
use axum::response::Response;
use bailian_wire::Dialect;
use bytes::Bytes;
use serde_json::{Value, json};

use super::chat::Orders;
use super::exchange::Exchange;
use crate::checks::{check_account, model_name, parse};
use crate::faults::Fault;
use crate::journal::Verdict;
use crate::keys::KeyState;
use crate::rejection::Rejection;
use crate::schedule::Schedule;
use crate::similarity::{embed, sparse};
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
    serve(simulator, Dialect::Native, request, contents::embeddings).await
}

pub(super) async fn native_rerank(
    State(simulator): State<Simulator>,
    request: Request,
) -> Response {
    serve(simulator, Dialect::Native, request, rerank::native).await
}

pub(super) async fn flat_rerank(State(simulator): State<Simulator>, request: Request) -> Response {
    serve(simulator, Dialect::Native, request, rerank::flat).await
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
    let is_old = matches!(model, "text-embedding-v1" | "text-embedding-v2");
    if thin && is_old {
        return Err(Rejection::parameter("output_type is invalid."));
    }
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
