//! Requests survive their canonical form, and a stream adds up to what the same call gives at
//! once.

#![expect(
    clippy::needless_pass_by_value,
    clippy::unwrap_used,
    reason = "a test that cannot prepare itself fails; JSON reads best where it is passed"
)]

use std::collections::BTreeSet;

use bailian_wire::chat::{ChatRequest, ChatResponse, StreamOptions};
use bailian_wire::sse::{write_data_frame, write_native_frame};
use bailian_wire::stream::{Accumulator, StreamDecoder, StreamSurface};
use bailian_wire::{native, openai};
use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Bodies that we write differently on purpose: `content` is `""` instead of `null` beside tool
/// calls (compat.md §2.6), and text parts for text models have no `type` (http-native.md §4.1).
const WRITTEN_DIFFERENTLY: [&str; 2] = ["oai.tool_result_turn", "ds1.gen.cache_control"];

#[test]
fn bodies_of_the_official_clients_survive_the_canonical_form() {
    let mut differing = BTreeSet::new();
    let fixtures = include_str!("fixtures/requests.jsonl");
    for line in fixtures.lines() {
        let fixture: Value = serde_json::from_str(line).unwrap();
        let (id, body) = (fixture["id"].as_str().unwrap(), &fixture["body"]);
        let stream = fixture["stream"] == true;
        let written = if fixture["dialect"] == "openai" {
            let mut request: ChatRequest = serde_json::from_value(body.clone()).unwrap();
            if body.get("stream_options").is_none() {
                request = request.stream_options(StreamOptions::default());
            }
            openai::encode_request(&request, stream)
        } else {
            let request = native::decode_request(body).unwrap();
            let multimodal = fixture["multimodal"] == true;
            let mut written = native::encode_request(&request, stream, multimodal);
            // What we say without being asked.
            for name in ["result_format", "incremental_output"] {
                if body["parameters"].get(name).is_none() {
                    written["parameters"].as_object_mut().unwrap().remove(name);
                }
            }
            written
        };
        if comparable(&written) != comparable(body) {
            differing.insert(id.to_owned());
            assert!(
                WRITTEN_DIFFERENTLY.contains(&id),
                "{id}:\n{written:#}\ninstead of\n{body:#}"
            );
        }
    }
    let expected = WRITTEN_DIFFERENTLY.map(str::to_owned);
    assert_eq!(differing, BTreeSet::from(expected));
}

