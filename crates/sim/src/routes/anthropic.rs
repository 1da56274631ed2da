//! Anthropic messages (compat.md §6): the request in the words that the other surfaces use.

mod options;

use bailian_wire::catalog::Model;
use serde_json::{Map, Value, json};

use self::options::{read_output, read_thinking, read_tools};
use crate::rejection::Rejection;

/// The request as the OpenAI-compatible surface would take it. The simulator's own reading of the
/// protocol, so that it checks whoever translates. The model is `None` where it is not known.
pub(super) fn chat_body(body: &Value, model: Option<&Model>) -> Result<Value, Rejection> {
    let mut out = Map::new();
    let mut messages = Vec::new();
    let Some(most) = body.get("max_tokens").and_then(Value::as_u64) else {
        return Err(Rejection::parameter("max_tokens: Field required"));
    };
    out.insert("max_tokens".to_owned(), most.into());
    match &body["system"] {
        Value::Null => {}
        Value::String(text) => messages.push(json!({ "role": "system", "content": text })),
        blocks => messages.push(json!({ "role": "system", "content": marked_text(blocks) })),
    }
    let turns = body.get("messages").and_then(Value::as_array);
    let turns = turns.ok_or_else(|| Rejection::parameter("messages: Field required"))?;
    for turn in turns {
        read_turn(turn, &mut messages)?;
    }
    out.insert("messages".to_owned(), messages.into());
    for name in ["model", "stream", "temperature", "top_p", "top_k"] {
        if let Some(value) = body.get(name) {
            out.insert(name.to_owned(), value.clone());
        }
    }
    if let Some(words) = body.get("stop_sequences").and_then(Value::as_array) {
        out.insert("stop".to_owned(), words.clone().into());
    }
    read_thinking(&body["thinking"], &mut out)?;
    read_output(&body["output_config"], model, &mut out)?;
    read_tools(body, &mut out)?;
    Ok(Value::Object(out))
}

fn text_of(blocks: &Value) -> String {
    match blocks {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks
            .iter()
            .filter_map(|block| block.get("text")?.as_str())
            .collect(),
        _ => String::new(),
    }
}

/// A text block, with its marker of the context cache.
fn text_part(block: &Value) -> Value {
    let mut part = json!({ "type": "text", "text": block["text"] });
    if let Some(marker) = block
        .get("cache_control")
        .filter(|marker| !marker.is_null())
    {
        part["cache_control"] = marker.clone();
    }
    part
}

/// Text blocks as one text, or as parts where one has a marker.
fn marked_text(blocks: &Value) -> Value {
    let list = blocks.as_array().map_or(&[][..], Vec::as_slice);
    if list.iter().any(|block| block["cache_control"].is_object()) {
        let texts = list.iter().filter(|block| block["text"].is_string());
        return texts.map(text_part).collect();
    }
    text_of(blocks).into()
}

fn tool_result(block: &Value) -> Value {
    let text = text_of(&block["content"]);
    if block["cache_control"].is_object() {
        let part = json!({ "text": text, "cache_control": block["cache_control"] });
        return json!([text_part(&part)]);
    }
    text.into()
}

fn read_turn(turn: &Value, messages: &mut Vec<Value>) -> Result<(), Rejection> {
    let role = turn["role"].as_str().unwrap_or_default();
    if !["user", "assistant", "system"].contains(&role) {
        return Err(Rejection::parameter(format!(
            "messages: role '{role}' is not one of user, assistant, system"
        )));
    }
    let blocks = match &turn["content"] {
        Value::String(text) => {
            messages.push(json!({ "role": role, "content": text }));
            return Ok(());
        }
        Value::Array(blocks) => blocks,
        _ => return Err(Rejection::parameter("messages: content: Field required")),
    };
    let mut parts = Vec::new();
    let mut calls = Vec::new();
    for block in blocks {
        match block["type"].as_str().unwrap_or_default() {
            "text" => parts.push(text_part(block)),
            kind @ ("image" | "video") => parts.push(media(kind, &block["source"])?),
            "thinking" | "redacted_thinking" => {}
            "tool_use" => calls.push(json!({
                "id": block["id"], "type": "function",
                "function": { "name": block["name"], "arguments": block["input"].to_string() },
            })),
            "tool_result" => messages.push(json!({
                "role": "tool", "tool_call_id": block["tool_use_id"],
                "content": tool_result(block),
            })),
            kind => {
                return Err(Rejection::parameter(format!(
                    "messages: content block of type '{kind}' is not supported"
                )));
            }
        }
    }
    if parts.is_empty() && calls.is_empty() {
        return Ok(());
    }
    let is_text = parts.iter().all(|part| part["type"] == "text");
    let content = if is_text {
        marked_text(&Value::Array(parts))
    } else {
        Value::Array(parts)
    };
    let mut message = json!({ "role": role, "content": content });
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    messages.push(message);
    Ok(())
}

fn media(kind: &str, source: &Value) -> Result<Value, Rejection> {
    let url = match source["type"].as_str() {
        Some("url") => source["url"].as_str().map(str::to_owned),
        Some("base64") => source["data"].as_str().map(|data| {
            let media_type = source["media_type"].as_str().unwrap_or("image/png");
            format!("data:{media_type};base64,{data}")
        }),
        _ => None,
    };
    let url = url.ok_or_else(|| Rejection::parameter("messages: source: Field required"))?;
    let name = format!("{kind}_url");
    Ok(json!({ "type": name, &name: { "url": url } }))
}
