//! Chat that stays in its dialect, and what is mended on its way.

use serde_json::{Value, json};

use crate::question::{ANTHROPIC, chat, native_chat};
use crate::support::{KEY, NATIVE, OPENAI, Pair, get, post, read, read_json, with};

const MULTIMODAL: &str = "/api/v1/services/aigc/multimodal-generation/generation";

#[tokio::test]
async fn an_anthropic_client_changes_only_host_and_key() {
    let pair = Pair::new().await;
    for path in [ANTHROPIC, "/apps/anthropic/v1/messages"] {
        let body = chat("qwen-plus", json!({ "max_tokens": 300, "stream": true }));
        let mut request = post(path, body.clone());
        request.headers_mut().remove("authorization");
        let request = with(
            with(request, "x-api-key", KEY),
            "anthropic-version",
            "2026-10-21",
        );
        let (status, _, text) = read(pair.send(request).await).await;
        assert_eq!(status, 200, "{text}");
        assert!(text.starts_with("event: message_start\ndata: {"), "{text}");
        assert!(text.contains("event: ping\n") && text.contains("event: message_stop\n"));
        let entry = pair
            .journal_until(|entry| entry.bytes_sent == text.len() as u64)
            .await;
        assert_eq!(entry.path, "/apps/anthropic/v1/messages");
        let wrong = with(post(path, body), "authorization", "Bearer sk-wrong-key");
        let (status, _, body) = read_json(pair.send(wrong).await).await;
        assert_eq!(
            (status.as_u16(), &body["error"]["type"]),
            (403, &"authentication_error".into())
        );
    }
    let (status, _, body) = read_json(pair.send(get("/anthropic/v1/models")).await).await;
    assert_eq!(
        (status.as_u16(), &body["data"][0]["type"]),
        (200, &"model".into())
    );
    let counted = post(
        "/anthropic/v1/messages/count_tokens",
        chat("qwen-plus", json!({})),
    );
    let (status, _, body) = read_json(pair.send(counted).await).await;
    assert_eq!(status, 200);
    assert!(
        (5..40).contains(&body["input_tokens"].as_u64().unwrap()),
        "{body}"
    );
}

#[tokio::test]
async fn a_call_at_once_to_a_model_that_only_streams_is_made_as_a_stream() {
    let pair = Pair::new().await;
    let body = chat("qwq-plus", json!({}));
    let (status, _, answer) = read_json(pair.send(post(OPENAI, body)).await).await;
    assert_eq!(
        (status.as_u16(), &answer["object"]),
        (200, &"chat.completion".into()),
        "{answer}"
    );
    assert!(answer["choices"][0]["message"]["reasoning_content"].is_string());
    assert!(answer["usage"]["completion_tokens"].as_u64().unwrap() > 0);
    assert!(pair.journal_until(|_| true).await.stream);
    let native = post(
        NATIVE,
        native_chat("qwq-plus", json!({ "result_format": "message" })),
    );
    let (status, _, answer) = read_json(pair.send(native).await).await;
    assert_eq!(
        (
            status.as_u16(),
            &answer["output"]["choices"][0]["finish_reason"]
        ),
        (200, &"stop".into()),
        "{answer}"
    );
}

#[tokio::test]
async fn usage_is_asked_for_and_kept_from_a_client_that_did_not_ask() {
    let pair = Pair::new().await;
    for options in [
        json!({ "stream": true }),
        json!({ "stream": true, "stream_options": { "include_usage": false } }),
    ] {
        let (_, _, text) = read(pair.send(post(OPENAI, chat("qwen-plus", options))).await).await;
        assert!(
            !text.contains("\"usage\":{") && text.ends_with("data: [DONE]\n\n"),
            "{text}"
        );
    }
    let asked = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let (_, _, text) = read(pair.send(post(OPENAI, chat("qwen-plus", asked))).await).await;
    assert!(text.contains("\"usage\":{"), "{text}");
    let (_, _, metrics) = read(pair.send(get("/metrics")).await).await;
    let counted: u64 = pair
        .simulator
        .journal()
        .iter()
        .map(|entry| entry.output_tokens)
        .sum();
    let line = format!("bailian_tokens_total{{dialect=\"openai\",kind=\"output\"}} {counted}");
    assert!(metrics.contains(&line), "{metrics}");
}

#[tokio::test]
async fn developers_and_extra_bodies_are_understood() {
    let pair = Pair::new().await;
    let body = json!({ "model": "qwen-plus", "extra_body": { "enable_thinking": true },
        "stream": true, "messages": [{ "role": "developer", "content": "简短" }, { "role": "user", "content": "你好" }] });
    let (status, _, text) = read(pair.send(post(OPENAI, body.to_string())).await).await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("\"reasoning_content\":\""), "{text}");
}

#[tokio::test]
async fn a_native_call_finds_the_path_of_its_model() {
    let pair = Pair::new().await;
    let on_text_path = post(
        NATIVE,
        native_chat("qwen-vl-max", json!({ "result_format": "message" })),
    );
    let (status, _, body) = read_json(pair.send(on_text_path).await).await;
    assert_eq!(status, 200, "{body}");
    assert!(
        body["output"]["choices"][0]["message"]["content"].is_string(),
        "{body}"
    );
    let parts = json!({ "model": "qwen-plus", "input": { "messages": [{ "role": "user", "content": [{ "text": "你好" }] }] } });
    let (status, _, body) = read_json(pair.send(post(MULTIMODAL, parts.to_string())).await).await;
    assert_eq!(status, 200, "{body}");
    assert!(
        body["output"]["choices"][0]["message"]["content"][0]["text"].is_string(),
        "{body}"
    );
    let picture = json!({ "model": "qwen-vl-max", "input": { "messages": [{ "role": "user", "content": [
        { "image": "https://e/a.png" }, { "text": "这是什么？" }] }] } });
    let (status, _, body) = read_json(pair.send(post(MULTIMODAL, picture.to_string())).await).await;
    assert_eq!(status, 200, "{body}");
}

#[tokio::test]
async fn a_translation_model_that_repeats_itself_streams_increments() {
    let pair = Pair::new().await;
    let body = chat(
        "qwen-mt-plus",
        json!({ "stream": true,
        "translation_options": { "source_lang": "auto", "target_lang": "English" } }),
    );
    let (_, _, text) = read(pair.send(post(OPENAI, body.clone())).await).await;
    let pieces: Vec<String> = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        .filter_map(|chunk| Some(chunk["choices"][0]["delta"]["content"].as_str()?.to_owned()))
        .collect();
    let whole = body.replace("\"stream\":true", "\"stream\":false");
    let (_, _, answer) = read_json(pair.send(post(OPENAI, whole)).await).await;
    assert_eq!(
        pieces.concat(),
        answer["choices"][0]["message"]["content"].as_str().unwrap()
    );
    assert!(pieces.len() > 2);
}
