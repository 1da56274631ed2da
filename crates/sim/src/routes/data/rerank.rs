//! Ranks documents by how near they are to a query (embeddings-rerank.md §4).

use serde_json::{Map, Value, json};

use super::{Answered, unknown_model};
use crate::checks::model_name;
use crate::rejection::Rejection;
use crate::similarity::similarity;
use crate::tokens;

/// What a model takes.
#[derive(Clone, Copy, Debug)]
struct Limits {
    texts: usize,
    images: usize,
    videos: usize,
    /// A longer item is cut.
    item_tokens: u64,
    /// More is refused.
    tokens: u64,
}

fn limits(model: &str) -> Option<Limits> {
    let of_texts = Limits {
        texts: 500,
        images: 0,
        videos: 0,
        item_tokens: 4_000,
        tokens: 120_000,
    };
    match model {
        "qwen3-rerank" | "qwen3.7-text-rerank" => Some(of_texts),
        "gte-rerank-v2" => Some(Limits {
            tokens: 30_000,
            ..of_texts
        }),
        "qwen3-vl-rerank" => Some(Limits {
            texts: 100,
            images: 40,
            videos: 4,
            item_tokens: 8_000,
            ..of_texts
        }),
        _ => None,
    }
}

/// What is ranked, and how.
struct Ranking {
    results: Vec<Value>,
    tokens: u64,
}

/// The kind of a document or query, and what it is.
fn read(value: &Value, limits: Limits) -> Option<(&'static str, &str)> {
    if let Some(text) = value.as_str() {
        return Some(("text", text));
    }
    let known = ["text", "image", "video"];
    let mut found = known
        .iter()
        .filter_map(|kind| Some((*kind, value.get(*kind)?.as_str()?)));
    found.next().filter(|_| limits.images > 0)
}

fn rank(
    limits: Limits,
    query: &Value,
    documents: Option<&Value>,
    options: &Map<String, Value>,
) -> Result<Ranking, Rejection> {
    let query = read(query, limits).map(|(_, what)| what);
    let query = query.ok_or_else(|| Rejection::parameter("query is required."))?;
    let documents = documents.and_then(Value::as_array);
    let documents = documents.filter(|documents| !documents.is_empty());
    let documents = documents.ok_or_else(|| Rejection::parameter("documents is required."))?;
    let count = |text: &str| tokens::count(text).min(limits.item_tokens);
    let returns = options.get("return_documents") == Some(&Value::Bool(true));
    let mut tokens = count(query) * documents.len() as u64;
    let (mut texts, mut images, mut videos) = (0, 0, 0);
    let mut scored = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        let (kind, what) =
            read(document, limits).ok_or_else(|| Rejection::parameter("documents is invalid."))?;
        match kind {
            "image" => images += 1,
            "video" => videos += 1,
            _ => texts += 1,
        }
        tokens += count(what);
        scored.push((similarity(query, what), index, document));
    }
    for (there, most) in [
        (texts, limits.texts),
        (images, limits.images),
        (videos, limits.videos),
    ] {
        if there > most {
            return Err(Rejection::parameter(format!(
                "documents size is invalid, it should not be larger than {most}."
            )));
        }
    }
    if tokens > limits.tokens {
        let most = limits.tokens;
        return Err(Rejection::parameter(format!(
            "Range of input length should be [1, {most}]"
        )));
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

/// The native form.
pub(super) fn native(body: &Value, request_id: &str) -> Answered {
    let model = model_name(body).unwrap_or_default();
    let limits = limits(model).ok_or_else(|| unknown_model(model))?;
    let options = body.get("parameters").and_then(Value::as_object).cloned();
    let input = &body["input"];
    let ranking = rank(
        limits,
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

/// The flat form, for one model only and without the documents.
pub(super) fn flat(body: &Value, request_id: &str) -> Answered {
    let model = model_name(body).unwrap_or_default();
    let limits = limits(model).filter(|_| model == "qwen3-rerank");
    let limits = limits.ok_or_else(|| unknown_model(model))?;
    let mut options = body.as_object().cloned().unwrap_or_default();
    options.remove("return_documents");
    let ranking = rank(limits, &body["query"], body.get("documents"), &options)?;
    let answer = json!({
        "object": "list", "results": ranking.results, "model": model, "id": request_id,
        "usage": { "total_tokens": ranking.tokens },
    });
    Ok((answer, ranking.tokens))
}
