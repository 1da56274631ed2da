//! The streams that are broken: one of every kind that the simulator writes.

use axum::body::Body;
use bailian_sim::{SimConfig, Simulator};
use bailian_wire::chat::ChatResponse;
use bailian_wire::stream::{Accumulator, StreamDecoder, StreamError, StreamSurface};
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::broken::KEY;

/// What the model says: characters of one to four bytes, marks of JSON and of event streams.
const SAID: &str = "%E4%BD%A0%E5%A5%BD%F0%9F%98%80 caf%C3%A9 %22q%22%0A%0Adata: %5C%E2%80%A8end";

/// One request whose answer is a stream, and that answer.
#[derive(Debug)]
pub(crate) struct Reference {
    pub(crate) name: &'static str,
    pub(crate) surface: StreamSurface,
    /// Each frame repeats everything so far.
    pub(crate) cumulative: bool,
    /// The text can go on with another request.
    pub(crate) resumes: bool,
    pub(crate) path: &'static str,
    pub(crate) body: Value,
    headers: Vec<(&'static str, &'static str)>,
    /// What upstream sends, uncut.
    pub(crate) bytes: Bytes,
    /// What that says.
    pub(crate) said: ChatResponse,
}

impl Reference {
    pub(crate) fn request(&self) -> Request<Body> {
        let mut request = Request::post(self.path)
            .header("authorization", format!("Bearer {KEY}"))
            .header("content-type", "application/json");
        for (name, value) in &self.headers {
            request = request.header(*name, *value);
        }
        request.body(Body::from(self.body.to_string())).unwrap()
    }

    pub(crate) fn decode(&self, text: &[u8]) -> (ChatResponse, Option<StreamError>) {
        decode(self.surface, self.cumulative, text)
    }
}

/// Everything that a stream says up to its end or its error.
fn decode(
    surface: StreamSurface,
    cumulative: bool,
    text: &[u8],
) -> (ChatResponse, Option<StreamError>) {
    let mut decoder = StreamDecoder::new(surface).cumulative(cumulative);
    decoder.feed(text);
    decoder.finish();
    let mut answer = Accumulator::new();
    let mut failure = None;
    while let Some(event) = decoder.next_event() {
        match event {
            Ok(event) => answer.push(event),
            Err(error) => failure = Some(error),
        }
    }
    (answer.finish(), failure)
}

const OPENAI: &str = "/compatible-mode/v1/chat/completions";
const NATIVE: &str = "/api/v1/services/aigc/text-generation/generation";
const MULTIMODAL: &str = "/api/v1/services/aigc/multimodal-generation/generation";
const ANTHROPIC: &str = "/apps/anthropic/v1/messages";
const RESPONSES: &str = "/compatible-mode/v1/responses";

fn ask(text: &str) -> Value {
    json!([{ "role": "user", "content": text }])
}

fn tools() -> Value {
    let tool = |name: &str, about: &str| {
        json!({ "type": "function", "function": { "name": name, "description": about,
            "parameters": { "type": "object", "properties": { "city": { "type": "string" } },
                "required": ["city"] } } })
    };
    json!([tool("weather", "天气"), tool("time", "时间")])
}

/// A body in OpenAI's words, with further members.
fn openai(more: Value) -> Value {
    with(
        json!({ "model": "qwen-plus", "stream": true, "messages": ask("你好") }),
        more,
    )
}

fn native(parameters: Value) -> Value {
    let parameters = with(json!({ "result_format": "message" }), parameters);
    json!({ "model": "qwen-plus", "input": { "messages": ask("你好") }, "parameters": parameters })
}

fn anthropic(more: Value) -> Value {
    with(
        json!({ "model": "qwen-plus", "max_tokens": 500, "stream": true, "messages": ask("你好") }),
        more,
    )
}

fn with(mut body: Value, more: Value) -> Value {
    if let Value::Object(more) = more {
        body.as_object_mut().unwrap().extend(more);
    }
    body
}

/// What kind of stream an answer is.
#[derive(Clone, Copy)]
enum Kind {
    /// Text that another request can go on with.
    Text,
    /// The same, each frame repeating it.
    Repeated,
    /// Anything else.
    Other,
}

