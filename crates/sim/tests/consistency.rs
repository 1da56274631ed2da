//! A stream, joined, is the plain answer; the same request has the same answer, wherever it is asked.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use bailian_wire::chat::ChatResponse;
use bailian_wire::stream::{Accumulator, StreamDecoder, StreamSurface};
use bailian_wire::{native, openai};
use serde_json::{Value, json};
use support::{COMPAT, MULTIMODAL, NATIVE, answer, post, simulator, text};

const SSE: &str = "x-dashscope-sse: enable";

/// Parameters that either surface takes.
fn shapes() -> Vec<Value> {
    let tool = |name: &str| {
        json!({ "type": "function", "function": { "name": name, "description": "d", "parameters": {
            "type": "object", "required": ["city"],
            "properties": { "city": { "type": "string" }, "days": { "type": "integer", "minimum": 1, "maximum": 7 } },
        } } })
    };
    let tools = json!([tool("get_weather"), tool("get_forecast"), tool("now")]);
    let schema = json!({ "type": "json_schema", "json_schema": { "name": "s", "schema": {
        "type": "object", "required": ["name"], "properties": { "name": { "type": "string" } },
    } } });
    vec![
        json!({}),
        json!({ "enable_thinking": true }),
        json!({ "enable_thinking": true, "thinking_budget": 3, "max_tokens": 4 }),
        json!({ "enable_thinking": true, "max_completion_tokens": 5 }),
        json!({ "enable_thinking": true, "max_completion_tokens": 20 }),
        json!({ "max_tokens": 1 }),
        json!({ "n": 3, "max_tokens": 7 }),
        json!({ "logprobs": true, "top_logprobs": 2 }),
        json!({ "tools": tools }),
        json!({ "tools": tools, "parallel_tool_calls": true }),
        json!({ "tools": tools, "parallel_tool_calls": true, "max_tokens": 6 }),
        json!({ "tools": tools, "enable_thinking": true }),
        json!({ "tools": tools, "tool_choice": "none" }),
        json!({ "tools": tools, "tool_choice": { "type": "function", "function": { "name": "now" } } }),
        json!({ "tools": tools, "tool_choice": { "type": "function", "function": { "name": "unknown" } } }),
        json!({ "response_format": schema }),
        json!({ "stop": ["。", "."] }),
        json!({ "enable_search": true, "search_options": { "enable_source": true } }),
    ]
}

fn prompts() -> [Value; 3] {
    [
        json!([{ "role": "user", "content": "用 JSON 介绍杭州😀" }]),
        json!([{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "Describe Hangzhou in JSON." }]),
        json!([{ "role": "user", "content": "Go on: JSON" }, { "role": "assistant", "content": "" }, { "role": "user", "content": "\u{0}\n\t\"\\ 👩‍👩‍👧‍👦" }]),
    ]
}

fn joined(surface: StreamSurface, cumulative: bool, stream: &str) -> ChatResponse {
    let mut decoder = StreamDecoder::new(surface).cumulative(cumulative);
    decoder.feed(stream.as_bytes());
    decoder.finish();
    let mut answer = Accumulator::new();
    while let Some(event) = decoder.next_event() {
        answer.push(event.unwrap_or_else(|error| panic!("{error}: {stream}")));
    }
    answer.finish()
}

/// Without what differs from request to request.
fn essence(mut response: ChatResponse) -> ChatResponse {
    response.id = None;
    response.request_id = None;
    response.created = None;
    response.raw = Value::Null;
    for choice in &mut response.choices {
        // Absent and empty are alike.
        choice.message.tool_calls.take_if(|calls| calls.is_empty());
        choice
            .message
            .reasoning_content
            .take_if(|text| text.is_empty());
        choice
            .logprobs
            .take_if(|logprobs| logprobs.content.is_empty());
    }
    response
}

fn merged(one: Value, other: &Value) -> Value {
    let (Value::Object(mut one), Value::Object(other)) = (one, other.clone()) else {
        panic!("objects only");
    };
    one.extend(other);
    Value::Object(one)
}

