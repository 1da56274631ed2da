//! Calls that lead to a chat in other words: completions, applications, responses. The simulator's
//! own reading of the protocol, so that it checks whoever translates.

use serde_json::{Map, Value, json};

use super::exchange::Exchange;
use crate::answer::Answer;
use crate::call::{Call, Wrap, message_text};
use crate::frames::{Identity, response_object};
use crate::rejection::Rejection;
use crate::stored::{MOST_ITEMS, StoredResponse};

/// What was asked for.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    Chat,
    Completion,
    Application(String),
    Response,
}

/// The body as chat would have it, and the form of the answer.
pub(super) fn unwrap(
    wanted: &Wanted,
    body: Value,
    exchange: &Exchange,
    account: &str,
) -> Result<(Value, Wrap), Rejection> {
    match wanted {
        Wanted::Chat => Ok((body, Wrap::Chat)),
        Wanted::Completion => completion(body),
        Wanted::Application(app) => application(app, &body, exchange, account),
        Wanted::Response => response(&body, exchange, account),
    }
}

/// Fill in the middle (compat.md §3.2).
fn completion(mut body: Value) -> Result<(Value, Wrap), Rejection> {
    let model = body["model"].as_str().unwrap_or_default();
    let serves = model.starts_with("qwen2.5-coder-") || model.starts_with("qwen-coder-turbo");
    if !model.is_empty() && !serves {
        let message = format!("Unsupported model {model} for OpenAI compatibility mode.");
        return Err(Rejection::new(404, "model_not_supported", message));
    }
    let Some(prompt) = body["prompt"].as_str().map(str::to_owned) else {
        return Err(Rejection::parameter("'prompt' is a required property"));
    };
    if let Some(members) = body.as_object_mut() {
        members.remove("prompt");
    }
    body["messages"] = json!([{ "role": "user", "content": prompt }]);
    Ok((body, Wrap::Completion))
}

