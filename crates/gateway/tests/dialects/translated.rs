//! What passes from one dialect to another.

use bailian_wire::chat::ChatResponse;
use bailian_wire::stream::StreamSurface;
use serde_json::json;

use crate::question::{
    ANTHROPIC, DIALECTS, Routed, chat, decode, decode_stream, native_chat, question,
};
use crate::support::{NATIVE, OPENAI, post, read, read_json, with};

#[tokio::test]
async fn every_dialect_gets_the_same_answer_through_every_other() {
    let routed = Routed::new("").await;
    for dialect in DIALECTS {
        let relayed = routed.send(question(dialect, "qwen-plus", false)).await;
        let (_, headers, body) = read_json(relayed).await;
        assert!(headers.get("x-bailian-translated").is_none());
        let expected = decode(dialect, body);
        assert!(!expected.text().is_empty(), "{dialect:?}: {expected:?}");
        for model in ["as-openai", "as-native", "as-anthropic", "local"] {
            let (status, _, body) =
                read_json(routed.send(question(dialect, model, false)).await).await;
            assert_eq!(status, 200, "{dialect:?} {model}: {body}");
            let whole = decode(dialect, body);
            let (status, headers, text) =
                read(routed.send(question(dialect, model, true)).await).await;
            assert_eq!(status, 200, "{dialect:?} {model}: {text}");
            assert!(
                headers["content-type"]
                    .to_str()
                    .unwrap()
                    .starts_with("text/event-stream")
            );
            let streamed = decode_stream(dialect, &text);
            for answer in [whole, streamed] {
                let place = format!("{dialect:?} {model}");
                assert_eq!(answer.text(), expected.text(), "{place}");
                assert_eq!(answer.finish_reason(), expected.finish_reason(), "{place}");
                let usage = |answer: &ChatResponse| {
                    let usage = answer.usage.as_ref().unwrap();
                    (usage.input_tokens, usage.output_tokens)
                };
                assert_eq!(usage(&answer), usage(&expected), "{place}");
            }
        }
    }
}

#[tokio::test]
async fn tools_are_called_in_every_dialect_through_every_other() {
    let routed = Routed::new("").await;
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
    let function = json!([{ "type": "function", "function": { "name": "weather", "description": "查询天气", "parameters": schema } }]);
    let request = |dialect: StreamSurface, model: &str, stream: bool| match dialect {
        StreamSurface::Native => {
            let parameters = json!({ "result_format": "message", "incremental_output": true, "tools": function });
            let request = post(NATIVE, native_chat(model, parameters));
            with(
                request,
                "x-dashscope-sse",
                if stream { "enable" } else { "disable" },
            )
        }
        StreamSurface::Anthropic => {
            let tools =
                json!([{ "name": "weather", "description": "查询天气", "input_schema": schema }]);
            post(
                ANTHROPIC,
                chat(
                    model,
                    json!({ "max_tokens": 500, "stream": stream, "tools": tools }),
                ),
            )
        }
        _ => post(
            OPENAI,
            chat(model, json!({ "stream": stream, "tools": function })),
        ),
    };
    for dialect in DIALECTS {
        for model in [
            "qwen-plus",
            "as-openai",
            "as-native",
            "as-anthropic",
            "local",
        ] {
            let (status, _, body) =
                read_json(routed.send(request(dialect, model, false)).await).await;
            assert_eq!(status, 200, "{dialect:?} {model}: {body}");
            let whole = decode(dialect, body);
            let (_, _, text) = read(routed.send(request(dialect, model, true)).await).await;
            let streamed = decode_stream(dialect, &text);
            for answer in [whole, streamed] {
                let [call] = answer.tool_calls() else {
                    panic!("{dialect:?} {model}: {answer:?}");
                };
                assert_eq!(call.function.name, "weather");
                assert!(call.arguments().unwrap()["city"].is_string(), "{call:?}");
                assert!(call.id.starts_with("call_"), "{call:?}");
                let reason = answer.finish_reason().unwrap().as_str();
                assert_eq!(reason, "tool_calls", "{dialect:?} {model}");
            }
        }
    }
}

#[tokio::test]
async fn thinking_passes_between_dialects() {
    let routed = Routed::new("").await;
    let question = chat(
        "thinks-native",
        json!({ "max_tokens": 2000,
        "thinking": { "type": "enabled", "budget_tokens": 50 } }),
    );
    let (status, _, body) = read_json(routed.send(post(ANTHROPIC, question)).await).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["content"][0]["type"], "thinking");
    assert_eq!(body["content"][1]["type"], "text");
    let streamed = chat("thinks-native", json!({ "stream": true }));
    let (_, _, text) = read(routed.send(post(OPENAI, streamed)).await).await;
    let answer = decode_stream(StreamSurface::OpenAiChat, &text);
    assert!(
        !answer.reasoning().is_empty() && !answer.text().is_empty(),
        "{text}"
    );
}

#[tokio::test]
async fn what_a_dialect_cannot_say_is_refused_or_dropped_as_configured() {
    let two = chat("as-anthropic", json!({ "n": 2, "seed": 7 }));
    let strict = Routed::new("").await;
    let (status, headers, body) = read_json(strict.send(post(OPENAI, two.clone())).await).await;
    assert_eq!(
        (status.as_u16(), &headers["x-bailian-error-source"]),
        (400, &"gateway".parse().unwrap())
    );
    let message = body["error"]["message"].as_str().unwrap();
    assert!(
        message.contains(": n.") && !message.contains("seed"),
        "{message}"
    );
    let lenient = Routed::new("[repairs]\nunsupported = \"drop\"").await;
    let (status, headers, _) = read(lenient.send(post(OPENAI, two)).await).await;
    assert_eq!(
        (status.as_u16(), &headers["x-bailian-dropped"]),
        (200, &"n, seed".parse().unwrap())
    );
    assert_eq!(headers["x-bailian-translated"], "anthropic>openai");
}
