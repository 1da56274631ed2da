use proptest::prelude::*;
use serde_json::{Value, json};

use super::fitting;

fn made(schema: &Value, seed: u64) -> Value {
    fitting(schema, &mut fastrand::Rng::with_seed(seed))
}

/// An independent reading of what the maker promises to keep.
fn fits(root: &Value, schema: &Value, value: &Value) -> bool {
    let get = |name: &str| schema.get(name);
    let all = |name: &str| get(name).and_then(Value::as_array).cloned();
    if let Some(target) = get("$ref").and_then(Value::as_str) {
        return fits(root, root.pointer(&target[1..]).unwrap(), value);
    }
    let kinds: Vec<String> = match get("type") {
        Some(Value::String(kind)) => vec![kind.clone()],
        Some(Value::Array(kinds)) => kinds
            .iter()
            .map(|k| k.as_str().unwrap().to_owned())
            .collect(),
        _ => Vec::new(),
    };
    let is_a = |kind: &String| match kind.as_str() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => value.is_null(),
    };
    let number = value.as_f64();
    let bounded =
        |name: &str, holds: fn(f64, f64) -> bool| match (get(name).and_then(Value::as_f64), number)
        {
            (Some(bound), Some(number)) => holds(number, bound),
            _ => true,
        };
    let sized = |size: usize, least: &str, most: &str| {
        get(least)
            .and_then(Value::as_u64)
            .is_none_or(|n| size as u64 >= n)
            && get(most)
                .and_then(Value::as_u64)
                .is_none_or(|n| size as u64 <= n)
    };
    let contents = match value {
        Value::String(text) => sized(text.chars().count(), "minLength", "maxLength"),
        Value::Array(items) => {
            sized(items.len(), "minItems", "maxItems")
                && items
                    .iter()
                    .all(|item| get("items").is_none_or(|of| fits(root, of, item)))
                && (get("uniqueItems").is_none()
                    || (1..items.len()).all(|at| !items[..at].contains(&items[at])))
        }
        Value::Object(members) => {
            let required = all("required").unwrap_or_default();
            required
                .iter()
                .all(|name| members.contains_key(name.as_str().unwrap()))
                && members.iter().all(|(name, member)| {
                    let property = get("properties").and_then(|p| p.get(name));
                    property.is_none_or(|of| fits(root, of, member))
                })
        }
        _ => true,
    };
    (kinds.is_empty() || kinds.iter().any(is_a))
        && get("const").is_none_or(|constant| constant == value)
        && all("enum").is_none_or(|choices| choices.contains(value))
        && all("anyOf").is_none_or(|parts| parts.iter().any(|part| fits(root, part, value)))
        && all("allOf").is_none_or(|parts| parts.iter().all(|part| fits(root, part, value)))
        && bounded("minimum", |n, bound| n >= bound)
        && bounded("maximum", |n, bound| n <= bound)
        && bounded("exclusiveMinimum", |n, bound| n > bound)
        && bounded("exclusiveMaximum", |n, bound| n < bound)
        && bounded("multipleOf", |n, of| {
            (n / of - (n / of).round()).abs() < 1e-9
        })
        && contents
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({ "type": "boolean" })),
        Just(json!({ "type": "null" })),
        Just(json!({ "const": { "fixed": [1, "x"] } })),
        prop::collection::vec("[a-z]{1,4}", 1..4).prop_map(|choices| json!({ "enum": choices })),
        (0u64..8, 0u64..8).prop_map(|(least, more)| {
            json!({ "type": "string", "minLength": least, "maxLength": least + more })
        }),
        (-50i64..50, 0i64..20).prop_map(|(least, more)| {
            json!({ "type": "integer", "minimum": least, "maximum": least + more })
        }),
        (-50i64..50, 2i64..20, any::<bool>()).prop_map(|(least, more, integer)| {
            json!({
                "type": if integer { "integer" } else { "number" },
                "exclusiveMinimum": least, "exclusiveMaximum": least + more,
            })
        }),
        (-50.0f64..50.0, 0.001f64..2.0).prop_map(|(least, more)| {
            json!({ "type": "number", "exclusiveMinimum": least, "maximum": least + more })
        }),
        (1i64..9, -9i64..9).prop_map(|(multiple, least)| {
            json!({ "type": "integer", "multipleOf": multiple, "minimum": least })
        }),
    ]
}

fn schema() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        let named = prop::collection::btree_map("[a-d]", inner.clone(), 0..4);
        prop_oneof![
            (named.clone(), prop::collection::vec("[a-f]", 0..3)).prop_map(|(properties, required)| {
                json!({ "type": "object", "properties": properties, "required": required })
            }),
            (inner.clone(), 0u64..3, 0u64..3).prop_map(|(items, least, more)| {
                json!({ "type": "array", "items": items, "minItems": least, "maxItems": least + more })
            }),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|parts| json!({ "anyOf": parts })),
            (named.clone(), named).prop_map(|(one, other)| {
                let renamed: serde_json::Map<String, Value> =
                    other.into_iter().map(|(name, value)| (format!("{name}2"), value)).collect();
                json!({ "allOf": [
                    { "type": "object", "properties": one },
                    { "required": ["z"], "properties": renamed },
                ] })
            }),
        ]
    })
}

proptest! {
    #[test]
    fn values_fit_any_schema_of_the_kinds_that_are_kept(schema in schema(), seed: u64) {
        let value = made(&schema, seed);
        prop_assert!(fits(&schema, &schema, &value), "{schema} -> {value}");
        prop_assert_eq!(&value, &made(&schema, seed));
    }
}

#[test]
fn values_fit_the_schemas_that_clients_write() {
    let schema = json!({
        "type": "object",
        "required": ["city", "days", "extra", "unit"],
        "$defs": { "Unit": { "enum": ["c", "f"], "type": "string" } },
        "properties": {
            "city": { "type": "string", "maxLength": 5 },
            "days": { "type": "integer", "minimum": 3, "maximum": 5 },
            "unit": { "$ref": "#/$defs/Unit" },
            "tags": { "type": "array", "items": { "$ref": "#/$defs/Unit" }, "minItems": 2, "maxItems": 2, "uniqueItems": true },
            "nested": { "type": ["object", "null"], "properties": { "ok": { "type": "boolean" } } },
            "optional": { "anyOf": [{ "type": "number", "exclusiveMinimum": 0, "maximum": 0.25 }, { "type": "null" }] },
        },
    });
    for seed in 0..200 {
        let value = made(&schema, seed);
        assert!(fits(&schema, &schema, &value), "{value}");
        assert!(value["extra"].is_string() && value["optional"].is_number());
    }
}

#[test]
fn schemas_that_hold_themselves_end_soon_and_still_fit() {
    let tree = json!({
        "type": "object", "required": ["value", "children"],
        "properties": {
            "value": { "type": "integer" },
            "children": { "type": "array", "items": { "$ref": "#" } },
            "left": { "$ref": "#" }, "right": { "$ref": "#" },
            "next": { "anyOf": [{ "$ref": "#" }, { "type": "null" }] },
        },
    });
    let value = made(&tree, 1);
    assert!(fits(&tree, &tree, &value));
    assert!(value.to_string().len() < 1_000_000);
    let endless = json!({ "type": "object", "required": ["a", "b"], "properties": {
        "a": { "$ref": "#" }, "b": { "$ref": "#" },
    } });
    assert!(made(&endless, 1).to_string().len() < 1_000_000);
    assert_eq!(made(&json!({ "$ref": "#" }), 1), Value::Null);
    assert!(made(&json!({ "allOf": [{ "$ref": "#" }] }), 1).is_null());
}
