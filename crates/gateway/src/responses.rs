//! Responses that the gateway made itself over chat, kept for the calls that come back to them
//! (`previous_response_id`, get, delete). The model service keeps its own; a self-hosted server
//! that knows only chat keeps none (compat.md §8.11).
//!
//! Each belongs to the tenant that asked for it. They are kept in memory, within bounds, and are
//! gone when the process ends: a client then hears that its response is unknown.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};

/// As long as the service keeps its own (compat.md §5.1).
const KEPT: Duration = Duration::from_hours(7 * 24);
/// The most that are kept; the oldest give way.
const MOST: usize = 10_000;
/// The most that they come to together, in bytes of JSON.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// What has to be kept of a request until its answer is known.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) tenant: Arc<str>,
    /// Every item of the conversation so far, those of earlier responses first.
    pub(crate) input: Vec<Value>,
}

#[derive(Debug)]
struct Kept {
    tenant: Arc<str>,
    input: Vec<Value>,
    response: Value,
    at: Instant,
    bytes: usize,
}

/// The responses of one gateway.
#[derive(Debug, Default)]
pub(crate) struct Responses(Mutex<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    by_id: HashMap<Box<str>, Kept>,
    /// In order of arrival; some may have been deleted since.
    order: VecDeque<Box<str>>,
    bytes: usize,
}

impl Shelf {
    fn remove(&mut self, id: &str) -> Option<Kept> {
        let kept = self.by_id.remove(id)?;
        self.bytes -= kept.bytes;
        Some(kept)
    }

    fn make_room(&mut self, now: Instant) {
        while let Some(oldest) = self.order.front() {
            let is_over = self.by_id.len() > MOST || self.bytes > MOST_BYTES;
            let is_old = self
                .by_id
                .get(oldest)
                .is_none_or(|kept| now.saturating_duration_since(kept.at) > KEPT);
            if !is_over && !is_old {
                return;
            }
            if let Some(oldest) = self.order.pop_front() {
                self.remove(&oldest);
            }
        }
    }
}

impl Responses {
    /// Keeps a response under its own id.
    pub(crate) fn keep(&self, turn: Turn, response: Value, now: Instant) {
        let Some(id) = response.get("id").and_then(Value::as_str).map(Box::from) else {
            return;
        };
        let bytes = response.to_string().len()
            + turn
                .input
                .iter()
                .map(|item| item.to_string().len())
                .sum::<usize>();
        let mut all = self.0.lock();
        all.bytes += bytes;
        all.order.push_back(Box::clone(&id));
        let kept = Kept {
            tenant: turn.tenant,
            input: turn.input,
            response,
            at: now,
            bytes,
        };
        all.by_id.insert(id, kept);
        all.make_room(now);
    }

    fn with<T>(
        &self,
        id: &str,
        tenant: &str,
        now: Instant,
        read: impl Fn(&Kept) -> T,
    ) -> Option<T> {
        let mut all = self.0.lock();
        all.make_room(now);
        let kept = all.by_id.get(id).filter(|kept| &*kept.tenant == tenant)?;
        Some(read(kept))
    }

    /// Whether a response is one of these, and this tenant's.
    pub(crate) fn has(&self, id: &str, tenant: &str, now: Instant) -> bool {
        self.with(id, tenant, now, |_| ()).is_some()
    }

    /// What a response that follows this one begins with: its input, then its output.
    pub(crate) fn conversation(&self, id: &str, tenant: &str, now: Instant) -> Option<Vec<Value>> {
        self.with(id, tenant, now, |kept| {
            let output = kept.response.get("output").and_then(Value::as_array);
            let mut items = kept.input.clone();
            items.extend(output.into_iter().flatten().cloned());
            items
        })
    }

