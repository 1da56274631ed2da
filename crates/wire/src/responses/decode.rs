//! Reads requests for OpenAI responses.

use serde_json::{Map, Value};

use crate::chat::{
    ChatRequest, Content, ContentPart, JsonSchema, Media, MediaKind, Message, ResponseFormat, Role,
    ToolCall, ToolChoice, ToolDefinition,
};
use crate::translate::{DecodeError, Decoded, Losses};

/// The canonical form of a request for a response (compat.md §5.1, §8.11).
///
/// State that the provider keeps (`previous_response_id`, `conversation`) and its own tools are
/// noted as losses that matter.
///
/// # Errors
///
/// When a member that has a place in the canonical form has another type.
pub fn decode_request(body: &Value) -> Result<Decoded, DecodeError> {
    let Value::Object(members) = body else {
        return Err(DecodeError::at("body", "is no JSON object"));
    };
    let mut losses = Losses::new();
    let mut request = ChatRequest::default();
    for (name, value) in members {
        if value.is_null() {
            continue;
        }
        match name.as_str() {
            "model" => value
                .as_str()
                .unwrap_or_default()
                .clone_into(&mut request.model),
            "instructions" => {
                let text = value.as_str();
                let text = text.ok_or_else(|| DecodeError::at("instructions", "is no string"))?;
                request.messages.insert(0, Message::system(text));
            }
            "input" => read_input(value, &mut request.messages, &mut losses)?,
            "temperature" => request.temperature = value.as_f64(),
            "top_p" => request.top_p = value.as_f64(),
            "max_output_tokens" => request.max_completion_tokens = value.as_u64(),
            "parallel_tool_calls" => request.parallel_tool_calls = value.as_bool(),
            "enable_thinking" => request.enable_thinking = value.as_bool(),
            "tools" => read_tools(value, &mut request, &mut losses),
            "tool_choice" => read_tool_choice(value, &mut request, &mut losses),
            "reasoning" => read_reasoning(value, &mut request, &mut losses),
            "text" => read_text_format(value, &mut request, &mut losses),
            "stream" | "store" => {}
            "previous_response_id" | "conversation" | "background" | "prompt" => {
                losses.changed(name.clone());
            }
            _ => losses.dropped(name.clone()),
        }
    }
    Ok(Decoded { request, losses })
}

fn read_input(
    input: &Value,
    messages: &mut Vec<Message>,
    losses: &mut Losses,
) -> Result<(), DecodeError> {
    match input {
        Value::String(text) => messages.push(Message::user(text.as_str())),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                read_item(item, &format!("input[{index}]"), messages, losses)?;
            }
        }
        _ => return Err(DecodeError::at("input", "is neither a string nor an array")),
    }
    Ok(())
}

fn read_item(
    item: &Value,
    place: &str,
    messages: &mut Vec<Message>,
    losses: &mut Losses,
) -> Result<(), DecodeError> {
    let text = |name: &str| item.get(name).and_then(Value::as_str);
    match text("type").unwrap_or("message") {
        "message" => {
            let role = match text("role") {
                Some("user") | None => Role::User,
                Some("assistant") => Role::Assistant,
                Some("system" | "developer") => Role::System,
                Some(other) => Role::Other(other.to_owned()),
            };
            let content = match item.get("content") {
                Some(Value::String(text)) => Content::Text(text.clone()),
                Some(Value::Array(parts)) => read_parts(parts, place, losses),
                _ => return Err(DecodeError::at(place, "has no `content`")),
            };
            messages.push(Message::new(role, content));
        }
        "function_call" => {
            let of = |name: &str| text(name).unwrap_or_default();
            let call = ToolCall::function(of("call_id"), of("name"), of("arguments"));
            match messages.last_mut() {
                // Calls of one turn stand beside each other.
                Some(Message {
                    role: Role::Assistant,
                    tool_calls,
                    ..
                }) => tool_calls.get_or_insert_default().push(call),
                _ => messages.push(Message::assistant("").with_tool_calls(vec![call])),
            }
        }
        "function_call_output" => {
            let output = match item.get("output") {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Array(parts)) => read_parts(parts, place, losses).text(),
                other => other.map(Value::to_string).unwrap_or_default(),
            };
            let id = text("call_id").unwrap_or_default();
            messages.push(Message::tool(id, output));
        }
        // Thinking of earlier turns is used only by models that are asked to keep it.
        "reasoning" => losses.dropped(place.to_owned()),
        _ => losses.changed(place.to_owned()),
    }
    Ok(())
}

