//! Writes the canonical request with all parameters at the top level.

use serde_json::{Map, Value, json};

use crate::chat::{ChatRequest, StreamOptions};

/// The OpenAI-compatible body of `request` (compat.md §2).
///
/// A stream asks for its usage unless the caller chose otherwise; with `StreamOptions::default()`
/// nothing is asked for. `result_format` and
/// `incremental_output` belong to the other protocol and are left out.
pub fn encode_request(request: &ChatRequest, stream: bool) -> Value {
    let Ok(Value::Object(mut body)) = serde_json::to_value(request) else {
        return Value::Object(Map::new());
    };
    for name in ["result_format", "incremental_output"] {
        body.remove(name);
    }
    // A turn that only calls tools has empty content (compat.md §2.6).
    if let Some(messages) = body.get_mut("messages").and_then(Value::as_array_mut) {
        for message in messages.iter_mut().filter_map(Value::as_object_mut) {
            if message.contains_key("tool_calls") && !message.contains_key("content") {
                message.insert("content".to_owned(), json!(""));
            }
        }
    }
    if stream {
        body.insert("stream".to_owned(), Value::Bool(true));
        match &request.stream_options {
            // No options at all: the caller wants the service's own default.
            Some(options) if *options == StreamOptions::default() => {
                body.remove("stream_options");
            }
            Some(_) => {}
            None => {
                let options = json!(StreamOptions::include_usage(true));
                body.insert("stream_options".to_owned(), options);
            }
        }
    } else {
        // A request that was read from a streaming body may hold it among its extra members.
        body.remove("stream");
        body.remove("stream_options");
    }
    Value::Object(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Message;

    #[test]
    fn streams_ask_for_usage_unless_the_caller_does_not_want_it() {
        let request = ChatRequest::new("qwen-plus", [Message::user("hi")]).parameter("top_a", 1);
        assert_eq!(
            encode_request(&request, true),
            json!({
                "model": "qwen-plus",
                "messages": [{ "role": "user", "content": "hi" }],
                "stream": true,
                "stream_options": { "include_usage": true },
                "top_a": 1,
            })
        );
        let read = request.clone().parameter("stream", true);
        assert!(encode_request(&read, false).get("stream").is_none());
        let request = request.stream_options(StreamOptions::include_usage(false));
        assert_eq!(
            encode_request(&request, true)["stream_options"]["include_usage"],
            false
        );
        assert!(
            encode_request(&request, false)
                .get("stream_options")
                .is_none()
        );
    }
}
