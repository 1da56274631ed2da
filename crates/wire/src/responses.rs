//! OpenAI responses (compat.md §5) over the canonical chat types, for upstreams that speak chat
//! only. What needs state or tools of the provider is not here: it cannot be carried.

mod decode;

use serde_json::{Value, json};

pub use self::decode::decode_request;
use crate::chat::{ChatResponse, FinishReason, Usage};
use crate::translate::{Identity, Losses};

/// What a response object says beside its identity.
#[derive(Clone, Debug)]
pub(crate) struct Envelope<'a> {
    pub(crate) output: Vec<Value>,
    pub(crate) usage: Option<&'a Usage>,
    pub(crate) reason: Option<&'a FinishReason>,
}

impl Envelope<'_> {
    pub(crate) fn to_value(&self, identity: &Identity) -> Value {
        let is_cut = matches!(self.reason, Some(FinishReason::Length));
        let mut response = json!({
            "id": format!("resp_{}", identity.id),
            "object": "response",
            "created_at": identity.created,
            "model": identity.model,
            "status": if is_cut { "incomplete" } else { "completed" },
            "output": self.output,
            "parallel_tool_calls": false,
            "tool_choice": "auto",
            "tools": [],
            "usage": self.usage.map(usage_to_value),
        });
        if is_cut {
            response["incomplete_details"] = json!({ "reason": "max_output_tokens" });
        }
        response
    }
}

/// The response object of an answer, and what it cannot say.
pub fn encode_response(response: &ChatResponse, identity: &Identity) -> (Value, Losses) {
    let mut losses = Losses::new();
    if response.choices.len() > 1 {
        losses.changed("choices");
    }
    if response.search_info.is_some() {
        losses.dropped("search_info");
    }
    if response.audio.is_some() {
        losses.changed("audio");
    }
    let mut output: Vec<Value> = Vec::new();
    let id = |place: usize| format!("msg_{}_{place}", identity.id);
    if !response.reasoning().is_empty() {
        output.push(reasoning_item(&id(0), response.reasoning()));
    }
    let text = response.text();
    if !text.is_empty() || response.tool_calls().is_empty() {
        output.push(message_item(&id(output.len()), &text, "completed"));
    }
    for call in response.tool_calls() {
        let function = &call.function;
        let item = function_call_item(
            &id(output.len()),
            &call.id,
            &function.name,
            &function.arguments,
            "completed",
        );
        output.push(item);
    }
    let envelope = Envelope {
        output,
        usage: response.usage.as_ref(),
        reason: response.finish_reason(),
    };
    (envelope.to_value(identity), losses)
}

pub(crate) fn message_item(id: &str, text: &str, status: &str) -> Value {
    let content = if status == "in_progress" {
        json!([])
    } else {
        json!([{ "type": "output_text", "text": text, "annotations": [] }])
    };
    json!({ "id": id, "type": "message", "role": "assistant", "status": status, "content": content })
}

pub(crate) fn reasoning_item(id: &str, text: &str) -> Value {
    let summary = if text.is_empty() {
        json!([])
    } else {
        json!([{ "type": "summary_text", "text": text }])
    };
    json!({ "id": id, "type": "reasoning", "summary": summary })
}

pub(crate) fn function_call_item(
    id: &str,
    call_id: &str,
    name: &str,
    arguments: &str,
    status: &str,
) -> Value {
    json!({
        "id": id,
        "type": "function_call",
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
        "status": status,
    })
}

fn usage_to_value(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.input_tokens,
        "input_tokens_details": { "cached_tokens": usage.cached_tokens.unwrap_or(0) },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": { "reasoning_tokens": usage.reasoning_tokens.unwrap_or(0) },
        "total_tokens": usage.total_tokens,
    })
}
