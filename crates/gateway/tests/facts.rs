//! Facts of the service that bite, each by name (compat.md, http-native.md).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use bailian_sim::SimConfig;
use serde_json::{Value, json};
use support::{KEY, NATIVE, OPENAI, Pair, post, read, read_json, with};

/// The data of each event of a stream.
fn events(text: &str) -> Vec<Value> {
    text.lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .filter_map(|data| serde_json::from_str(data).ok())
        .collect()
}

fn ask(text: &str) -> Value {
    json!([{ "role": "user", "content": text }])
}

#[tokio::test]
async fn the_wrong_native_path_for_a_model_is_mended_and_else_a_url_error() {
    let pair = Pair::new().await;
    let body = json!({ "model": "qwen3-vl-plus", "input": { "messages": ask("你好") } });
    let direct = support::request_to(&pair.simulator.base_url(), NATIVE, &body).await;
    assert_eq!(
        (direct.0, &direct.1["code"]),
        (400, &"InvalidParameter".into())
    );
    assert!(
        direct.1["message"].as_str().unwrap().contains("url error"),
        "{}",
        direct.1
    );
    let (status, _, answer) = read_json(pair.send(post(NATIVE, body.to_string())).await).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn a_finish_reason_null_in_quotes_is_no_end() {
    let pair = Pair::new().await;
    let body = json!({ "model": "qwen-plus", "input": { "messages": ask("你好") },
        "parameters": { "result_format": "message", "incremental_output": true } });
    let request = with(post(NATIVE, body.to_string()), "x-dashscope-sse", "enable");
    let (_, _, text) = read(pair.send(request).await).await;
    let reasons: Vec<Value> = events(&text)
        .iter()
        .map(|event| event["output"]["choices"][0]["finish_reason"].clone())
        .collect();
    assert!(reasons.len() > 2, "{text}");
    let (last, running) = reasons.split_last().unwrap();
    assert!(running.iter().all(|reason| reason == "null"), "{reasons:?}");
    assert_eq!(last, "stop");
    // Translated, a running choice has no reason at all.
    let chat = json!({ "model": "qwen-plus", "stream": true, "messages": ask("你好") });
    let (_, _, text) = read(pair.send(post(OPENAI, chat.to_string())).await).await;
    assert!(!text.contains("\"finish_reason\":\"null\""), "{text}");
}

#[tokio::test]
async fn usage_is_a_running_total_and_counted_once() {
    let pair = Pair::new().await;
    let body = json!({ "model": "qwen-plus", "input": { "messages": ask("你好") },
        "parameters": { "result_format": "message", "incremental_output": true } });
    let request = with(post(NATIVE, body.to_string()), "x-dashscope-sse", "enable");
    let (_, _, text) = read(pair.send(request).await).await;
    let outputs: Vec<u64> = events(&text)
        .iter()
        .map(|event| event["usage"]["output_tokens"].as_u64().unwrap())
        .collect();
    assert!(outputs.is_sorted() && outputs.len() > 2, "{outputs:?}");
    let (_, _, metrics) = read(pair.send(support::get("/metrics")).await).await;
    let total = format!("kind=\"output\"}} {}", outputs.last().unwrap());
    assert!(metrics.contains(&total), "{total} in {metrics}");
}

#[tokio::test]
async fn a_4xx_body_that_is_framed_as_an_event_becomes_plain_json_in_every_dialect() {
    let pair = Pair::new().await;
    let mut config = SimConfig::default();
    config.sse_framed_errors = true;
    pair.simulator.set_config(config);
    let bad = json!({ "model": "qwen-plus", "max_tokens": 9, "stream": true, "temperature": 7.5,
        "messages": ask("你好") });
    let direct = support::raw_to(&pair.simulator.base_url(), OPENAI_OF_SERVICE, &bad).await;
    assert!(direct.1.starts_with("data:"), "{}", direct.1);
    for path in [OPENAI, "/anthropic/v1/messages"] {
        let (status, headers, error) =
            read_json(pair.send(post(path, bad.to_string())).await).await;
        assert_eq!(status, 400, "{error}");
        assert_eq!(headers["content-type"], "application/json");
        assert!(error["error"]["message"].is_string(), "{error}");
    }
}

const OPENAI_OF_SERVICE: &str = "/compatible-mode/v1/chat/completions";

#[tokio::test]
async fn a_bad_key_is_403_on_the_anthropic_mount_and_401_elsewhere() {
    let pair = Pair::new().await;
    let body =
        json!({ "model": "qwen-plus", "max_tokens": 9, "messages": ask("你好") }).to_string();
    for (path, status, kind) in [
        ("/anthropic/v1/messages", 403, "/error/type"),
        ("/apps/anthropic/v1/messages", 403, "/error/type"),
        (OPENAI, 401, "/error/code"),
        (NATIVE, 401, "/code"),
    ] {
        let request = with(
            post(path, body.clone()),
            "authorization",
            "Bearer sk-wrong-0001",
        );
        let (got, _, error) = read_json(pair.send(request).await).await;
        assert_eq!(got, status, "{path}: {error}");
        let kind = error.pointer(kind).and_then(Value::as_str).unwrap();
        assert!(
            ["authentication_error", "invalid_api_key", "InvalidApiKey"].contains(&kind),
            "{error}"
        );
    }
}

#[tokio::test]
async fn an_anthropic_version_of_any_date_or_none_is_served() {
    let pair = Pair::new().await;
    let body =
        json!({ "model": "qwen-plus", "max_tokens": 9, "messages": ask("你好") }).to_string();
    for version in [
        None,
        Some("2023-06-01"),
        Some("2026-10-21"),
        Some("2099-01-01"),
    ] {
        let mut request = post("/anthropic/v1/messages", body.clone());
        request.headers_mut().remove("authorization");
        let mut request = with(request, "x-api-key", KEY);
        if let Some(version) = version {
            request = with(request, "anthropic-version", version);
        }
        let (status, _, answer) = read_json(pair.send(request).await).await;
        assert_eq!(status, 200, "{version:?}: {answer}");
        assert_eq!(answer["type"], "message");
    }
}

#[tokio::test]
async fn an_error_code_inside_http_200_is_an_error_where_it_is_translated() {
    let pair = Pair::new().await;
    let mut config = SimConfig::default();
    config.faults =
        serde_json::from_value(json!([{ "faults": ["code-in-200=Throttling"] }])).unwrap();
    pair.simulator.set_config(config);
    // A thinking model that answers in streams only is asked in one, and answered whole.
    let body = json!({ "model": "qwq-plus", "messages": ask("你好") });
    let (status, _, error) = read_json(pair.send(post(OPENAI, body.to_string())).await).await;
    assert!(status.as_u16() >= 400, "{error}");
    assert!(error["error"]["message"].is_string(), "{error}");
}
