//! Parameters: kinds, ranges, combinations.

use bailian_wire::Dialect;
use bailian_wire::catalog::Thinking;
use serde_json::Value;

use super::Checked;
use crate::call::{Call, message_text};
use crate::rejection::Rejection;

fn refuse(message: impl Into<String>) -> Checked {
    Err(Rejection::parameter(message))
}

pub(super) fn check(call: &Call) -> Checked {
    check_kinds(call)?;
    check_ranges(call)?;
    check_streaming(call)?;
    check_thinking(call)?;
    check_tools(call)?;
    check_json(call)?;
    if call.flag("enable_search") == Some(true) && call.model.features.search == Some(false) {
        return refuse("This model does not support enable_search.");
    }
    Ok(())
}

/// Parameters, what their values must be, and the service's word for it.
type Kind = (&'static [&'static str], fn(&Value) -> bool, &'static str);

fn check_kinds(call: &Call) -> Checked {
    let kinds: [Kind; 4] = [
        (
            &[
                "temperature",
                "top_p",
                "repetition_penalty",
                "presence_penalty",
            ],
            Value::is_number,
            "Float",
        ),
        (
            &[
                "max_tokens",
                "max_completion_tokens",
                "top_k",
                "n",
                "seed",
                "top_logprobs",
                "thinking_budget",
            ],
            |value| value.is_i64() || value.is_u64(),
            "Integer",
        ),
        (
            &[
                "enable_thinking",
                "enable_search",
                "incremental_output",
                "logprobs",
                "parallel_tool_calls",
            ],
            Value::is_boolean,
            "Boolean",
        ),
        (&["tools"], Value::is_array, "List"),
    ];
    for (names, fits, kind) in kinds {
        for name in names {
            if call.parameters.get(*name).is_some_and(|value| !fits(value)) {
                let rejection = Rejection::parameter(format!("'{name}' must be {kind}"));
                return Err(match *name {
                    "seed" => rejection.compat_code(INVALID_VALUE),
                    _ => rejection,
                });
            }
        }
    }
    if let Some(stop) = call.parameters.get("stop") {
        let homogeneous = match stop {
            Value::String(_) => true,
            Value::Array(items) => {
                items.iter().all(Value::is_string)
                    || items.iter().all(Value::is_number)
                    || items.iter().all(Value::is_array)
            }
            _ => false,
        };
        if !homogeneous {
            return refuse(
                "The \"stop\" parameter must be of type \"str\", \"list[str]\", \"list[int]\", or \
                 \"list[list[int]]\", and all elements within the list must be of the same type.",
            );
        }
    }
    Ok(())
}

/// What the compatible surface calls seeds that it cannot take.
const INVALID_VALUE: &str = "invalid_request_error-invalid_value";

fn check_ranges(call: &Call) -> Checked {
    if call
        .number("temperature")
        .is_some_and(|t| !(0.0..2.0).contains(&t))
    {
        return refuse("Temperature should be in [0.0, 2.0)");
    }
    if call.number("top_p").is_some_and(|p| !(p > 0.0 && p <= 1.0)) {
        return refuse("Range of top_p should be (0.0, 1.0]");
    }
    if call.number("top_k").is_some_and(|k| k < 0.0) {
        return refuse("Parameter top_k be greater than or equal to 0");
    }
    if call.number("repetition_penalty").is_some_and(|p| p <= 0.0) {
        return refuse("Repetition_penalty should be greater than 0.0");
    }
    if call
        .number("presence_penalty")
        .is_some_and(|p| !(-2.0..=2.0).contains(&p))
    {
        return refuse("Presence_penalty should be in [-2.0, 2.0]");
    }
    if call.number("n").is_some_and(|n| !(1.0..=4.0).contains(&n)) {
        return refuse("Range of n should be [1, 4]");
    }
    if let Some(seed) = call.number("seed").filter(|seed| *seed < 0.0) {
        let message = Rejection::parameter("Range of seed should be [0, 9223372036854775807]");
        return Err(message
            .compat_code(INVALID_VALUE)
            .compat_message(format!("{seed} is lesser than the minimum of 0 - 'seed'")));
    }
    if call
        .number("top_logprobs")
        .is_some_and(|count| !(0.0..=5.0).contains(&count))
    {
        return refuse("Range of top_logprobs should be [0, 5]");
    }
    if let Some(max_tokens) = call.number("max_tokens") {
        let most = call.model.max_output.max(call.model.max_output_thinking);
        if max_tokens < 1.0 || most.is_some_and(|most| max_tokens > most as f64) {
            let most = most.unwrap_or(8192);
            return refuse(format!("Range of max_tokens should be [1, {most}]"));
        }
    }
    Ok(())
}