/// Numbers as floating point: `1` and `1.0` are the same to JSON.
fn comparable(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(list) => list.iter().map(comparable).collect(),
        Value::Object(object) => object
            .iter()
            .map(|(name, value)| (name.clone(), comparable(value)))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

/// What a model says in one choice, in pieces.
#[derive(Clone, Debug)]
struct Spoken {
    reasoning: Vec<String>,
    text: Vec<String>,
    /// Name and pieces of the arguments, per call.
    calls: Vec<(String, Vec<String>)>,
    tokens: Vec<i32>,
    reason: String,
}

fn piece() -> impl Strategy<Value = String> {
    "[a-z\"\\\\\n 你好😀é]{0,6}"
}

fn spoken() -> impl Strategy<Value = Spoken> {
    (
        vec(piece(), 0..4),
        vec(piece(), 0..4),
        vec(("[a-z]{1,8}", vec(piece(), 1..4)), 0..3),
        vec(-20i32..0, 0..4),
        prop::sample::select(vec!["stop", "length", "tool_calls", "new_reason"]),
    )
        .prop_map(|(reasoning, text, calls, tokens, reason)| Spoken {
            reasoning,
            text,
            calls,
            tokens,
            reason: reason.to_owned(),
        })
}

/// The wire's two vocabularies for the same things.
#[derive(Clone, Copy, PartialEq)]
enum Protocol {
    Native,
    OpenAi,
}

impl Protocol {
    fn unfinished(self) -> Value {
        match self {
            Self::Native => json!("null"),
            Self::OpenAi => Value::Null,
        }
    }

    fn usage(self, output: usize) -> Value {
        match self {
            Self::Native => json!({ "input_tokens": 7, "output_tokens": output }),
            Self::OpenAi => json!({ "prompt_tokens": 7, "completion_tokens": output }),
        }
    }

    fn frame(self, choices: Vec<Value>, usage: Value) -> Value {
        match self {
            Self::Native => {
                json!({ "output": { "choices": choices }, "usage": usage, "request_id": "r-1" })
            }
            Self::OpenAi => json!({
                "id": "chatcmpl-1", "model": "qwen-plus", "created": 1, "choices": choices,
                "usage": usage,
            }),
        }
    }

    fn choice(
        self,
        index: usize,
        message: Value,
        tokens: &[i32],
        reason: Value,
        delta: bool,
    ) -> Value {
        let name = if delta && self == Self::OpenAi {
            "delta"
        } else {
            "message"
        };
        let mut choice = json!({ "index": index, "finish_reason": reason, name: message });
        if !tokens.is_empty() {
            choice["logprobs"] = json!({ "content": logprobs(tokens) });
        }
        choice
    }
}

fn logprobs(tokens: &[i32]) -> Vec<Value> {
    tokens
        .iter()
        .map(|token| json!({ "token": token.to_string(), "bytes": null, "logprob": token, "top_logprobs": [] }))
        .collect()
}

/// What was said after `done` of each list's pieces.
#[derive(Clone, Copy)]
struct Progress {
    reasoning: usize,
    text: usize,
    calls: (usize, usize),
    tokens: usize,
}

impl Spoken {
    /// Every state between nothing and everything, one piece further each.
    fn steps(&self) -> Vec<Progress> {
        let mut now = Progress {
            reasoning: 0,
            text: 0,
            calls: (0, 0),
            tokens: 0,
        };
        let mut steps = vec![now];
        for _ in &self.reasoning {
            now.reasoning += 1;
            steps.push(now);
        }
        for _ in &self.text {
            now.text += 1;
            now.tokens = now.text.min(self.tokens.len());
            steps.push(now);
        }
        for (call, (_, pieces)) in self.calls.iter().enumerate() {
            for piece in 1..=pieces.len() {
                now.calls = (call, piece);
                steps.push(now);
            }
        }
        now.tokens = self.tokens.len();
        steps.push(now);
        steps
    }

    /// The message after `now`, without what was said until `before`.
    fn message(&self, before: Option<Progress>, now: Progress) -> Value {
        let from = before.map_or((0, 0), |before| (before.reasoning, before.text));
        let mut calls = Vec::new();
        for (call, (name, pieces)) in self.calls.iter().enumerate() {
            let said = |at: Progress| match call.cmp(&at.calls.0) {
                std::cmp::Ordering::Less => pieces.len(),
                std::cmp::Ordering::Equal => at.calls.1,
                std::cmp::Ordering::Greater => 0,
            };
            let (start, end) = (before.map_or(0, said), said(now));
            if start == end {
                continue;
            }
            let mut function = json!({ "arguments": pieces[start..end].concat() });
            let mut id = "";
            if start == 0 {
                function["name"] = json!(name);
                id = "call_1";
            }
            calls
                .push(json!({ "index": call, "id": id, "type": "function", "function": function }));
        }
        let mut message = json!({
            "role": "assistant",
            "content": self.text[from.1..now.text].concat(),
            "reasoning_content": self.reasoning[from.0..now.reasoning].concat(),
        });
        if !calls.is_empty() {
            message["tool_calls"] = json!(calls);
        }
        message
    }

    fn complete(&self) -> Progress {
        *self.steps().last().unwrap()
    }
}

/// The answer that comes at once.
fn at_once(protocol: Protocol, choices: &[Spoken]) -> ChatResponse {
    let said = choices
        .iter()
        .enumerate()
        .map(|(index, spoken)| {
            let message = spoken.message(None, spoken.complete());
            protocol.choice(index, message, &spoken.tokens, json!(spoken.reason), false)
        })
        .collect();
    let answer = protocol.frame(said, protocol.usage(99));
    match protocol {
        Protocol::Native => native::decode_response(answer),
        Protocol::OpenAi => openai::decode_response(answer),
    }
}

/// The bytes of the same answer as a stream, choices taking turns.
fn as_stream(protocol: Protocol, choices: &[Spoken], cumulative: bool) -> BytesMut {
    let mut frames = Vec::new();
    let steps: Vec<Vec<Progress>> = choices.iter().map(Spoken::steps).collect();
    let longest = steps.iter().map(Vec::len).max().unwrap();
    for step in 0..longest {
        for (index, (spoken, steps)) in choices.iter().zip(&steps).enumerate() {
            let Some(now) = steps.get(step) else { continue };
            let before = (!cumulative && step > 0).then(|| steps[step - 1]);
            let reason = if step + 1 == steps.len() {
                json!(spoken.reason)
            } else {
                protocol.unfinished()
            };
            let tokens = &spoken.tokens[before.map_or(0, |before| before.tokens)..now.tokens];
            let message = spoken.message(before, *now);
            let choice = protocol.choice(index, message, tokens, reason, true);
            frames.push(protocol.frame(vec![choice], protocol.usage(step)));
        }
    }
    frames.push(protocol.frame(Vec::new(), protocol.usage(99)));
    let mut out = BytesMut::new();
    for (frame, id) in frames.iter().zip(1..) {
        let data = frame.to_string();
        match protocol {
            Protocol::Native => write_native_frame(&mut out, id, "result", 200, data.as_bytes()),
            Protocol::OpenAi => write_data_frame(&mut out, data.as_bytes()),
        }
    }
    if protocol == Protocol::OpenAi {
        write_data_frame(&mut out, b"[DONE]");
    }
    out
}

fn joined(protocol: Protocol, bytes: &[u8], cumulative: bool) -> ChatResponse {
    let surface = match protocol {
        Protocol::Native => StreamSurface::Native,
        Protocol::OpenAi => StreamSurface::OpenAiChat,
    };
    let mut decoder = StreamDecoder::new(surface).cumulative(cumulative);
    let mut answer = Accumulator::new();
    for piece in bytes.chunks(13) {
        decoder.feed(piece);
    }
    decoder.finish();
    while let Some(event) = decoder.next_event() {
        answer.push(event.unwrap());
    }
    answer.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_stream_adds_up_to_the_answer_that_comes_at_once(
        choices in vec(spoken(), 1..4),
        cumulative in any::<bool>(),
        protocol in prop::sample::select(vec![0, 1]),
    ) {
        let protocol = [Protocol::Native, Protocol::OpenAi][protocol];
        let mut expected = at_once(protocol, &choices);
        expected.raw = Value::Null;
        let bytes = as_stream(protocol, &choices, cumulative);
        prop_assert_eq!(joined(protocol, &bytes, cumulative), expected);
    }

    #[test]
    fn a_request_is_the_same_after_a_way_through_either_protocol(request in request()) {
        let written = openai::encode_request(&request, false);
        let read: ChatRequest = serde_json::from_value(written).unwrap();
        prop_assert_eq!(&read, &request);
        let written = native::encode_request(&request, false, true);
        let mut read = native::decode_request(&written).unwrap();
        prop_assert_eq!(read.result_format.take(), Some("message".to_owned()));
        prop_assert_eq!(&read, &with_parts(request));
    }
}

/// Requests as JSON: the parameters that both protocols have.
fn request() -> impl Strategy<Value = ChatRequest> {
    let parameter = prop::sample::select(vec![
        json!({ "temperature": 0.5 }),
        json!({ "top_k": 20, "top_p": 0.25 }),
        json!({ "stop": "x" }),
        json!({ "stop": ["x", "y"] }),
        json!({ "stop": [1, 2] }),
        json!({ "stop": [[37763, 367]] }),
        json!({ "n": 2, "seed": 9_223_372_036_854_775_807_u64 }),
        json!({ "response_format": { "type": "json_object" } }),
        json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "p", "strict": true, "schema": {} } } }),
        json!({ "response_format": { "type": "grammar", "grammar": "a*" } }),
        json!({ "tools": [{ "type": "function", "function": { "name": "f", "parameters": {} } }], "tool_choice": "auto" }),
        json!({ "tool_choice": { "type": "function", "function": { "name": "f" } } }),
        json!({ "enable_thinking": true, "thinking_budget": 512 }),
        json!({ "enable_search": true, "search_options": { "forced_search": true } }),
        json!({ "translation_options": { "target_lang": "English" } }),
        json!({ "logit_bias": { "1": 5 }, "future": [null] }),
    ]);
    let message = prop_oneof![
        (
            prop::sample::select(vec!["system", "user", "assistant", "new_role"]),
            piece()
        )
            .prop_map(|(role, text)| json!({ "role": role, "content": text })),
        piece().prop_map(|text| json!({ "role": "user", "content": [
            { "type": "image_url", "image_url": { "url": "https://e/a.png" }, "min_pixels": 4 },
            { "type": "input_audio", "input_audio": { "data": "data:;base64,AA==" } },
            { "type": "video", "video": ["https://e/1.png"], "fps": 2 },
            { "type": "text", "text": text, "cache_control": { "type": "ephemeral" } },
            { "type": "doc_url", "doc_url": [text] },
        ] })),
        piece().prop_map(
            |text| json!({ "role": "assistant", "content": text, "partial": true,
            "reasoning_content": text, "future": { "a": 1 },
            "tool_calls": [{ "id": "c", "index": 0, "type": "function",
                "function": { "name": "f", "arguments": text } }] })
        ),
        piece().prop_map(|text| json!({ "role": "tool", "tool_call_id": "c", "content": text })),
    ];
    (vec(parameter, 0..5), vec(message, 0..4)).prop_map(|(parameters, messages)| {
        let mut body = json!({ "model": "qwen-plus", "messages": messages });
        for parameter in parameters {
            body.as_object_mut()
                .unwrap()
                .extend(parameter.as_object().unwrap().clone());
        }
        serde_json::from_value(body).unwrap()
    })
}

/// The request as the multimodal path says it: all contents are parts.
fn with_parts(mut request: ChatRequest) -> ChatRequest {
    use bailian_wire::chat::{Content, ContentPart};
    for message in &mut request.messages {
        if let Some(Content::Text(text)) = &message.content {
            message.content = Some(vec![ContentPart::new_text(text)].into());
        }
    }
    request
}
