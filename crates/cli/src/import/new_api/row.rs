//! One row of the channel list, as the API answers it or the database holds it.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::super::notes::Mistake;

/// A row and where it stands.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) line: usize,
    pub(super) members: Map<String, Value>,
    index: usize,
}

impl Row {
    /// All rows of a list, of an answer with `data`, or of one with `data.items`.
    pub(super) fn all(text: &str) -> Result<Vec<Self>, Mistake> {
        let whole: &RawValue = serde_json::from_str(text).map_err(|error| {
            // The library's own text ends with the place.
            let told = error.to_string();
            let told = told
                .split(" at line ")
                .next()
                .unwrap_or_default()
                .to_owned();
            Mistake::new(error.line(), told)
        })?;
        let list = list(whole).ok_or_else(|| {
            let problem = "is no list of channels, and has none in `data` or `data.items`";
            Mistake::at(line_of(text, whole), "the file", problem)
        })?;
        let rows = list.into_iter().enumerate();
        rows.map(|(index, row)| {
            let line = line_of(text, row);
            let members = serde_json::from_str(row.get())
                .map_err(|_| Mistake::at(line, &format!("channels[{index}]"), "is no object"))?;
            Ok(Self {
                line,
                members,
                index,
            })
        })
        .collect()
    }

    /// How the row is called in what is said about it.
    pub(super) fn place(&self) -> String {
        let number = self.number();
        match self.members.get("name").and_then(Value::as_str) {
            Some(name) => format!("channel {number} ({name})"),
            None => format!("channel {number}"),
        }
    }

    /// The channel's id, else its position.
    pub(super) fn number(&self) -> String {
        // Not by `integer`, whose errors name the place.
        match self.members.get("id") {
            Some(Value::Number(id)) => id.to_string(),
            Some(Value::String(id)) if id.parse::<u64>().is_ok() => id.clone(),
            _ => format!("at {}", self.index + 1),
        }
    }

    /// A text without surrounding blanks; empty counts as absent.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Mistake> {
        match self.members.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
            Some(_) => Err(self.mistake(name, "is not a text")),
        }
    }

    /// A whole number, also one in quotes, as exports of databases have them.
    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, Mistake> {
        let problem = || self.mistake(name, "is not a whole number");
        match self.members.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(number)) => number.as_i64().map(Some).ok_or_else(problem),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(Value::String(text)) => text.trim().parse().map(Some).map_err(|_| problem()),
            Some(_) => Err(problem()),
        }
    }

    /// A map that is JSON text within the row, as the database has it, or the map itself.
    pub(super) fn map(&self, name: &str) -> Result<Map<String, Value>, Mistake> {
        let problem = |_| self.mistake(name, "is not the text of a JSON object");
        match self.members.get(name) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(map)) => Ok(map.clone()),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(Map::new()),
            Some(Value::String(text)) => serde_json::from_str(text).map_err(problem),
            Some(_) => Err(self.mistake(name, "is not the text of a JSON object")),
        }
    }

    /// Whether a member says something.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(says_something)
    }

    fn mistake(&self, name: &str, problem: &str) -> Mistake {
        Mistake::at(self.line, &format!("{}: {name}", self.place()), problem)
    }
}

/// Whether a value is more than nothing, also as JSON text within it.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => match serde_json::from_str(text) {
            Ok(inner @ (Value::Null | Value::Array(_) | Value::Object(_))) => {
                says_something(&inner)
            }
            _ => !text.trim().is_empty(),
        },
        Value::Array(list) => list.iter().any(says_something),
        Value::Object(map) => map.values().any(says_something),
        _ => true,
    }
}

fn list(whole: &RawValue) -> Option<Vec<&RawValue>> {
    let mut inner = whole;
    for name in ["data", "items"] {
        if let Ok(list) = serde_json::from_str(inner.get()) {
            return Some(list);
        }
        let members: std::collections::HashMap<String, &RawValue> =
            serde_json::from_str(inner.get()).ok()?;
        inner = members.get(name)?;
    }
    serde_json::from_str(inner.get()).ok()
}

/// The line on which a part of the text begins.
fn line_of(text: &str, part: &RawValue) -> usize {
    let offset = part
        .get()
        .as_ptr()
        .addr()
        .wrapping_sub(text.as_ptr().addr());
    let before = text.get(..offset).unwrap_or_default();
    1 + before.matches('\n').count()
}
