//! Plausible text for a member's name.

use serde_json::Value;

use super::count;

/// Longer texts are not made, whatever the schema says.
const MAX_LENGTH: usize = 10_000;

pub(super) fn fitting(schema: &Value, rng: &mut fastrand::Rng, name: &str) -> String {
    if let Some(text) = of_format(schema.get("format").and_then(Value::as_str)) {
        return text.to_owned();
    }
    let lower = name.to_ascii_lowercase();
    let speaks_of = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let plausible = if speaks_of(&["city", "location", "place"]) {
        ["Hangzhou", "Beijing", "杭州"][rng.usize(..3)]
    } else if speaks_of(&["name"]) {
        ["Li Wei", "Ada", "王小明"][rng.usize(..3)]
    } else if speaks_of(&["unit"]) {
        "celsius"
    } else if speaks_of(&["date", "day"]) {
        "2026-11-24"
    } else {
        ["alpha", "bravo", "示例"][rng.usize(..3)]
    };
    let least = count(schema, "minLength").unwrap_or(0).min(MAX_LENGTH);
    let most = count(schema, "maxLength").unwrap_or(usize::MAX);
    let filling = ('a'..='z').cycle();
    let length = plausible.chars().count().max(least).min(most);
    plausible.chars().chain(filling).take(length).collect()
}

fn of_format(format: Option<&str>) -> Option<&'static str> {
    Some(match format? {
        "date" => "2026-11-24",
        "date-time" => "2026-11-24T08:00:00Z",
        "time" => "08:00:00Z",
        "duration" => "PT1H",
        "email" => "person@example.com",
        "hostname" => "example.com",
        "ipv4" => "192.0.2.1",
        "ipv6" => "2001:db8::1",
        "uri" | "url" => "https://example.com/",
        "uuid" => "6f1f2a3b-0000-4000-8000-0123456789ab",
        _ => return None,
    })
}
