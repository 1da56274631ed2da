//! What can be configured: the JSON Schema of the file, made from the types that read it.
//!
//! It is made when it is asked for, not when a gateway starts.

use serde_json::{Map, Value, json};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::file::ConfigFile;
use super::text::{SECRET, UNIT};

/// A default that is no fixed value, in words.
const DEFAULT_NOTE: &str = "x-default";

/// The JSON Schema (2020-12) of the configuration file.
///
/// Beside the standard's own words it has `x-unit` (`bytes`, `duration`, …), `x-secret` for settings
/// that hold a secret or name its place, and `x-default` for defaults that are no fixed value.
pub fn schema() -> Value {
    let mut collected = Vec::new();
    ConfigFile::schemas(&mut collected);
    let all: Map<String, Value> = collected
        .into_iter()
        .map(|(name, schema)| (name, json!(schema)))
        .collect();
    let mut root = tidy(json!(ConfigFile::schema()), &all);
    let tables: Map<String, Value> = all
        .iter()
        .filter(|(_, schema)| is_table(schema))
        .map(|(name, schema)| (name.clone(), tidy(schema.clone(), &all)))
        .collect();
    if let Value::Object(root) = &mut root {
        root.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        root.insert("title".to_owned(), json!("bailian gateway"));
        root.insert("$defs".to_owned(), Value::Object(tables));
    }
    root
}

fn is_table(schema: &Value) -> bool {
    schema.get("type") == Some(&json!("object"))
}

/// Makes of a schema of OpenAPI what the file's is: TOML knows no null, plain texts need no reference,
/// and what may be left out says what then holds.
fn tidy(schema: Value, all: &Map<String, Value>) -> Value {
    let Value::Object(mut schema) = schema else {
        return schema;
    };
    for key in ["oneOf", "allOf"] {
        let Some(Value::Array(parts)) = schema.remove(key) else {
            continue;
        };
        let is_null = |part: &Value| part.get("type") == Some(&json!("null"));
        let mut parts: Vec<Value> = parts
            .into_iter()
            .filter(|part| !is_null(part))
            .map(|part| tidy(part, all))
            .collect();
        if key == "allOf" || parts.len() == 1 {
            for part in parts {
                merge(&mut schema, part);
            }
        } else {
            parts.iter_mut().for_each(without_description);
            schema.insert(key.to_owned(), Value::Array(parts));
        }
    }
    if let Some(Value::Array(types)) = schema.get("type") {
        let mut types = types.iter().filter(|kind| **kind != json!("null"));
        if let (Some(only), None) = (types.next().cloned(), types.next()) {
            schema.insert("type".to_owned(), only);
        }
    }
    if schema.get("default") == Some(&Value::Null) {
        schema.remove("default");
    }
    // OpenAPI's widths of numbers say less than the bounds beside them.
    schema.remove("format");
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = flowing(text);
    }
    if let Some(Value::String(reference)) = schema.get("$ref") {
        let name = reference.rsplit('/').next().unwrap_or_default().to_owned();
        let target = all.get(&name).cloned().unwrap_or_default();
        if is_table(&target) {
            schema.insert("$ref".to_owned(), json!(format!("#/$defs/{name}")));
        } else {
            schema.remove("$ref");
            merge(&mut schema, tidy(target, all));
        }
    }
    for key in ["items", "additionalProperties"] {
        let Some(inner) = schema.remove(key) else {
            continue;
        };
        let mut inner = tidy(inner, all);
        // What is said of a list, utoipa says of its entries.
        if let Value::Object(entry) = &mut inner {
            for of_list in ["examples", DEFAULT_NOTE] {
                if let Some(said) = entry.remove(of_list) {
                    schema.insert(of_list.to_owned(), said);
                }
            }
        }
        schema.insert(key.to_owned(), inner);
    }
    let required = schema.get("required").cloned().unwrap_or_default();
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for (name, property) in properties {
            let was_nullable = is_nullable(property);
            *property = tidy(std::mem::take(property), all);
            let is_required = required
                .as_array()
                .is_some_and(|names| names.iter().any(|it| it == name));
            if !is_required && !was_nullable {
                leave_out(property);
            }
        }
    }
    Value::Object(schema)
}

fn is_nullable(schema: &Value) -> bool {
    let has_null = |parts: &Value, is_null: &dyn Fn(&Value) -> bool| {
        parts
            .as_array()
            .is_some_and(|parts| parts.iter().any(is_null))
    };
    has_null(&schema["oneOf"], &|part| part["type"] == "null")
        || has_null(&schema["type"], &|kind| kind == "null")
}

