//! Translation between dialects, through the canonical types and back.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

use bailian_wire::chat::{
    ChatEvent, ChatRequest, ChatResponse, Choice, Content, ContentPart, FinishReason, JsonSchema,
    Media, MediaKind, Message, ResponseFormat, Stop, ToolCall, ToolChoice, ToolDefinition, Usage,
};
use bailian_wire::stream::{Accumulator, StreamDecoder, StreamEncoder, StreamSurface};
use bailian_wire::translate::{Identity, Losses};
use bailian_wire::{Dialect, anthropic, native, openai, responses};
use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::{Value, json};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-zA-Z0-9 .,!?]{1,24}",
        2 => "[你好世界，。😀é\u{2028}]{1,12}",
        1 => "[\"\\\\\n\t{}\\[\\]:]{1,8}",
    ]
}

fn arguments() -> impl Strategy<Value = String> {
    prop::collection::btree_map("[a-z]{1,6}", text(), 0..3).prop_map(|map| json!(map).to_string())
}

fn call() -> impl Strategy<Value = ToolCall> {
    ("call_[a-f0-9]{8}", "[a-z_]{1,12}", arguments())
        .prop_map(|(id, name, arguments)| ToolCall::function(id, name, arguments))
}

fn image() -> impl Strategy<Value = ContentPart> {
    prop_oneof![
        "https://e/[a-z]{1,8}\\.png".prop_map(ContentPart::image),
        "[A-Za-z0-9+/]{4,12}"
            .prop_map(|data| ContentPart::image(format!("data:image/png;base64,{data}"))),
        "https://e/[a-z]{1,8}\\.mp4".prop_map(ContentPart::video),
    ]
}

fn user_content() -> impl Strategy<Value = Content> {
    prop_oneof![
        text().prop_map(Content::Text),
        (image(), text()).prop_map(|(image, text)| {
            let text =
                ContentPart::new_text(text).with("cache_control", json!({ "type": "ephemeral" }));
            Content::Parts(vec![image, text])
        }),
    ]
}

/// A question, and perhaps an answer that calls tools, with their results.
fn turns() -> impl Strategy<Value = Vec<Message>> {
    let asked = user_content().prop_map(Message::user);
    let called = prop::option::of((prop::collection::vec((call(), text()), 1..3), text()));
    (asked, called, prop::option::of(text())).prop_map(|(asked, called, answered)| {
        let mut turns = vec![asked];
        if let Some((calls, said)) = called {
            let results = calls
                .iter()
                .map(|(call, result)| Message::tool(call.id.clone(), result.clone()))
                .collect::<Vec<_>>();
            let calls = calls.into_iter().map(|(call, _)| call).collect();
            turns.push(Message::assistant(said).with_tool_calls(calls));
            turns.extend(results);
        }
        turns.extend(answered.map(Message::assistant));
        turns
    })
}

