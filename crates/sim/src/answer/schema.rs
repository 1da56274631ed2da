//! Values that fit a JSON schema.

mod number;
mod string;

use serde_json::{Map, Value, json};

/// Deeper than this, only what must be there is made; schemas may refer to themselves.
const ROOMY_DEPTH: usize = 6;

/// Deeper than this, everything is null: no value fits a schema that requires itself.
const MAX_DEPTH: usize = 48;

/// Members and items of one value, together: beyond it only what must be there is made, and beyond
/// ten times as many everything is null.
const MAX_NODES: usize = 2_000;

/// A value that fits `schema`: types, `enum`, `const`, `properties`, `required`, `items`,
/// `prefixItems`, `uniqueItems`, counts, lengths, bounds, `multipleOf`, `format`, local `$ref`s,
/// `allOf`, and the first possible part of `anyOf` and `oneOf`. What the schema says beside that,
/// such as a `pattern`, is not looked at.
pub(super) fn fitting(schema: &Value, rng: &mut fastrand::Rng) -> Value {
    let mut maker = Maker {
        root: schema,
        rng,
        nodes: 0,
    };
    maker.value(schema, 0, "")
}

struct Maker<'a> {
    root: &'a Value,
    rng: &'a mut fastrand::Rng,
    nodes: usize,
}

impl Maker<'_> {
    fn value(&mut self, schema: &Value, depth: usize, name: &str) -> Value {
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > 10 * MAX_NODES {
            return Value::Null;
        }
        if let Some(constant) = schema.get("const") {
            return constant.clone();
        }
        if let Some(choices) = list(schema, "enum").filter(|choices| !choices.is_empty()) {
            return choices[self.rng.usize(..choices.len())].clone();
        }
        if let Some(whole) = self.resolved(schema, depth) {
            return self.value(&whole, depth + 1, name);
        }
        match kind(schema) {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, depth, name),
            "integer" => number::integer(schema, self.rng),
            "number" => number::float(schema, self.rng),
            "boolean" => json!(self.rng.bool()),
            "null" => Value::Null,
            _ => json!(string::fitting(schema, self.rng, name)),
        }
    }

    fn is_roomy(&self, depth: usize) -> bool {
        depth <= ROOMY_DEPTH && self.nodes < MAX_NODES
    }

    /// The schema with its reference or combination put in place.
    fn resolved(&self, schema: &Value, depth: usize) -> Option<Value> {
        let members = schema.as_object()?;
        let without = |name: &str| {
            let mut rest = members.clone();
            rest.remove(name);
            Value::Object(rest)
        };
        if let Some(target) = members.get("$ref").and_then(Value::as_str) {
            let pointer = target.strip_prefix('#').unwrap_or_default();
            let target = self.root.pointer(pointer).cloned().unwrap_or(Value::Null);
            return Some(both(without("$ref"), &target));
        }
        if let Some(parts) = list(schema, "allOf") {
            return Some(parts.iter().fold(without("allOf"), both));
        }
        for combiner in ["anyOf", "oneOf"] {
            if let Some(parts) = list(schema, combiner).filter(|parts| !parts.is_empty()) {
                let null = parts.iter().find(|part| kind(part) == "null");
                // An optional part of a schema inside itself ends here.
                let part = null.filter(|_| !self.is_roomy(depth)).unwrap_or(&parts[0]);
                return Some(both(without(combiner), part));
            }
        }
        None
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Value {
        let required: Vec<&str> = list(schema, "required")
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut object = Map::new();
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for (name, property) in properties {
                if self.is_roomy(depth) || required.contains(&name.as_str()) {
                    object.insert(name.clone(), self.value(property, depth + 1, name));
                }
            }
        }
        let others = schema.get("additionalProperties").unwrap_or(&Value::Null);
        for name in required {
            if !object.contains_key(name) {
                object.insert(name.to_owned(), self.value(others, depth + 1, name));
            }
        }
        let least = count(schema, "minProperties").unwrap_or(0).min(MAX_NODES);
        for number in 1.. {
            if object.len() >= least {
                break;
            }
            let name = format!("key{number}");
            let value = self.value(others, depth + 1, &name);
            object.entry(name).or_insert(value);
        }
        Value::Object(object)
    }

    fn array(&mut self, schema: &Value, depth: usize, name: &str) -> Value {
        let firsts = list(schema, "prefixItems").map_or(&[][..], Vec::as_slice);
        let others = schema.get("items").unwrap_or(&Value::Null);
        let most = count(schema, "maxItems").unwrap_or(usize::MAX);
        let most = if *others == Value::Bool(false) {
            most.min(firsts.len())
        } else {
            most
        };
        let least = count(schema, "minItems").unwrap_or(0).min(MAX_NODES);
        let liked = if self.is_roomy(depth) {
            firsts.len().max(1)
        } else {
            firsts.len()
        };
        let wanted = liked.max(least).min(most);
        let unique = schema.get("uniqueItems") == Some(&Value::Bool(true));
        let mut items: Vec<Value> = Vec::new();
        // Chance may need several tries for another item; too narrow a schema has none.
        for _ in 0..wanted * 8 {
            if items.len() == wanted {
                break;
            }
            let of = firsts.get(items.len()).unwrap_or(others);
            let item = self.value(of, depth + 1, name);
            if !unique || !items.contains(&item) {
                items.push(item);
            }
        }
        Value::Array(items)
    }
}

