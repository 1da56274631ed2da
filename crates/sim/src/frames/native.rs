//! The native forms (http-native.md §3.2, §5).

use bailian_wire::sse::write_native_frame;
use bytes::BytesMut;
use serde_json::{Value, json};

use super::{Identity, Piece, StreamFrame, logprobs, pieces, whole_calls};
use crate::answer::{Answer, ChoiceAnswer};
use crate::call::Call;

pub(super) fn whole(call: &Call, answer: &Answer, identity: &Identity) -> Value {
    let mut output = if call.wants_text_format() {
        let first = answer.choices.first();
        json!({
            "finish_reason": first.map_or("stop", |choice| choice.finish_reason),
            "text": first.map(|choice| choice.text.concat()).unwrap_or_default(),
        })
    } else {
        let choices: Vec<Value> = answer
            .choices
            .iter()
            .enumerate()
            .map(|(index, choice)| {
                let said = Said {
                    text: choice.text.concat(),
                    reasoning: choice.reasoning.concat(),
                    calls: whole_calls(choice),
                    logprobs: logprobs(call, &choice.text),
                };
                choice_object(call, answer, index, said, choice.finish_reason)
            })
            .collect();
        json!({ "choices": choices })
    };
    if let Some(info) = &answer.search_info {
        output["search_info"] = info.clone();
    }
    let usage = usage(answer, answer.output_tokens(), answer.reasoning_tokens());
    json!({ "output": output, "usage": usage, "request_id": identity.request_id })
}

/// What stands in one choice of a frame.
#[derive(Clone, Debug, Default)]
struct Said {
    text: String,
    reasoning: String,
    calls: Option<Value>,
    logprobs: Option<Value>,
}

fn choice_object(call: &Call, answer: &Answer, index: usize, said: Said, finish: &str) -> Value {
    let content = match (call.multimodal, said.text.is_empty()) {
        (true, true) => json!([]),
        (true, false) => json!([{ "text": said.text }]),
        (false, _) => json!(said.text),
    };
    let mut message = json!({ "content": content, "role": "assistant" });
    if call.thinks() {
        message["reasoning_content"] = json!(said.reasoning);
    }
    if let Some(calls) = said.calls {
        message["tool_calls"] = calls;
    }
    let mut choice = json!({ "message": message, "finish_reason": finish });
    if answer.choices.len() > 1 || !answer.choices.iter().all(|choice| choice.calls.is_empty()) {
        choice["index"] = json!(index);
    }
    if let Some(logprobs) = said.logprobs {
        choice["logprobs"] = logprobs;
    }
    choice
}

fn usage(answer: &Answer, output: u64, reasoning: u64) -> Value {
    let mut usage = json!({
        "total_tokens": answer.input_tokens + output,
        "output_tokens": output,
        "input_tokens": answer.input_tokens,
        "prompt_tokens_details": { "cached_tokens": 0 },
    });
    if answer.reasoning_tokens() > 0 {
        usage["output_tokens_details"] = json!({ "reasoning_tokens": reasoning });
    }
    if answer.searched {
        usage["plugins"] = json!({ "search": { "count": 1, "strategy": "turbo" } });
    }
    usage
}

/// Writes the frames of a stream.
struct Writer<'a> {
    call: &'a Call,
    answer: &'a Answer,
    identity: &'a Identity,
    cumulative: bool,
    output: u64,
    reasoning: u64,
    frames: Vec<StreamFrame>,
}

pub(super) fn stream(
    call: &Call,
    answer: &Answer,
    identity: &Identity,
    chunk_tokens: usize,
) -> Vec<StreamFrame> {
    let cumulative = call.is_cumulative();
    let mut writer = Writer {
        call,
        answer,
        identity,
        cumulative,
        output: 0,
        reasoning: 0,
        frames: Vec::new(),
    };
    for (index, choice) in answer.choices.iter().enumerate() {
        writer.write_choice(index, choice, chunk_tokens);
    }
    writer.frames
}

