//! What the tools of the service itself do in a response (compat.md §5.2).

use serde_json::{Map, Value, json};

/// Of the tools that a response may name, these are called by the service itself, in this order.
pub(crate) const TOOLS: [&str; 7] = [
    "web_search",
    "web_extractor",
    "code_interpreter",
    "web_search_image",
    "image_search",
    "file_search",
    "mcp",
];

/// The items of the calls that are made: each tool once. Without ids.
pub(crate) fn calls(tools: &[Value], prompt: &str) -> Vec<Value> {
    let query: String = prompt.chars().take(40).collect();
    let mut items = Vec::new();
    for name in TOOLS {
        let named = tools.iter().filter(|tool| tool["type"] == name);
        items.extend(named.map(|tool| call(name, tool, &query)));
    }
    items
}

fn call(name: &str, tool: &Value, query: &str) -> Value {
    let url = "https://example.com/1";
    let found = json!([{ "title": format!("About: {query}"), "url": url, "index": 1 }]);
    let mut item = match name {
        "web_search" => json!({ "action": { "type": "search", "query": query,
            "sources": [{ "type": "url", "url": url }] } }),
        "web_extractor" => json!({ "goal": query, "urls": [url],
            "output": format!("What {url} says about: {query}") }),
        "code_interpreter" => json!({ "code": "print(6 * 7)", "container_id": "cntr_1",
            "outputs": [{ "type": "logs", "logs": "42\n" }] }),
        "file_search" => json!({ "queries": [query], "results": [{ "file_id": "file_1",
            "filename": "example.md", "score": 0.9, "text": format!("An example: {query}") }] }),
        "mcp" => json!({ "name": "search", "server_label": tool["server_label"],
            "arguments": json!({ "query": query }).to_string(), "output": found.to_string() }),
        _ => json!({ "name": name, "arguments": json!({ "queries": [query] }).to_string(),
            "output": found.to_string() }),
    };
    item["type"] = format!("{name}_call").into();
    item["status"] = "completed".into();
    item
}

/// How often each tool was called, as the usage tells it.
pub(crate) fn counts(items: &[Value]) -> Map<String, Value> {
    let mut counts = Map::new();
    for name in TOOLS {
        let kind = format!("{name}_call");
        let count = items.iter().filter(|item| item["type"] == *kind).count();
        if count > 0 {
            counts.insert(name.to_owned(), json!({ "count": count }));
        }
    }
    counts
}
