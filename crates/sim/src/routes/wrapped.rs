//! Calls that lead to a chat in other words, and what is kept of their answers.

use serde_json::{Value, json};

use super::exchange::Exchange;
use super::{application, responses};
use crate::answer::Answer;
use crate::call::{Call, Wrap};
use crate::frames::{Identity, response_object};
use crate::rejection::Rejection;
use crate::stored::{MOST_ITEMS, StoredResponse, with_ids};

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
    session_cache: bool,
) -> Result<(Value, Wrap), Rejection> {
    match wanted {
        Wanted::Chat => Ok((body, Wrap::Chat)),
        Wanted::Completion => completion(body),
        Wanted::Application(app) => application::read(app, &body, exchange, account),
        Wanted::Response => responses::read(&body, exchange, account, session_cache),
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
        Wrap::Application(ask) => {
            let mut turns = call.messages.clone();
            turns.push(said);
            turns.drain(..turns.len().saturating_sub(100));
            stored.sessions.put(account, &ask.session_id, turns);
        }
        Wrap::Response(ask) => {
            let object = response_object(call, ask, answer, identity);
            if let Some(id) = &ask.conversation
                && let Some(mut known) = stored.conversations.get(account, id)
            {
                known.items.extend(ask.input.iter().cloned());
                let made = object["output"].as_array().cloned().unwrap_or_default();
                known.items.extend(with_ids(made, &identity.request_id));
                let excess = known.items.len().saturating_sub(MOST_ITEMS);
                known.items.drain(..excess);
                stored.conversations.put(account, id, known);
            }
            if ask.store {
                let mut messages = ask.turns.clone();
                messages.push(said);
                let id = object["id"].as_str().unwrap_or_default().to_owned();
                let response = StoredResponse {
                    object,
                    input: ask.input.clone(),
                    messages,
                };
                stored.responses.put(account, &id, response);
            }
        }
    }
}
