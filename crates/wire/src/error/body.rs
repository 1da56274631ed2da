//! Reads error bodies of every shape.

use serde_json::Value;

use super::{ApiError, Classification, Facts, Signals, classify};

/// How much of a body is kept.
const KEPT_BODY_BYTES: usize = 8 * 1024;

/// How much of a body that is no JSON becomes the message.
const SHOWN_TEXT_CHARS: usize = 300;

/// Reads the body of an HTTP error.
///
/// Understands the native shape (`code`, `message`, `request_id`, also `requestId` and `msg`), the
/// OpenAI and Anthropic shapes (`error`), any of them framed as a server-sent event whatever the
/// content type says, and text that is no JSON at all.
pub fn parse_error_body(status: u16, body: &[u8]) -> ApiError {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim();
    if let Some(Value::Object(object)) = serde_json::from_str(text).ok().as_ref()
        && let Some(error) = from_object(Some(status), object, text)
    {
        return error;
    }
    if let Some((event_status, data)) = first_event(text)
        && let Ok(Value::Object(object)) = serde_json::from_str(data)
        && let Some(error) = from_object(event_status.or(Some(status)), &object, text)
    {
        return error;
    }
    build(
        Some(status),
        Said {
            message: plain_text(status, text),
            ..Said::default()
        },
        text,
    )
}

/// Reads an error out of a JSON object that came with HTTP 200 or inside a stream.
///
/// `status` is what the event's `:HTTP_STATUS/` comment or `status:` line said. `None` when the
/// object is no error.
pub fn parse_error_event(status: Option<u16>, data: &str) -> Option<ApiError> {
    let Value::Object(object) = serde_json::from_str(data).ok()? else {
        return None;
    };
    from_object(status, &object, data)
}

/// Reads the error that an HTTP 200 answer carries in place of a result, if it does.
pub fn error_in_success(answer: &Value) -> Option<ApiError> {
    let object = answer.as_object()?;
    if object.contains_key("output") || object.contains_key("choices") {
        return None;
    }
    from_object(None, object, &answer.to_string())
}

/// What a body says, whichever its shape.
#[derive(Default)]
struct Said {
    code: Option<String>,
    kind: Option<String>,
    message: String,
    param: Option<String>,
    request_id: Option<String>,
}

fn from_object(
    status: Option<u16>,
    object: &serde_json::Map<String, Value>,
    raw: &str,
) -> Option<ApiError> {
    let text = |object: &serde_json::Map<String, Value>, names: &[&str]| {
        names.iter().find_map(|name| match object.get(*name)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
    };
    let request_id = text(object, &["request_id", "requestId", "RequestId"]);
    let said = match object.get("error") {
        Some(Value::Object(error)) => Said {
            code: text(error, &["code"]),
            kind: text(error, &["type"]),
            message: text(error, &["message", "msg"]).unwrap_or_default(),
            param: text(error, &["param"]),
            request_id: request_id
                .or_else(|| text(error, &["request_id"]))
                .or_else(|| {
                    text(object, &["id"]).map(|id| id.trim_start_matches("chatcmpl-").to_owned())
                }),
        },
        Some(Value::String(message)) => Said {
            message: message.clone(),
            request_id,
            ..Said::default()
        },
        _ => {
            let code = text(object, &["code", "error_code"]);
            let message = text(object, &["message", "msg", "error_message"]);
            if code.is_none() && (message.is_none() || status.is_none()) {
                return None;
            }
            Said {
                code,
                message: message.unwrap_or_default(),
                request_id,
                ..Said::default()
            }
        }
    };
    Some(build(status, said, raw))
}

fn build(status: Option<u16>, said: Said, raw: &str) -> ApiError {
    let signals = Signals {
        status: status.filter(|status| *status != 200),
        code: said.code.as_deref(),
        error_type: said.kind.as_deref(),
        message: &said.message,
    };
    let classification = classify(&signals);
    let status = effective_status(signals.status, &classification);
    let message = if said.message.is_empty() {
        format!("the service gave no message ({})", classification.class)
    } else {
        said.message
    };
    ApiError(Box::new(Facts {
        status,
        code: said.code,
        kind: said.kind,
        message,
        param: said.param,
        request_id: said.request_id,
        classification,
        body: cut(raw, KEPT_BODY_BYTES).to_owned(),
    }))
}

/// The status of an error that arrived without one is the one its code is documented with.
fn effective_status(status: Option<u16>, classification: &Classification) -> u16 {
    status
        .or(classification
            .documented_status
            .filter(|status| *status >= 400))
        .unwrap_or(classification.class.status())
}

/// The first event's data line, and the status of its comment or `status:` line.
fn first_event(text: &str) -> Option<(Option<u16>, &str)> {
    let mut status = None;
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix(":HTTP_STATUS/") {
            status = comment.trim().parse().ok();
        } else if let Some(value) = line.strip_prefix("status:") {
            status = value.trim().parse().ok();
        } else if let Some(data) = line.strip_prefix("data:") {
            return Some((status, data.trim()));
        }
    }
    None
}

/// A message out of a page or a plain line, short and on one line.
fn plain_text(status: u16, text: &str) -> String {
    let mut shown = String::new();
    let mut in_tag = false;
    for c in text.chars() {
        match c {
            '<' => in_tag = true,
            '>' => {
                in_tag = false;
                shown.push(' ');
            }
            _ if in_tag => {}
            c if c.is_control() => shown.push(' '),
            c => shown.push(c),
        }
        if shown.len() >= 4 * SHOWN_TEXT_CHARS {
            break;
        }
    }
    let words: Vec<&str> = shown.split_whitespace().collect();
    let shown: String = words.join(" ").chars().take(SHOWN_TEXT_CHARS).collect();
    if shown.is_empty() {
        format!("HTTP {status} without a message")
    } else {
        shown
    }
}

fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}
