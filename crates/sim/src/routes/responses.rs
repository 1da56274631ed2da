//! Calls of responses (compat.md §5.1): the request in the words of chat. The simulator's own
//! reading of the protocol, so that it checks whoever translates.

mod input;

use serde_json::{Value, json};

use self::input::read_item;
use super::exchange::Exchange;
use crate::answer::builtin;
use crate::call::{ResponseAsk, Wrap, find_model};
use crate::rejection::Rejection;
use crate::stored::with_ids;

/// How many MCP servers a response may use.
const MOST_SERVERS: usize = 10;
/// What `reasoning.effort` can be.
const EFFORTS: [&str; 7] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

/// The call as a compatible chat, and the form of its answer.
pub(super) fn read(
    body: &Value,
    exchange: &Exchange,
    account: &str,
    session_cache: bool,
) -> Result<(Value, Wrap), Rejection> {
    let stored = &exchange.simulator.shared.stored;
    let (before, conversation) = (
        body["previous_response_id"].as_str(),
        body["conversation"]
            .as_str()
            .or(body["conversation"]["id"].as_str()),
    );
    if before.is_some() && conversation.is_some() {
        return Err(Rejection::new(
            400,
            "INVALID_REQUEST",
            "INVALID_REQUEST: Mutually exclusive parameters: previous_response_id, conversation",
        ));
    }
    let mut messages = Vec::new();
    if let Some(id) = before {
        let known = stored.responses.get(account, id);
        messages = known.ok_or_else(|| unknown_response(id))?.messages;
    }
    if let Some(id) = conversation {
        let known = stored.conversations.get(account, id);
        for item in &known.ok_or_else(|| unknown_conversation(id))?.items {
            read_item(item, &mut messages)?;
        }
    }
    let input = match &body["input"] {
        Value::String(text) => vec![json!({ "role": "user", "content": text })],
        Value::Array(items) => items.clone(),
        _ => return Err(Rejection::parameter("'input' is a required property")),
    };
    for item in &input {
        read_item(item, &mut messages)?;
    }
    let turns = messages.clone();
    if let Some(text) = body["instructions"].as_str() {
        messages.insert(0, json!({ "role": "system", "content": text }));
    }
    let mut chat = json!({ "model": body["model"], "messages": messages,
        "stream": body["stream"] == true });
    let passed = [
        "temperature",
        "top_p",
        "enable_thinking",
        "ocr_options",
        "parallel_tool_calls",
    ];
    for name in passed {
        if !body[name].is_null() {
            chat[name] = body[name].clone();
        }
    }
    if let Some(most) = body["max_output_tokens"].as_u64() {
        if most < 16 {
            return Err(Rejection::parameter(
                "max_output_tokens should be at least 16",
            ));
        }
        chat["max_completion_tokens"] = most.into();
    }
    read_effort(body, exchange, &mut chat)?;
    let tools = body["tools"].as_array().cloned().unwrap_or_default();
    let tool_choice = read_tools(&tools, &body["tool_choice"], &mut chat)?;
    let ask = ResponseAsk {
        input: with_ids(input, &exchange.request_id),
        turns,
        conversation: conversation.map(str::to_owned),
        store: body["store"] != false,
        session_cache,
        tools,
        tool_choice,
    };
    Ok((chat, Wrap::Response(Box::new(ask))))
}

/// How much is thought. What does not think takes no notice.
fn read_effort(body: &Value, exchange: &Exchange, chat: &mut Value) -> Result<(), Rejection> {
    let effort = match &body["reasoning"]["effort"] {
        Value::Null => return Ok(()),
        effort => effort.as_str().unwrap_or_default(),
    };
    if !EFFORTS.contains(&effort) {
        return Err(Rejection::parameter(format!(
            "reasoning.effort should be one of {EFFORTS:?}"
        )));
    }
    let id = body["model"].as_str().unwrap_or_default();
    let thinks = find_model(id, &exchange.config.models)
        .is_some_and(|model| model.max_thinking.is_some() || model.thinks_by_default());
    if thinks || effort == "none" {
        chat["enable_thinking"] = (effort != "none").into();
    }
    Ok(())
}

/// Checks the tools and gives those that are functions to the chat; the choice as it is told back.
fn read_tools(tools: &[Value], choice: &Value, chat: &mut Value) -> Result<Value, Rejection> {
    let count = |kind: &str| tools.iter().filter(|tool| tool["type"] == *kind).count();
    for tool in tools {
        let kind = tool["type"].as_str().unwrap_or_default();
        if kind != "function" && !builtin::TOOLS.contains(&kind) {
            return Err(Rejection::parameter(format!(
                "tools: type '{kind}' is not supported"
            )));
        }
        let lacks = |name: &str| tool[name].as_str().is_none_or(str::is_empty);
        if kind == "mcp" && (lacks("server_label") || lacks("server_url")) {
            return Err(Rejection::parameter(
                "tools: mcp: server_label and server_url are required",
            ));
        }
        let stores = tool["vector_store_ids"].as_array().map_or(0, Vec::len);
        if kind == "file_search" && stores != 1 {
            return Err(Rejection::parameter(
                "tools: file_search: vector_store_ids should have exactly 1 entry",
            ));
        }
    }
    if count("mcp") > MOST_SERVERS {
        return Err(Rejection::parameter(format!(
            "tools: at most {MOST_SERVERS} mcp servers"
        )));
    }
    if count("web_extractor") > 0 && count("web_search") == 0 {
        return Err(Rejection::parameter(
            "tools: web_extractor should be used together with web_search",
        ));
    }
    let functions: Vec<Value> = tools
        .iter()
        .filter(|tool| tool["type"] == "function")
        .map(|tool| {
            json!({ "type": "function", "function": { "name": tool["name"],
                "description": tool["description"], "parameters": tool["parameters"] } })
        })
        .collect();
    let first = functions
        .first()
        .map(|tool| tool["function"]["name"].clone());
    if !functions.is_empty() {
        chat["tools"] = functions.into();
    }
    match choice {
        Value::Null => return Ok("auto".into()),
        Value::String(mode) if mode == "required" => {
            if tools.len() != 1 {
                return Err(Rejection::parameter(
                    "tool_choice 'required' is only supported with one tool",
                ));
            }
            if let Some(name) = first {
                chat["tool_choice"] = json!({ "type": "function", "function": { "name": name } });
            }
        }
        Value::String(mode) if mode == "none" => chat["tool_choice"] = "none".into(),
        Value::String(mode) if mode == "auto" => {}
        Value::Object(_) if choice["type"] == "allowed_tools" => {}
        _ => {
            return Err(Rejection::parameter(
                "tool_choice should be 'auto', 'none', 'required' or allowed_tools",
            ));
        }
    }
    Ok(choice.clone())
}

pub(super) fn unknown_response(id: &str) -> Rejection {
    Rejection::new(
        404,
        "InvalidParameter",
        format!("Response with id '{id}' not found."),
    )
    .typed_by_code()
}

pub(super) fn unknown_conversation(id: &str) -> Rejection {
    Rejection::new(
        404,
        "InvalidParameter",
        format!("Conversation with id '{id}' not found."),
    )
    .typed_by_code()
}
