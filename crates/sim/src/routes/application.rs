//! Calls of applications: agents and workflows (apps-files-misc.md §1).

use serde_json::{Map, Value, json};

use super::exchange::Exchange;
use crate::call::{ApplicationAsk, FlowMode, Wrap};
use crate::rejection::Rejection;

/// How an application's id begins, and how it fails then.
const FAILING: [(&str, u16, &str, &str); 5] = [
    ("denied", 403, "App.AccessDenied", "App access denied."),
    (
        "unpublished",
        400,
        "FlowNotPublished",
        "Flow has not published yet, please publish flow and try again.",
    ),
    (
        "blocked",
        400,
        "FaqRuleBlocked",
        "Input or output data is blocked by faq rule.",
    ),
    (
        "plugin-failing",
        500,
        "InvokePluginFailed",
        "Failed to invoke plugin.",
    ),
    (
        "failing",
        500,
        "AppProcessFailed",
        "Failed to proceed application request.",
    ),
];
/// How a workflow's id begins; other applications are agents.
const WORKFLOW: &str = "flow";
/// How many knowledge bases can be named.
const MOST_PIPELINES: usize = 5;

/// The call as a native chat, and the form of its answer.
pub(super) fn read(
    app: &str,
    body: &Value,
    exchange: &Exchange,
    account: &str,
) -> Result<(Value, Wrap), Rejection> {
    for (prefix, status, code, message) in FAILING {
        if app.starts_with(prefix) {
            return Err(Rejection::new(status, code, message));
        }
    }
    let input = &body["input"];
    let mut messages = Vec::new();
    let mut session_id = exchange.request_id.replace('-', "");
    if let Some(given) = input["messages"].as_array() {
        // With messages, session and prompt are ignored.
        messages.clone_from(given);
    } else {
        let Some(prompt) = input["prompt"].as_str() else {
            return Err(Rejection::parameter(
                "Required input parameter missing: prompt",
            ));
        };
        if let Some(id) = input["session_id"].as_str().filter(|id| id.len() <= 64) {
            let sessions = &exchange.simulator.shared.stored.sessions;
            if let Some(known) = sessions.get(account, id) {
                messages = known;
                id.clone_into(&mut session_id);
            }
        }
        messages.push(json!({ "role": "user", "content": prompt }));
    }
    let given = &body["parameters"];
    let mut parameters = Map::new();
    for name in ["temperature", "top_p", "top_k", "seed", "enable_thinking"] {
        if !given[name].is_null() {
            parameters.insert(name.to_owned(), given[name].clone());
        }
    }
    parameters.insert("result_format".to_owned(), "message".into());
    let ask = ApplicationAsk {
        session_id,
        has_sources: has_sources(given)?,
        has_thoughts: given["has_thoughts"] == true,
        // Applications stream whole texts unless they are told otherwise.
        incremental: given["incremental_output"] == true,
        flow: flow_mode(app, given)?,
    };
    let model = given["model_id"].as_str().unwrap_or("qwen-plus");
    let chat = json!({ "model": model, "input": { "messages": messages },
        "parameters": parameters });
    Ok((chat, Wrap::Application(Box::new(ask))))
}

fn has_sources(parameters: &Value) -> Result<bool, Rejection> {
    let options = &parameters["rag_options"];
    if !options.is_object() {
        return Ok(false);
    }
    let pipelines = options["pipeline_ids"].as_array().map_or(0, Vec::len);
    if !(1..=MOST_PIPELINES).contains(&pipelines) {
        return Err(Rejection::parameter(format!(
            "rag_options.pipeline_ids should have 1 to {MOST_PIPELINES} entries"
        )));
    }
    Ok(true)
}

fn flow_mode(app: &str, parameters: &Value) -> Result<Option<FlowMode>, Rejection> {
    if !app.starts_with(WORKFLOW) {
        return Ok(None);
    }
    Ok(Some(match parameters["flow_stream_mode"].as_str() {
        None | Some("full_thoughts") => FlowMode::FullThoughts,
        Some("message_format") => FlowMode::MessageFormat,
        Some("message_format_plus") => FlowMode::MessageFormatPlus,
        Some(other) => {
            return Err(Rejection::parameter(format!(
                "flow_stream_mode '{other}' is not one of full_thoughts, message_format, \
                 message_format_plus"
            )));
        }
    }))
}
