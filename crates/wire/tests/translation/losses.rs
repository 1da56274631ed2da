//! What a translation cannot carry has a name, as docs/dialects.md lists it.

use bailian_wire::translate::Losses;
use bailian_wire::{anthropic, openai, responses};
use serde_json::{Value, json};

/// A loss: `!` before a member that matters.
fn losses_of(losses: &Losses) -> Vec<String> {
    let text = |loss: &bailian_wire::translate::Loss| {
        format!("{}{}", if loss.matters { "!" } else { "" }, loss.member)
    };
    losses.iter().map(text).collect()
}

#[test]
fn what_anthropic_cannot_say_is_named() {
    let body = json!({
        "model": "m",
        "messages": [{ "role": "user", "content": [
            { "type": "input_audio", "input_audio": { "data": "https://e/a.wav" } },
            { "type": "text", "text": "?" }] }],
        "n": 2, "logprobs": true, "seed": 7, "response_format": { "type": "json_object" }, "user": "u",
    });
    let decoded = openai::decode_request(&body).unwrap();
    let (_, losses) = anthropic::encode_request(&decoded.request, false);
    let serious: Vec<&str> = losses
        .that_matter()
        .map(|loss| loss.member.as_ref())
        .collect();
    assert_eq!(
        serious,
        ["messages[0].content[0]", "response_format", "n", "logprobs"]
    );
    assert_eq!(
        losses.to_string(),
        "messages[0].content[0], response_format, n, logprobs, seed, user"
    );
}

#[test]
fn every_member_that_anthropic_lacks_is_lost_as_the_book_says() {
    let part = |part: Value| json!({ "messages": [{ "role": "user", "content": [part] }] });
    let turn = |turn: Value| json!({ "messages": [{ "role": "user", "content": "a" }, turn] });
    let cases = [
        (json!({ "n": 2 }), "!n"),
        (json!({ "logprobs": true }), "!logprobs"),
        (json!({ "top_logprobs": 3 }), "!top_logprobs"),
        (
            json!({ "response_format": { "type": "json_object" } }),
            "!response_format",
        ),
        (json!({ "stop": [7] }), "!stop"),
        (
            json!({ "translation_options": { "target_lang": "English" } }),
            "!translation_options",
        ),
        (
            json!({ "asr_options": { "language": "zh" } }),
            "!asr_options",
        ),
        (json!({ "ocr_options": { "task": "x" } }), "!ocr_options"),
        (json!({ "skill": [{ "type": "ppt" }] }), "!skill"),
        (json!({ "modalities": ["text", "audio"] }), "!modalities"),
        (
            turn(json!({ "role": "assistant", "content": "b", "partial": true })),
            "!messages[1].partial",
        ),
        (
            part(json!({ "type": "input_audio", "input_audio": { "data": "https://e/a.wav" } })),
            "!messages[0].content[0]",
        ),
        (
            part(json!({ "type": "video", "video": ["https://e/1.jpg"] })),
            "!messages[0].content[0]",
        ),
        (
            part(json!({ "type": "hologram" })),
            "!messages[0].content[0]",
        ),
        (
            part(
                json!({ "type": "image_url", "image_url": { "url": "https://e/1.png", "detail": "high" } }),
            ),
            "messages[0].content[0].detail",
        ),
        (
            part(
                json!({ "type": "image_url", "image_url": { "url": "https://e/1.png" }, "min_pixels": 1 }),
            ),
            "messages[0].content[0].min_pixels",
        ),
        (
            turn(json!({ "role": "assistant", "content": "b", "reasoning_content": "c" })),
            "messages[1].reasoning_content",
        ),
        (json!({ "seed": 1 }), "seed"),
        (json!({ "presence_penalty": 0.5 }), "presence_penalty"),
        (json!({ "repetition_penalty": 1.1 }), "repetition_penalty"),
        (json!({ "enable_search": true }), "enable_search"),
        (json!({ "search_options": {} }), "search_options"),
        (json!({ "user": "u" }), "user"),
    ];
    for (members, expected) in cases {
        let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "a" }] });
        body.as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        let request = openai::decode_request(&body).unwrap().request;
        let (_, losses) = anthropic::encode_request(&request, false);
        assert_eq!(losses_of(&losses), [expected], "{members}");
    }
}

#[test]
fn every_member_of_anthropic_that_has_no_place_is_lost_as_the_book_says() {
    let block =
        |role: &str, block: Value| json!({ "messages": [{ "role": role, "content": [block] }] });
    let cases = [
        (
            block("user", json!({ "type": "document", "source": {} })),
            "!messages[0].content[0]",
        ),
        (
            block("user", json!({ "type": "hologram" })),
            "!messages[0].content[0]",
        ),
        (
            json!({ "tools": [{ "type": "bash_20250124", "name": "bash" }] }),
            "!tools[0]",
        ),
        (json!({ "mcp_servers": [] }), "!mcp_servers"),
        (json!({ "container": "c" }), "!container"),
        (
            block(
                "assistant",
                json!({ "type": "thinking", "thinking": "a", "signature": "s" }),
            ),
            "messages[0].content[0].signature",
        ),
        (
            block(
                "assistant",
                json!({ "type": "redacted_thinking", "data": "x" }),
            ),
            "messages[0].content[0]",
        ),
        (
            block(
                "assistant",
                json!({ "type": "text", "text": "a", "citations": [] }),
            ),
            "messages[0].content[0].citations",
        ),
        (
            block("assistant", json!({ "type": "server_tool_use", "id": "1" })),
            "messages[0].content[0]",
        ),
        (json!({ "metadata": { "user_id": "u" } }), "metadata"),
        (json!({ "service_tier": "auto" }), "service_tier"),
    ];
    for (members, expected) in cases {
        let mut body = json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": "a" }] });
        body.as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        let decoded = anthropic::decode_request(&body).unwrap();
        assert_eq!(losses_of(&decoded.losses), [expected], "{members}");
    }
}

#[test]
fn every_member_of_a_response_that_chat_lacks_is_lost_as_the_book_says() {
    let cases = [
        (
            json!({ "previous_response_id": "r" }),
            "!previous_response_id",
        ),
        (json!({ "conversation": "c" }), "!conversation"),
        (json!({ "background": true }), "!background"),
        (
            json!({ "tools": [{ "type": "mcp", "server_label": "s" }] }),
            "!tools[0]",
        ),
        (
            json!({ "input": [{ "role": "user", "content": [{ "type": "input_file", "file_url": "u" }] }] }),
            "!input[0].content[0]",
        ),
        (
            json!({ "input": [{ "type": "reasoning", "summary": [] }] }),
            "input[0]",
        ),
        (
            json!({ "reasoning": { "summary": "auto" } }),
            "reasoning.summary",
        ),
    ];
    for (members, expected) in cases {
        let mut body = json!({ "model": "m", "input": "a" });
        body.as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        let decoded = responses::decode_request(&body).unwrap();
        assert_eq!(losses_of(&decoded.losses), [expected], "{members}");
    }
}
