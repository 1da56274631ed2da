//! Writes the canonical request as `{model, input, parameters}`.

use serde_json::{Map, Value, json};

use crate::chat::{ChatRequest, Content, ContentPart, Media, MediaKind, Message};

/// The native body of `request` (http-native.md §1.1, §4).
///
/// `stream` asks for increments (`incremental_output: true`) unless the caller chose otherwise;
/// the stream itself is switched on by a header, not by the body. With `multimodal`, contents are
/// lists of parts without a `type`, as the multimodal path takes them (§6).
///
/// `stream_options` belongs to the other protocol and is left out.
pub fn encode_request(request: &ChatRequest, stream: bool, multimodal: bool) -> Value {
    let messages: Vec<Value> = request
        .messages
        .iter()
        .map(|message| encode_message(message, multimodal))
        .collect();
    let mut parameters = parameters_of(request);
    parameters
        .entry("result_format")
        .or_insert_with(|| "message".into());
    if stream {
        parameters
            .entry("incremental_output")
            .or_insert(Value::Bool(true));
    }
    json!({
        "model": request.model,
        "input": { "messages": messages },
        "parameters": parameters,
    })
}

/// Whether the request must go to the multimodal path for what its messages carry.
pub fn media_uses_multimodal_path(request: &ChatRequest) -> bool {
    request.has_media()
}

/// Everything of the request but model and messages, by its wire name.
fn parameters_of(request: &ChatRequest) -> Map<String, Value> {
    let Ok(Value::Object(mut members)) = serde_json::to_value(request) else {
        return Map::new();
    };
    // Who the end user is has no place there (compat.md §8.1).
    for name in ["model", "messages", "stream", "stream_options", "user"] {
        members.remove(name);
    }
    // One name for the length of an answer, thinking included or not.
    if let Some(most) = members.remove("max_completion_tokens") {
        members.entry("max_tokens").or_insert(most);
    }
    members
}

fn encode_message(message: &Message, multimodal: bool) -> Value {
    let mut value = serde_json::to_value(message).unwrap_or_default();
    let content = match (&message.content, multimodal) {
        (None, false) if message.tool_calls.is_some() => Some(json!("")),
        (None, true) if message.tool_calls.is_some() => Some(json!([])),
        (None, _) => None,
        (Some(Content::Text(text)), false) => Some(json!(text)),
        (Some(Content::Text(text)), true) => Some(json!([{ "text": text }])),
        (Some(Content::Parts(parts)), true) => {
            Some(parts.iter().map(encode_multimodal_part).collect())
        }
        (Some(Content::Parts(parts)), false) => Some(encode_text_parts(parts)),
    };
    if let (Some(object), Some(content)) = (value.as_object_mut(), content) {
        object.insert("content".to_owned(), content);
    }
    value
}

/// Parts for a text model: a lone plain text is a string, which every model takes. Beside a part
/// of a newer kind, such as `doc_url`, texts say their type as it does (§5.9).
fn encode_text_parts(parts: &[ContentPart]) -> Value {
    match parts {
        [ContentPart::Text { text, extra }] if extra.is_empty() => json!(text),
        _ if parts.iter().any(ContentPart::is_typed) => json!(parts),
        _ => parts.iter().map(encode_multimodal_part).collect(),
    }
}

pub(crate) fn encode_multimodal_part(part: &ContentPart) -> Value {
    match part {
        ContentPart::Text { text, extra } => {
            let mut object = extra.clone();
            object.insert("text".to_owned(), text.as_str().into());
            Value::Object(object)
        }
        ContentPart::Media(media) => encode_media(media),
        ContentPart::Other(value) => value.clone(),
    }
}

fn encode_media(media: &Media) -> Value {
    let first = media.urls.first().map_or("", String::as_str);
    let (name, source) = match media.kind {
        MediaKind::Image => ("image", json!(first)),
        MediaKind::Audio => ("audio", json!(first)),
        MediaKind::Video => ("video", json!(first)),
        MediaKind::VideoFrames => ("video", json!(media.urls)),
    };
    let mut object = media.extra.clone();
    object.insert(name.to_owned(), source);
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::ToolCall;

    #[test]
    fn only_what_the_caller_set_is_sent() {
        let request = ChatRequest::new("qwen-plus", [Message::user("你好")]).temperature(0.5);
        assert_eq!(
            encode_request(&request, false, false),
            json!({
                "model": "qwen-plus",
                "input": { "messages": [{ "role": "user", "content": "你好" }] },
                "parameters": { "result_format": "message", "temperature": 0.5 },
            })
        );
        let parameters = &encode_request(&request, true, false)["parameters"];
        assert_eq!(parameters["incremental_output"], true);
        let cumulative = request.incremental_output(false);
        assert_eq!(
            encode_request(&cumulative, true, false)["parameters"]["incremental_output"],
            false
        );
    }

    #[test]
    fn multimodal_parts_have_no_type() {
        let content = vec![
            ContentPart::image("https://e/a.png").with("min_pixels", 3136),
            ContentPart::new_text("?"),
        ];
        let request = ChatRequest::new("qwen-vl-max", [Message::user(content)]);
        assert_eq!(
            encode_request(&request, false, true)["input"]["messages"][0]["content"],
            json!([{ "image": "https://e/a.png", "min_pixels": 3136 }, { "text": "?" }])
        );
    }

    #[test]
    fn text_models_get_text_unless_a_part_says_more() {
        let content_for = |parts: Vec<ContentPart>| {
            let request = ChatRequest::new("qwen-plus", [Message::user(parts)]);
            encode_request(&request, false, false)["input"]["messages"][0]["content"].clone()
        };
        assert_eq!(content_for(vec![ContentPart::new_text("hi")]), "hi");
        let cached = ContentPart::new_text("long").with("cache_control", json!({"type": "x"}));
        assert_eq!(
            content_for(vec![cached, ContentPart::new_text("q")]),
            json!([{ "text": "long", "cache_control": { "type": "x" } }, { "text": "q" }])
        );
        let document = json!({ "type": "doc_url", "doc_url": ["https://e/a.pdf"] });
        assert_eq!(
            content_for(vec![
                ContentPart::new_text("q"),
                ContentPart::Other(document.clone())
            ]),
            json!([{ "type": "text", "text": "q" }, document])
        );
    }

    #[test]
    fn an_assistant_turn_of_calls_only_has_empty_content() {
        let calls = vec![ToolCall::function("call_1", "f", "{}")];
        let message = Message {
            content: None,
            ..Message::assistant("")
        }
        .with_tool_calls(calls);
        let body = encode_request(&ChatRequest::new("m", [message]), false, false);
        assert_eq!(body["input"]["messages"][0]["content"], "");
    }
}