impl Writer<'_> {
    fn write_choice(&mut self, index: usize, choice: &ChoiceAnswer, chunk_tokens: usize) {
        let mut so_far = Said::default();
        for piece in pieces(choice, chunk_tokens) {
            let tokens = piece.tokens();
            self.output += tokens;
            if matches!(piece, Piece::Reasoning(_)) {
                self.reasoning += tokens;
            }
            let new = self.said(choice, piece);
            let said = if self.cumulative {
                so_far.add(new);
                so_far.clone()
            } else {
                new
            };
            self.write(index, said, "null", tokens);
        }
        let last = if self.cumulative {
            so_far
        } else {
            Said::default()
        };
        self.write(index, last, choice.finish_reason, 0);
    }

    fn said(&self, choice: &ChoiceAnswer, piece: Piece) -> Said {
        match piece {
            Piece::Reasoning(tokens) => Said {
                reasoning: tokens.concat(),
                ..Said::default()
            },
            Piece::Text(tokens) => Said {
                logprobs: logprobs(self.call, &tokens),
                text: tokens.concat(),
                ..Said::default()
            },
            Piece::CallStart { index, arguments } => {
                let call = &choice.calls[index];
                let calls = json!([{
                    "index": index, "id": call.id, "type": "function",
                    "function": { "name": call.name, "arguments": arguments },
                }]);
                Said {
                    calls: Some(calls),
                    ..Said::default()
                }
            }
            // Continuations have an empty id and no name (http-native.md §5.5).
            Piece::CallMore { index, arguments } => {
                let calls = json!([{
                    "index": index, "id": "", "type": "function",
                    "function": { "arguments": arguments },
                }]);
                Said {
                    calls: Some(calls),
                    ..Said::default()
                }
            }
        }
    }

    fn write(&mut self, index: usize, said: Said, finish: &str, tokens: u64) {
        let mut output = if self.call.wants_text_format() {
            json!({ "finish_reason": finish, "text": said.text })
        } else {
            json!({ "choices": [choice_object(self.call, self.answer, index, said, finish)] })
        };
        if let Some(info) = self
            .answer
            .search_info
            .as_ref()
            .filter(|_| self.frames.is_empty())
        {
            output["search_info"] = info.clone();
        }
        let frame = json!({
            "output": output,
            "usage": usage(self.answer, self.output, self.reasoning),
            "request_id": self.identity.request_id,
        });
        let number = self.frames.len() as u64 + 1;
        let mut bytes = BytesMut::new();
        write_native_frame(
            &mut bytes,
            number,
            "result",
            200,
            frame.to_string().as_bytes(),
        );
        self.frames.push(StreamFrame {
            bytes: bytes.freeze(),
            tokens,
        });
    }
}

impl Said {
    fn add(&mut self, new: Said) {
        self.text.push_str(&new.text);
        self.reasoning.push_str(&new.reasoning);
        match (&mut self.calls, new.calls) {
            (Some(Value::Array(known)), Some(Value::Array(new))) => {
                for call in new {
                    let same = known
                        .iter_mut()
                        .find(|known| known["index"] == call["index"]);
                    match same {
                        Some(known) => {
                            let mut arguments = text_of(&known["function"]["arguments"]);
                            arguments.push_str(&text_of(&call["function"]["arguments"]));
                            known["function"]["arguments"] = json!(arguments);
                        }
                        None => known.push(call),
                    }
                }
            }
            (calls, Some(new)) => *calls = Some(new),
            (_, None) => {}
        }
        match (&mut self.logprobs, new.logprobs) {
            (Some(known), Some(mut new)) => {
                if let (Some(known), Some(new)) = (
                    known["content"].as_array_mut(),
                    new["content"].as_array_mut(),
                ) {
                    known.append(new);
                }
            }
            (logprobs, Some(new)) => *logprobs = Some(new),
            (_, None) => {}
        }
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
