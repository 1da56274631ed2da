//! The OpenAI-compatible forms (compat.md §2.12 to §2.14).

use std::io::Write as _;
use std::ops::Range;

use bailian_wire::sse::write_data_frame;
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

use super::sound::tone;
use super::steps::{Extras, Step};
use super::usage::of_compat;
use super::{Identity, logprobs, put, wanted_logprobs};
use crate::answer::{Answer, CallAnswer, ChoiceAnswer};
use crate::call::Call;
use crate::config::{CallFragments, Quirks, SimConfig, UnusedDelta, UsageDetails};

pub(super) fn whole(call: &Call, answer: &Answer, identity: &Identity, quirks: &Quirks) -> Bytes {
    let alternatives = wanted_logprobs(call);
    let choices: Vec<Value> = answer
        .choices
        .iter()
        .enumerate()
        .map(|(index, choice)| {
            let mut message = json!({ "role": "assistant", "content": choice.text.as_str() });
            if let Some(annotations) = &answer.annotations {
                message["annotations"] = annotations.clone();
            }
            if call.thinks() {
                message["reasoning_content"] = json!(choice.reasoning.as_str());
            }
            if !choice.calls.is_empty() {
                message["tool_calls"] = whole_calls(choice);
            }
            json!({
                "message": message,
                "finish_reason": choice.finish_reason,
                "index": index,
                "logprobs": alternatives.map(|n| logprobs(&choice.text, 0..choice.text.len(), n)),
            })
        })
        .collect();
    let body = json!({
        "choices": choices,
        "object": "chat.completion",
        "usage": of_compat(answer, quirks.usage_details),
        "created": identity.created,
        "system_fingerprint": null,
        "model": call.model_id,
        "id": format!("chatcmpl-{}", identity.request_id),
    });
    Bytes::from(body.to_string())
}

fn whole_calls(choice: &ChoiceAnswer) -> Value {
    let calls = choice.calls.iter().enumerate().map(|(index, call)| {
        json!({
            "function": { "name": call.name, "arguments": call.arguments.as_str() },
            "index": index,
            "id": call.id,
            "type": "function",
        })
    });
    calls.collect()
}

/// How the chunks of one answer are written.
#[derive(Clone, Debug)]
pub(super) struct Form {
    thinks: bool,
    /// These models repeat the whole text, and the end twice (compat.md §2.11).
    cumulative: bool,
    include_usage: bool,
    fragments: CallFragments,
    unused: UnusedDelta,
    usage_details: UsageDetails,
    /// How many alternatives each log probability has.
    logprobs: Option<u64>,
    created: u64,
    audio_id: String,
    /// The members that are the same in every chunk.
    tail: Vec<u8>,
    json: Vec<u8>,
}

impl Form {
    pub(super) fn new(call: &Call, identity: &Identity, config: &SimConfig) -> Self {
        let mut tail = Vec::new();
        let _infallible = write!(
            tail,
            ",\"created\":{},\"system_fingerprint\":null,\"model\":",
            identity.created
        );
        put(&mut tail, &call.model_id);
        let _infallible = write!(tail, ",\"id\":\"chatcmpl-{}\"}}", identity.request_id);
        let options = call.parameters.get("stream_options");
        Self {
            thinks: call.thinks(),
            cumulative: call.is_cumulative(),
            include_usage: options.is_some_and(|options| options["include_usage"] == true),
            fragments: config.call_fragments,
            unused: config.quirks.unused_delta,
            usage_details: config.quirks.usage_details,
            logprobs: wanted_logprobs(call),
            created: identity.created,
            audio_id: format!("audio_{}", identity.request_id),
            tail,
            json: Vec::new(),
        }
    }

    pub(super) fn extras(&self) -> Extras {
        Extras {
            begin: true,
            bare_calls: self.fragments == CallFragments::NullArguments,
            doubled_end: self.cumulative,
            usage: self.include_usage,
            done: true,
            ..Extras::default()
        }
    }

    /// Appends the next chunk.
    pub(super) fn write(&mut self, out: &mut BytesMut, answer: &Answer, index: usize, step: &Step) {
        if *step == Step::Done {
            write_data_frame(out, b"[DONE]");
            return;
        }
        let mut json = std::mem::take(&mut self.json);
        json.clear();
        json.extend_from_slice(b"{\"choices\":[");
        if let Some(choice) = answer.choices.get(index) {
            self.write_choice(&mut json, answer.annotations.as_ref(), choice, index, step);
        }
        json.extend_from_slice(b"],\"object\":\"chat.completion.chunk\",\"usage\":");
        if *step == Step::Usage {
            put(&mut json, &of_compat(answer, self.usage_details));
        } else {
            json.extend_from_slice(b"null");
        }
        json.extend_from_slice(&self.tail);
        write_data_frame(out, &json);
        self.json = json;
    }