#[tokio::test]
async fn streams_joined_are_the_plain_answers_in_either_dialect() {
    let simulator = simulator().await;
    for (shape, messages) in shapes()
        .iter()
        .flat_map(|shape| prompts().map(|messages| (shape.clone(), messages)))
    {
        let plain = merged(
            json!({ "model": "qwen-plus", "messages": messages }),
            &shape,
        );
        let streamed = merged(
            plain.clone(),
            &json!({ "stream": true, "stream_options": { "include_usage": true } }),
        );
        let (status, whole) = answer(&simulator, post(COMPAT, &plain, &[])).await;
        assert_eq!(status, 200, "{shape}: {whole}");
        let whole = essence(openai::decode_response(whole));
        for chunk in ["x-sim-chunk-tokens: 1", "x-sim-chunk-tokens: 3"] {
            let (_, _, stream) = text(&simulator, post(COMPAT, &streamed, &[chunk])).await;
            let stream = essence(joined(StreamSurface::OpenAiChat, false, &stream));
            assert_eq!(stream, whole, "{shape} {chunk}");
        }
        let mut natively = json!({
            "model": "qwen-plus", "input": { "messages": messages },
            "parameters": merged(json!({ "result_format": "message", "incremental_output": true }), &shape),
        });
        let (status, native_whole) = answer(&simulator, post(NATIVE, &natively, &[])).await;
        assert_eq!(status, 200, "{shape}: {native_whole}");
        let native_whole = essence(native::decode_response(native_whole));
        assert_eq!(native_whole.text(), whole.text(), "{shape}");
        assert_eq!(native_whole.tool_calls(), whole.tool_calls(), "{shape}");
        let (a, b) = (
            native_whole.usage.as_ref().unwrap(),
            whole.usage.as_ref().unwrap(),
        );
        assert_eq!(
            (a.input_tokens, a.output_tokens),
            (b.input_tokens, b.output_tokens)
        );
        for incremental in [true, false] {
            let thinks = shape["enable_thinking"] == true;
            let incremental = incremental || thinks;
            natively["parameters"]["incremental_output"] = json!(incremental);
            let (_, _, stream) = text(&simulator, post(NATIVE, &natively, &[SSE])).await;
            let stream = essence(joined(StreamSurface::Native, !incremental, &stream));
            assert_eq!(stream, native_whole, "{shape} {incremental}");
        }
    }
}

#[tokio::test]
async fn two_simulators_with_one_seed_answer_alike_and_with_another_seed_not() {
    let body = json!({ "model": "qwen-plus", "messages": prompts()[0] });
    let mut answers = Vec::new();
    for seed in [1, 1, 2] {
        let config = bailian_sim::SimConfig::default()
            .patched(&json!({ "seed": seed }))
            .unwrap();
        let simulator = bailian_sim::Simulator::new(config).spawn().await.unwrap();
        let (_, mut first) = answer(&simulator, post(COMPAT, &body, &[])).await;
        let (_, second) = answer(&simulator, post(COMPAT, &body, &[])).await;
        assert_ne!(first["id"], second["id"]);
        assert_eq!(first["choices"], second["choices"]);
        first["created"] = Value::Null;
        answers.push(first);
    }
    assert_eq!(answers[0], answers[1], "ids too");
    assert_ne!(answers[0]["id"], answers[2]["id"]);
    assert_ne!(answers[0]["choices"], answers[2]["choices"]);
}

#[tokio::test]
async fn a_picture_says_the_same_in_every_dialect_and_another_picture_another_thing() {
    let simulator = simulator().await;
    let model = "qwen3-vl-plus";
    let text = "What is in this picture?";
    let mut said = Vec::new();
    for picture in ["data:image/png;base64,AAAA", "data:image/png;base64,BBBB"] {
        let openai = json!({ "model": model, "messages": [{ "role": "user", "content": [
            { "type": "image_url", "image_url": { "url": picture } },
            { "type": "text", "text": text },
        ] }] });
        let native = json!({ "model": model, "input": { "messages": [{ "role": "user", "content": [
            { "image": picture }, { "text": text },
        ] }] }, "parameters": { "result_format": "message" } });
        let data = picture.rsplit(',').next().unwrap();
        let anthropic = json!({ "model": model, "max_tokens": 300, "messages": [{ "role": "user", "content": [
            { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": data } },
            { "type": "text", "text": text },
        ] }] });
        let mut told = Vec::new();
        for (path, body, place) in [
            (COMPAT, openai, "/choices/0/message/content"),
            (
                MULTIMODAL,
                native,
                "/output/choices/0/message/content/0/text",
            ),
            ("/apps/anthropic/v1/messages", anthropic, "/content/0/text"),
        ] {
            let (status, answer) = answer(&simulator, post(path, &body, &[])).await;
            assert_eq!(status, 200, "{answer}");
            told.push(answer.pointer(place).unwrap().clone());
        }
        assert!(told.iter().all(|text| *text == told[0]), "{told:?}");
        said.push(told[0].clone());
    }
    assert_ne!(said[0], said[1]);
}