/// What all dialects can say.
fn request() -> impl Strategy<Value = ChatRequest> {
    let figures = (
        prop::option::of(0u32..200),
        prop::option::of(1u32..100),
        prop::option::of(1u64..100),
        1u64..10_000,
    );
    let tools = prop::option::of((prop::bool::ANY, 0..4u8));
    let words = prop::collection::vec("[a-z]{1,6}", 0..3);
    let thinking = prop_oneof![
        Just((Some(false), None)),
        Just((Some(true), None)),
        (1u64..9000).prop_map(|budget| (Some(true), Some(budget))),
    ];
    let system = prop::option::of(text());
    let schema = prop::bool::ANY;
    let conversation = prop::collection::vec(turns(), 1..3);
    (
        figures,
        tools,
        words,
        thinking,
        system,
        schema,
        conversation,
    )
        .prop_map(
            |(figures, tools, words, thinking, system, schema, conversation)| {
                let mut messages: Vec<Message> = Vec::new();
                messages.extend(system.map(Message::system));
                for turns in conversation {
                    // Two turns of the same person after results of tools would join.
                    if messages
                        .last()
                        .is_some_and(|last| last.tool_call_id.is_some())
                    {
                        messages.push(Message::assistant("done"));
                    }
                    messages.extend(turns);
                }
                let mut request = ChatRequest::new("qwen-plus", messages);
                request.temperature = figures.0.map(|t| f64::from(t) / 100.0);
                request.top_p = figures.1.map(|p| f64::from(p) / 100.0);
                request.top_k = figures.2;
                request.max_tokens = Some(figures.3);
                (request.enable_thinking, request.thinking_budget) = thinking;
                request.stop = (!words.is_empty()).then_some(Stop::Texts(words));
                if schema {
                    let json_schema = JsonSchema::new("output", json!({ "type": "object" }));
                    request.response_format = Some(ResponseFormat::JsonSchema { json_schema });
                }
                if let Some((parallel, choice)) = tools {
                    let schema = json!({ "type": "object", "properties": { "a": {} } });
                    request.tools = Some(vec![ToolDefinition::function("f_1", "查询", schema)]);
                    request.parallel_tool_calls = Some(parallel);
                    request.tool_choice = Some(match choice {
                        0 => ToolChoice::auto(),
                        1 => ToolChoice::Mode("required".to_owned()),
                        _ => ToolChoice::function("f_1"),
                    });
                }
                request
            },
        )
}

fn response() -> impl Strategy<Value = ChatResponse> {
    let calls = prop::collection::vec(call(), 0..3);
    let counts = (1u64..5_000, 0u64..1_000, 0u64..200);
    let reasons = prop_oneof![Just(FinishReason::Stop), Just(FinishReason::Length)];
    (text(), prop::option::of(text()), calls, counts, reasons).prop_map(
        |(text, thinking, mut calls, (input, output, cached), reason)| {
            for (call, index) in calls.iter_mut().zip(0u64..) {
                call.index = Some(index);
            }
            let reason = if calls.is_empty() {
                reason
            } else {
                FinishReason::ToolCalls
            };
            let mut message = Message::assistant(text);
            message.reasoning_content = thinking;
            message.tool_calls = (!calls.is_empty()).then_some(calls);
            let mut response = ChatResponse::default();
            let mut choice = Choice::default();
            choice.message = message;
            choice.finish_reason = Some(reason);
            response.choices = vec![choice];
            response.usage = Some(usage(input + cached, output, cached));
            response
        },
    )
}

fn usage(input: u64, output: u64, cached: u64) -> Usage {
    Usage::from_value(json!({
        "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output,
        "prompt_tokens_details": { "cached_tokens": cached },
    }))
}

fn identity() -> Identity {
    Identity::new("0199-aa", "qwen-plus", 1_700_000_000)
}

/// What an answer says, without who says it and how it was spelled.
type Said = (
    String,
    String,
    Vec<(String, String, Value)>,
    Option<FinishReason>,
    (u64, u64, u64),
);

fn said(response: &ChatResponse) -> Said {
    let usage = response.usage.as_ref().unwrap();
    let calls = response.tool_calls().iter().map(|call| {
        let function = &call.function;
        (
            call.id.clone(),
            function.name.clone(),
            call.arguments().unwrap_or(json!({})),
        )
    });
    (
        response.text(),
        response.reasoning().to_owned(),
        calls.collect(),
        response.finish_reason().cloned(),
        (
            usage.input_tokens,
            usage.output_tokens,
            usage.cached_tokens.unwrap_or(0),
        ),
    )
}

