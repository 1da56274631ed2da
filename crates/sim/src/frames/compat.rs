//! The OpenAI-compatible forms (compat.md §2.12 to §2.14).

use bailian_wire::sse::write_data_frame;
use bytes::BytesMut;
use serde_json::{Value, json};

use super::{Identity, Piece, StreamFrame, logprobs, pieces, whole_calls};
use crate::answer::{Answer, ChoiceAnswer};
use crate::call::Call;

pub(super) fn whole(call: &Call, answer: &Answer, identity: &Identity) -> Value {
    let choices: Vec<Value> = answer
        .choices
        .iter()
        .enumerate()
        .map(|(index, choice)| {
            let mut message = json!({ "role": "assistant", "content": choice.text.concat() });
            if call.thinks() {
                message["reasoning_content"] = json!(choice.reasoning.concat());
            }
            if let Some(calls) = whole_calls(choice) {
                message["tool_calls"] = calls;
            }
            json!({
                "message": message,
                "finish_reason": choice.finish_reason,
                "index": index,
                "logprobs": logprobs(call, &choice.text),
            })
        })
        .collect();
    json!({
        "choices": choices,
        "object": "chat.completion",
        "usage": usage(answer),
        "created": identity.created,
        "system_fingerprint": null,
        "model": call.model_id,
        "id": format!("chatcmpl-{}", identity.request_id),
    })
}

fn usage(answer: &Answer) -> Value {
    let output = answer.output_tokens();
    let mut usage = json!({
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": output,
        "total_tokens": answer.input_tokens + output,
        "prompt_tokens_details": { "cached_tokens": 0 },
    });
    if answer.reasoning_tokens() > 0 {
        usage["completion_tokens_details"] =
            json!({ "reasoning_tokens": answer.reasoning_tokens() });
    }
    usage
}

struct Writer<'a> {
    call: &'a Call,
    identity: &'a Identity,
    frames: Vec<StreamFrame>,
}

pub(super) fn stream(
    call: &Call,
    answer: &Answer,
    identity: &Identity,
    chunk_tokens: usize,
) -> Vec<StreamFrame> {
    let mut writer = Writer {
        call,
        identity,
        frames: Vec::new(),
    };
    for (index, choice) in answer.choices.iter().enumerate() {
        writer.write_choice(index, choice, chunk_tokens);
    }
    let options = call.parameters.get("stream_options");
    if options.is_some_and(|options| options["include_usage"] == true) {
        let mut chunk = writer.chunk(&json!([]));
        chunk["usage"] = usage(answer);
        writer.push(&chunk.to_string(), 0);
    }
    writer.push("[DONE]", 0);
    writer.frames
}

impl Writer<'_> {
    fn write_choice(&mut self, index: usize, choice: &ChoiceAnswer, chunk_tokens: usize) {
        self.write(
            index,
            &json!({ "content": "", "role": "assistant" }),
            None,
            None,
            0,
        );
        // These models repeat the whole text, and the end twice (compat.md §2.11).
        let cumulative = self.call.is_cumulative();
        let mut text = String::new();
        for piece in pieces(choice, chunk_tokens) {
            let tokens = piece.tokens();
            let mut new_logprobs = None;
            let delta = match piece {
                Piece::Reasoning(tokens) => {
                    json!({ "content": null, "reasoning_content": tokens.concat() })
                }
                Piece::Text(tokens) => {
                    new_logprobs = logprobs(self.call, &tokens);
                    text.push_str(&tokens.concat());
                    let said = if cumulative {
                        text.clone()
                    } else {
                        tokens.concat()
                    };
                    if self.call.thinks() {
                        json!({ "content": said, "reasoning_content": null })
                    } else {
                        json!({ "content": said })
                    }
                }
                Piece::CallStart { index, arguments } => {
                    let call = &choice.calls[index];
                    json!({ "content": null, "tool_calls": [{
                        "index": index, "id": call.id, "type": "function",
                        "function": { "name": call.name, "arguments": arguments },
                    }] })
                }
                Piece::CallMore { index, arguments } => json!({ "content": null, "tool_calls": [{
                    "index": index, "id": "", "type": "function",
                    "function": { "name": null, "arguments": arguments },
                }] }),
            };
            self.write(index, &delta, None, new_logprobs.as_ref(), tokens);
        }
        let end = if cumulative {
            json!({ "content": text })
        } else {
            json!({ "content": "" })
        };
        for _ in 0..if cumulative { 2 } else { 1 } {
            self.write(index, &end, Some(choice.finish_reason), None, 0);
        }
    }

    fn chunk(&self, choices: &Value) -> Value {
        json!({
            "choices": choices,
            "object": "chat.completion.chunk",
            "usage": null,
            "created": self.identity.created,
            "system_fingerprint": null,
            "model": self.call.model_id,
            "id": format!("chatcmpl-{}", self.identity.request_id),
        })
    }

    fn write(
        &mut self,
        index: usize,
        delta: &Value,
        finish_reason: Option<&str>,
        logprobs: Option<&Value>,
        tokens: u64,
    ) {
        let chunk = self.chunk(&json!([{
            "delta": delta,
            "finish_reason": finish_reason,
            "index": index,
            "logprobs": logprobs,
        }]));
        self.push(&chunk.to_string(), tokens);
    }

    fn push(&mut self, data: &str, tokens: u64) {
        let mut bytes = BytesMut::new();
        write_data_frame(&mut bytes, data.as_bytes());
        self.frames.push(StreamFrame {
            bytes: bytes.freeze(),
            tokens,
        });
    }
}
