//! Messages.

use std::collections::HashSet;

use bailian_wire::Dialect;
use serde_json::Value;

use super::Checked;
use crate::call::Call;
use crate::rejection::Rejection;

pub(super) fn check(call: &Call) -> Checked {
    if call.messages.is_empty() {
        return Err(
            Rejection::parameter("[] is too short").compat_message("[] is too short - 'messages'")
        );
    }
    let mut known_calls: HashSet<&str> = HashSet::new();
    for (place, message) in call.messages.iter().enumerate() {
        check_one(call, place, message)?;
        for made in message["tool_calls"].as_array().into_iter().flatten() {
            known_calls.extend(made["id"].as_str());
        }
        if message["role"] == "tool" {
            let answered = message["tool_call_id"].as_str();
            if answered.is_some_and(|id| !known_calls.contains(id)) || known_calls.is_empty() {
                return Err(Rejection::parameter(
                    "messages with role \"tool\" must be a response to a preceeding message with \
                     \"tool_calls\"",
                ));
            }
        }
    }
    check_length(call)
}

fn check_one(call: &Call, place: usize, message: &Value) -> Checked {
    let role = message["role"].as_str().unwrap_or_default();
    if !["system", "user", "assistant", "tool"].contains(&role) {
        return Err(Rejection::parameter(
            "Role must be user or assistant and Content length must be greater than 0",
        )
        .compat_message(format!(
            "{role:?} is not one of ['system', 'assistant', 'user', 'tool', 'function'] - \
             'messages.['{place}'].role'"
        )));
    }
    let content = &message["content"];
    let calls_tools = message["tool_calls"]
        .as_array()
        .is_some_and(|calls| !calls.is_empty());
    match content {
        Value::String(text) if text.is_empty() && role == "user" => Err(empty_content()),
        Value::Array(parts) if parts.is_empty() && role == "user" => Err(empty_content()),
        Value::String(_) | Value::Array(_) => Ok(()),
        Value::Null if calls_tools => Ok(()),
        Value::Null => Err(match call.dialect {
            Dialect::Native => empty_content(),
            _ => Rejection::parameter("The content field is a required field."),
        }),
        _ => Err(Rejection::parameter("input content must be a string.")),
    }
}

fn empty_content() -> Rejection {
    Rejection::parameter("Role must be user or assistant and Content length must be greater than 0")
}

fn check_length(call: &Call) -> Checked {
    let longest = if call.thinks() {
        call.model.max_input_thinking.or(call.model.max_input)
    } else {
        call.model.max_input
    };
    let Some(longest) = longest else {
        return Ok(());
    };
    if crate::answer::input_tokens(call) > longest {
        let message = format!("Range of input length should be [1, {longest}]");
        return Err(Rejection::parameter(&message).compat_message(format!(
            "<400> InternalError.Algo.InvalidParameter: {message}"
        )));
    }
    Ok(())
}
