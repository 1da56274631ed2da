//! Reads chat completion requests.

use serde_json::{Map, Value};

use crate::chat::{ChatRequest, Role};
use crate::translate::{DecodeError, Decoded, Losses};

/// The canonical form of an OpenAI-compatible chat request (compat.md §2).
///
/// Members without a field stay in `extra`. What a client wrote into `extra_body` by mistake stands
/// at the top level, and the `developer` role, which the service does not know, is `system`
/// (§2.1, §2.2). The `stream` switch is left out: it belongs to the call.
///
/// # Errors
///
/// When a member with a field has a value of another type.
pub fn decode_request(body: &Value) -> Result<Decoded, DecodeError> {
    let Value::Object(members) = body else {
        return Err(DecodeError::at("body", "is no JSON object"));
    };
    let mut members = members.clone();
    unwrap_extra_body(&mut members);
    members.remove("stream");
    let mut request: ChatRequest = serde_json::from_value(Value::Object(members))?;
    for message in &mut request.messages {
        if message.role == Role::Other("developer".to_owned()) {
            message.role = Role::System;
        }
    }
    Ok(Decoded {
        request,
        losses: Losses::new(),
    })
}

/// Moves what stands in `extra_body`, a name of the official client's that must never reach the
/// wire, to the top level. What stands there already stays.
pub fn unwrap_extra_body(members: &mut Map<String, Value>) {
    if let Some(Value::Object(extra)) = members.remove("extra_body") {
        for (name, value) in extra {
            members.entry(name).or_insert(value);
        }
    }
}