/// Agents and workflows (apps-files-misc.md §1).
fn application(
    app: &str,
    body: &Value,
    exchange: &Exchange,
    account: &str,
) -> Result<(Value, Wrap), Rejection> {
    if app.starts_with("denied") {
        return Err(Rejection::new(
            403,
            "App.AccessDenied",
            "App access denied.",
        ));
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
    let mut parameters = Map::new();
    let given = body["parameters"].as_object();
    for (name, value) in given.into_iter().flatten() {
        let of_chat = ["temperature", "top_p", "top_k", "seed", "enable_thinking"];
        if of_chat.contains(&name.as_str()) {
            parameters.insert(name.clone(), value.clone());
        }
    }
    // Applications stream whole texts unless they are told otherwise (§1.1).
    let incremental = body["parameters"]["incremental_output"] == true;
    parameters.insert("result_format".to_owned(), "message".into());
    parameters.insert("incremental_output".to_owned(), incremental.into());
    let has_sources = body["parameters"]["rag_options"].is_object();
    let chat = json!({ "model": "qwen-plus", "input": { "messages": messages },
        "parameters": parameters });
    Ok((
        chat,
        Wrap::Application {
            session_id,
            has_sources,
        },
    ))
}

/// Responses (compat.md §5.1).
fn response(body: &Value, exchange: &Exchange, account: &str) -> Result<(Value, Wrap), Rejection> {
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
        let known = known.ok_or_else(|| {
            Rejection::new(
                404,
                "InvalidParameter",
                format!("Conversation with id '{id}' not found."),
            )
        })?;
        for item in &known.items {
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
    for name in ["temperature", "top_p", "enable_thinking"] {
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
    match body["reasoning"]["effort"].as_str() {
        Some("none") => chat["enable_thinking"] = false.into(),
        Some(_) => chat["enable_thinking"] = true.into(),
        None => {}
    }
    let tools = body["tools"].as_array();
    let functions: Vec<Value> = tools
        .into_iter()
        .flatten()
        .filter(|tool| tool["type"] == "function")
        .map(|tool| {
            json!({ "type": "function", "function": { "name": tool["name"],
            "description": tool["description"], "parameters": tool["parameters"] } })
        })
        .collect();
    if !functions.is_empty() {
        chat["tools"] = functions.into();
    }
    let wrap = Wrap::Response {
        input,
        turns,
        conversation: conversation.map(str::to_owned),
        store: body["store"] != false,
        session_cache: false,
    };
    Ok((chat, wrap))
}

pub(super) fn unknown_response(id: &str) -> Rejection {
    Rejection::new(
        404,
        "InvalidParameter",
        format!("Response with id '{id}' not found."),
    )
}

fn read_item(item: &Value, messages: &mut Vec<Value>) -> Result<(), Rejection> {
    match item["type"].as_str().unwrap_or("message") {
        "message" => {
            let role = match item["role"].as_str().unwrap_or("user") {
                "developer" => "system",
                role => role,
            };
            let content = match &item["content"] {
                Value::String(text) => json!(text),
                Value::Array(parts) => parts.iter().map(read_part).collect(),
                _ => return Err(Rejection::parameter("content is required")),
            };
            let message = json!({ "role": role, "content": content });
            let text = message_text(&message);
            let is_text = message["content"]
                .as_array()
                .is_none_or(|parts| parts.iter().all(|part| part["type"] == "text"));
            messages.push(if is_text {
                json!({ "role": role, "content": text })
            } else {
                message
            });
        }
        "function_call" => {
            messages.push(json!({ "role": "assistant", "content": "", "tool_calls": [{
            "id": item["call_id"], "type": "function",
            "function": { "name": item["name"], "arguments": item["arguments"] } }] }));
        }
        "function_call_output" => messages.push(json!({ "role": "tool",
            "tool_call_id": item["call_id"], "content": item["output"] })),
        _ => {}
    }
    Ok(())
}

fn read_part(part: &Value) -> Value {
    match part["type"].as_str().unwrap_or_default() {
        "input_image" => json!({ "type": "image_url", "image_url": { "url": part["image_url"] } }),
        "input_audio" => {
            let data = part.get("audio_url").unwrap_or(&part["data"]);
            json!({ "type": "input_audio", "input_audio": { "data": data } })
        }
        "input_video" => json!({ "type": "video_url", "video_url": { "url": part["video_url"] } }),
        _ => json!({ "type": "text", "text": part["text"] }),
    }
}

/// Keeps what later calls may go on from.
pub(super) fn remember(
    exchange: &Exchange,
    account: &str,
    call: &Call,
    answer: &Answer,
    identity: &Identity,
) {
    let stored = &exchange.simulator.shared.stored;
    let Some(choice) = answer.choices.first() else {
        return;
    };
    let mut said = json!({ "role": "assistant", "content": choice.text.as_str() });
    if !choice.calls.is_empty() {
        let calls: Vec<Value> = choice
            .calls
            .iter()
            .map(|made| {
                json!({ "id": made.id, "type": "function",
                "function": { "name": made.name, "arguments": made.arguments.as_str() } })
            })
            .collect();
        said["tool_calls"] = calls.into();
    }
    match &call.wrap {
        Wrap::Chat | Wrap::Completion => {}
        Wrap::Application { session_id, .. } => {
            let mut turns = call.messages.clone();
            turns.push(said);
            turns.drain(..turns.len().saturating_sub(100));
            stored.sessions.put(account, session_id, turns);
        }
        Wrap::Response {
            input,
            turns,
            conversation,
            store,
            ..
        } => {
            let object = response_object(call, answer, identity);
            if let Some(id) = conversation
                && let Some(mut known) = stored.conversations.get(account, id)
            {
                known.items.extend(input.iter().cloned());
                known
                    .items
                    .extend(object["output"].as_array().into_iter().flatten().cloned());
                let excess = known.items.len().saturating_sub(MOST_ITEMS);
                known.items.drain(..excess);
                stored.conversations.put(account, id, known);
            }
            if *store {
                let mut messages = turns.clone();
                messages.push(said);
                let id = object["id"].as_str().unwrap_or_default().to_owned();
                let response = StoredResponse {
                    object,
                    input: input.clone(),
                    messages,
                };
                stored.responses.put(account, &id, response);
            }
        }
    }
}