fn read_parts(parts: &[Value], place: &str, losses: &mut Losses) -> Content {
    let mut read = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let text = |name: &str| part.get(name).and_then(Value::as_str);
        let media =
            |kind: MediaKind, url: &str| ContentPart::Media(Media::new(kind, [url.to_owned()]));
        let known = match text("type").unwrap_or_default() {
            "input_text" | "output_text" | "text" => text("text").map(ContentPart::new_text),
            "input_image" => text("image_url").map(|url| media(MediaKind::Image, url)),
            "input_video" => text("video_url").map(|url| media(MediaKind::Video, url)),
            "input_audio" => text("audio_url")
                .or(text("data"))
                .map(|url| media(MediaKind::Audio, url))
                .map(|part| match (part, text("format")) {
                    (ContentPart::Media(mut media), Some(format)) => {
                        media.options.insert("format".to_owned(), format.into());
                        ContentPart::Media(media)
                    }
                    (part, _) => part,
                }),
            _ => None,
        };
        match known {
            Some(part) => read.push(part),
            None => losses.changed(format!("{place}.content[{index}]")),
        }
    }
    match read.as_slice() {
        [ContentPart::Text { text, .. }] => Content::Text(text.clone()),
        _ => Content::Parts(read),
    }
}

fn read_tools(tools: &Value, request: &mut ChatRequest, losses: &mut Losses) {
    let mut functions = Vec::new();
    for (index, tool) in tools.as_array().into_iter().flatten().enumerate() {
        let text = |name: &str| tool.get(name).and_then(Value::as_str);
        match text("type") {
            Some("function") => {
                let name = text("name").unwrap_or_default();
                let parameters = tool.get("parameters").cloned().unwrap_or_default();
                let description = text("description").unwrap_or_default();
                functions.push(ToolDefinition::function(name, description, parameters));
            }
            Some("web_search") => request.enable_search = Some(true),
            _ => losses.changed(format!("tools[{index}]")),
        }
    }
    if !functions.is_empty() {
        request.tools = Some(functions);
    }
}

fn read_tool_choice(choice: &Value, request: &mut ChatRequest, losses: &mut Losses) {
    request.tool_choice = match choice {
        Value::String(mode) => Some(ToolChoice::Mode(mode.clone())),
        Value::Object(object) => match object.get("name").and_then(Value::as_str) {
            Some(name) => Some(ToolChoice::function(name)),
            None => {
                losses.changed("tool_choice");
                None
            }
        },
        _ => None,
    };
}

fn read_reasoning(reasoning: &Value, request: &mut ChatRequest, losses: &mut Losses) {
    for (name, value) in reasoning.as_object().unwrap_or(&Map::new()) {
        match (name.as_str(), value.as_str()) {
            ("effort", Some("none")) => request.enable_thinking = Some(false),
            ("effort", effort) => request.reasoning_effort = effort.map(str::to_owned),
            _ => losses.dropped(format!("reasoning.{name}")),
        }
    }
}

fn read_text_format(text: &Value, request: &mut ChatRequest, losses: &mut Losses) {
    let Some(format) = text.get("format") else {
        return;
    };
    request.response_format = match format.get("type").and_then(Value::as_str) {
        Some("text") | None => None,
        Some("json_object") => Some(ResponseFormat::JsonObject),
        Some("json_schema") => {
            let name = format
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or("output");
            let schema = format.get("schema").cloned().unwrap_or_default();
            let json_schema = JsonSchema::new(name, schema);
            Some(ResponseFormat::JsonSchema { json_schema })
        }
        Some(_) => {
            losses.changed("text.format");
            None
        }
    };
}
