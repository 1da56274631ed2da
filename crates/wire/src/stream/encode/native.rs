//! Native frames (http-native.md §3, compat.md §8.9).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Frames;
use crate::chat::{ChatEvent, Extra, FinishReason};
use crate::native::{text_parts, usage_to_value};
use crate::sse::write_native_frame;

#[derive(Debug, Default)]
pub(super) struct State {
    frames: u64,
    choices: BTreeMap<u64, Choice>,
    /// Members of `output` beside the choices; the last word of each counts.
    output: Extra,
}

/// What was said of one choice, for cumulative frames and for its end.
#[derive(Debug, Default)]
struct Choice {
    text: String,
    reasoning: String,
    calls: BTreeMap<u64, Call>,
    reason: Option<FinishReason>,
}

#[derive(Debug, Default)]
struct Call {
    id: String,
    name: String,
    arguments: String,
}

/// What one frame says.
#[derive(Default)]
struct Piece<'a> {
    text: &'a str,
    reasoning: &'a str,
    calls: Vec<Value>,
    logprobs: Option<Value>,
    parts: Option<Value>,
}

impl State {
    pub(super) fn continued(&mut self, frames: u64, text: &str) {
        self.frames = frames;
        text.clone_into(&mut self.choices.entry(0).or_default().text);
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.frames += 1;
        self.frames
    }

    pub(super) fn push(&mut self, event: &ChatEvent, frames: &mut Frames<'_>) {
        match event {
            ChatEvent::TextDelta { choice, text } => {
                let state = self.choices.entry(*choice).or_default();
                state.text.push_str(text);
                let piece = Piece {
                    text,
                    ..Piece::default()
                };
                self.write(*choice, piece, frames);
            }
            ChatEvent::ReasoningDelta { choice, text } => {
                let state = self.choices.entry(*choice).or_default();
                state.reasoning.push_str(text);
                let piece = Piece {
                    reasoning: text,
                    ..Piece::default()
                };
                self.write(*choice, piece, frames);
            }
            ChatEvent::ToolCallDelta {
                choice,
                index,
                id,
                name,
                arguments,
            } => {
                let state = self.choices.entry(*choice).or_default();
                let call = state.calls.entry(*index).or_default();
                call.id.push_str(id.as_deref().unwrap_or_default());
                call.name.push_str(name.as_deref().unwrap_or_default());
                call.arguments.push_str(arguments);
                let mut function = Map::new();
                if let Some(name) = name {
                    function.insert("name".to_owned(), name.as_str().into());
                }
                function.insert("arguments".to_owned(), arguments.as_str().into());
                let fragment = json!({
                    "index": index,
                    "id": id.as_deref().unwrap_or_default(),
                    "type": "function",
                    "function": function,
                });
                let piece = Piece {
                    calls: vec![fragment],
                    ..Piece::default()
                };
                self.write(*choice, piece, frames);
            }
            ChatEvent::Logprobs { choice, logprobs } => {
                let piece = Piece {
                    logprobs: Some(json!(logprobs)),
                    ..Piece::default()
                };
                self.write(*choice, piece, frames);
            }
            ChatEvent::Part { choice, part } => {
                let part = crate::native::multimodal_part(part);
                let piece = Piece {
                    parts: Some(json!([part])),
                    ..Piece::default()
                };
                self.write(*choice, piece, frames);
            }
            ChatEvent::AudioDelta { data, .. } => {
                self.output
                    .insert("audio".to_owned(), json!({ "data": data }));
                self.write(0, Piece::default(), frames);
            }
            ChatEvent::AudioUrl(url) => {
                self.output
                    .insert("audio".to_owned(), json!({ "data": "", "url": url }));
            }
            ChatEvent::SearchInfo(info) => {
                self.output.insert("search_info".to_owned(), info.clone());
            }
            ChatEvent::Extra { name, .. } if name == "signature" => {
                frames.losses.dropped("signature");
            }
            ChatEvent::Extra { name, value } => {
                self.output.insert(name.clone(), value.clone());
            }
            // The end is told with the last usage, in one frame.
            ChatEvent::Finished { choice, reason } => {
                self.choices.entry(*choice).or_default().reason = Some(reason.clone());
            }
            ChatEvent::Started { .. } | ChatEvent::Usage(_) | ChatEvent::Unknown(_) => {}
        }
    }

    pub(super) fn finish(&mut self, frames: &mut Frames<'_>) {
        let ended: Vec<u64> = self.choices.keys().copied().collect();
        for choice in ended {
            self.write(choice, Piece::default(), frames);
        }
    }

    fn write(&mut self, index: u64, piece: Piece<'_>, frames: &mut Frames<'_>) {
        let Some(state) = self.choices.get(&index) else {
            return;
        };
        let options = frames.options;
        let (text, reasoning) = if options.cumulative {
            (state.text.as_str(), state.reasoning.as_str())
        } else {
            (piece.text, piece.reasoning)
        };
        let mut message = Map::new();
        message.insert("role".to_owned(), "assistant".into());
        let content = match piece.parts {
            Some(parts) if options.parts => parts,
            _ if options.parts => text_parts(text),
            _ => json!(text),
        };
        message.insert("content".to_owned(), content);
        if !state.reasoning.is_empty() {
            message.insert("reasoning_content".to_owned(), reasoning.into());
        }
        let calls = if options.cumulative {
            state.calls.iter().map(whole_call).collect()
        } else {
            piece.calls
        };
        if !calls.is_empty() {
            message.insert("tool_calls".to_owned(), calls.into());
        }
        let reason = state.reason.as_ref();
        let mut choice = json!({
            "message": message,
            "finish_reason": reason.map_or("null", |reason| reason.as_str()),
        });
        if index > 0 || self.choices.len() > 1 {
            choice["index"] = index.into();
        }
        if let Some(logprobs) = piece.logprobs {
            choice["logprobs"] = logprobs;
        }
        let mut output = self.output.clone();
        output.insert("choices".to_owned(), json!([choice]));
        let none = || json!({ "input_tokens": 0, "output_tokens": 0, "total_tokens": 0 });
        let frame = json!({
            "output": output,
            "usage": frames.usage.map_or_else(none, usage_to_value),
            "request_id": frames.identity.id,
        });
        // Sound is sent once, and so is everything but the sources of a search.
        self.output.remove("audio");
        let id = self.next_id();
        write_native_frame(frames.out, id, "result", 200, frame.to_string().as_bytes());
    }
}

fn whole_call((index, call): (&u64, &Call)) -> Value {
    json!({
        "index": index,
        "id": call.id,
        "type": "function",
        "function": { "name": call.name, "arguments": call.arguments },
    })
}
