//! Reads and writes Anthropic messages (compat.md §6.2).

use serde_json::{Map, Value, json};

use super::request::tool_use;
use crate::chat::{ChatResponse, Choice, Content, Extra, FinishReason, Message, ToolCall, Usage};
use crate::translate::{Identity, Losses};

/// The canonical form of an Anthropic message.
pub fn decode_response(answer: Value) -> ChatResponse {
    let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut content = String::new();
    let mut thinking = String::new();
    let mut calls = Vec::new();
    let mut extra = Extra::new();
    let blocks = answer.get("content").and_then(Value::as_array);
    for block in blocks.into_iter().flatten() {
        let text = |name: &str| block.get(name).and_then(Value::as_str);
        match text("type").unwrap_or_default() {
            "text" => {
                content.push_str(text("text").unwrap_or_default());
                let citations = block.get("citations").and_then(Value::as_array);
                if citations.is_some_and(|citations| !citations.is_empty()) {
                    extra.insert("citations".to_owned(), block["citations"].clone());
                }
            }
            "thinking" => {
                thinking.push_str(text("thinking").unwrap_or_default());
                if let Some(signature) = text("signature").filter(|text| !text.is_empty()) {
                    extra.insert("signature".to_owned(), signature.into());
                }
            }
            "tool_use" => {
                let input = block.get("input").unwrap_or(&Value::Null);
                let arguments = match input {
                    Value::Null => "{}".to_owned(),
                    input => input.to_string(),
                };
                let id = text("id").unwrap_or_default();
                let name = text("name").unwrap_or_default();
                let mut call = ToolCall::function(id, name, arguments);
                call.index = Some(calls.len() as u64);
                calls.push(call);
            }
            // Blocks of the provider's own tools, and those of tomorrow.
            kind => {
                let others = extra
                    .entry(kind.to_owned())
                    .or_insert_with(|| Value::Array(Vec::new()));
                if let Some(others) = others.as_array_mut() {
                    others.push(block.clone());
                }
            }
        }
    }
    let message = Message {
        reasoning_content: (!thinking.is_empty()).then_some(thinking),
        tool_calls: (!calls.is_empty()).then_some(calls),
        ..Message::assistant(content)
    };
    if let Some(sequence) = text("stop_sequence") {
        extra.insert("stop_sequence".to_owned(), sequence.into());
    }
    ChatResponse {
        id: text("id"),
        request_id: text("request_id"),
        model: text("model"),
        choices: vec![Choice {
            message,
            finish_reason: text("stop_reason").map(|reason| finish_reason(&reason)),
            ..Choice::default()
        }],
        usage: usage_of(answer.get("usage")),
        extra,
        raw: answer,
        ..ChatResponse::default()
    }
}

/// What other dialects have no place for.
pub(crate) fn note_own_members(response: &ChatResponse, losses: &mut Losses) {
    for name in [
        "signature",
        "citations",
        "server_tool_use",
        "web_search_tool_result",
    ] {
        if response.extra.contains_key(name) {
            losses.dropped(name);
        }
    }
}

/// The Anthropic message of an answer, and what it cannot say.
pub fn encode_response(response: &ChatResponse, identity: &Identity) -> (Value, Losses) {
    let mut losses = Losses::new();
    let mut blocks = Vec::new();
    let choice = response.choices.first();
    if response.choices.len() > 1 {
        losses.changed("choices");
    }
    if choice.is_some_and(|choice| choice.logprobs.is_some()) {
        losses.dropped("logprobs");
    }
    if response.search_info.is_some() {
        losses.dropped("search_info");
    }
    if response.audio.is_some() || response.audio_url.is_some() {
        losses.changed("audio");
    }
    if !response.reasoning().is_empty() {
        let signature = response.extra.get("signature").and_then(Value::as_str);
        blocks.push(json!({
            "type": "thinking",
            "thinking": response.reasoning(),
            "signature": signature.unwrap_or_default(),
        }));
    }
    let text = response.text();
    if let Some(Content::Parts(parts)) = response.message().and_then(|m| m.content.as_ref())
        && parts.iter().any(|part| part.text().is_none())
    {
        losses.changed("content");
    }
    if !text.is_empty() || (blocks.is_empty() && response.tool_calls().is_empty()) {
        blocks.push(json!({ "type": "text", "text": text }));
    }
    blocks.extend(response.tool_calls().iter().map(tool_use));
    let has_calls = !response.tool_calls().is_empty();
    let sequence = response.extra.get("stop_sequence").cloned();
    let body = json!({
        "id": identity.anthropic_id(),
        "type": "message",
        "role": "assistant",
        "model": identity.model,
        "content": blocks,
        "stop_reason": choice
            .and_then(|choice| choice.finish_reason.as_ref())
            .map(|reason| stop_reason(reason, has_calls)),
        "stop_sequence": sequence,
        "usage": usage_to_value(response.usage.as_ref()),
    });
    (body, losses)
}

/// Why a message ended (compat.md §8.7). A forced call ends with `stop` in the other dialects.
pub(crate) fn stop_reason(reason: &FinishReason, has_calls: bool) -> &str {
    match reason {
        FinishReason::ToolCalls => "tool_use",
        FinishReason::Stop if has_calls => "tool_use",
        FinishReason::Stop => "end_turn",
        FinishReason::Length => "max_tokens",
        FinishReason::Other(other) => match other.as_str() {
            "content_filter" => "refusal",
            other => other,
        },
    }
}

/// The canonical reason of a `stop_reason`.
pub(crate) fn finish_reason(stop_reason: &str) -> FinishReason {
    match stop_reason {
        "end_turn" | "stop_sequence" | "pause_turn" => FinishReason::Stop,
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        "refusal" => FinishReason::Other("content_filter".to_owned()),
        other => FinishReason::Other(other.to_owned()),
    }
}

/// Token counts of an Anthropic report, whose input leaves out what the cache read or wrote
/// (compat.md §8.8; for DashScope's own surface that is not verified, §6.2).
pub(crate) fn usage_of(report: Option<&Value>) -> Option<Usage> {
    let mut usage = Usage::from_member(report)?;
    let cached = usage.cached_tokens.unwrap_or(0);
    let created = usage.cache_creation_tokens.unwrap_or(0);
    usage.input_tokens = usage
        .input_tokens
        .saturating_add(cached)
        .saturating_add(created);
    usage.total_tokens = usage.input_tokens.saturating_add(usage.output_tokens);
    Some(usage)
}

/// The four counters of the dialect.
pub(crate) fn usage_to_value(usage: Option<&Usage>) -> Value {
    let none = Usage::default();
    let usage = usage.unwrap_or(&none);
    let cached = usage.cached_tokens.unwrap_or(0);
    let created = usage.cache_creation_tokens.unwrap_or(0);
    let mut report = Map::new();
    let input = usage
        .input_tokens
        .saturating_sub(cached)
        .saturating_sub(created);
    report.insert("input_tokens".to_owned(), input.into());
    report.insert("output_tokens".to_owned(), usage.output_tokens.into());
    report.insert("cache_creation_input_tokens".to_owned(), created.into());
    report.insert("cache_read_input_tokens".to_owned(), cached.into());
    if let Some(searches) = usage.searches {
        report.insert(
            "server_tool_use".to_owned(),
            json!({ "web_search_requests": searches }),
        );
    }
    Value::Object(report)
}
