//! Items of a response's input as messages (compat.md §5.1).

use serde_json::{Value, json};

use crate::call::message_text;
use crate::rejection::Rejection;

/// Appends what an item says to the messages. Calls of the service's own tools and thinking are
/// replayed for the record only.
pub(super) fn read_item(item: &Value, messages: &mut Vec<Value>) -> Result<(), Rejection> {
    match item["type"].as_str().unwrap_or("message") {
        "message" => {
            let role = match item["role"].as_str().unwrap_or("user") {
                "developer" => "system",
                role => role,
            };
            let content = match &item["content"] {
                Value::String(text) => json!(text),
                Value::Array(parts) => parts.iter().map(read_part).collect(),
                _ => return Err(Rejection::parameter("content is required")),
            };
            let message = json!({ "role": role, "content": content });
            let is_heard =
                |part: &Value| part.get("input_audio").or(part.get("video_url")).is_some();
            let parts = message["content"].as_array().into_iter().flatten();
            if role != "user" && parts.into_iter().any(is_heard) {
                return Err(Rejection::parameter(
                    "input_audio and input_video are only supported in user messages",
                ));
            }
            let text = message_text(&message);
            let is_text = message["content"]
                .as_array()
                .is_none_or(|parts| parts.iter().all(|part| part["type"] == "text"));
            messages.push(if is_text {
                json!({ "role": role, "content": text })
            } else {
                message
            });
        }
        "function_call" => {
            messages.push(json!({ "role": "assistant", "content": "", "tool_calls": [{
            "id": item["call_id"], "type": "function",
            "function": { "name": item["name"], "arguments": item["arguments"] } }] }));
        }
        "function_call_output" => messages.push(json!({ "role": "tool",
            "tool_call_id": item["call_id"], "content": item["output"] })),
        _ => {}
    }
    Ok(())
}

fn read_part(part: &Value) -> Value {
    match part["type"].as_str().unwrap_or_default() {
        "input_image" => json!({ "type": "image_url", "image_url": { "url": part["image_url"] } }),
        "input_audio" => {
            let data = part.get("audio_url").unwrap_or(&part["data"]);
            json!({ "type": "input_audio", "input_audio": { "data": data } })
        }
        "input_video" => {
            let mut video =
                json!({ "type": "video_url", "video_url": { "url": part["video_url"] } });
            if !part["fps"].is_null() {
                video["fps"] = part["fps"].clone();
            }
            video
        }
        "input_file" => json!({ "type": "image_url", "image_url": { "url": part["file_url"] } }),
        _ => json!({ "type": "text", "text": part["text"] }),
    }
}