    fn write_choice(
        &self,
        out: &mut Vec<u8>,
        annotations: Option<&Value>,
        choice: &ChoiceAnswer,
        index: usize,
        step: &Step,
    ) {
        if annotations.is_some() && *step == Step::End {
            // A transcription ends with a delta that says nothing.
            let _infallible = write!(
                out,
                "{{\"delta\":{{\"role\":null}},\"finish_reason\":\"{}\",\"index\":{index}}}",
                choice.finish_reason
            );
            return;
        }
        if let Step::Sound(range) = step {
            let audio = json!({ "data": tone(range.clone()), "expires_at": self.created,
                "id": self.audio_id });
            out.extend_from_slice(b"{\"delta\":{\"audio\":");
            put(out, &audio);
            let _infallible = write!(
                out,
                "}},\"finish_reason\":null,\"index\":{index},\"logprobs\":null}}"
            );
            return;
        }
        let nothing: &[u8] = match self.unused {
            UnusedDelta::Null => b"null",
            UnusedDelta::Empty => b"\"\"",
            UnusedDelta::Absent => b"",
        };
        let is_bare =
            nothing.is_empty() && matches!(step, Step::Reasoning(_) | Step::Arguments { .. });
        out.extend_from_slice(b"{\"delta\":{");
        if !is_bare {
            out.extend_from_slice(b"\"content\":");
        }
        match step {
            Step::Begin => out.extend_from_slice(b"\"\",\"role\":\"assistant\""),
            Step::Reasoning(range) => {
                out.extend_from_slice(nothing);
                let name: &[u8] = b",\"reasoning_content\":";
                out.extend_from_slice(&name[usize::from(is_bare)..]);
                put(out, choice.reasoning.slice(range.clone()));
            }
            Step::Text(range) => {
                let start = if self.cumulative { 0 } else { range.start };
                put(out, choice.text.slice(start..range.end));
                if self.thinks && !nothing.is_empty() {
                    out.extend_from_slice(b",\"reasoning_content\":");
                    out.extend_from_slice(nothing);
                }
            }
            Step::Arguments {
                call,
                range,
                begins,
            } => {
                out.extend_from_slice(nothing);
                let name: &[u8] = b",\"tool_calls\":[";
                out.extend_from_slice(&name[usize::from(is_bare)..]);
                if let Some(made) = choice.calls.get(*call) {
                    self.write_call(out, made, *call, range.clone(), *begins);
                }
                out.push(b']');
            }
            _ if self.cumulative => put(out, choice.text.as_str()),
            _ => out.extend_from_slice(b"\"\""),
        }
        if let Some(annotations) = annotations {
            out.extend_from_slice(b",\"annotations\":");
            put(out, annotations);
        }
        out.extend_from_slice(b"},\"finish_reason\":");
        match step {
            Step::End => put(out, choice.finish_reason),
            _ => out.extend_from_slice(b"null"),
        }
        let _infallible = write!(out, ",\"index\":{index},\"logprobs\":");
        match (self.logprobs, step) {
            (Some(alternatives), Step::Text(range)) => {
                put(out, &logprobs(&choice.text, range.clone(), alternatives));
            }
            _ => out.extend_from_slice(b"null"),
        }
        out.push(b'}');
    }

    /// A piece of a call: those that go on have an empty id and the name null (compat.md §2.14),
    /// unless the configuration wants one of the other spellings that were seen.
    fn write_call(
        &self,
        out: &mut Vec<u8>,
        call: &CallAnswer,
        place: usize,
        arguments: Range<usize>,
        begins: bool,
    ) {
        let _infallible = write!(out, "{{\"index\":{place}");
        let id = match self.fragments {
            _ if begins => Some(call.id.as_str()),
            CallFragments::SameId => Some(call.id.as_str()),
            CallFragments::NoId => None,
            CallFragments::EmptyId | CallFragments::NullArguments => Some(""),
        };
        if let Some(id) = id {
            out.extend_from_slice(b",\"id\":");
            put(out, id);
        }
        out.extend_from_slice(b",\"type\":\"function\",\"function\":{\"name\":");
        put(out, &begins.then_some(call.name.as_str()));
        out.extend_from_slice(b",\"arguments\":");
        let bare = self.fragments == CallFragments::NullArguments && arguments.is_empty();
        put(out, &(!bare).then(|| call.arguments.slice(arguments)));
        out.extend_from_slice(b"}}");
    }
}
