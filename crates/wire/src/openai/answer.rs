//! Writes chat completions (compat.md §2.12, §2.13).

use serde_json::{Map, Value, json};

use crate::anthropic::note_own_members;
use crate::chat::{ChatResponse, Choice, Content, FinishReason, Usage};
use crate::translate::{Identity, Losses};

/// The chat completion of an answer, and what it cannot say.
pub fn encode_response(response: &ChatResponse, identity: &Identity) -> (Value, Losses) {
    let mut losses = Losses::new();
    if response.search_info.is_some() {
        losses.dropped("search_info");
    }
    note_own_members(response, &mut losses);
    if response.audio_url.is_some() {
        losses.dropped("audio.url");
    }
    let audio = response.audio.as_deref();
    let choices: Vec<Value> = response
        .choices
        .iter()
        .map(|choice| encode_choice(choice, audio, &mut losses))
        .collect();
    let body = json!({
        "id": identity.openai_id(),
        "object": "chat.completion",
        "created": identity.created,
        "model": identity.model,
        "choices": choices,
        "usage": response.usage.as_ref().map(usage_to_value),
        "system_fingerprint": null,
    });
    (body, losses)
}

fn encode_choice(choice: &Choice, audio: Option<&str>, losses: &mut Losses) -> Value {
    let source = &choice.message;
    let mut message = Map::new();
    message.insert("role".to_owned(), source.role.as_str().into());
    let content = match &source.content {
        None => json!(""),
        Some(Content::Text(text)) => json!(text),
        Some(Content::Parts(parts)) => {
            if parts.iter().any(|part| part.text().is_none()) {
                losses.changed("content");
            }
            json!(source.text())
        }
    };
    message.insert("content".to_owned(), content);
    if let Some(thinking) = &source.reasoning_content {
        message.insert("reasoning_content".to_owned(), thinking.as_str().into());
    }
    if let Some(calls) = &source.tool_calls {
        let calls: Vec<Value> = calls
            .iter()
            .zip(0u64..)
            .map(|(call, place)| {
                json!({
                    "index": call.index.unwrap_or(place),
                    "id": call.id,
                    "type": "function",
                    "function": {
                        "name": call.function.name,
                        "arguments": call.function.arguments,
                    },
                })
            })
            .collect();
        message.insert("tool_calls".to_owned(), calls.into());
    }
    if let Some(data) = audio {
        message.insert("audio".to_owned(), json!({ "data": data }));
    }
    for (name, value) in &source.extra {
        message.entry(name.clone()).or_insert_with(|| value.clone());
    }
    json!({
        "index": choice.index,
        "message": message,
        "finish_reason": choice.finish_reason.as_ref().map(finish_reason),
        "logprobs": choice.logprobs,
    })
}

/// Why a choice ended, in this dialect's words (compat.md §8.7).
pub(crate) fn finish_reason(reason: &FinishReason) -> &str {
    reason.as_str()
}

/// Token counts in this dialect's words (compat.md §8.8). A report in these words passes whole.
pub(crate) fn usage_to_value(usage: &Usage) -> Value {
    if usage.raw.get("prompt_tokens").is_some() {
        return usage.raw.clone();
    }
    let mut prompt = Map::new();
    let mut completion = Map::new();
    let set = |object: &mut Map<String, Value>, name: &str, count: Option<u64>| {
        if let Some(count) = count {
            object.insert(name.to_owned(), count.into());
        }
    };
    prompt.insert(
        "cached_tokens".to_owned(),
        usage.cached_tokens.unwrap_or(0).into(),
    );
    set(
        &mut prompt,
        "cache_creation_input_tokens",
        usage.cache_creation_tokens,
    );
    if let Some(kind) = &usage.cache_type {
        prompt.insert("cache_type".to_owned(), kind.as_str().into());
    }
    set(&mut prompt, "text_tokens", usage.input_text_tokens);
    set(&mut prompt, "image_tokens", usage.input_image_tokens);
    set(&mut prompt, "video_tokens", usage.input_video_tokens);
    set(&mut prompt, "audio_tokens", usage.input_audio_tokens);
    set(&mut completion, "reasoning_tokens", usage.reasoning_tokens);
    set(&mut completion, "text_tokens", usage.output_text_tokens);
    set(&mut completion, "audio_tokens", usage.output_audio_tokens);
    let mut report = json!({
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": prompt,
    });
    if !completion.is_empty() {
        report["completion_tokens_details"] = Value::Object(completion);
    }
    report
}