/// What holds where a table, list or switch is left out that is there all the same.
fn leave_out(property: &mut Value) {
    let nothing = match property.get("type").and_then(Value::as_str) {
        Some("array") => json!([]),
        Some("object") => json!({}),
        Some("boolean") => json!(false),
        None if property.get("$ref").is_some() => json!({}),
        _ => return,
    };
    if let Value::Object(property) = property {
        property.entry("default").or_insert(nothing);
    }
}

fn without_description(part: &mut Value) {
    if let Value::Object(part) = part {
        part.remove("description");
    }
}

/// Adds what a schema does not say itself.
fn merge(schema: &mut Map<String, Value>, other: Value) {
    if let Value::Object(other) = other {
        for (key, value) in other {
            schema.entry(key).or_insert(value);
        }
    }
}

/// A comment's lines as one; paragraphs stay.
fn flowing(text: &str) -> String {
    let paragraphs = text.split("\n\n");
    let paragraphs: Vec<String> = paragraphs
        .map(|it| it.lines().map(str::trim).collect::<Vec<_>>().join(" "))
        .collect();
    paragraphs.join("\n\n")
}

/// A setting, as the schema has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Setting {
    /// Its name in its table; empty for what stands in a list.
    pub(super) name: String,
    pub(super) shape: Shape,
    pub(super) description: String,
    /// What holds where it is left out; `None` where nothing does.
    pub(super) default: Option<Value>,
    /// The same where it is no fixed value, in words.
    pub(super) default_note: Option<String>,
    /// `bytes`, `duration`, …
    pub(super) unit: Option<String>,
    pub(super) is_secret: bool,
    pub(super) is_required: bool,
    /// The words that a text may be.
    pub(super) words: Vec<String>,
    pub(super) minimum: Option<Value>,
    pub(super) maximum: Option<Value>,
    pub(super) examples: Vec<Value>,
}

/// What a setting holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    /// Settings by name.
    Table(Vec<Setting>),
    /// Several of one kind.
    List(Box<Setting>),
    /// One of a kind, or several.
    OneOrMany(Box<Setting>),
    /// Values under names that the operator chooses.
    Map(Box<Setting>),
    /// Text, a number or a switch: JSON Schema's names of the types.
    Plain(Vec<String>),
}

/// Everything that can be configured, as one table.
pub(super) fn settings() -> Setting {
    let schema = schema();
    setting("", &schema, false, &schema["$defs"])
}

fn setting(name: &str, schema: &Value, is_required: bool, tables: &Value) -> Setting {
    let text = |key: &str| schema.get(key).and_then(Value::as_str).map(str::to_owned);
    let list = |key: &str| schema.get(key).and_then(Value::as_array);
    let words = list("enum").into_iter().flatten();
    Setting {
        name: name.to_owned(),
        shape: shape(schema, tables),
        description: text("description").unwrap_or_default(),
        default: schema.get("default").cloned(),
        default_note: text(DEFAULT_NOTE),
        unit: text(UNIT),
        is_secret: schema.get(SECRET) == Some(&json!(true)),
        is_required,
        words: words.filter_map(Value::as_str).map(str::to_owned).collect(),
        minimum: schema.get("minimum").cloned(),
        maximum: schema.get("maximum").cloned(),
        examples: list("examples").cloned().unwrap_or_default(),
    }
}

fn shape(schema: &Value, tables: &Value) -> Shape {
    let item = |schema: &Value| Box::new(setting("", schema, false, tables));
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        let name = name.rsplit('/').next().unwrap_or_default();
        return shape(&tables[name], tables);
    }
    if let Some(parts) = schema.get("oneOf").and_then(Value::as_array) {
        return match parts.iter().find(|part| part["type"] == "array") {
            Some(many) => Shape::OneOrMany(item(&many["items"])),
            None => Shape::Plain(parts.iter().flat_map(types).collect()),
        };
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    let values = schema.get("additionalProperties");
    match (schema["type"].as_str(), properties, values) {
        (Some("array"), ..) => Shape::List(item(&schema["items"])),
        (Some("object"), Some(properties), _) => {
            let required = schema["required"].as_array();
            let is_required =
                |name: &str| required.is_some_and(|names| names.iter().any(|it| it == name));
            let settings = properties.iter();
            Shape::Table(
                settings
                    .map(|(name, schema)| setting(name, schema, is_required(name), tables))
                    .collect(),
            )
        }
        (Some("object"), None, Some(values)) => Shape::Map(item(values)),
        _ => Shape::Plain(types(schema)),
    }
}

fn types(schema: &Value) -> Vec<String> {
    schema["type"]
        .as_str()
        .map(str::to_owned)
        .into_iter()
        .collect()
}
