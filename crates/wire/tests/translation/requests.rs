//! Requests from each dialect to each other.

use bailian_wire::chat::{ChatRequest, Content, ContentPart};
use bailian_wire::translate::Losses;
use bailian_wire::{Dialect, anthropic, native, openai, responses};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::generated::{any_json, request};
use crate::{identity, tried};

/// A request in a dialect's own words.
fn encoded(dialect: Dialect, request: &ChatRequest) -> (Value, Losses) {
    match dialect {
        Dialect::OpenAi => (openai::encode_request(request, true), Losses::new()),
        Dialect::Native => {
            let body = native::encode_request(request, true, request.has_media());
            (body, Losses::new())
        }
        Dialect::Anthropic => anthropic::encode_request(request, true),
    }
}

fn decoded(dialect: Dialect, body: &Value) -> (ChatRequest, Losses) {
    let decoded = match dialect {
        Dialect::OpenAi => openai::decode_request(body).unwrap(),
        Dialect::Anthropic => anthropic::decode_request(body).unwrap(),
        Dialect::Native => return (native::decode_request(body).unwrap(), Losses::new()),
    };
    (decoded.request, decoded.losses)
}

/// What a request says, however its dialect spells it: native contents are lists where one is.
fn meaning(mut request: ChatRequest) -> Value {
    request.result_format = None;
    request.incremental_output = None;
    request.stream_options = None;
    if request.tools.is_none() {
        request.parallel_tool_calls = None;
    }
    for message in &mut request.messages {
        if let Some(Content::Parts(parts)) = &message.content
            && let [ContentPart::Text { text, extra }] = parts.as_slice()
            && extra.is_empty()
        {
            message.content = Some(Content::Text(text.clone()));
        }
    }
    serde_json::to_value(&request).unwrap()
}

proptest! {
    #![proptest_config(tried(256))]

    #[test]
    fn a_request_survives_the_way_from_each_dialect_to_each_other(request in request()) {
        let expected = meaning(request.clone());
        for from in Dialect::ALL {
            let (body, lost) = encoded(from, &request);
            prop_assert!(lost.is_empty(), "{from}: {lost}");
            let (read, lost) = decoded(from, &body);
            prop_assert!(lost.is_empty(), "{from}: {lost}");
            for to in Dialect::ALL {
                let (body, lost) = encoded(to, &read);
                prop_assert!(lost.is_empty(), "{from} to {to}: {lost}");
                let (read, lost) = decoded(to, &body);
                prop_assert!(lost.is_empty(), "{from} to {to}: {lost}");
                prop_assert_eq!(meaning(read), expected.clone(), "{} to {}", from, to);
            }
        }
    }

    #[test]
    fn no_body_makes_a_decoder_panic(body in any_json()) {
        let _either = anthropic::decode_request(&body).map(|decoded| anthropic::encode_request(&decoded.request, false));
        let _either = openai::decode_request(&body).map(|decoded| native::encode_request(&decoded.request, true, true));
        let _either = native::decode_request(&body).map(|request| anthropic::encode_request(&request, false));
        let _either = responses::decode_request(&body);
        let _answer = anthropic::encode_response(&anthropic::decode_response(body.clone()), &identity());
        let _answer = native::encode_response(&openai::decode_response(body.clone()), &identity(), true);
        let _answer = openai::encode_response(&native::decode_response(body), &identity());
    }
}

#[test]
fn a_message_from_anthropic_becomes_the_turns_of_the_table() {
    let body = json!({
        "model": "qwen-plus", "max_tokens": 100,
        "system": [{ "type": "text", "text": "简短回答", "cache_control": { "type": "ephemeral" } }],
        "messages": [
            { "role": "user", "content": "天气？" },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "查一下", "signature": "" },
                { "type": "text", "text": "好的" },
                { "type": "tool_use", "id": "call_1", "name": "weather", "input": { "city": "杭州" } },
            ]},
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "call_1", "is_error": true, "content": [
                    { "type": "text", "text": "超时" },
                    { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AA==" } },
                ]},
                { "type": "text", "text": "再试一次" },
            ]},
        ],
        "tools": [{ "name": "weather", "input_schema": { "type": "object" } }],
        "tool_choice": { "type": "any", "disable_parallel_tool_use": true },
        "thinking": { "type": "enabled", "budget_tokens": 500 },
        "metadata": { "user_id": "u" },
    });
    let decoded = anthropic::decode_request(&body).unwrap();
    assert_eq!(decoded.losses.to_string(), "metadata");
    assert_eq!(decoded.losses.that_matter().count(), 0);
    let sent = openai::encode_request(&decoded.request, false);
    assert_eq!(
        sent,
        json!({
            "model": "qwen-plus", "max_tokens": 100,
            "messages": [
                { "role": "system", "content": [{ "type": "text", "text": "简短回答",
                    "cache_control": { "type": "ephemeral" } }] },
                { "role": "user", "content": "天气？" },
                { "role": "assistant", "content": "好的", "reasoning_content": "查一下", "tool_calls": [
                    { "id": "call_1", "type": "function",
                      "function": { "name": "weather", "arguments": "{\"city\":\"杭州\"}" } }] },
                { "role": "tool", "tool_call_id": "call_1", "content": "Error: 超时" },
                { "role": "user", "content": [
                    { "type": "image_url", "image_url": { "url": "data:image/png;base64,AA==" } },
                    { "type": "text", "text": "再试一次" }] },
            ],
            "tools": [{ "type": "function", "function": { "name": "weather", "parameters": { "type": "object" } } }],
            "tool_choice": "required", "parallel_tool_calls": false,
            "enable_thinking": true, "thinking_budget": 500,
        })
    );
}

#[test]
fn a_developer_is_a_system_and_extra_body_is_unwrapped() {
    let body = json!({ "model": "m", "stream": true, "extra_body": { "enable_thinking": false, "model": "x" },
        "messages": [{ "role": "developer", "content": "hi" }] });
    let decoded = openai::decode_request(&body).unwrap();
    assert_eq!(
        openai::encode_request(&decoded.request, false),
        json!({ "model": "m", "enable_thinking": false, "messages": [{ "role": "system", "content": "hi" }] })
    );
}
