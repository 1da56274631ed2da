//! Thinking, the form of the output, tools.

use bailian_wire::catalog::{Model, Thinking};
use serde_json::{Map, Value, json};

use crate::rejection::Rejection;

/// What a system block must hold for the service to search (compat.md §6.1).
const BILLING: &str = "x-anthropic-billing-header: cc_entrypoint=cli;";

pub(super) fn read_thinking(
    thinking: &Value,
    out: &mut Map<String, Value>,
) -> Result<(), Rejection> {
    match thinking["type"].as_str() {
        // Many models think by default; a client that says nothing gets that (§6.1).
        None => {}
        Some("disabled") => drop(out.insert("enable_thinking".to_owned(), false.into())),
        Some("enabled") => {
            out.insert("enable_thinking".to_owned(), true.into());
            if let Some(budget) = thinking["budget_tokens"].as_u64() {
                out.insert("thinking_budget".to_owned(), budget.into());
            }
        }
        Some(_) => {
            return Err(Rejection::parameter(
                "thinking.type should be 'enabled' or 'disabled'",
            ));
        }
    }
    Ok(())
}

/// `output_config`: how much is thought, and the form of the answer.
pub(super) fn read_output(
    config: &Value,
    model: Option<&Model>,
    out: &mut Map<String, Value>,
) -> Result<(), Rejection> {
    if let Some(effort) = config["effort"].as_str() {
        let budget = match effort {
            "none" | "max" | "xhigh" | "high" => None,
            "medium" => Some(16_384),
            "low" | "minimal" => Some(4096),
            _ => {
                return Err(Rejection::parameter(format!(
                    "output_config.effort '{effort}' is not supported"
                )));
            }
        };
        // What was said of thinking itself goes before; what cannot think takes no notice.
        let is_hybrid = model.is_some_and(|model| model.thinking == Thinking::Hybrid);
        if is_hybrid && !out.contains_key("enable_thinking") {
            out.insert("enable_thinking".to_owned(), (effort != "none").into());
            let most = model.and_then(|model| model.max_thinking);
            if let Some(budget) = budget {
                let budget = most.map_or(budget, |most| most.min(budget));
                out.insert("thinking_budget".to_owned(), budget.into());
            }
        }
    }
    let format = &config["format"];
    match format["type"].as_str() {
        None => Ok(()),
        Some("json_schema") if format["schema"].is_object() => {
            // Models without schemas answer in JSON mode, which needs the word in a message.
            let has_schemas = model.is_none_or(|model| model.features.json_schema != Some(false));
            let format = if has_schemas {
                json!({ "type": "json_schema",
                    "json_schema": { "name": "output", "schema": format["schema"] } })
            } else {
                json!({ "type": "json_object" })
            };
            out.insert("response_format".to_owned(), format);
            Ok(())
        }
        Some(_) => Err(Rejection::parameter(
            "output_config.format should be a json_schema with a schema",
        )),
    }
}

pub(super) fn read_tools(body: &Value, out: &mut Map<String, Value>) -> Result<(), Rejection> {
    let Some(tools) = body.get("tools").and_then(Value::as_array) else {
        return Ok(());
    };
    let mut functions = Vec::new();
    for tool in tools {
        if is_search(tool) {
            // Without the text of billing the tool is there for nothing.
            if is_billed(&body["system"]) {
                out.insert("enable_search".to_owned(), true.into());
                let options = json!({ "enable_source": true });
                out.insert("search_options".to_owned(), options);
            }
            continue;
        }
        if !tool["input_schema"].is_object() {
            return Err(Rejection::parameter("tools: input_schema: Field required"));
        }
        functions.push(json!({ "type": "function", "function": {
            "name": tool["name"], "description": tool["description"],
            "parameters": tool["input_schema"],
        }}));
    }
    let choice = &body["tool_choice"];
    let forced = match choice["type"].as_str() {
        Some("tool") => choice["name"].as_str(),
        Some("any") if functions.len() == 1 => functions[0]["function"]["name"].as_str(),
        _ => None,
    };
    if let Some(name) = forced {
        let named = json!({ "type": "function", "function": { "name": name } });
        out.insert("tool_choice".to_owned(), named);
    } else if choice["type"] == "none" {
        out.insert("tool_choice".to_owned(), "none".into());
    }
    if !functions.is_empty() {
        let parallel = choice["disable_parallel_tool_use"] != true;
        out.insert("parallel_tool_calls".to_owned(), parallel.into());
        out.insert("tools".to_owned(), functions.into());
    }
    Ok(())
}

/// `web_search_` and a date.
fn is_search(tool: &Value) -> bool {
    let date = tool["type"]
        .as_str()
        .and_then(|kind| kind.strip_prefix("web_search_"));
    date.is_some_and(|date| date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_billed(system: &Value) -> bool {
    let mut blocks = system.as_array().into_iter().flatten();
    blocks.any(|block| {
        block["text"]
            .as_str()
            .is_some_and(|text| text.contains(BILLING))
    })
}
