//! `GET /v1/models`: the chat models of the catalogue in OpenAI's list form (compat.md §3.3).

use std::collections::HashMap;

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
    by_id: HashMap<String, Bytes>,
}

impl ModelList {
    /// Lists what chat requests can name.
    pub(crate) fn from_catalog(catalog: &Catalog) -> Self {
        let entries: Vec<Entry<'_>> = catalog
            .models()
            .filter(|model| is_served(model))
            .map(entry)
            .collect();
        let by_id = entries
            .iter()
            .map(|entry| (entry.id.to_owned(), Bytes::from(json(entry))))
            .collect();
        Self {
            all: Bytes::from(json(&List {
                object: "list",
                data: &entries,
            })),
            by_id,
        }
    }

    pub(crate) fn all(&self) -> Bytes {
        self.all.clone()
    }

    pub(crate) fn one(&self, id: &str) -> Option<Bytes> {
        self.by_id.get(id).cloned()
    }
}

fn is_served(model: &Model) -> bool {
    !model.is_retired() && model.serves_chat()
}

fn entry(model: &Model) -> Entry<'_> {
    // The catalogue knows no moment of creation; the member is required by typed clients.
    Entry {
        id: &model.id,
        object: "model",
        created: 0,
        owned_by: "system",
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Plain structs of strings and numbers always serialize.
    serde_json::to_vec(value).unwrap_or_default()
}
