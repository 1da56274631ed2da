//! Values that fit a JSON schema.

use serde_json::{Map, Value, json};

/// Deeper schemas (recursive ones) end in null.
const MAX_DEPTH: usize = 16;

/// A value that fits `schema`: types, `enum`, `const`, `properties`, `items`, lengths and bounds.
pub(super) fn fitting(schema: &Value, rng: &mut fastrand::Rng) -> Value {
    value(schema, schema, rng, 0, "")
}

fn value(root: &Value, schema: &Value, rng: &mut fastrand::Rng, depth: usize, name: &str) -> Value {
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    let next = |schema: &Value, rng: &mut fastrand::Rng| value(root, schema, rng, depth + 1, name);
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let target = target
            .strip_prefix('#')
            .and_then(|pointer| root.pointer(pointer));
        return target.map_or(Value::Null, |target| next(target, rng));
    }
    if let Some(constant) = schema.get("const") {
        return constant.clone();
    }
    if let Some(choices) = schema
        .get("enum")
        .and_then(Value::as_array)
        .filter(|c| !c.is_empty())
    {
        return choices[rng.usize(..choices.len())].clone();
    }
    for combiner in ["anyOf", "oneOf", "allOf"] {
        let parts = schema.get(combiner).and_then(Value::as_array);
        if let Some(first) = parts.and_then(|parts| parts.first()) {
            return next(first, rng);
        }
    }
    match kind(schema) {
        "object" => object(root, schema, rng, depth),
        "array" => {
            let least = bound(schema, "minItems").unwrap_or(1.0).max(0.0);
            let most = bound(schema, "maxItems").unwrap_or(least.max(2.0));
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped"
            )]
            let count = least.max(1.0_f64.min(most)).clamp(0.0, 64.0) as usize;
            let items = schema.get("items").unwrap_or(&Value::Null);
            (0..count).map(|_| next(items, rng)).collect()
        }
        "integer" => json!(number(schema, rng, 1.0).ceil())
            .as_f64()
            .map_or(json!(1), |n| {
                #[expect(clippy::cast_possible_truncation, reason = "schema bounds are small")]
                let integer = n as i64;
                json!(integer)
            }),
        "number" => json!(number(schema, rng, 0.5)),
        "boolean" => json!(rng.bool()),
        "null" => Value::Null,
        _ => json!(string(schema, rng, name)),
    }
}

fn kind(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(kinds)) => kinds
            .iter()
            .filter_map(Value::as_str)
            .find(|kind| *kind != "null")
            .unwrap_or("null"),
        _ if schema.get("properties").is_some() => "object",
        _ if schema.get("items").is_some() => "array",
        _ => "string",
    }
}

fn object(root: &Value, schema: &Value, rng: &mut fastrand::Rng, depth: usize) -> Value {
    let empty = Map::new();
    let properties = schema
        .get("properties")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let mut object = Map::new();
    for (name, property) in properties {
        object.insert(name.clone(), value(root, property, rng, depth + 1, name));
    }
    let required = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    for name in required.filter_map(Value::as_str) {
        object
            .entry(name.to_owned())
            .or_insert_with(|| json!("value"));
    }
    Value::Object(object)
}

fn bound(schema: &Value, name: &str) -> Option<f64> {
    schema.get(name)?.as_f64()
}

/// A number within the bounds, a multiple where one is asked for.
fn number(schema: &Value, rng: &mut fastrand::Rng, step: f64) -> f64 {
    let least = bound(schema, "minimum")
        .or_else(|| bound(schema, "exclusiveMinimum").map(|bound| bound + step));
    let most = bound(schema, "maximum")
        .or_else(|| bound(schema, "exclusiveMaximum").map(|bound| bound - step));
    let (least, most) = match (least, most) {
        (Some(least), Some(most)) => (least, most.max(least)),
        (Some(least), None) => (least, least + 100.0),
        (None, Some(most)) => (most - 100.0, most),
        (None, None) => (1.0, 100.0),
    };
    if let Some(multiple) = bound(schema, "multipleOf").filter(|multiple| *multiple > 0.0) {
        return (least / multiple).ceil() * multiple;
    }
    let steps = ((most - least) / step).floor().clamp(0.0, 1_000_000.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped"
    )]
    let steps = steps as u64;
    least + rng.u64(..=steps) as f64 * step
}

fn string(schema: &Value, rng: &mut fastrand::Rng, name: &str) -> String {
    match schema.get("format").and_then(Value::as_str) {
        Some("date") => return "2026-11-24".to_owned(),
        Some("date-time") => return "2026-11-24T08:00:00Z".to_owned(),
        Some("email") => return "person@example.com".to_owned(),
        Some("uri") => return "https://example.com/".to_owned(),
        Some("uuid") => return "6f1f2a3b-0000-4000-8000-0123456789ab".to_owned(),
        _ => {}
    }
    let lower = name.to_ascii_lowercase();
    let plausible = if ["city", "location", "place"]
        .iter()
        .any(|word| lower.contains(word))
    {
        ["Hangzhou", "Beijing", "杭州"][rng.usize(..3)]
    } else if lower.contains("name") {
        ["Li Wei", "Ada", "王小明"][rng.usize(..3)]
    } else if lower.contains("unit") {
        "celsius"
    } else {
        ["alpha", "bravo", "示例"][rng.usize(..3)]
    };
    let length = |name: &str| {
        schema
            .get(name)
            .and_then(Value::as_u64)
            .and_then(|length| usize::try_from(length).ok())
    };
    let mut text: Vec<char> = plausible.chars().collect();
    let least = length("minLength").unwrap_or(0).min(10_000);
    while text.len() < least {
        text.push('x');
    }
    if let Some(most) = length("maxLength") {
        text.truncate(most);
    }
    text.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fit_types_bounds_and_choices() {
        let schema = json!({
            "type": "object",
            "required": ["city", "days", "extra"],
            "properties": {
                "city": { "type": "string", "maxLength": 5 },
                "days": { "type": "integer", "minimum": 3, "maximum": 5 },
                "unit": { "enum": ["c", "f"] },
                "tags": { "type": "array", "items": { "type": "string" }, "minItems": 2, "maxItems": 2 },
                "nested": { "type": ["object", "null"], "properties": { "ok": { "type": "boolean" } } },
                "share": { "type": "number", "exclusiveMinimum": 0, "maximum": 1 },
                "self": { "$ref": "#/properties/unit" },
            },
        });
        for seed in 0..200 {
            let value = fitting(&schema, &mut fastrand::Rng::with_seed(seed));
            assert!(value["city"].as_str().unwrap().chars().count() <= 5);
            assert!((3..=5).contains(&value["days"].as_i64().unwrap()));
            assert!(["c", "f"].contains(&value["unit"].as_str().unwrap()));
            assert!(["c", "f"].contains(&value["self"].as_str().unwrap()));
            assert_eq!(value["tags"].as_array().unwrap().len(), 2);
            assert!(value["nested"]["ok"].is_boolean());
            let share = value["share"].as_f64().unwrap();
            assert!(share > 0.0 && share <= 1.0, "{share}");
            assert!(value.get("extra").is_some());
        }
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = json!({ "type": "object", "properties": { "next": { "$ref": "#" } } });
        let value = fitting(&schema, &mut fastrand::Rng::with_seed(1));
        assert!(value.to_string().len() < 1000);
    }
}