/// The events of an answer, its texts in pieces.
fn events_of(response: &ChatResponse) -> Vec<ChatEvent> {
    let pieces = |text: &str| -> Vec<String> {
        text.chars()
            .map(String::from)
            .collect::<Vec<_>>()
            .chunks(3)
            .map(<[String]>::concat)
            .collect()
    };
    let mut events = vec![ChatEvent::Started {
        id: None,
        request_id: Some("r".to_owned()),
        model: None,
        created: None,
    }];
    events.extend(
        pieces(response.reasoning())
            .into_iter()
            .map(|text| ChatEvent::ReasoningDelta { choice: 0, text }),
    );
    events.extend(
        pieces(&response.text())
            .into_iter()
            .map(|text| ChatEvent::TextDelta { choice: 0, text }),
    );
    for call in response.tool_calls() {
        let mut first = Some((call.id.clone(), call.function.name.clone()));
        for arguments in pieces(&call.function.arguments) {
            let (id, name) = first.take().unzip();
            let index = call.index.unwrap();
            events.push(ChatEvent::ToolCallDelta {
                choice: 0,
                index,
                id,
                name,
                arguments,
            });
        }
    }
    let reason = response.finish_reason().unwrap().clone();
    events.push(ChatEvent::Finished { choice: 0, reason });
    events.extend(response.usage.clone().map(ChatEvent::Usage));
    events
}

/// How many cases each property is tried with; `cargo xtask test` asks for the whole number.
fn cases() -> u32 {
    let wanted = std::env::var("BAILIAN_GENERATED").ok();
    wanted.and_then(|n| n.parse().ok()).unwrap_or(256)
}

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

/// The frames of one surface, written anew for another.
fn translated(from: StreamSurface, bytes: &[u8], to: StreamSurface) -> Vec<u8> {
    let mut decoder = StreamDecoder::new(from);
    let mut encoder = StreamEncoder::new(to, identity()).include_usage(true);
    let mut out = BytesMut::new();
    decoder.feed(bytes);
    decoder.finish();
    while let Some(event) = decoder.next_event() {
        encoder.push(&event.unwrap(), &mut out);
    }
    encoder.finish(&mut out);
    assert!(encoder.losses().is_empty(), "{}", encoder.losses());
    out.to_vec()
}

const SURFACES: [StreamSurface; 4] = [
    StreamSurface::OpenAiChat,
    StreamSurface::Native,
    StreamSurface::Anthropic,
    StreamSurface::Responses,
];

fn written(surface: StreamSurface, events: &[ChatEvent], cumulative: bool) -> Vec<u8> {
    let mut out = BytesMut::new();
    let mut encoder = StreamEncoder::new(surface, identity())
        .include_usage(true)
        .cumulative(cumulative);
    for event in events {
        encoder.push(event, &mut out);
    }
    encoder.finish(&mut out);
    assert!(encoder.losses().is_empty(), "{}", encoder.losses());
    out.to_vec()
}

fn read(surface: StreamSurface, bytes: &[u8], cumulative: bool) -> ChatResponse {
    let mut decoder = StreamDecoder::new(surface).cumulative(cumulative);
    let mut answer = Accumulator::new();
    for piece in bytes.chunks(7) {
        decoder.feed(piece);
    }
    decoder.finish();
    while let Some(event) = decoder.next_event() {
        answer.push(event.unwrap());
    }
    answer.finish()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        // A case that failed is shown whole; it becomes a test of its own.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

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
    fn an_answer_survives_the_way_through_every_dialect(response in response()) {
        let (body, losses) = openai::encode_response(&response, &identity());
        prop_assert!(losses.is_empty());
        prop_assert_eq!(said(&openai::decode_response(body)), said(&response));
        let (body, losses) = native::encode_response(&response, &identity(), false);
        prop_assert!(losses.is_empty());
        prop_assert_eq!(said(&native::decode_response(body)), said(&response));
        let (body, losses) = native::encode_response(&response, &identity(), true);
        prop_assert!(losses.is_empty());
        prop_assert_eq!(said(&native::decode_response(body)), said(&response));
        let (body, losses) = anthropic::encode_response(&response, &identity());
        prop_assert!(losses.is_empty());
        prop_assert_eq!(said(&anthropic::decode_response(body)), said(&response));
    }

    #[test]
    fn a_stream_survives_the_way_from_each_dialect_to_each_other(response in response()) {
        let events = events_of(&response);
        for from in SURFACES {
            let bytes = written(from, &events, false);
            prop_assert_eq!(said(&read(from, &bytes, false)), said(&response), "{:?}", from);
            // Responses are written over chat, chat never over responses.
            let targets = if from == StreamSurface::Responses { &[][..] } else { &SURFACES };
            for &to in targets {
                let bytes = translated(from, &bytes, to);
                let read = read(to, &bytes, false);
                prop_assert_eq!(said(&read), said(&response), "{:?} to {:?}", from, to);
            }
        }
        let bytes = written(StreamSurface::Native, &events, true);
        prop_assert_eq!(said(&read(StreamSurface::Native, &bytes, true)), said(&response));
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

/// JSON with the names that the decoders look for, in places where they are not expected.
fn any_json() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "model",
        "messages",
        "content",
        "role",
        "type",
        "text",
        "tool_use",
        "tools",
        "input",
        "parameters",
        "choices",
        "delta",
        "message",
        "usage",
        "thinking",
        "system",
        "output",
        "tool_choice",
        "function",
        "name",
        "source",
        "stop",
        "extra_body",
        "output_config",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(vec![
            "user",
            "assistant",
            "tool_use",
            "image",
            "tool",
            "auto",
            "enabled",
            "字"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..6).prop_map(|members| members
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()),
        ]
    })
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
fn a_developer_is_a_system_and_extra_body_is_unwrapped() {
    let body = json!({ "model": "m", "stream": true, "extra_body": { "enable_thinking": false, "model": "x" },
        "messages": [{ "role": "developer", "content": "hi" }] });
    let decoded = openai::decode_request(&body).unwrap();
    assert_eq!(
        openai::encode_request(&decoded.request, false),
        json!({ "model": "m", "enable_thinking": false, "messages": [{ "role": "system", "content": "hi" }] })
    );
}

