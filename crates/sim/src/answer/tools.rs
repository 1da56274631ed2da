//! Tool calls, and what is said when their results are there.

use serde_json::Value;

use super::{CallAnswer, schema, text};
use crate::call::{Call, message_text};
use crate::config::ScriptedCall;
use crate::tokens::Tokens;

/// The calls that the model makes: the forced function, else the first one, or several where the
/// request allows it.
pub(super) fn calls(call: &Call, rng: &mut fastrand::Rng) -> Vec<CallAnswer> {
    let functions = call.tools().iter().filter_map(|tool| tool.get("function"));
    let chosen: Vec<&Value> = match call.forced_tool() {
        Some(name) => functions
            .filter(|function| function["name"] == name)
            .take(1)
            .collect(),
        None if call.flag("parallel_tool_calls") == Some(true) => functions.take(3).collect(),
        None => functions.take(1).collect(),
    };
    chosen
        .into_iter()
        .map(|function| {
            let arguments = match function.get("parameters") {
                Some(parameters) => schema::fitting(parameters, rng),
                None => Value::Object(serde_json::Map::new()),
            };
            CallAnswer {
                id: id(rng),
                name: function["name"].as_str().unwrap_or_default().to_owned(),
                arguments: Tokens::split(arguments.to_string()),
            }
        })
        .collect()
}

/// The calls that a rule of the configuration orders.
pub(super) fn scripted(calls: &[ScriptedCall], rng: &mut fastrand::Rng) -> Vec<CallAnswer> {
    let made = calls.iter().map(|call| CallAnswer {
        id: id(rng),
        name: call.name.clone(),
        arguments: Tokens::split(match &call.arguments {
            Value::String(text) => text.clone(),
            arguments => arguments.to_string(),
        }),
    });
    made.collect()
}

fn id(rng: &mut fastrand::Rng) -> String {
    format!("call_{:022x}", rng.u128(..) >> 40)
}

/// An answer that uses what the tools said.
pub(super) fn conclusion(call: &Call) -> String {
    let results: Vec<String> = call
        .messages
        .iter()
        .rev()
        .take_while(|message| message["role"] == "tool")
        .map(message_text)
        .collect();
    let results: Vec<&str> = results.iter().rev().map(String::as_str).collect();
    let joined = results.join("; ");
    if text::is_chinese(&call.prompt()) || text::is_chinese(&joined) {
        format!("根据查询结果：{joined}")
    } else {
        format!("According to the tools: {joined}")
    }
}
