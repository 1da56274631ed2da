//! Applications: agents and workflows.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test may stop at what it did not expect; JSON reads best where it is passed"
)]

mod support;

use serde_json::{Value, json};
use support::{answer, frames, post, simulator, text};

fn path(app: &str) -> String {
    format!("/api/v1/apps/{app}/completion")
}

fn ask(parameters: Value) -> Value {
    json!({ "input": { "prompt": "你好" }, "parameters": parameters, "debug": {} })
}

async fn stream(app: &str, parameters: Value) -> Vec<Value> {
    let simulator = simulator().await;
    let headers = ["x-dashscope-sse: enable", "x-sim-answer: a b c"];
    let request = post(&path(app), &ask(parameters), &headers);
    let (_, _, stream) = text(&simulator, request).await;
    assert!(stream.starts_with("id:1\nevent:result\n:HTTP_STATUS/200\ndata:{"));
    frames(&stream)
}

#[tokio::test]
async fn usage_grows_and_documents_come_with_the_end() {
    let rag = json!({ "rag_options": { "pipeline_ids": ["p"] }, "incremental_output": true });
    let frames = stream("app-1", rag).await;
    let made: Vec<u64> = frames
        .iter()
        .map(|frame| {
            frame["usage"]["models"][0]["output_tokens"]
                .as_u64()
                .unwrap()
        })
        .collect();
    assert_eq!(made, [1, 2, 3, 3]);
    let (last, before) = frames.split_last().unwrap();
    assert!(
        before
            .iter()
            .all(|frame| frame["output"].get("doc_references").is_none())
    );
    assert_eq!(last["output"]["doc_references"][0]["index_id"], "1");
    assert_eq!(last["output"]["finish_reason"], "stop");
    assert_eq!(before[0]["output"]["finish_reason"], "null");
}

#[tokio::test]
async fn thoughts_are_told_when_they_are_asked_for() {
    let rag = json!({ "pipeline_ids": ["p"] });
    let members = json!({ "rag_options": rag, "has_thoughts": true, "incremental_output": true,
        "enable_thinking": true });
    let frames = stream("app-1", members).await;
    let thoughts: Vec<&Value> = frames
        .iter()
        .flat_map(|frame| frame["output"]["thoughts"].as_array().unwrap())
        .collect();
    assert_eq!(thoughts[0]["action_type"], "agentRag");
    let seen: Value = serde_json::from_str(thoughts[0]["observation"].as_str().unwrap()).unwrap();
    assert_eq!(seen[0]["title"], "Example");
    let thinking: String = thoughts
        .iter()
        .filter(|thought| thought["action_type"] == "reasoning")
        .map(|thought| thought["thought"].as_str().unwrap())
        .collect();
    assert!(thinking.starts_with("用户问的是"), "{thinking}");
    let quiet = stream("app-1", json!({ "enable_thinking": true })).await;
    assert!(
        quiet
            .iter()
            .all(|frame| frame["output"].get("thoughts").is_none())
    );
    assert_eq!(quiet[0]["output"]["text"], "a");
}

#[tokio::test]
async fn a_workflow_streams_as_its_mode_says() {
    let text_of = |frames: &[Value], node: &str| -> Vec<String> {
        let told = frames
            .iter()
            .map(|frame| &frame["output"]["workflow_message"]);
        told.filter(|told| told["node_type"] == node)
            .map(|told| told["message"]["content"].as_str().unwrap().to_owned())
            .collect()
    };
    let plus = stream(
        "flow-1",
        json!({ "flow_stream_mode": "message_format_plus" }),
    )
    .await;
    assert_eq!(text_of(&plus, "End"), ["a", " b", " c", ""]);
    // The model is told as a whole each time.
    let snapshots = text_of(&plus, "LLM");
    assert_eq!(snapshots.last().unwrap(), r#"{"result":"a b c"}"#);
    let plain = stream("flow-1", json!({ "flow_stream_mode": "message_format" })).await;
    assert_eq!(text_of(&plain, "End").concat(), "a b c");
    assert!(text_of(&plain, "LLM").is_empty());
    let (last, before) = plain.split_last().unwrap();
    assert_eq!(
        before.last().unwrap()["output"]["workflow_message"]["node_is_completed"],
        true
    );
    assert_eq!(
        (&last["output"]["finish_reason"], &last["usage"]),
        (&"stop".into(), &json!({}))
    );
    let thoughts = stream("flow-1", json!({ "has_thoughts": true })).await;
    let last = &thoughts.last().unwrap()["output"];
    assert_eq!(last["text"], "a b c");
    let node = last["thoughts"][0]["response"].as_str().unwrap();
    let node: Value = serde_json::from_str(node).unwrap();
    assert_eq!(node["nodeType"], "LLM");
    assert_eq!(stream("flow-1", json!({})).await.len(), 1);
}

#[tokio::test]
async fn applications_fail_as_their_ids_say() {
    let simulator = simulator().await;
    for (app, status, code) in [
        ("denied-1", 403, "App.AccessDenied"),
        ("unpublished-1", 400, "FlowNotPublished"),
        ("blocked-1", 400, "FaqRuleBlocked"),
        ("failing-1", 500, "AppProcessFailed"),
        ("plugin-failing-1", 500, "InvokePluginFailed"),
    ] {
        let request = post(&path(app), &ask(json!({})), &[]);
        let (got, said) = answer(&simulator, request).await;
        assert_eq!((got, &said["code"]), (status, &code.into()), "{said}");
    }
    let many = json!({ "rag_options": { "pipeline_ids": ["1", "2", "3", "4", "5", "6"] } });
    for (app, parameters) in [
        ("app-1", many),
        ("app-1", json!({ "rag_options": {} })),
        ("flow-1", json!({ "flow_stream_mode": "x" })),
    ] {
        let request = post(&path(app), &ask(parameters), &[]);
        assert_eq!(answer(&simulator, request).await.0, 400);
    }
}

#[tokio::test]
async fn with_messages_a_session_is_ignored_and_the_model_can_be_chosen() {
    let simulator = simulator().await;
    let first = post(&path("app-1"), &ask(json!({})), &[]);
    let (_, first) = answer(&simulator, first).await;
    let session = &first["output"]["session_id"];
    let body = json!({ "input": { "messages": [{ "role": "user", "content": "你好" }],
        "session_id": session }, "parameters": { "model_id": "qwen-max" } });
    let (_, said) = answer(&simulator, post(&path("app-1"), &body, &[])).await;
    assert_ne!(said["output"]["session_id"], *session);
    assert_eq!(said["usage"]["models"][0]["model_id"], "qwen-max");
}