#[test]
fn a_call_that_goes_on_after_another_began_is_kept_to_the_end() {
    let piece = |index: u64, name: Option<&str>, arguments: &str| ChatEvent::ToolCallDelta {
        choice: 0,
        index,
        id: name.map(|name| format!("id-{name}")),
        name: name.map(str::to_owned),
        arguments: arguments.to_owned(),
    };
    let events = [
        piece(0, Some("a"), "{\"x\":"),
        piece(1, Some("b"), "{}"),
        piece(0, None, "1}"),
        ChatEvent::Finished {
            choice: 0,
            reason: FinishReason::ToolCalls,
        },
    ];
    let mut out = BytesMut::new();
    let mut encoder = StreamEncoder::new(StreamSurface::Anthropic, identity());
    for event in &events {
        encoder.push(event, &mut out);
    }
    encoder.finish(&mut out);
    let text = String::from_utf8(out.to_vec()).unwrap();
    assert!(text.contains(r#""partial_json":"1}""#), "{text}");
    assert_eq!(
        text.matches("event: content_block_start").count(),
        text.matches("event: content_block_stop").count()
    );
}

#[test]
fn frames_of_media_parts_keep_their_text() {
    let media = Media::new(MediaKind::Image, ["https://e/1.png".to_owned()]);
    let events = [
        ChatEvent::TextDelta {
            choice: 0,
            text: "图".to_owned(),
        },
        ChatEvent::Part {
            choice: 0,
            part: ContentPart::Media(media.clone()),
        },
        ChatEvent::Finished {
            choice: 0,
            reason: FinishReason::Stop,
        },
    ];
    let mut out = BytesMut::new();
    let mut encoder = StreamEncoder::new(StreamSurface::Native, identity()).parts(true);
    for event in &events {
        encoder.push(event, &mut out);
    }
    encoder.finish(&mut out);
    let answer = read(StreamSurface::Native, &out, false);
    let content = answer.message().unwrap().content.clone();
    assert_eq!(
        content,
        Some(Content::Parts(vec![
            ContentPart::new_text("图"),
            ContentPart::Media(media)
        ]))
    );
}

/// A loss: `!` before a member that matters.
fn losses_of(losses: &Losses) -> Vec<String> {
    let text = |loss: &bailian_wire::translate::Loss| {
        format!("{}{}", if loss.matters { "!" } else { "" }, loss.member)
    };
    losses.iter().map(text).collect()
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
