//! Anthropic messages: what they have beside chat.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test may stop at what it did not expect; JSON reads best where it is passed"
)]

mod support;

use bailian_sim::{RunningSimulator, SimConfig, Simulator};
use serde_json::{Value, json};
use support::{answer, frames, post, simulator, text};

const MESSAGES: &str = "/apps/anthropic/v1/messages";

fn message(members: Value) -> Value {
    let mut body = json!({ "model": "qwen-plus", "max_tokens": 500,
        "messages": [{ "role": "user", "content": "你好" }] });
    body.as_object_mut()
        .unwrap()
        .extend(members.as_object().unwrap().clone());
    body
}

async fn say(simulator: &RunningSimulator, members: Value) -> (u16, Value) {
    answer(simulator, post(MESSAGES, &message(members), &[])).await
}

async fn with(quirks: Value) -> RunningSimulator {
    let config = SimConfig::default().patched(&json!({ "quirks": quirks }));
    Simulator::new(config.unwrap()).spawn().await.unwrap()
}

fn kinds(said: &Value) -> Vec<&str> {
    let blocks = said["content"].as_array().unwrap();
    blocks
        .iter()
        .map(|block| block["type"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn models_that_think_by_default_do_until_they_are_told_not_to() {
    let simulator = simulator().await;
    for (members, expected) in [
        (json!({}), vec!["thinking", "text"]),
        (json!({ "thinking": { "type": "disabled" } }), vec!["text"]),
        (
            json!({ "output_config": { "effort": "low" } }),
            vec!["thinking", "text"],
        ),
        (
            json!({ "output_config": { "effort": "none" } }),
            vec!["text"],
        ),
        (
            json!({ "thinking": { "type": "disabled" }, "output_config": { "effort": "xhigh" } }),
            vec!["text"],
        ),
    ] {
        let mut members = members;
        members["model"] = "qwen3.8-max".into();
        let (status, said) = say(&simulator, members).await;
        assert_eq!(status, 200, "{said}");
        assert_eq!(kinds(&said), expected, "{said}");
        if expected.len() == 2 {
            assert_eq!(said["content"][0]["signature"], "");
        }
    }
    let (status, said) = say(&simulator, json!({ "output_config": { "effort": "much" } })).await;
    assert_eq!((status, &said["type"]), (400, &"error".into()));
}

#[tokio::test]
async fn the_output_can_have_a_schema() {
    let simulator = simulator().await;
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } },
        "required": ["city"] });
    let format = json!({ "format": { "type": "json_schema", "schema": schema } });
    let (status, said) = say(
        &simulator,
        json!({ "model": "qwen3.8-max", "thinking": { "type": "disabled" }, "output_config": format }),
    )
    .await;
    assert_eq!(status, 200, "{said}");
    let value: Value = serde_json::from_str(said["content"][0]["text"].as_str().unwrap()).unwrap();
    assert!(value["city"].is_string());
    let wrong = json!({ "output_config": { "format": { "type": "json_schema" } } });
    assert_eq!(say(&simulator, wrong).await.0, 400);
}

#[tokio::test]
async fn videos_are_blocks_too() {
    let simulator = simulator().await;
    let source = json!({ "type": "url", "url": "https://e/a.mp4" });
    let content = json!([{ "type": "video", "source": source }, { "type": "text", "text": "?" }]);
    let turns = json!([{ "role": "user", "content": content }]);
    let members = json!({ "model": "qwen3-vl-plus", "messages": turns });
    let (status, said) = say(&simulator, members).await;
    assert_eq!(status, 200, "{said}");
    assert!(said["usage"]["input_tokens"].as_u64().unwrap() > 1000);
    let members = json!({ "model": "qwen3-max", "messages": turns });
    let (status, said) = say(&simulator, members).await;
    let message = said["error"]["message"].as_str().unwrap();
    assert_eq!(status, 400);
    assert!(
        message.contains("Unexpected item type in content"),
        "{said}"
    );
}

#[tokio::test]
async fn the_service_searches_for_those_whom_it_bills() {
    let simulator = simulator().await;
    let billed =
        json!([{ "type": "text", "text": "x-anthropic-billing-header: cc_entrypoint=cli;" }]);
    let tools = json!([{ "type": "web_search_20250305", "name": "web_search", "max_uses": 1 }]);
    let (_, said) = say(&simulator, json!({ "tools": tools })).await;
    assert_eq!(kinds(&said), ["text"]);
    assert!(said["usage"].get("server_tool_use").is_none());
    let (_, said) = say(&simulator, json!({ "tools": tools, "system": billed })).await;
    assert_eq!(
        kinds(&said),
        ["server_tool_use", "web_search_tool_result", "text"]
    );
    assert_eq!(said["content"][1]["tool_use_id"], said["content"][0]["id"]);
    assert_eq!(said["usage"]["server_tool_use"]["web_search_requests"], 1);
    let body = message(json!({ "tools": tools, "system": billed, "stream": true }));
    let (_, _, stream) = text(&simulator, post(MESSAGES, &body, &[])).await;
    let starts: Vec<Value> = frames(&stream)
        .iter()
        .filter_map(|event| event.get("content_block").cloned())
        .collect();
    assert_eq!(starts[0]["type"], "server_tool_use", "{stream}");
    assert_eq!(starts[1]["content"][0]["type"], "web_search_result");
    assert_eq!(starts[2]["type"], "text");
    let undated = json!([{ "type": "web_search", "name": "web_search" }]);
    assert_eq!(say(&simulator, json!({ "tools": undated })).await.0, 400);
}

#[tokio::test]
async fn errors_can_have_their_message_at_the_top() {
    let simulator = with(json!({ "anthropic_plain_errors": true })).await;
    let (status, said) = say(&simulator, json!({ "temperature": 2 })).await;
    assert_eq!(
        (status, &said["message"]),
        (400, &"Temperature should be in [0.0, 2.0)".into())
    );
    assert!(said.get("error").is_none());
    let body = message(json!({}));
    let bad = post(MESSAGES, &body, &["authorization: Bearer sk-expired-1"]);
    let (status, said) = answer(&simulator, bad).await;
    assert_eq!((status, said["error"].is_object()), (403, true));
}

#[tokio::test]
async fn a_stop_text_is_named_where_that_is_switched_on() {
    for (switch, reason, named) in [
        (false, "end_turn", Value::Null),
        (true, "stop_sequence", "b".into()),
    ] {
        let simulator = with(json!({ "anthropic_stop_sequence": switch })).await;
        let body = message(json!({ "stop_sequences": ["c", "b"] }));
        let request = post(MESSAGES, &body, &["x-sim-answer: a b c"]);
        let (_, said) = answer(&simulator, request).await;
        assert_eq!(said["content"][0]["text"], "a ");
        assert_eq!(
            (&said["stop_reason"], &said["stop_sequence"]),
            (&reason.into(), &named)
        );
    }
}
