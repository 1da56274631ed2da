//! Writes native answers (http-native.md §5).

use serde_json::{Map, Value, json};

use super::request::encode_multimodal_part;
use crate::anthropic::note_own_members;
use crate::chat::{ChatResponse, Choice, Content, ContentPart, ToolCall, Usage};
use crate::translate::{Identity, Losses};

/// The native answer, and what it cannot say. With `parts`, contents are lists of parts, as the
/// multimodal path answers (§6).
pub fn encode_response(
    response: &ChatResponse,
    identity: &Identity,
    parts: bool,
) -> (Value, Losses) {
    let mut losses = Losses::new();
    note_own_members(response, &mut losses);
    let choices: Vec<Value> = response
        .choices
        .iter()
        .map(|choice| encode_choice(choice, parts))
        .collect();
    let mut output = json!({ "choices": choices });
    if let Some(info) = &response.search_info {
        output["search_info"] = info.clone();
    }
    if response.audio.is_some() || response.audio_url.is_some() {
        output["audio"] = json!({ "data": response.audio, "url": response.audio_url });
    }
    let body = json!({
        "output": output,
        "usage": response.usage.as_ref().map(usage_to_value),
        "request_id": identity.id,
    });
    (body, losses)
}

fn encode_choice(choice: &Choice, parts: bool) -> Value {
    let source = &choice.message;
    let mut message = Map::new();
    message.insert("role".to_owned(), source.role.as_str().into());
    let content = match (&source.content, parts) {
        (Some(Content::Parts(list)), true) => list.iter().map(encode_multimodal_part).collect(),
        (_, true) => text_parts(&source.text()),
        (_, false) => json!(source.text()),
    };
    message.insert("content".to_owned(), content);
    if let Some(thinking) = &source.reasoning_content {
        message.insert("reasoning_content".to_owned(), thinking.as_str().into());
    }
    if let Some(calls) = &source.tool_calls {
        let calls: Vec<Value> = calls.iter().zip(0u64..).map(encode_call).collect();
        message.insert("tool_calls".to_owned(), calls.into());
    }
    for (name, value) in &source.extra {
        message.entry(name.clone()).or_insert_with(|| value.clone());
    }
    let reason = choice.finish_reason.as_ref();
    let mut value = json!({
        "message": message,
        "finish_reason": reason.map_or("null", |reason| reason.as_str()),
    });
    if choice.index > 0 {
        value["index"] = choice.index.into();
    }
    if let Some(logprobs) = &choice.logprobs {
        value["logprobs"] = json!(logprobs);
    }
    value
}

/// A text as the multimodal path writes it: no part while there is none (§6.2).
pub(crate) fn text_parts(text: &str) -> Value {
    if text.is_empty() {
        json!([])
    } else {
        json!([encode_multimodal_part(&ContentPart::new_text(text))])
    }
}

fn encode_call((call, place): (&ToolCall, u64)) -> Value {
    json!({
        "index": call.index.unwrap_or(place),
        "id": call.id,
        "type": "function",
        "function": { "name": call.function.name, "arguments": call.function.arguments },
    })
}

/// Token counts in this dialect's words (compat.md §8.8). A report in these words passes whole.
pub(crate) fn usage_to_value(usage: &Usage) -> Value {
    // Anthropic's report has the same two names, and means something else by the first.
    let is_native =
        usage.raw.get("input_tokens").is_some() && usage.raw.get("total_tokens").is_some();
    if is_native {
        return usage.raw.clone();
    }
    let mut report = json!({
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    });
    let mut set = |object: &str, name: &str, count: Option<u64>| {
        if let Some(count) = count {
            report[object][name] = count.into();
        }
    };
    set(
        "prompt_tokens_details",
        "cached_tokens",
        usage.cached_tokens,
    );
    set(
        "prompt_tokens_details",
        "cache_creation_input_tokens",
        usage.cache_creation_tokens,
    );
    set(
        "output_tokens_details",
        "reasoning_tokens",
        usage.reasoning_tokens,
    );
    set(
        "output_tokens_details",
        "text_tokens",
        usage.output_text_tokens,
    );
    set(
        "input_tokens_details",
        "text_tokens",
        usage.input_text_tokens,
    );
    set(
        "input_tokens_details",
        "image_tokens",
        usage.input_image_tokens,
    );
    set(
        "input_tokens_details",
        "video_tokens",
        usage.input_video_tokens,
    );
    set(
        "input_tokens_details",
        "audio_tokens",
        usage.input_audio_tokens,
    );
    report
}
