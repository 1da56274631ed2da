//! Stored responses and conversations (compat.md §5.2, §5.4).

use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use bailian_wire::Dialect;
use http::{HeaderMap, Method, Uri};
use serde_json::{Value, json};

use super::exchange::Exchange;
use super::wrapped::unknown_response;
use crate::journal::Verdict;
use crate::rejection::Rejection;
use crate::simulator::Simulator;
use crate::stored::{Conversation, MOST_ITEMS};

/// `GET`, `DELETE /responses/{id}`, `GET …/input_items`.
pub(super) async fn response(
    State(simulator): State<Simulator>,
    Path(rest): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let (id, below) = rest.split_once('/').unwrap_or((&rest, ""));
    // Of an unknown id this one call tells in native words (§5.2).
    let dialect = if below == "input_items" {
        Dialect::Native
    } else {
        Dialect::OpenAi
    };
    let (exchange, caller) = match Exchange::begin(simulator, dialect, &uri, &headers).known() {
        Ok(known) => known,
        Err(refused) => return refused,
    };
    let account = caller.account;
    let responses = &exchange.simulator.shared.stored.responses;
    let answer = match (method.as_str(), below) {
        ("GET", "") => responses
            .get(&account, id)
            .map(|stored| stored.object)
            .ok_or_else(|| unknown_response(id)),
        ("DELETE", "") => responses
            .remove(&account, id)
            .map(|_| json!({ "id": id, "object": "response", "deleted": true }))
            .ok_or_else(|| unknown_response(id)),
        ("GET", "input_items") => responses
            .get(&account, id)
            .map(|stored| list(stored.input))
            .ok_or_else(|| unknown_response(id)),
        _ => Err(Rejection::new(404, "NotFound", "Not found!")),
    };
    finish(exchange, answer)
}

fn finish(exchange: Exchange, answer: Result<Value, Rejection>) -> Response {
    match answer {
        Ok(value) => {
            let body = Bytes::from(value.to_string());
            exchange.json(200, body, Verdict::Ok)
        }
        Err(rejection) => exchange.refuse(&rejection),
    }
}

/// Milliseconds here, seconds on the response object (§5.4).
fn now_millis() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn list(items: Vec<Value>) -> Value {
    let now = now_millis();
    let data: Vec<Value> = items
        .into_iter()
        .enumerate()
        .map(|(place, mut item)| {
            if let Some(members) = item.as_object_mut() {
                members
                    .entry("id")
                    .or_insert_with(|| format!("msg_{place}").into());
                members.entry("type").or_insert_with(|| "message".into());
                members.entry("created_at").or_insert_with(|| now.into());
            }
            item
        })
        .collect();
    let id = |item: Option<&Value>| item.map(|item| item["id"].clone());
    json!({ "object": "list", "first_id": id(data.first()), "last_id": id(data.last()),
        "has_more": false, "data": data })
}

/// `POST /conversations`.
pub(super) async fn new_conversation(
    State(simulator): State<Simulator>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (exchange, caller) =
        match Exchange::begin(simulator, Dialect::OpenAi, &uri, &headers).known() {
            Ok(known) => known,
            Err(refused) => return refused,
        };
    let account = caller.account;
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let items = body["items"].as_array().cloned().unwrap_or_default();
    let answer = if items.len() > 20 {
        Err(Rejection::parameter("items should have at most 20 entries"))
    } else {
        let id = format!("conv_{}", exchange.request_id.replace('-', ""));
        let metadata = body["metadata"].as_object().cloned().unwrap_or_default();
        let object = json!({ "id": id, "object": "conversation", "created_at": now_millis(),
            "metadata": metadata });
        let conversation = Conversation {
            object: object.clone(),
            items,
        };
        let stored = &exchange.simulator.shared.stored;
        stored.conversations.put(&account, &id, conversation);
        Ok(object)
    };
    finish(exchange, answer)
}

/// Everything under `/conversations/{id}`.
pub(super) async fn conversation(
    State(simulator): State<Simulator>,
    Path(rest): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (exchange, caller) =
        match Exchange::begin(simulator, Dialect::OpenAi, &uri, &headers).known() {
            Ok(known) => known,
            Err(refused) => return refused,
        };
    let account = caller.account;
    let parts: Vec<&str> = rest.split('/').collect();
    let id = parts.first().copied().unwrap_or_default();
    let shelf = &exchange.simulator.shared.stored.conversations;
    let Some(mut known) = shelf.get(&account, id) else {
        let message = format!("Conversation with id '{id}' not found.");
        return exchange.refuse(&Rejection::new(404, "InvalidParameter", message));
    };
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let missing = || Rejection::new(404, "NotFound", "Not found!");
    let answer = match (method.as_str(), parts.get(1..).unwrap_or_default()) {
        ("GET", []) => Ok(known.object),
        ("POST", []) => {
            known.object["metadata"] = body["metadata"].clone();
            let object = known.object.clone();
            shelf.put(&account, id, known);
            Ok(object)
        }
        ("DELETE", []) => {
            shelf.remove(&account, id);
            Ok(json!({ "id": id, "object": "conversation.deleted", "deleted": true }))
        }
        ("GET", ["items"]) => Ok(list(known.items)),
        ("POST", ["items"]) => {
            let new = body["items"].as_array().cloned().unwrap_or_default();
            if known.items.len() + new.len() > MOST_ITEMS {
                Err(Rejection::parameter("the conversation has too many items"))
            } else {
                let first = known.items.len();
                for (place, mut item) in new.into_iter().enumerate() {
                    if item["id"].is_null() && item.is_object() {
                        item["id"] = format!("msg_{}", first + place).into();
                    }
                    known.items.push(item);
                }
                let added = known.items[first..].to_vec();
                shelf.put(&account, id, known);
                Ok(list(added))
            }
        }
        ("GET", ["items", item]) => {
            let found = known.items.into_iter().find(|known| known["id"] == *item);
            found.ok_or_else(missing)
        }
        ("DELETE", ["items", item]) => {
            known.items.retain(|known| known["id"] != *item);
            let object = known.object.clone();
            shelf.put(&account, id, known);
            Ok(object)
        }
        _ => Err(missing()),
    };
    finish(exchange, answer)
}
