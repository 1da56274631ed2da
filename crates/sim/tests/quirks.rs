//! What is the same on all surfaces and can be switched: the limit of plain answers, errors that
//! are framed as events.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test may stop at what it did not expect; JSON reads best where it is passed"
)]

mod support;

use bailian_sim::{RunningSimulator, SimConfig, Simulator};
use serde_json::{Value, json};
use support::{COMPAT, NATIVE, answer, compat, native, post, text};

async fn with(settings: Value) -> RunningSimulator {
    let config = SimConfig::default().patched(&settings).unwrap();
    Simulator::new(config).spawn().await.unwrap()
}

const LONG: [&str; 2] = ["x-sim-tokens: 100000", "x-sim-tps: 1000"];

#[tokio::test]
async fn a_plain_answer_that_takes_too_long_is_what_was_made_so_far() {
    let simulator = with(json!({ "quirks": { "plain_answer_limit_ms": 20 } })).await;
    let body = compat("qwen-plus", json!({}));
    let (status, said) = answer(&simulator, post(COMPAT, &body, &LONG)).await;
    assert_eq!(
        (status, &said["choices"][0]["finish_reason"]),
        (200, &"stop".into())
    );
    assert_eq!(said["usage"]["completion_tokens"], 20, "{said}");
    let entry = simulator.journal().pop().unwrap();
    assert_eq!((entry.output_tokens, entry.status), (20, 200));
    let (_, said) = answer(
        &simulator,
        post(NATIVE, &native("qwen-plus", json!({})), &LONG),
    )
    .await;
    assert_eq!(said["usage"]["output_tokens"], 20, "{said}");
    // What is made in time is whole.
    let short = ["x-sim-tokens: 10", "x-sim-tps: 1000"];
    let (_, said) = answer(&simulator, post(COMPAT, &body, &short)).await;
    assert_eq!(said["usage"]["completion_tokens"], 10);
}

#[tokio::test]
async fn or_it_fails_as_those_of_older_models() {
    let quirks = json!({ "plain_answer_limit_ms": 1, "plain_answer_limit_fails": true });
    let simulator = with(json!({ "quirks": quirks })).await;
    let body = native("qwen-plus", json!({}));
    let (status, said) = answer(&simulator, post(NATIVE, &body, &LONG)).await;
    assert_eq!((status, &said["code"]), (500, &"RequestTimeOut".into()));
}

#[tokio::test]
async fn errors_of_requests_for_a_stream_can_be_framed() {
    let simulator = with(json!({ "sse_framed_errors": true })).await;
    let key = "authorization: Bearer sk-expired-1";
    let sse = "x-dashscope-sse: enable";
    let body = native("qwen-plus", json!({}));
    let (status, head, said) = text(&simulator, post(NATIVE, &body, &[key, sse])).await;
    assert_eq!(status, 401);
    assert_eq!(head["content-type"], "text/event-stream;charset=UTF-8");
    assert!(
        said.starts_with("id:1\nevent:error\n:HTTP_STATUS/401\ndata:{\"code\":\"InvalidApiKey\""),
        "{said}"
    );
    let (_, head, said) = text(&simulator, post(NATIVE, &body, &[key])).await;
    assert_eq!(head["content-type"], "application/json");
    assert!(said.starts_with('{'), "{said}");
    let body = compat("qwen-plus", json!({ "stream": true, "temperature": 2 }));
    let (status, _, said) = text(&simulator, post(COMPAT, &body, &[])).await;
    assert_eq!(status, 400);
    assert!(said.starts_with("data: {\"error\""), "{said}");
    let quirks = json!({ "framed_errors_as_json": true });
    let simulator = with(json!({ "sse_framed_errors": true, "quirks": quirks })).await;
    let (_, head, said) = text(&simulator, post(COMPAT, &body, &[])).await;
    assert_eq!(head["content-type"], "application/json");
    assert!(said.starts_with("data: {\"error\""), "{said}");
}

#[tokio::test]
async fn usage_can_have_details_nulls_or_neither() {
    let body = compat("qwen-plus", json!({}));
    for (details, expected) in [
        ("full", json!({ "cached_tokens": 0 })),
        (
            "null-members",
            json!({ "cached_tokens": 0, "text_tokens": null, "image_tokens": null,
                "audio_tokens": null }),
        ),
        ("null", Value::Null),
    ] {
        let simulator = with(json!({ "quirks": { "usage_details": details } })).await;
        let (_, said) = answer(&simulator, post(COMPAT, &body, &[])).await;
        assert_eq!(said["usage"]["prompt_tokens_details"], expected);
    }
    let simulator = with(json!({ "quirks": { "usage_details": "absent" } })).await;
    let (_, said) = answer(&simulator, post(COMPAT, &body, &[])).await;
    assert_eq!(said["usage"].as_object().unwrap().len(), 3, "{said}");
}

#[tokio::test]
async fn what_a_delta_does_not_use_is_null_empty_or_absent() {
    let members = json!({ "stream": true, "enable_thinking": true });
    let body = compat("qwen-plus", members);
    for (unused, expected) in [
        ("null", Some(Value::Null)),
        ("empty", Some("".into())),
        ("absent", None),
    ] {
        let simulator = with(json!({ "quirks": { "unused_delta": unused } })).await;
        let (_, _, stream) = text(&simulator, post(COMPAT, &body, &["x-sim-answer: a"])).await;
        let deltas: Vec<Value> = support::frames(&stream)
            .iter()
            .map(|chunk| chunk["choices"][0]["delta"].clone())
            .collect();
        assert_eq!(deltas[1].get("content").cloned(), expected, "{unused}");
        assert!(deltas[1]["reasoning_content"].is_string());
        let said = deltas.iter().find(|delta| delta["content"] == "a").unwrap();
        assert_eq!(said.get("reasoning_content").cloned(), expected, "{unused}");
    }
}
