use bytes::BytesMut;
use serde_json::json;

use super::*;
use crate::chat::{ChatResponse, FinishReason};
use crate::error::ErrorClass;
use crate::sse::write_data_frame;

/// The events of a stream, then how it ended.
fn events(mut decoder: StreamDecoder, body: &str) -> (Vec<ChatEvent>, Option<StreamError>) {
    decoder.feed(body.as_bytes());
    decoder.finish();
    let mut events = Vec::new();
    while let Some(event) = decoder.next_event() {
        match event {
            Ok(event) => events.push(event),
            Err(error) => {
                assert!(decoder.next_event().is_none(), "an error ends the stream");
                return (events, Some(error));
            }
        }
    }
    (events, None)
}

fn answer(decoder: StreamDecoder, body: &str) -> (ChatResponse, Option<StreamError>) {
    let (events, error) = events(decoder, body);
    let mut answer = Accumulator::new();
    for event in events {
        answer.push(event);
    }
    (answer.finish(), error)
}

/// The body of a stream of these frames.
fn body(frames: &[Value]) -> String {
    let mut out = BytesMut::new();
    for frame in frames {
        write_data_frame(&mut out, frame.to_string().as_bytes());
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn chunk(delta: &Value, finish_reason: Option<&str>) -> Value {
    json!({ "id": "chatcmpl-1", "choices": [
        { "index": 0, "delta": delta, "finish_reason": finish_reason }
    ]})
}

fn openai() -> StreamDecoder {
    StreamDecoder::new(StreamSurface::OpenAiChat)
}

fn native() -> StreamDecoder {
    StreamDecoder::new(StreamSurface::Native)
}

#[test]
fn pieces_of_a_call_are_joined_by_index_whatever_their_id_says() {
    let call = |id: Value, name: Value, arguments: Value| {
        let function = json!({ "name": name, "arguments": arguments });
        chunk(
            &json!({ "tool_calls": [{ "index": 0, "id": id, "function": function }] }),
            None,
        )
    };
    let absent = json!({ "tool_calls": [{ "index": 0, "function": { "arguments": "}" } }] });
    let frames = [
        call(json!("call_1"), json!("f"), Value::Null),
        call(json!(""), Value::Null, json!("{\"a\"")),
        call(json!("call_1"), json!("f"), json!(":1")),
        call(json!("call_other"), json!(""), json!("")),
        chunk(&absent, Some("tool_calls")),
    ];
    let (answer, error) = answer(openai(), &body(&frames));
    assert_eq!(error, None);
    let [call] = answer.tool_calls() else {
        panic!("one call was expected: {:?}", answer.tool_calls());
    };
    assert_eq!(
        (call.id.as_str(), call.function.name.as_str()),
        ("call_1", "f")
    );
    assert_eq!(call.function.arguments, "{\"a\":1}");
}

#[test]
fn the_last_usage_counts() {
    let usage = |output: u64| json!({ "choices": [], "usage": { "completion_tokens": output } });
    let frames = [
        usage(1),
        usage(5),
        chunk(&json!({}), Some("stop")),
        json!({ "choices": [], "usage": null }),
        usage(9),
    ];
    let (answer, error) = answer(openai(), &body(&frames));
    assert_eq!(error, None);
    assert_eq!(answer.usage.unwrap().output_tokens, 9);
}

#[test]
fn an_error_is_known_by_name_by_status_or_by_its_shape() {
    let said = json!({ "code": "Throttling.RateQuota", "message": "slow down", "request_id": "r" });
    let nested = json!({ "error": { "code": "limit_requests", "message": "slow down" } });
    for (decoder, body) in [
        (native(), format!("event:error\ndata:{said}\n\n")),
        (
            native(),
            format!("event:result\n:HTTP_STATUS/429\ndata:{said}\n\n"),
        ),
        (native(), format!("status:429\ndata:{said}\n\n")),
        (openai(), format!("data: {said}\n\n")),
        (openai(), format!("data: {nested}\n\n")),
        (native(), format!("event:error\ndata:{nested}\n\n")),
        (native(), format!("event:error\ndata:{said}")),
    ] {
        let (_, error) = events(decoder, &body);
        let Some(StreamError::Api(error)) = error else {
            panic!("{body}: {error:?}");
        };
        assert_eq!(error.class(), ErrorClass::RateLimitRequests, "{body}");
        assert_eq!(error.status(), 429, "{body}");
    }
}

#[test]
fn an_error_comes_after_the_events_before_it_and_ends_the_stream() {
    let frames = body(&[
        chunk(&json!({ "content": "a" }), None),
        json!({ "error": { "message": "gone" } }),
        chunk(&json!({ "content": "b" }), Some("stop")),
    ]);
    let (answer, error) = answer(openai(), &frames);
    assert_eq!(answer.text(), "a");
    assert!(matches!(error, Some(StreamError::Api(_))));
}

#[test]
fn an_error_event_that_says_nothing_is_malformed() {
    let (_, error) = events(native(), "event:error\ndata:{}\n\n");
    assert!(matches!(
        error,
        Some(StreamError::Malformed { event: 1, .. })
    ));
}

#[test]
fn what_is_no_json_is_named_by_its_place() {
    let good = chunk(&json!({ "content": "a" }), None);
    let (_, error) = events(openai(), &format!("data: {good}\n\ndata: oops\n\n"));
    assert!(matches!(
        error,
        Some(StreamError::Malformed { event: 2, .. })
    ));
}

#[test]
fn done_without_a_finish_reason_is_truncated() {
    let started = chunk(&json!({ "content": "a" }), None);
    let (_, error) = events(openai(), &format!("data: {started}\n\ndata: [DONE]\n\n"));
    assert_eq!(error, Some(StreamError::Truncated));
    let (_, error) = events(openai(), "");
    assert_eq!(error, Some(StreamError::Truncated));
}

#[test]
fn nothing_is_read_after_done() {
    let frames = body(&[chunk(&json!({ "content": "a" }), Some("stop"))]);
    let mut decoder = openai();
    decoder.feed(format!("{frames}data: [DONE]\n\ndata: rubbish\n\n").as_bytes());
    assert!(decoder.is_closed());
    let (events, error) = events(decoder, "more rubbish");
    assert_eq!((events.len(), error), (3, None));
}

#[test]
fn a_choice_that_never_ends_makes_the_stream_truncated() {
    let frame = |index: u64, finish: Option<&str>| json!({ "choices": [{ "index": index, "delta": { "content": "x" }, "finish_reason": finish }] });
    let (answer, error) = answer(openai(), &body(&[frame(0, Some("stop")), frame(1, None)]));
    assert_eq!(answer.choices.len(), 2);
    assert_eq!(error, Some(StreamError::Truncated));
}

#[test]
fn a_translation_model_that_repeats_itself_on_the_compatible_path_is_joined_by_what_is_new() {
    let frames = ["I didn", "I didn’t laugh", "I didn’t laugh", ""].map(|text| {
        let end = text.is_empty().then_some("stop");
        chunk(&json!({ "content": text }), end)
    });
    let (answer, error) = answer(openai().cumulative(true), &body(&frames));
    assert_eq!((answer.text().as_str(), error), ("I didn’t laugh", None));
}

#[test]
fn a_rewritten_repetition_is_never_cut_inside_a_character() {
    let frames = ["好", "妈妈"].map(|text| chunk(&json!({ "content": text }), None));
    let (answer, _) = answer(openai().cumulative(true), &body(&frames));
    assert_eq!(answer.text(), "好妈妈");
}

#[test]
fn deltas_are_delivered_as_they_come_and_empty_ones_are_not() {
    let frame = |content: &str, reasoning: &str| {
        json!({ "output": { "choices": [{ "finish_reason": "null", "message":
            { "content": content, "reasoning_content": reasoning } }] } })
    };
    let frames = [frame("", "嗯"), frame("好", ""), frame("", "")];
    let (events, _) = events(native(), &body(&frames));
    assert_eq!(
        events,
        [
            ChatEvent::ReasoningDelta {
                choice: 0,
                text: "嗯".to_owned()
            },
            ChatEvent::TextDelta {
                choice: 0,
                text: "好".to_owned()
            },
        ]
    );
}

#[test]
fn members_without_an_event_are_delivered_once_for_each_value() {
    let frame = |tool: &str| json!({ "output": { "text": "", "finish_reason": "null", "session_id": "s", "tool": tool } });
    let (events, _) = events(native(), &body(&[frame("a"), frame("a"), frame("b")]));
    let members: Vec<_> = events
        .into_iter()
        .filter_map(|event| match event {
            ChatEvent::Extra { name, value } => Some((name, value)),
            _ => None,
        })
        .collect();
    let member = |name: &str, value: &str| (name.to_owned(), json!(value));
    assert_eq!(
        members,
        [
            member("session_id", "s"),
            member("tool", "a"),
            member("tool", "b")
        ]
    );
}

#[test]
fn the_search_result_of_the_first_frame_survives_the_empty_ones_after_it() {
    let frame = |results: Value| {
        json!({ "output": { "choices": [{ "message": { "content": "a" }, "finish_reason": "null" }],
            "search_info": { "search_results": results } } })
    };
    let frames = [frame(json!([{ "title": "t" }])), frame(json!([]))];
    let (answer, _) = answer(native(), &body(&frames));
    assert_eq!(
        answer.search_info.unwrap()["search_results"][0]["title"],
        "t"
    );
}

#[test]
fn an_event_that_is_too_large_is_an_error_of_the_stream() {
    let (_, error) = events(openai().max_event_bytes(10), "data: {\"choices\":[]}\n\n");
    assert_eq!(
        error,
        Some(StreamError::Sse(SseError::TooLarge { limit: 10 }))
    );
}

#[test]
fn calls_of_the_responses_surface_are_joined_from_pieces_or_taken_whole() {
    let item = |kind: &str, place: u64, id: &str, arguments: &str| {
        json!({ "type": format!("response.output_item.{kind}"), "output_index": place, "item":
            { "type": "function_call", "id": id, "call_id": format!("call_{id}"), "name": "f",
              "arguments": arguments } })
    };
    let piece = |id: &str, delta: &str| {
        json!({ "type": "response.function_call_arguments.delta", "item_id": id,
            "output_index": 1, "delta": delta })
    };
    let frames = [
        item("added", 0, "a", ""),
        piece("a", "{\"x\""),
        piece("a", ":1}"),
        item("done", 1, "a", "{\"x\":1}"),
        // Not announced, no pieces.
        item("done", 2, "b", "{}"),
        json!({ "type": "response.completed", "response": { "status": "completed" } }),
    ];
    let decoder = StreamDecoder::new(StreamSurface::Responses);
    let (answer, error) = answer(decoder, &body(&frames));
    assert_eq!(error, None);
    let calls: Vec<_> = answer
        .tool_calls()
        .iter()
        .map(|call| (call.id.as_str(), call.function.arguments.as_str()))
        .collect();
    assert_eq!(calls, [("call_a", "{\"x\":1}"), ("call_b", "{}")]);
    assert_eq!(answer.finish_reason(), Some(&FinishReason::ToolCalls));
}

#[test]
fn a_failed_response_is_the_error_that_it_tells() {
    let failed = json!({ "type": "response.failed", "response":
        { "id": "r", "error": { "code": "InternalError", "message": "oops" } } });
    let decoder = StreamDecoder::new(StreamSurface::Responses);
    let (_, error) = events(decoder, &body(&[failed]));
    let Some(StreamError::Api(error)) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.message(), "oops");
}

#[test]
fn parts_that_are_not_just_text_are_joined_as_in_the_answer_that_comes_at_once() {
    let frame = |content: Value, end: &str| {
        json!({ "output": { "choices": [{ "index": 0, "finish_reason": end,
            "message": { "role": "assistant", "content": content } }] } })
    };
    let ocr = json!({ "text": "文字", "ocr_result": { "words_info": [] } });
    let image = json!({ "image": "https://e/1.png" });
    let last = json!({ "text": "end" });
    let whole = frame(json!([ocr, image, last]), "stop");
    let expected = crate::native::decode_response(whole.clone());
    for (cumulative, frames) in [
        (
            false,
            vec![
                frame(json!([{ "text": "文" }]), "null"),
                frame(
                    json!([{ "text": "字", "ocr_result": ocr["ocr_result"] }]),
                    "null",
                ),
                frame(json!([image]), "null"),
                frame(json!([last]), "stop"),
            ],
        ),
        (
            true,
            vec![
                frame(json!([ocr]), "null"),
                frame(json!([ocr, image]), "null"),
                whole,
            ],
        ),
    ] {
        let (answer, error) = answer(native().cumulative(cumulative), &body(&frames));
        assert_eq!(error, None);
        assert_eq!(answer.choices, expected.choices);
    }
}
