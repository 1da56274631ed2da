//! Reads native chat requests.

use serde_json::{Map, Value};

use crate::chat::{ChatRequest, Content, ContentPart, Media, MediaKind, Message};

/// The canonical form of a native chat body (http-native.md §1.1, §4, §6).
///
/// `input.prompt`, the legacy single turn, becomes a user message at the end. Parameters without
/// a field are kept; members of `input` other than these two are not part of a chat and are left
/// out.
///
/// # Errors
///
/// When a member with a field has a value of another type.
pub fn decode_request(body: &Value) -> Result<ChatRequest, serde_json::Error> {
    let mut members = match body.get("parameters") {
        Some(Value::Object(parameters)) => parameters.clone(),
        _ => Map::new(),
    };
    for name in ["model", "messages"] {
        members.remove(name);
    }
    if let Some(model) = body.get("model") {
        members.insert("model".to_owned(), model.clone());
    }
    let mut request: ChatRequest = serde_json::from_value(Value::Object(members))?;
    let input = body.get("input").unwrap_or(&Value::Null);
    if let Some(messages) = input.get("messages").filter(|messages| !messages.is_null()) {
        request.messages = serde_json::from_value(messages.clone())?;
    }
    for message in &mut request.messages {
        if let Some(Content::Parts(parts)) = &mut message.content {
            for part in parts {
                read_native_part(part);
            }
        }
    }
    if let Some(prompt) = input.get("prompt").and_then(Value::as_str) {
        request.messages.push(Message::user(prompt));
    }
    Ok(request)
}

/// Gives a part without a `type`, which its key names, its canonical form.
pub(super) fn read_native_part(part: &mut ContentPart) {
    let ContentPart::Other(Value::Object(object)) = part else {
        return;
    };
    if object.contains_key("type") {
        return;
    }
    if let Some(Value::String(text)) = object.get("text") {
        let text = text.clone();
        let mut extra = std::mem::take(object);
        extra.remove("text");
        *part = ContentPart::Text { text, extra };
        return;
    }
    for (name, one) in [
        ("image", MediaKind::Image),
        ("audio", MediaKind::Audio),
        ("video", MediaKind::Video),
    ] {
        let (kind, urls) = match object.get(name) {
            Some(Value::String(url)) => (one, vec![url.clone()]),
            Some(Value::Array(frames)) if one == MediaKind::Video => {
                let urls = frames.iter().map(|frame| frame.as_str().map(str::to_owned));
                match urls.collect() {
                    Some(urls) => (MediaKind::VideoFrames, urls),
                    None => continue,
                }
            }
            _ => continue,
        };
        let mut media = Media::new(kind, urls);
        media.extra = std::mem::take(object);
        media.extra.remove(name);
        *part = ContentPart::Media(media);
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn native_parts_get_their_canonical_form() {
        let body = json!({
            "model": "qwen-vl-max",
            "input": { "messages": [{ "role": "user", "content": [
                { "image": "https://e/a.png", "min_pixels": 3136 },
                { "video": ["https://e/1.jpg", "https://e/2.jpg"], "fps": 2 },
                { "text": "?" },
                { "hologram": 1 },
            ]}]},
            "parameters": { "temperature": 0.5, "future": true },
        });
        let request = decode_request(&body).unwrap();
        assert_eq!(request.temperature, Some(0.5));
        assert_eq!(request.extra["future"], true);
        assert!(request.has_media());
        let Some(Content::Parts(parts)) = &request.messages[0].content else {
            panic!("parts were expected");
        };
        assert_eq!(
            parts[0],
            ContentPart::image("https://e/a.png").with("min_pixels", 3136)
        );
        assert!(matches!(&parts[1], ContentPart::Media(media)
            if media.kind == MediaKind::VideoFrames && media.urls.len() == 2));
        assert_eq!(parts[2], ContentPart::new_text("?"));
        assert_eq!(parts[3], ContentPart::Other(json!({ "hologram": 1 })));
    }

    #[test]
    fn a_prompt_is_a_user_turn() {
        let body = json!({ "model": "qwen-max", "input": { "prompt": "hi" } });
        let request = decode_request(&body).unwrap();
        assert_eq!(request.messages, [Message::user("hi")]);
    }
}