    /// Answers `GET` and `DELETE` of `/responses/{id}` and `GET` of its `input_items`; `None` where
    /// the response is not one of these.
    pub(crate) fn answer(
        &self,
        method: &http::Method,
        below: &str,
        query: Option<&str>,
        tenant: &str,
        now: Instant,
    ) -> Option<Value> {
        let (id, items) = match below.split_once('/') {
            Some((id, "input_items")) => (id, true),
            Some(_) => return None,
            None => (below, false),
        };
        match (method.as_str(), items) {
            ("GET", false) => self.with(id, tenant, now, |kept| kept.response.clone()),
            ("GET", true) => self.with(id, tenant, now, |kept| page(id, &kept.input, query)),
            ("DELETE", false) => {
                self.with(id, tenant, now, |_| ())?;
                self.0.lock().remove(id);
                Some(json!({ "id": id, "object": "response", "deleted": true }))
            }
            _ => None,
        }
    }
}

/// A page of input items, the newest first unless asked otherwise (compat.md §5.2).
fn page(id: &str, items: &[Value], query: Option<&str>) -> Value {
    let parameter = |name: &str| {
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        pairs
            .into_iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    };
    let mut items: Vec<Value> = items
        .iter()
        .enumerate()
        .map(|(place, item)| {
            let mut item = item.clone();
            if let Some(members) = item.as_object_mut() {
                members
                    .entry("id")
                    .or_insert_with(|| format!("msg_{id}_in_{place}").into());
                members.entry("type").or_insert_with(|| "message".into());
            }
            item
        })
        .collect();
    if parameter("order").as_deref() != Some("asc") {
        items.reverse();
    }
    if let Some(after) = parameter("after") {
        let place = items.iter().position(|item| item["id"] == after.as_str());
        items.drain(..place.map_or(0, |place| place + 1));
    }
    let limit = parameter("limit")
        .and_then(|limit| limit.parse().ok())
        .unwrap_or(20_usize);
    let has_more = items.len() > limit.clamp(1, 100);
    items.truncate(limit.clamp(1, 100));
    let id_of = |item: Option<&Value>| item.map(|item| item["id"].clone());
    json!({
        "object": "list",
        "first_id": id_of(items.first()),
        "last_id": id_of(items.last()),
        "has_more": has_more,
        "data": items,
    })
}

/// The items of a request's `input`.
pub(crate) fn items_of(input: &Value) -> Vec<Value> {
    match input {
        Value::String(text) => vec![json!({ "type": "message", "role": "user", "content": text })],
        Value::Array(items) => items.clone(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(tenant: &str) -> Turn {
        Turn {
            tenant: tenant.into(),
            input: items_of(&json!("你好")),
        }
    }

    fn response(id: &str) -> Value {
        json!({ "id": id, "output": [{ "type": "message", "role": "assistant", "content": [] }] })
    }

    #[test]
    fn a_response_is_there_for_its_tenant_and_for_nobody_else() {
        let kept = Responses::default();
        let now = Instant::now();
        kept.keep(turn("a"), response("resp_1"), now);
        assert_eq!(kept.conversation("resp_1", "a", now).unwrap().len(), 2);
        assert_eq!(kept.conversation("resp_1", "b", now), None);
        let get = |method, below, tenant| kept.answer(&method, below, None, tenant, now);
        assert_eq!(
            get(http::Method::GET, "resp_1", "a").unwrap()["id"],
            "resp_1"
        );
        assert_eq!(get(http::Method::DELETE, "resp_1", "b"), None);
        let items = get(http::Method::GET, "resp_1/input_items", "a").unwrap();
        assert_eq!(items["data"][0]["content"], "你好");
        assert!(get(http::Method::DELETE, "resp_1", "a").is_some());
        assert_eq!(get(http::Method::GET, "resp_1", "a"), None);
    }

    #[test]
    fn what_is_old_or_too_much_gives_way() {
        let kept = Responses::default();
        let now = Instant::now();
        for number in 0..MOST + 5 {
            kept.keep(turn("a"), response(&number.to_string()), now);
        }
        assert_eq!(kept.conversation("4", "a", now), None);
        assert!(kept.conversation("5", "a", now).is_some());
        let later = now + KEPT + Duration::from_secs(1);
        assert_eq!(kept.conversation("9", "a", later), None);
        assert_eq!(kept.0.lock().bytes, 0);
    }
}
