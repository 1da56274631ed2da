//! Responses and conversations: what is odd about them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test may stop at what it did not expect; JSON reads best where it is passed"
)]

mod support;

use bailian_sim::{RunningSimulator, SimConfig, Simulator};
use http::Method;
use serde_json::{Value, json};
use support::{answer, frames, post, request, simulator, text};

const RESPONSES: &str = "/compatible-mode/v1/responses";
const CONVERSATIONS: &str = "/compatible-mode/v1/conversations";

fn ask(members: Value) -> Value {
    let mut body = json!({ "model": "qwen-plus", "input": "杭州天气？" });
    body.as_object_mut()
        .unwrap()
        .extend(members.as_object().unwrap().clone());
    body
}

async fn with(quirks: Value) -> RunningSimulator {
    let config = SimConfig::default().patched(&json!({ "quirks": quirks }));
    Simulator::new(config.unwrap()).spawn().await.unwrap()
}

async fn events(simulator: &RunningSimulator, members: Value, headers: &[&str]) -> Vec<Value> {
    let mut body = ask(members);
    body["stream"] = true.into();
    let (_, _, stream) = text(simulator, post(RESPONSES, &body, headers)).await;
    frames(&stream)
}

async fn get(simulator: &RunningSimulator, path: &str) -> (u16, Value) {
    answer(simulator, request(Method::GET, path, "", &[])).await
}

fn tools() -> Value {
    json!([
        { "type": "web_search" },
        { "type": "web_extractor" },
        { "type": "code_interpreter" },
        { "type": "image_search" },
        { "type": "file_search", "vector_store_ids": ["v"] },
        { "type": "mcp", "server_protocol": "sse", "server_label": "maps",
          "server_url": "https://example.com/sse" },
    ])
}

fn kinds(events: &[Value]) -> Vec<&str> {
    let kinds = events.iter().map(|event| event["type"].as_str().unwrap());
    kinds
        .map(|kind| kind.strip_prefix("response.").unwrap())
        .collect()
}

