//! `GET /v1/models`: the chat models of the catalogue in OpenAI's list form (compat.md §3.3).

use std::collections::{HashMap, HashSet};

use bailian_wire::catalog::{Catalog, Model};
use bytes::Bytes;
use serde::Serialize;

#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: &'a [Entry<'a>],
}

/// The answers, serialized once.
#[derive(Debug)]
pub(crate) struct ModelList {
    all: Bytes,
    anthropic: Bytes,
    by_id: HashMap<String, Bytes>,
}

impl ModelList {
    /// Lists what requests can name: the routes' own names first, then the catalogue's.
    pub(crate) fn new<'a>(catalog: &'a Catalog, aliases: impl Iterator<Item = &'a str>) -> Self {
        let mut entries: Vec<Entry<'_>> = aliases.map(entry).collect();
        let known: HashSet<&str> = entries.iter().map(|entry| entry.id).collect();
        let served = catalog
            .models()
            .filter(|model| is_served(model) && !known.contains(&*model.id));
        entries.extend(served.map(|model| entry(&model.id)));
        let by_id = entries
            .iter()
            .map(|entry| (entry.id.to_owned(), Bytes::from(json(entry))))
            .collect();
        Self {
            all: Bytes::from(json(&List {
                object: "list",
                data: &entries,
            })),
            anthropic: Bytes::from(anthropic_list(&entries)),
            by_id,
        }
    }

    pub(crate) fn all(&self) -> Bytes {
        self.all.clone()
    }

    /// The same in Anthropic's form, as one page.
    pub(crate) fn all_for_anthropic(&self) -> Bytes {
        self.anthropic.clone()
    }

    pub(crate) fn one(&self, id: &str) -> Option<Bytes> {
        self.by_id.get(id).cloned()
    }
}

fn is_served(model: &Model) -> bool {
    !model.is_retired() && model.serves_chat()
}

fn entry(id: &str) -> Entry<'_> {
    // The catalogue knows no moment of creation; the member is required by typed clients.
    Entry {
        id,
        object: "model",
        created: 0,
        owned_by: "system",
    }
}

fn anthropic_list(entries: &[Entry<'_>]) -> String {
    let data: Vec<_> = entries
        .iter()
        .map(|entry| {
            serde_json::json!({
                "type": "model",
                "id": entry.id,
                "display_name": entry.id,
                "created_at": "1970-01-01T00:00:00Z",
            })
        })
        .collect();
    serde_json::json!({
        "data": data,
        "has_more": false,
        "first_id": entries.first().map(|entry| entry.id),
        "last_id": entries.last().map(|entry| entry.id),
    })
    .to_string()
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Plain structs of strings and numbers always serialize.
    serde_json::to_vec(value).unwrap_or_default()
}
