//! Requests and answers that every dialect can say, and JSON that none expects.

use bailian_wire::chat::{
    ChatRequest, ChatResponse, Choice, Content, ContentPart, FinishReason, JsonSchema, Message,
    ResponseFormat, Stop, ToolCall, ToolChoice, ToolDefinition, Usage,
};
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
pub(crate) fn request() -> impl Strategy<Value = ChatRequest> {
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

pub(crate) fn response() -> impl Strategy<Value = ChatResponse> {
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

pub(crate) fn usage(input: u64, output: u64, cached: u64) -> Usage {
    Usage::from_value(json!({
        "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output,
        "prompt_tokens_details": { "cached_tokens": cached },
    }))
}

/// JSON with the names that the decoders look for, in places where they are not expected.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
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
