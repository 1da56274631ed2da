//! Reads error bodies of every shape.

use serde_json::{Map, Value};

use super::page::readable;
use super::{ApiError, Classification, Facts, Signals, classify};

/// How much of a body is kept.
const KEPT_BODY_BYTES: usize = 8 * 1024;

/// How much of a message is kept. Longer ones quote the request.
const KEPT_MESSAGE_BYTES: usize = 4 * 1024;

/// How much of a code, a type, a parameter's name or an id is kept.
const KEPT_NAME_BYTES: usize = 256;

/// Reads the body of an HTTP error.
///
/// Understands the native shape (`code`, `message`, `request_id`, also `requestId` and `msg`), the
/// OpenAI and Anthropic shapes (`error`), any of them framed as a server-sent event whatever the
/// content type says, and text that is no JSON at all.
pub fn parse_error_body(status: u16, body: &[u8]) -> ApiError {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim();
    let mut request_id = None;
    if let Ok(Value::Object(object)) = serde_json::from_str(text) {
        if let Some(error) = from_object(Some(status), &object, text) {
            return error;
        }
        request_id = member(&object, &REQUEST_ID);
    }
    if let Some((event_status, data)) = first_event(text)
        && let Ok(Value::Object(object)) = serde_json::from_str(data)
        && let Some(error) = from_object(event_status.or(Some(status)), &object, text)
    {
        return error;
    }
    let shown = readable(text);
    let said = Said {
        message: if shown.is_empty() {
            format!("HTTP {status} without a message")
        } else {
            shown
        },
        request_id,
        ..Said::default()
    };
    build(Some(status), said, text)
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
    // Some answers say `"code": "200"` or `"Success"`.
    let code = member(object, &["code"]);
    if code.is_some_and(|code| {
        SUCCESS_CODES
            .iter()
            .any(|good| code.eq_ignore_ascii_case(good))
    }) {
        return None;
    }
    from_object(None, object, &answer.to_string())
}

const SUCCESS_CODES: [&str; 4] = ["0", "200", "ok", "success"];

const REQUEST_ID: [&str; 3] = ["request_id", "requestId", "RequestId"];

/// The first of the members that says something.
fn member(object: &Map<String, Value>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| match object.get(*name)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
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

impl Said {
    /// Bounds what was said by somebody else.
    fn cut(self) -> Self {
        let name = |text: Option<String>| text.map(|text| cut(text, KEPT_NAME_BYTES));
        Self {
            code: name(self.code),
            kind: name(self.kind),
            message: cut(self.message, KEPT_MESSAGE_BYTES),
            param: name(self.param),
            request_id: name(self.request_id),
        }
    }
}

fn from_object(status: Option<u16>, object: &Map<String, Value>, raw: &str) -> Option<ApiError> {
    let request_id = member(object, &REQUEST_ID);
    let said = match (object.get("error"), object.get("header")) {
        (Some(Value::Object(error)), _) => Said {
            code: member(error, &["code"]),
            kind: member(error, &["type"]),
            message: member(error, &["message", "msg"]).unwrap_or_default(),
            param: member(error, &["param"]),
            request_id: request_id
                .or_else(|| member(error, &["request_id"]))
                .or_else(|| {
                    let id = member(object, &["id"])?;
                    Some(id.trim_start_matches("chatcmpl-").to_owned())
                }),
        },
        (Some(Value::String(message)), _) if !message.is_empty() => Said {
            message: message.clone(),
            request_id,
            ..Said::default()
        },
        // The `task-failed` event of a socket; its task is what the service's support asks for.
        (_, Some(Value::Object(header))) if header.contains_key("error_code") => Said {
            code: member(header, &["error_code"]),
            message: member(header, &["error_message"]).unwrap_or_default(),
            request_id: request_id.or_else(|| member(header, &["task_id"])),
            ..Said::default()
        },
        _ => {
            let code = member(object, &["code", "error_code"]);
            let message = member(object, &["message", "msg", "error_message"]);
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
    let said = said.cut();
    let signals = Signals {
        status: status.filter(|status| !(200..300).contains(status)),
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
        body: raw[..raw.floor_char_boundary(KEPT_BODY_BYTES)].to_owned(),
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
            status = failure(comment);
        } else if let Some(value) = line.strip_prefix("status:") {
            status = failure(value);
        } else if let Some(data) = line.strip_prefix("data:") {
            return Some((status, data.trim()));
        }
    }
    None
}

/// A status that says that something failed; the head's own counts otherwise.
fn failure(status: &str) -> Option<u16> {
    status.trim().parse().ok().filter(|status| *status >= 400)
}

fn cut(mut text: String, limit: usize) -> String {
    text.truncate(text.floor_char_boundary(limit));
    text
}