#[tokio::test]
async fn tools_of_the_service_are_items_and_are_counted() {
    let simulator = simulator().await;
    let (status, said) = answer(
        &simulator,
        post(RESPONSES, &ask(json!({ "tools": tools() })), &[]),
    )
    .await;
    assert_eq!(status, 200, "{said}");
    let output = said["output"].as_array().unwrap();
    let types: Vec<&str> = output
        .iter()
        .map(|item| item["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        types,
        [
            "web_search_call",
            "web_extractor_call",
            "code_interpreter_call",
            "image_search_call",
            "file_search_call",
            "mcp_call",
            "message"
        ]
    );
    for item in output {
        assert!(item["id"].as_str().unwrap().starts_with("msg_"));
    }
    assert_eq!(output[0]["action"]["query"], "杭州天气？");
    assert_eq!(output[2]["outputs"][0]["type"], "logs");
    let found: Value = serde_json::from_str(output[3]["output"].as_str().unwrap()).unwrap();
    assert_eq!(found[0]["index"], 1);
    assert_eq!(output[5]["server_label"], "maps");
    let usage = &said["usage"];
    assert_eq!(usage["x_tools"]["web_search"], json!({ "count": 1 }));
    assert_eq!(usage["x_details"][0]["plugins"]["mcp"]["count"], 1);
    assert_eq!(said["tools"], tools());
    let none = ask(json!({ "tools": tools(), "tool_choice": "none" }));
    let (_, said) = answer(&simulator, post(RESPONSES, &none, &[])).await;
    assert_eq!(said["output"].as_array().unwrap().len(), 1, "{said}");
    assert!(said["usage"].get("x_tools").is_none());
}

#[tokio::test]
async fn each_tool_has_its_own_events() {
    let simulator = simulator().await;
    let events = events(
        &simulator,
        json!({ "tools": tools() }),
        &["x-sim-answer: a"],
    )
    .await;
    assert_eq!(
        kinds(&events),
        [
            "created",
            "in_progress",
            "output_item.added",
            "web_search_call.in_progress",
            "web_search_call.searching",
            "web_search_call.completed",
            "output_item.done",
            "output_item.added",
            "output_item.done",
            "output_item.added",
            "code_interpreter_call.in_progress",
            "code_interpreter_call.interpreting",
            "code_interpreter_call.completed",
            "output_item.done",
            "output_item.added",
            "output_item.done",
            "output_item.added",
            "file_search_call.in_progress",
            "file_search_call.searching",
            "file_search_call.completed",
            "output_item.done",
            // The arguments come before the item that they belong to.
            "mcp_call_arguments.delta",
            "mcp_call_arguments.done",
            "output_item.added",
            "mcp_call.in_progress",
            "mcp_call.completed",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "completed",
        ]
    );
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
    }
    let done: Vec<&Value> = events
        .iter()
        .filter(|event| event["type"] == "response.output_item.done")
        .map(|event| &event["item"])
        .collect();
    let whole = events.last().unwrap()["response"]["output"].as_array();
    assert_eq!(done, whole.unwrap().iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn the_irregularities_of_the_samples_can_be_switched_on() {
    let simulator = with(json!({ "irregular_responses": true })).await;
    let thinking = json!({ "model": "qwen3.5-plus", "enable_thinking": true });
    let events = events(&simulator, thinking, &["x-sim-answer: a"]).await;
    let about = |kind: &str, item: &str| {
        let found = events
            .iter()
            .find(|event| event["type"] == kind && event["item"]["type"] == item);
        found.unwrap().clone()
    };
    let added = about("response.output_item.added", "reasoning");
    let done = about("response.output_item.done", "reasoning");
    assert_eq!(
        (&added["output_index"], &done["output_index"]),
        (&0.into(), &1.into())
    );
    assert!(added["item"].get("status").is_none(), "{added}");
    let message = about("response.output_item.added", "message");
    assert_eq!(
        message["item"]["content"],
        json!([{ "type": "text", "text": "" }])
    );
    assert!(!kinds(&events).contains(&"content_part.added"));
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.completed");
    assert!(last.get("sequence_number").is_none());
    assert!(last["response"]["created_at"].is_f64(), "{last}");
}

#[tokio::test]
async fn pieces_of_calls_can_have_the_names_of_the_pages() {
    let tool = json!({ "type": "function", "name": "weather", "parameters": { "type": "object",
        "properties": { "city": { "type": "string" } }, "required": ["city"] } });
    for (switch, name, member) in [
        (false, "function_call_arguments", "arguments"),
        (true, "custom_tool_call_input", "input"),
    ] {
        let simulator = with(json!({ "custom_tool_call_input": switch })).await;
        let events = events(&simulator, json!({ "tools": [tool] }), &[]).await;
        let deltas: String = events
            .iter()
            .filter(|event| event["type"] == format!("response.{name}.delta"))
            .map(|event| event["delta"].as_str().unwrap())
            .collect();
        let done = events
            .iter()
            .find(|event| event["type"] == format!("response.{name}.done"));
        assert_eq!(done.unwrap()[member], deltas);
        assert!(deltas.contains("city"));
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_is_incomplete() {
    let simulator = simulator().await;
    let cut = ask(json!({ "max_output_tokens": 16 }));
    let (_, said) = answer(&simulator, post(RESPONSES, &cut, &["x-sim-tokens: 50"])).await;
    assert_eq!(said["status"], "incomplete");
    assert_eq!(
        said["incomplete_details"],
        json!({ "reason": "max_output_tokens" })
    );
    assert_eq!(said["output"][0]["status"], "incomplete");
}

#[tokio::test]
async fn an_error_in_the_stream_is_framed_as_the_rest() {
    let simulator = simulator().await;
    let mut body = ask(json!({}));
    body["stream"] = true.into();
    let fault = "x-sim-fault: error-frame=2, code=DataInspectionFailed";
    let (_, _, stream) = text(&simulator, post(RESPONSES, &body, &[fault])).await;
    let last = stream.trim_end().split("\n\n").last().unwrap();
    assert!(
        last.starts_with("id:3\nevent:error\n:HTTP_STATUS/400\ndata:{"),
        "{stream}"
    );
    let event = &frames(&stream)[2];
    assert_eq!(
        (&event["type"], &event["sequence_number"]),
        (&"error".into(), &2.into())
    );
    assert_eq!(simulator.journal()[0].verdict, bailian_sim::Verdict::Fault);
}

#[tokio::test]
async fn what_does_not_go_together_is_refused() {
    let simulator = simulator().await;
    let mcp = json!({ "type": "mcp", "server_label": "a", "server_url": "https://e" });
    let servers: Vec<Value> = (0..11).map(|_| mcp.clone()).collect();
    let sound = json!([{ "role": "assistant", "content": [
        { "type": "input_audio", "audio_url": "https://e/a.wav", "format": "wav" }] }]);
    let orphan = json!([{ "type": "function_call_output", "call_id": "c", "output": "x" }]);
    for (members, words) in [
        (
            json!({ "previous_response_id": "a", "conversation": "b" }),
            "Mutually exclusive parameters",
        ),
        (
            json!({ "tools": [{ "type": "web_extractor" }] }),
            "together with web_search",
        ),
        (json!({ "tools": [{ "type": "file_search" }] }), "exactly 1"),
        (json!({ "tools": [{ "type": "mcp" }] }), "server_label"),
        (json!({ "tools": servers }), "at most 10"),
        (
            json!({ "tools": [{ "type": "computer" }] }),
            "'computer' is not supported",
        ),
        (
            json!({ "tools": tools(), "tool_choice": "required" }),
            "only supported with one tool",
        ),
        (json!({ "max_output_tokens": 15 }), "at least 16"),
        (
            json!({ "reasoning": { "effort": "much" } }),
            "reasoning.effort",
        ),
        (json!({ "input": sound }), "only supported in user messages"),
        (
            json!({ "input": orphan }),
            "must be a response to a preceeding message",
        ),
    ] {
        let (status, said) = answer(&simulator, post(RESPONSES, &ask(members), &[])).await;
        let message = said["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(status, 400, "{said}");
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn a_session_is_cached_when_a_header_asks_for_it() {
    let simulator = simulator().await;
    let long = "a long text about nothing. ".repeat(300);
    let header = "x-dashscope-session-cache: enable";
    let first = ask(json!({ "input": long }));
    let (_, first) = answer(&simulator, post(RESPONSES, &first, &[header])).await;
    let details = &first["usage"]["x_details"][0]["input_tokens_details"];
    let created = details["cache_creation_input_tokens"].as_u64().unwrap();
    assert!(
        created >= 1024 && details["cache_type"] == "ephemeral",
        "{first}"
    );
    let next = ask(json!({ "input": "然后呢？", "previous_response_id": first["id"] }));
    let (_, next) = answer(&simulator, post(RESPONSES, &next, &[header])).await;
    let details = &next["usage"]["input_tokens_details"];
    assert_eq!(details["cached_tokens"], created, "{next}");
}

#[tokio::test]
async fn lists_of_items_come_in_pages_and_in_either_order() {
    let simulator = simulator().await;
    let input: Vec<Value> = (0..5)
        .map(|n| json!({ "role": "user", "content": n.to_string() }))
        .collect();
    let body = ask(json!({ "input": input }));
    let (_, said) = answer(&simulator, post(RESPONSES, &body, &[])).await;
    let path = format!("{RESPONSES}/{}/input_items", said["id"].as_str().unwrap());
    let (_, first) = get(&simulator, &format!("{path}?limit=2")).await;
    assert_eq!(
        (first["has_more"].as_bool(), &first["data"][1]["content"]),
        (Some(true), &"1".into())
    );
    let after = first["last_id"].as_str().unwrap();
    let (_, rest) = get(&simulator, &format!("{path}?after={after}")).await;
    assert_eq!(
        (rest["has_more"].as_bool(), &rest["data"][0]["content"]),
        (Some(false), &"2".into())
    );
    let (_, last) = get(&simulator, &format!("{path}?order=desc&limit=1")).await;
    assert_eq!(last["data"][0]["content"], "4");
    let millis = last["data"][0]["created_at"].as_u64().unwrap();
    assert_eq!(
        millis / 1_000_000,
        said["created_at"].as_u64().unwrap() / 1000
    );
    for wrong in ["limit=0", "limit=101", "order=up", "after=msg_x"] {
        assert_eq!(
            get(&simulator, &format!("{path}?{wrong}")).await.0,
            400,
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn what_is_not_stored_is_told_in_two_ways() {
    let simulator = simulator().await;
    let path = format!("{RESPONSES}/resp_x");
    let (status, said) = get(&simulator, &path).await;
    assert_eq!(status, 404);
    assert_eq!(
        said,
        json!({ "error": { "message": "Response with id 'resp_x' not found.",
            "type": "InvalidParameter" } })
    );
    let (_, said) = get(&simulator, &format!("{path}/input_items")).await;
    assert_eq!(said["code"], "InvalidParameter", "{said}");
}

#[tokio::test]
async fn items_of_a_conversation_can_be_read_and_removed_one_by_one() {
    let simulator = simulator().await;
    let first = json!({ "items": [{ "role": "user", "content": "你好" }] });
    let (_, made) = answer(&simulator, post(CONVERSATIONS, &first, &[])).await;
    let id = made["id"].as_str().unwrap();
    for _ in 0..2 {
        let body = ask(json!({ "conversation": id }));
        assert_eq!(answer(&simulator, post(RESPONSES, &body, &[])).await.0, 200);
    }
    let items = format!("{CONVERSATIONS}/{id}/items");
    let (_, list) = get(&simulator, &items).await;
    let ids: std::collections::HashSet<&str> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            assert!(item["created_at"].as_u64().unwrap() > 1_000_000_000_000);
            item["id"].as_str().unwrap()
        })
        .collect();
    assert_eq!(ids.len(), 5, "{list}");
    let one = format!("{items}/{}", ids.iter().next().unwrap());
    assert_eq!(get(&simulator, &one).await.0, 200);
    let remove = || request(Method::DELETE, &one, "", &[]);
    assert_eq!(answer(&simulator, remove()).await.0, 200);
    assert_eq!(answer(&simulator, remove()).await.0, 404);
    let many: Vec<Value> = (0..21)
        .map(|_| json!({ "role": "user", "content": "x" }))
        .collect();
    let (status, _) = answer(&simulator, post(&items, &json!({ "items": many }), &[])).await;
    assert_eq!(status, 400);
    let pairs: serde_json::Map<String, Value> =
        (0..17).map(|n| (n.to_string(), "x".into())).collect();
    let path = format!("{CONVERSATIONS}/{id}");
    let (status, _) = answer(&simulator, post(&path, &json!({ "metadata": pairs }), &[])).await;
    assert_eq!(status, 400);
    let (_, renamed) = answer(
        &simulator,
        post(&path, &json!({ "metadata": { "a": "b" } }), &[]),
    )
    .await;
    assert_eq!(renamed["metadata"]["a"], "b");
}