pub(crate) fn references() -> Vec<Reference> {
    use Kind::{Other, Repeated, Text};
    use StreamSurface::{Anthropic, Native, OpenAiChat, Responses};
    let thinking = json!({ "thinking": { "type": "enabled", "budget_tokens": 12 } });
    let anthropic_tools = json!([{ "name": "weather", "description": "天气",
        "input_schema": { "type": "object", "properties": { "city": { "type": "string" } } } }]);
    let weather = "杭州天气？";
    let rows: Vec<(&'static str, StreamSurface, Kind, &'static str, Value)> = vec![
        ("openai text", OpenAiChat, Text, OPENAI, openai(json!({}))),
        (
            "openai text with usage",
            OpenAiChat,
            Text,
            OPENAI,
            openai(json!({ "stream_options": { "include_usage": true } })),
        ),
        (
            "openai text cut short",
            OpenAiChat,
            Text,
            OPENAI,
            openai(json!({ "max_tokens": 6 })),
        ),
        (
            "openai thinking",
            OpenAiChat,
            Other,
            OPENAI,
            openai(json!({ "enable_thinking": true, "thinking_budget": 12 })),
        ),
        (
            "openai tool call",
            OpenAiChat,
            Other,
            OPENAI,
            openai(json!({ "messages": ask(weather), "tools": [tools()[0]] })),
        ),
        (
            "openai parallel calls",
            OpenAiChat,
            Other,
            OPENAI,
            openai(
                json!({ "messages": ask(weather), "tools": tools(), "parallel_tool_calls": true }),
            ),
        ),
        (
            "openai two answers",
            OpenAiChat,
            Other,
            OPENAI,
            openai(json!({ "n": 2 })),
        ),
        (
            "openai JSON",
            OpenAiChat,
            Text,
            OPENAI,
            openai(
                json!({ "messages": ask("一个人，JSON"), "response_format": { "type": "json_object" } }),
            ),
        ),
        (
            "openai log probabilities",
            OpenAiChat,
            Other,
            OPENAI,
            openai(json!({ "logprobs": true, "top_logprobs": 2 })),
        ),
        (
            "openai translation that repeats",
            OpenAiChat,
            Other,
            OPENAI,
            openai(json!({ "model": "qwen-mt-plus",
                "translation_options": { "source_lang": "auto", "target_lang": "English" } })),
        ),
        (
            "native text",
            Native,
            Text,
            NATIVE,
            native(json!({ "incremental_output": true })),
        ),
        (
            "native text that repeats",
            Native,
            Repeated,
            NATIVE,
            native(json!({ "incremental_output": false })),
        ),
        (
            "native text cut short",
            Native,
            Text,
            NATIVE,
            native(json!({ "incremental_output": true, "max_tokens": 6 })),
        ),
        (
            "native thinking",
            Native,
            Other,
            NATIVE,
            native(
                json!({ "incremental_output": true, "enable_thinking": true, "thinking_budget": 12 }),
            ),
        ),
        (
            "native tool call",
            Native,
            Other,
            NATIVE,
            with(
                native(json!({ "incremental_output": true, "tools": tools() })),
                json!({ "input": { "messages": ask(weather) } }),
            ),
        ),
        (
            "native multimodal",
            Native,
            Text,
            MULTIMODAL,
            json!({ "model": "qwen3-vl-plus", "parameters": { "incremental_output": true },
                "input": { "messages": [{ "role": "user", "content": [{ "text": "这是什么？" }] }] } }),
        ),
        (
            "anthropic text",
            Anthropic,
            Text,
            ANTHROPIC,
            anthropic(json!({})),
        ),
        (
            "anthropic thinking",
            Anthropic,
            Other,
            ANTHROPIC,
            anthropic(thinking),
        ),
        (
            "anthropic tool use",
            Anthropic,
            Other,
            ANTHROPIC,
            anthropic(json!({ "messages": ask(weather), "tools": anthropic_tools })),
        ),
        (
            "responses text",
            Responses,
            Other,
            RESPONSES,
            json!({ "model": "qwen-plus", "stream": true, "input": "你好" }),
        ),
        (
            "responses thinking",
            Responses,
            Other,
            RESPONSES,
            json!({ "model": "qwen-plus", "stream": true, "input": "你好",
                "reasoning": { "effort": "low" } }),
        ),
        (
            "responses call",
            Responses,
            Other,
            RESPONSES,
            json!({ "model": "qwen-plus", "stream": true, "input": weather,
                "tools": [with(json!({ "type": "function" }), tools()[0]["function"].clone())] }),
        ),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let simulator = Simulator::new(SimConfig::default()).router();
        let mut all = Vec::new();
        for (name, surface, kind, path, body) in rows {
            let mut headers = vec![("x-sim-tps", "0"), ("x-sim-ttft-ms", "0")];
            if !["JSON", "call", "calls", "use"]
                .iter()
                .any(|end| name.ends_with(end))
            {
                headers.push(("x-sim-answer", SAID));
            }
            if surface == Native {
                headers.push(("x-dashscope-sse", "enable"));
            }
            // What passes translated is as the client asked, not as upstream sends it.
            let translated = name.ends_with("translation that repeats");
            let mut reference = Reference {
                name,
                surface,
                cumulative: matches!(kind, Repeated),
                resumes: !matches!(kind, Other),
                path,
                body,
                headers,
                bytes: Bytes::new(),
                said: ChatResponse::default(),
            };
            let response = simulator
                .clone()
                .oneshot(reference.request())
                .await
                .unwrap();
            let status = response.status();
            reference.bytes = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(status, 200, "{name}: {:?}", reference.bytes);
            let (said, failure) = decode(
                surface,
                reference.cumulative || translated,
                &reference.bytes,
            );
            assert_eq!(failure, None, "{name}");
            assert!(said.finish_reason().is_some(), "{name}: {said:?}");
            reference.said = said;
            all.push(reference);
        }
        all
    })
}