fn check_streaming(call: &Call) -> Checked {
    if call.parameters.contains_key("stream_options")
        && !call.stream
        && call.dialect != Dialect::Native
    {
        return refuse("The 'stream_options' parameter is only allowed when 'stream' is enabled.");
    }
    if call.speaks() && !call.stream {
        return refuse("'audio' output only support with stream=true");
    }
    if call.needs_stream() && !call.stream {
        return refuse(
            "This model only support stream mode, please enable the stream parameter to access \
             the model. ",
        );
    }
    Ok(())
}

fn check_thinking(call: &Call) -> Checked {
    let asked = call.flag("enable_thinking");
    match (call.model.thinking, asked) {
        (Thinking::None, Some(true)) => {
            let message = format!(
                "The model {} does not support enable_thinking.",
                call.model_id
            );
            return Err(Rejection::new(
                400,
                "InvalidParameter.NotSupportEnableThinking",
                message,
            ));
        }
        (Thinking::Only, Some(false)) => {
            return refuse("The value of the enable_thinking parameter is restricted to True.");
        }
        _ => {}
    }
    if let Some(effort) = call.parameters.get("reasoning_effort") {
        let known = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];
        if effort
            .as_str()
            .is_none_or(|effort| !known.contains(&effort))
        {
            return refuse(format!("reasoning_effort should be one of {known:?}"));
        }
        let excludes = call
            .model
            .features
            .reasoning_effort_excludes_thinking_budget;
        if excludes == Some(true) && call.parameters.contains_key("thinking_budget") {
            return refuse("reasoning_effort and thinking_budget cannot be set at the same time");
        }
    }
    if let Some(budget) = call.number("thinking_budget") {
        let most = call.model.max_thinking;
        if budget < 1.0 || most.is_some_and(|most| budget > most as f64) {
            let most = most.map_or_else(|| "the maximum".to_owned(), |most| most.to_string());
            return refuse(format!(
                "The thinking_budget parameter must be a positive integer and not greater than \
                 {most}"
            ));
        }
    }
    if !call.thinks() {
        return Ok(());
    }
    if !call.stream && call.model.thinks_in_streams_only() {
        return refuse("parameter.enable_thinking must be set to false for non-streaming calls");
    }
    if call.dialect == Dialect::Native {
        if call.stream && call.flag("incremental_output") == Some(false) {
            return refuse(
                "The incremental_output parameter must be \"true\" when enable_thinking is true",
            );
        }
        if call.text("result_format") == Some("text") && !call.multimodal {
            return refuse(
                "The result_format parameter must be \"message\" when enable_thinking is true",
            );
        }
    }
    if call.last()["partial"] == true {
        return refuse("Partial mode is not supported when enable_thinking is true");
    }
    Ok(())
}

fn check_tools(call: &Call) -> Checked {
    let tools = call.parameters.get("tools").and_then(Value::as_array);
    let Some(tools) = tools.filter(|tools| !tools.is_empty()) else {
        return Ok(());
    };
    if call.model.features.tools == Some(false) {
        return refuse("The tool call is not supported.");
    }
    for tool in tools {
        let name = tool
            .pointer("/function/name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if name == "search" {
            return refuse("Tool names are not allowed to be [search]");
        }
        let fits = !name.is_empty()
            && name.len() <= 64
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if tool["type"] == "function" && !fits {
            return refuse(format!("{name:?} does not match '^[a-zA-Z0-9_-]{{1,64}}$'"));
        }
    }
    if call.number("n").is_some_and(|n| n > 1.0) {
        return refuse("Parameter n must be 1 when tools are given");
    }
    match call.parameters.get("tool_choice") {
        Some(Value::String(mode)) if mode != "auto" && mode != "none" => {
            refuse("tool_choice is one of the strings that should be [\"none\", \"auto\"]")
        }
        Some(Value::Object(_)) if call.thinks() => refuse(
            "The tool_choice parameter does not support being set to required or object in thinking mode",
        ),
        _ => Ok(()),
    }
}

fn check_json(call: &Call) -> Checked {
    let Some(format) = call.parameters.get("response_format") else {
        return Ok(());
    };
    let kind = match format.get("type") {
        Some(Value::String(kind)) => kind.as_str(),
        _ => &format.to_string(),
    };
    if kind == "text" {
        return Ok(());
    }
    if kind != "json_object" && kind != "json_schema" {
        return refuse(format!(
            "Unknown format of response_format, response_format should be a dict, includes 'type' \
             and an optional key 'json_schema'. The response_format type from user is {kind}."
        ));
    }
    if call.thinks() && call.model.features.json_only_without_thinking == Some(true) {
        return refuse("Json mode response is not supported when enable_thinking is true");
    }
    let says_json = call
        .messages
        .iter()
        .any(|message| message_text(message).to_ascii_lowercase().contains("json"));
    if kind == "json_object" && !says_json {
        return refuse(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of \
             type 'json_object'.",
        );
    }
    Ok(())
}