/// What both schemas ask for, as far as they can be put together member by member.
fn both(mut one: Value, other: &Value) -> Value {
    let Some(additions) = other.as_object() else {
        return one;
    };
    let Some(members) = one.as_object_mut() else {
        return other.clone();
    };
    for (name, addition) in additions {
        let Some(known) = members.get_mut(name) else {
            members.insert(name.clone(), addition.clone());
            continue;
        };
        match name.as_str() {
            "properties" => merge_properties(known, addition),
            "required" | "allOf" => {
                if let (Some(known), Some(more)) = (known.as_array_mut(), addition.as_array()) {
                    known.extend(more.iter().cloned());
                }
            }
            "minimum" | "exclusiveMinimum" | "minLength" | "minItems" | "minProperties"
                if addition.as_f64() > known.as_f64() =>
            {
                known.clone_from(addition);
            }
            "maximum" | "exclusiveMaximum" | "maxLength" | "maxItems" | "maxProperties"
                if addition.as_f64() < known.as_f64() =>
            {
                known.clone_from(addition);
            }
            "enum" => {
                if let (Some(known), Some(allowed)) = (known.as_array_mut(), addition.as_array()) {
                    known.retain(|choice| allowed.contains(choice));
                }
            }
            _ => {}
        }
    }
    one
}

fn merge_properties(known: &mut Value, addition: &Value) {
    let (Some(known), Some(additions)) = (known.as_object_mut(), addition.as_object()) else {
        return;
    };
    for (name, property) in additions {
        let merged = match known.remove(name) {
            Some(of_known) => both(of_known, property),
            None => property.clone(),
        };
        known.insert(name.clone(), merged);
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
        _ => {
            let has = |names: &[&str]| names.iter().any(|name| schema.get(name).is_some());
            if has(&["properties", "required", "additionalProperties"]) {
                "object"
            } else if has(&["items", "prefixItems", "minItems", "maxItems"]) {
                "array"
            } else if has(&["minimum", "maximum", "multipleOf"]) {
                "number"
            } else {
                "string"
            }
        }
    }
}

fn list<'a>(schema: &'a Value, name: &str) -> Option<&'a Vec<Value>> {
    schema.get(name)?.as_array()
}

fn count(schema: &Value, name: &str) -> Option<usize> {
    usize::try_from(schema.get(name)?.as_u64()?).ok()
}

#[cfg(test)]
mod tests;
