//! What the service checks before it answers, with its own words (http-native.md §9, compat.md §2).

mod media;
mod messages;
mod parameters;
mod translation;

use bailian_wire::Dialect;
use serde_json::{Map, Value};

use crate::call::{Call, Wrap, find_model};
use crate::config::SimConfig;
use crate::keys::{Caller, KeyState};
use crate::rejection::Rejection;

type Checked = Result<(), Rejection>;

/// A request body, read but not believed.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is said by a header or a path of its own"
)]
pub(crate) struct Received {
    pub(crate) dialect: Dialect,
    pub(crate) multimodal: bool,
    /// Native streams are asked for by header.
    pub(crate) stream_header: bool,
    /// Asynchronous calls are asked for by header; chat has none.
    pub(crate) asynchronous: bool,
    /// Temporary uploads are resolved when a header says so.
    pub(crate) resolves_oss: bool,
    pub(crate) body: Value,
    /// The form of the answer.
    pub(crate) wrap: Wrap,
}

/// Reads the JSON of a body.
pub(crate) fn parse(body: &[u8]) -> Result<Value, Rejection> {
    match serde_json::from_slice(body) {
        Ok(value @ Value::Object(_)) => Ok(value),
        _ => Err(Rejection::parameter(
            "Required body invalid, please check the request body format.",
        )
        .bare()),
    }
}

/// The model's name, as far as the body has one.
pub(crate) fn model_name(body: &Value) -> Option<&str> {
    body.get("model")?.as_str()
}

/// Checks in the order of the catalogue: model, permission, account, parameters, limits.
pub(crate) fn check(
    config: &SimConfig,
    caller: &Caller,
    received: Received,
) -> Result<Call, Rejection> {
    let Received {
        dialect,
        multimodal,
        stream_header,
        asynchronous,
        resolves_oss,
        body,
        wrap,
    } = received;
    let id = match body.get("model") {
        Some(Value::String(id)) if !id.is_empty() => id.clone(),
        Some(Value::String(_) | Value::Null) | None => {
            return Err(Rejection::documented("BadRequest.EmptyModel")
                .compat_code("invalid_request_error")
                .compat_message("you must provide a model parameter."));
        }
        Some(_) => return Err(Rejection::parameter("model must be a string.")),
    };
    if id.len() > 256 || id.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Rejection::parameter("Model not exist."));
    }
    let model = find_model(&id, &config.models).ok_or_else(|| {
        Rejection::new(404, "ModelNotFound", "Model can not be found.").compat_message(format!(
            "The model `{id}` does not exist or you do not have access to it."
        ))
    })?;
    if model.is_retired() {
        return Err(Rejection::new(
            403,
            "Endpoint.AccessDenied",
            "Endpoint access denied.",
        ));
    }
    check_account(caller)?;
    if asynchronous && dialect == Dialect::Native {
        return Err(Rejection::new(
            403,
            "AccessDenied",
            "Current user api does not support asynchronous calls.",
        ));
    }
    let call = Call {
        dialect,
        multimodal,
        stream: if dialect == Dialect::Native {
            stream_header
        } else {
            stream_member(&body)?
        },
        model_id: id,
        model,
        messages: messages_of(dialect, &body)?,
        wrap,
        parameters: parameters_of(dialect, &body)?,
    };
    check_path(&call)?;
    messages::check(&call)?;
    media::check(&call, resolves_oss)?;
    translation::check(&call)?;
    parameters::check(&call)?;
    if caller.state == KeyState::Limited {
        return Err(Rejection::documented("Throttling.RateQuota"));
    }
    Ok(call)
}

pub(crate) fn check_account(caller: &Caller) -> Checked {
    match caller.state {
        KeyState::Denied => Err(Rejection::new(
            403,
            "Model.AccessDenied",
            "Model access denied.",
        )),
        KeyState::InArrears => Err(Rejection::new(
            400,
            "Arrearage",
            "Access denied, please make sure your account is in good standing.",
        )),
        KeyState::Good | KeyState::Limited => Ok(()),
    }
}

fn check_path(call: &Call) -> Checked {
    let wrong = match call.dialect {
        Dialect::Native => call.model.uses_multimodal_path() != call.multimodal,
        _ => false,
    };
    if wrong {
        return Err(Rejection::parameter("url error, please check url！"));
    }
    if !call.model.serves_chat() {
        let message = format!(
            "Unsupported model {} for OpenAI compatibility mode.",
            call.model_id
        );
        return Err(match call.dialect {
            Dialect::Native => Rejection::parameter("url error, please check url！"),
            _ => Rejection::new(404, "model_not_supported", message),
        });
    }
    Ok(())
}

fn stream_member(body: &Value) -> Result<bool, Rejection> {
    match body.get("stream") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(stream)) => Ok(*stream),
        Some(_) => Err(Rejection::parameter("'stream' must be Boolean")),
    }
}

fn messages_of(dialect: Dialect, body: &Value) -> Result<Vec<Value>, Rejection> {
    let input = match (dialect, body.get("input")) {
        (Dialect::Native, Some(input @ Value::Object(_))) => input,
        (Dialect::Native, None | Some(Value::Null)) => {
            return Err(Rejection::documented("BadRequest.EmptyInput"));
        }
        (Dialect::Native, Some(_)) => return Err(Rejection::documented("BadRequest.IllegalInput")),
        _ => body,
    };
    let messages = match input.get("messages") {
        Some(Value::Array(messages)) => messages.clone(),
        None | Some(Value::Null) => Vec::new(),
        Some(_) => return Err(Rejection::parameter("messages must be a list.")),
    };
    let is_absent = input.get("messages").is_none_or(Value::is_null);
    match input.get("prompt") {
        Some(Value::String(prompt)) if is_absent && !prompt.is_empty() => Ok(vec![
            serde_json::json!({ "role": "user", "content": prompt }),
        ]),
        _ if is_absent => Err(Rejection::parameter(
            "Either \"prompt\" or \"messages\" must exist and cannot both be none",
        )
        .compat_message("'messages' is a required property")),
        _ => Ok(messages),
    }
}

fn parameters_of(dialect: Dialect, body: &Value) -> Result<Map<String, Value>, Rejection> {
    let members = match dialect {
        Dialect::Native => body.get("parameters"),
        _ => Some(body),
    };
    let mut parameters = match members {
        Some(Value::Object(members)) => members.clone(),
        None | Some(Value::Null) => Map::new(),
        Some(_) => return Err(Rejection::parameter("parameters must be an object.")),
    };
    // Absent and null are alike.
    parameters.retain(|_, value| !value.is_null());
    Ok(parameters)
}
