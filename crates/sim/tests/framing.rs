//! What goes over the wire, byte for byte.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use bailian_sim::{SimConfig, Simulator};
use serde_json::{Value, json};
use support::{COMPAT, MULTIMODAL, NATIVE, compat, native, post, simulator, text};

const SSE: &str = "x-dashscope-sse: enable";
const HI: &str = "x-sim-answer: 你好 Qwen";

/// The stream with its request id and its time replaced by `ID` and `0`.
async fn stream(path: &str, body: Value, headers: &[&str]) -> String {
    let simulator = simulator().await;
    let (_, head, stream) = text(&simulator, post(path, &body, headers)).await;
    let stream = stream.replace(head["x-request-id"].to_str().unwrap(), "ID");
    let mut pieces = stream.split("\"created\":");
    let mut fixed = pieces.next().unwrap().to_owned();
    for piece in pieces {
        fixed.push_str("\"created\":0");
        fixed.push_str(piece.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    fixed
}

#[tokio::test]
async fn a_native_text_stream() {
    let parameters = json!({ "incremental_output": true, "result_format": "text" });
    let stream = stream(NATIVE, native("qwen-max", parameters), &[SSE, HI]).await;
    let expected = r#"id:1
event:result
:HTTP_STATUS/200
data:{"output":{"finish_reason":"null","text":"你好"},"usage":{"total_tokens":16,"input_tokens":15,"output_tokens":1,"prompt_tokens_details":{"cached_tokens":0}},"request_id":"ID"}

id:2
event:result
:HTTP_STATUS/200
data:{"output":{"finish_reason":"null","text":" Qwen"},"usage":{"total_tokens":17,"input_tokens":15,"output_tokens":2,"prompt_tokens_details":{"cached_tokens":0}},"request_id":"ID"}

id:3
event:result
:HTTP_STATUS/200
data:{"output":{"finish_reason":"stop","text":""},"usage":{"total_tokens":17,"input_tokens":15,"output_tokens":2,"prompt_tokens_details":{"cached_tokens":0}},"request_id":"ID"}

"#;
    assert_eq!(stream, expected);
}

#[tokio::test]
async fn a_native_cumulative_stream_and_the_one_of_a_multimodal_model() {
    let parameters = json!({ "result_format": "message" });
    let cumulative = stream(NATIVE, native("qwen-max", parameters), &[SSE, HI]).await;
    let frame = r#"data:{"output":{"choices":[{"message":{"content":"你好 Qwen","role":"assistant"},"finish_reason":"null"}]},"#;
    assert!(cumulative.contains(frame), "{cumulative}");
    let parameters = json!({ "incremental_output": true, "enable_thinking": false });
    let body = native("qwen3.5-plus", parameters);
    let multimodal = stream(MULTIMODAL, body, &[SSE, HI]).await;
    let frame = r#"data:{"output":{"choices":[{"message":{"content":[{"text":" Qwen"}],"role":"assistant"},"finish_reason":"null"}]},"#;
    let end = r#"data:{"output":{"choices":[{"message":{"content":[],"role":"assistant"},"finish_reason":"stop"}]},"#;
    assert!(
        multimodal.contains(frame) && multimodal.contains(end),
        "{multimodal}"
    );
}

#[tokio::test]
async fn a_compatible_stream_with_usage() {
    let members = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let stream = stream(COMPAT, compat("qwen-plus", members), &[HI]).await;
    let tail = r#""object":"chat.completion.chunk","usage":null,"created":0,"system_fingerprint":null,"model":"qwen-plus","id":"chatcmpl-ID"}"#;
    let chunk = |delta: &str, finish: &str| {
        format!(
            "data: {{\"choices\":[{{\"delta\":{delta},\"finish_reason\":{finish},\"index\":0,\"logprobs\":null}}],{tail}\n\n"
        )
    };
    let usage = r#"{"completion_tokens":2,"prompt_tokens":15,"prompt_tokens_details":{"cached_tokens":0},"total_tokens":17}"#;
    let expected = [
        chunk(r#"{"content":"","role":"assistant"}"#, "null"),
        chunk(r#"{"content":"你好"}"#, "null"),
        chunk(r#"{"content":" Qwen"}"#, "null"),
        chunk(r#"{"content":""}"#, "\"stop\""),
        format!(
            "data: {{\"choices\":[],{}\n\n",
            tail.replace("null,\"created", &format!("{usage},\"created"))
        ),
        "data: [DONE]\n\n".to_owned(),
    ];
    assert_eq!(stream, expected.concat());
}

#[tokio::test]
async fn calls_go_on_with_an_empty_id() {
    let script = json!({ "answers": [{ "tool_calls": [
        { "name": "get_weather", "arguments": "{\"city\": \"杭州\"}" },
        { "name": "now" },
    ] }] });
    let config = SimConfig::default().patched(&script).unwrap();
    let simulator = Simulator::new(config).spawn().await.unwrap();
    let body = compat("qwen-plus", json!({ "stream": true }));
    let (_, _, stream) = text(&simulator, post(COMPAT, &body, &["x-sim-chunk-tokens: 2"])).await;
    let calls: Vec<Value> = support::frames(&stream)
        .iter()
        .filter_map(|frame| frame.pointer("/choices/0/delta/tool_calls/0").cloned())
        .collect();
    let ids: Vec<&str> = calls
        .iter()
        .map(|call| call["id"].as_str().unwrap())
        .collect();
    let places: Vec<u64> = calls
        .iter()
        .map(|call| call["index"].as_u64().unwrap())
        .collect();
    assert_eq!(places, [0, 0, 0, 1]);
    assert!(ids[0].starts_with("call_") && ids[3].starts_with("call_") && ids[0] != ids[3]);
    assert_eq!(ids[1..3], ["", ""]);
    assert!(calls[1]["function"]["name"].is_null());
    let arguments: String = calls[..3]
        .iter()
        .map(|call| call["function"]["arguments"].as_str().unwrap())
        .collect();
    assert_eq!(arguments, "{\"city\": \"杭州\"}");
}

#[tokio::test]
async fn pieces_of_calls_have_the_spelling_that_is_configured() {
    for (fragments, first, second) in [
        ("empty-id", json!("{"), json!("")),
        ("same-id", json!("{"), json!("ID")),
        ("no-id", json!("{"), Value::Null),
        ("null-arguments", Value::Null, json!("")),
    ] {
        let settings = json!({
            "call_fragments": fragments,
            "answers": [{ "tool_calls": [{ "name": "f", "arguments": "{ \"a\": 1 }" }] }],
        });
        let config = SimConfig::default().patched(&settings).unwrap();
        let simulator = Simulator::new(config).spawn().await.unwrap();
        let body = compat("qwen-plus", json!({ "stream": true }));
        let (_, _, stream) = text(&simulator, post(COMPAT, &body, &[])).await;
        let calls: Vec<Value> = support::frames(&stream)
            .iter()
            .filter_map(|frame| frame.pointer("/choices/0/delta/tool_calls/0").cloned())
            .collect();
        assert_eq!(calls[0]["function"]["arguments"], first, "{fragments}");
        let id = calls[1]["id"]
            .as_str()
            .map(|id| id.replace(calls[0]["id"].as_str().unwrap(), "ID"));
        assert_eq!(json!(id), second, "{fragments}");
        let arguments: String = calls
            .iter()
            .filter_map(|call| call["function"]["arguments"].as_str())
            .collect();
        assert_eq!(arguments, "{ \"a\": 1 }");
    }
}

#[tokio::test]
async fn translations_name_their_model() {
    let simulator = simulator().await;
    let options = json!({ "source_lang": "auto", "target_lang": "English", "terms": [{ "source": "石墨烯", "target": "graphene" }] });
    let body = json!({
        "model": "qwen-mt-flash", "input": { "messages": [{ "role": "user", "content": "我看石墨烯" }] },
        "parameters": { "translation_options": options, "result_format": "message" },
    });
    let (_, answer) = support::answer(&simulator, post(NATIVE, &body, &[])).await;
    let output = &answer["output"];
    assert_eq!(
        (&output["model_name"], &output["finish_reason"]),
        (&"qwen-mt-flash".into(), &"stop".into())
    );
    assert_eq!(
        output["choices"][0]["message"]["content"],
        "[English] 我看graphene"
    );
}

#[tokio::test]
async fn the_sources_of_a_search_can_have_a_frame_of_their_own() {
    let parameters = json!({
        "result_format": "message", "incremental_output": true, "enable_search": true,
        "search_options": { "enable_source": true, "prepend_search_result": true, "search_strategy": "max" },
    });
    let stream = stream(NATIVE, native("qwen-plus", parameters), &[SSE, HI]).await;
    let frames = support::frames(&stream);
    let sources = |frame: &Value| {
        frame["output"]["search_info"]["search_results"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(frames[0]["output"]["choices"][0]["message"]["content"], "");
    assert_eq!(sources(&frames[0]), 1);
    assert!(frames[1..].iter().all(|frame| sources(frame) == 0));
    assert_eq!(
        frames[1]["usage"]["plugins"]["search"],
        json!({ "count": 1, "strategy": "max" })
    );
}

#[tokio::test]
async fn headers_are_those_of_the_surface() {
    let simulator = simulator().await;
    let body = native("qwen-plus", json!({}));
    let (_, plain, _) = text(&simulator, post(NATIVE, &body, &[])).await;
    let (_, streamed, _) = text(
        &simulator,
        post(NATIVE, &body, &["accept: text/event-stream"]),
    )
    .await;
    let body = compat("qwen-plus", json!({ "stream": true }));
    let (_, compatible, _) = text(&simulator, post(COMPAT, &body, &[])).await;
    assert_eq!(plain["content-type"], "application/json");
    assert_eq!(plain["x-dashscope-finished"], "true");
    assert_eq!(streamed["x-dashscope-finished"], "false");
    assert_eq!(streamed["x-dashscope-call-gateway"], "true");
    for head in [&plain, &streamed, &compatible] {
        assert_eq!(head["server"], "istio-envoy");
        for name in [
            "req-cost-time",
            "req-arrive-time",
            "resp-start-time",
            "x-request-id",
        ] {
            assert!(head.contains_key(name), "{name}");
        }
    }
    assert_eq!(
        compatible["content-type"],
        "text/event-stream;charset=UTF-8"
    );
    assert!(
        !compatible
            .keys()
            .any(|name| name.as_str().starts_with("x-dashscope"))
    );
}
