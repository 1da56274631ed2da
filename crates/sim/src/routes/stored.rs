//! Stored responses and conversations (compat.md §5.2, §5.4).

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use bailian_wire::Dialect;
use http::{HeaderMap, Method, Uri};
use serde_json::{Value, json};

use super::exchange::Exchange;
use super::responses::{unknown_conversation, unknown_response};
use crate::journal::Verdict;
use crate::rejection::Rejection;
use crate::simulator::Simulator;
use crate::stored::{Conversation, MOST_ITEMS, now_millis, with_ids};

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
            .ok_or_else(|| unknown_response(id))
            .and_then(|stored| page(stored.input, &uri)),
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

/// How many entries a list has when the call does not say, and at most.
const PAGE: (usize, usize) = (20, 100);
/// How many items can be added at once, and how many pairs metadata can have.
const MOST_ADDED: usize = 20;
const MOST_PAIRS: usize = 16;

/// A part of a list, as the query asks for it: `after`, `limit`, `order`.
fn page(items: Vec<Value>, uri: &Uri) -> Result<Value, Rejection> {
    let asked = |name: &str| {
        let pairs = uri.query().unwrap_or_default().split('&');
        pairs
            .filter_map(|pair| pair.split_once('='))
            .find_map(|(key, value)| (key == name).then_some(value))
    };
    let limit = match asked("limit").map(str::parse::<usize>) {
        None => PAGE.0,
        Some(Ok(limit)) if (1..=PAGE.1).contains(&limit) => limit,
        Some(_) => {
            return Err(Rejection::parameter(format!(
                "limit should be in [1, {}]",
                PAGE.1
            )));
        }
    };
    let mut items = items;
    match asked("order") {
        None | Some("asc") => {}
        Some("desc") => items.reverse(),
        Some(_) => return Err(Rejection::parameter("order should be 'asc' or 'desc'")),
    }
    if let Some(after) = asked("after") {
        let place = items.iter().position(|item| item["id"] == after);
        let place = place
            .ok_or_else(|| Rejection::parameter(format!("Item with id '{after}' not found.")))?;
        items.drain(..=place);
    }
    let has_more = items.len() > limit;
    items.truncate(limit);
    Ok(list(items, has_more))
}

fn list(items: Vec<Value>, has_more: bool) -> Value {
    let data: Vec<Value> = items
        .into_iter()
        .map(|mut item| {
            if let Some(members) = item.as_object_mut() {
                members.entry("type").or_insert_with(|| "message".into());
            }
            item
        })
        .collect();
    let id = |item: Option<&Value>| item.map(|item| item["id"].clone());
    json!({ "object": "list", "first_id": id(data.first()), "last_id": id(data.last()),
        "has_more": has_more, "data": data })
}

fn new_items(body: &Value, seed: &str) -> Result<Vec<Value>, Rejection> {
    let items = body["items"].as_array().cloned().unwrap_or_default();
    if items.len() > MOST_ADDED {
        return Err(Rejection::parameter(format!(
            "items should have at most {MOST_ADDED} entries"
        )));
    }
    Ok(with_ids(items, seed))
}

fn metadata(body: &Value) -> Result<Value, Rejection> {
    match &body["metadata"] {
        Value::Null => Ok(json!({})),
        Value::Object(pairs) if pairs.len() <= MOST_PAIRS => Ok(pairs.clone().into()),
        Value::Object(_) => Err(Rejection::parameter(format!(
            "metadata should have at most {MOST_PAIRS} pairs"
        ))),
        _ => Err(Rejection::parameter("metadata should be an object")),
    }
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
    let id = format!("conv_{}", exchange.request_id.replace('-', ""));
    let read = new_items(&body, &id).and_then(|items| Ok((items, metadata(&body)?)));
    let answer = read.map(|(items, metadata)| {
        let object = json!({ "id": id, "object": "conversation", "created_at": now_millis(),
            "metadata": metadata });
        let conversation = Conversation {
            object: object.clone(),
            items,
        };
        let stored = &exchange.simulator.shared.stored;
        stored.conversations.put(&account, &id, conversation);
        object
    });
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
        return exchange.refuse(&unknown_conversation(id));
    };
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let missing = || Rejection::new(404, "NotFound", "Not found!");
    let answer = match (method.as_str(), parts.get(1..).unwrap_or_default()) {
        ("GET", []) => Ok(known.object),
        ("POST", []) => metadata(&body).map(|metadata| {
            known.object["metadata"] = metadata;
            let object = known.object.clone();
            shelf.put(&account, id, known);
            object
        }),
        ("DELETE", []) => {
            shelf.remove(&account, id);
            Ok(json!({ "id": id, "object": "conversation.deleted", "deleted": true }))
        }
        ("GET", ["items"]) => page(known.items, &uri),
        ("POST", ["items"]) => new_items(&body, &exchange.request_id).and_then(|new| {
            if known.items.len() + new.len() > MOST_ITEMS {
                let full = "the conversation has too many items";
                return Err(Rejection::parameter(full));
            }
            known.items.extend(new.iter().cloned());
            shelf.put(&account, id, known);
            Ok(list(new, false))
        }),
        ("GET", ["items", item]) => {
            let found = known.items.into_iter().find(|known| known["id"] == *item);
            found.ok_or_else(missing)
        }
        ("DELETE", ["items", item]) => {
            let before = known.items.len();
            known.items.retain(|known| known["id"] != *item);
            if known.items.len() == before {
                Err(missing())
            } else {
                let object = known.object.clone();
                shelf.put(&account, id, known);
                Ok(object)
            }
        }
        _ => Err(missing()),
    };
    finish(exchange, answer)
}
