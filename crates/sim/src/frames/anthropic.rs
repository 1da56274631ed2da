//! Anthropic messages and their events (compat.md §6.2, §6.3).

use bytes::{BufMut as _, Bytes, BytesMut};
use serde_json::{Value, json};

use super::Identity;
use super::steps::{Extras, Step};
use super::usage::{anthropic_input, of_anthropic};
use crate::answer::{Answer, ChoiceAnswer};
use crate::call::Call;
use crate::config::Quirks;

pub(super) fn whole(call: &Call, answer: &Answer, identity: &Identity, quirks: &Quirks) -> Bytes {
    let mut blocks = Vec::new();
    let form = Form::new(call, identity, quirks);
    let choice = answer.choices.first();
    if let Some(choice) = choice {
        if choice.reasoning.len() > 0 {
            blocks.push(
                json!({ "type": "thinking", "thinking": choice.reasoning.as_str(),
                "signature": "" }),
            );
        }
        blocks.extend(form.search_blocks(answer));
        if choice.text.len() > 0 || choice.calls.is_empty() {
            blocks.push(json!({ "type": "text", "text": choice.text.as_str() }));
        }
        for made in &choice.calls {
            let input: Value =
                serde_json::from_str(made.arguments.as_str()).unwrap_or_else(|_| json!({}));
            blocks.push(
                json!({ "type": "tool_use", "id": made.id, "name": made.name,
                "input": input }),
            );
        }
    }
    let body = json!({
        "id": format!("msg_{}", identity.request_id),
        "type": "message",
        "role": "assistant",
        "model": call.model_id,
        "content": blocks,
        "stop_reason": choice.map(|choice| form.stop_reason(choice)),
        "stop_sequence": choice.and_then(|choice| form.stop_sequence(choice)),
        "usage": of_anthropic(answer, form.input_has_cached),
    });
    Bytes::from(body.to_string())
}

/// How the events of one message are written.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "two that were switched, two that happened"
)]
pub(super) struct Form {
    id: String,
    model: String,
    open: Option<Block>,
    /// Blocks that have begun.
    begun: u64,
    pinged: bool,
    input_has_cached: bool,
    names_stop: bool,
    searched: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Thinking,
    Text,
    Tool,
}

impl Form {
    pub(super) fn new(call: &Call, identity: &Identity, quirks: &Quirks) -> Self {
        Self {
            id: format!("msg_{}", identity.request_id),
            model: call.model_id.clone(),
            open: None,
            begun: 0,
            pinged: false,
            input_has_cached: quirks.anthropic_input_has_cached,
            names_stop: quirks.anthropic_stop_sequence,
            searched: false,
        }
    }

    #[expect(clippy::unused_self, reason = "as the other forms")]
    pub(super) fn extras(&self) -> Extras {
        Extras {
            begin: true,
            ..Extras::default()
        }
    }

    /// Appends the next events.
    pub(super) fn write(&mut self, out: &mut BytesMut, answer: &Answer, index: usize, step: &Step) {
        let Some(choice) = answer.choices.get(index) else {
            return;
        };
        match step {
            Step::Begin => {
                let message = json!({
                    "id": self.id, "type": "message", "role": "assistant", "model": self.model,
                    "content": [],
                    "usage": { "input_tokens": anthropic_input(answer, self.input_has_cached), "output_tokens": 0 },
                });
                event(out, &json!({ "type": "message_start", "message": message }));
            }
            Step::Reasoning(range) => {
                let block = json!({ "type": "thinking", "thinking": "", "signature": "" });
                self.open(Block::Thinking, &block, out);
                let text = choice.reasoning.slice(range.clone());
                self.delta(&json!({ "type": "thinking_delta", "thinking": text }), out);
            }
            Step::Text(range) => {
                self.write_search(answer, out);
                self.open(Block::Text, &json!({ "type": "text", "text": "" }), out);
                if !std::mem::replace(&mut self.pinged, true) {
                    event(out, &json!({ "type": "ping" }));
                }
                let text = choice.text.slice(range.clone());
                self.delta(&json!({ "type": "text_delta", "text": text }), out);
            }
            Step::Arguments {
                call,
                range,
                begins,
            } => {
                let Some(made) = choice.calls.get(*call) else {
                    return;
                };
                if *begins {
                    self.close(out);
                    let block = json!({ "type": "tool_use", "id": made.id, "name": made.name,
                        "input": {} });
                    self.open(Block::Tool, &block, out);
                }
                if !range.is_empty() {
                    let piece = made.arguments.slice(range.clone());
                    let delta = json!({ "type": "input_json_delta", "partial_json": piece });
                    self.delta(&delta, out);
                }
            }
            Step::End => {
                self.close(out);
                event(
                    out,
                    &json!({
                        "type": "message_delta",
                        "delta": {
                            "stop_reason": self.stop_reason(choice),
                            "stop_sequence": self.stop_sequence(choice),
                        },
                        "usage": of_anthropic(answer, self.input_has_cached),
                    }),
                );
                event(out, &json!({ "type": "message_stop" }));
            }
            Step::Sound(_) | Step::Sources | Step::Usage | Step::Done => {}
        }
    }

    fn stop_sequence<'a>(&self, choice: &'a ChoiceAnswer) -> Option<&'a str> {
        let is_whole = choice.finish_reason == "stop" && choice.calls.is_empty();
        let by = choice.stopped_by.as_deref();
        by.filter(|_| self.names_stop && is_whole)
    }

    fn stop_reason(&self, choice: &ChoiceAnswer) -> &'static str {
        match choice.finish_reason {
            "length" => "max_tokens",
            _ if !choice.calls.is_empty() => "tool_use",
            _ if self.stop_sequence(choice).is_some() => "stop_sequence",
            _ => "end_turn",
        }
    }

    /// The search that the service did: its call, and what it found.
    fn search_blocks(&self, answer: &Answer) -> Vec<Value> {
        let Some(info) = &answer.search_info else {
            return Vec::new();
        };
        let id = self.id.replacen("msg_", "srvtoolu_", 1);
        let found: Vec<Value> = info["search_results"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|result| {
                json!({ "type": "web_search_result", "url": result["url"],
                    "title": result["title"], "encrypted_content": "", "page_age": null })
            })
            .collect();
        vec![
            json!({ "type": "server_tool_use", "id": id, "name": "web_search",
                "input": { "query": info["search_results"][0]["title"] } }),
            json!({ "type": "web_search_tool_result", "tool_use_id": id, "content": found }),
        ]
    }

    /// Appends the search before the first text.
    fn write_search(&mut self, answer: &Answer, out: &mut BytesMut) {
        if std::mem::replace(&mut self.searched, true) {
            return;
        }
        for mut block in self.search_blocks(answer) {
            self.close(out);
            let input = block.get_mut("input").map(Value::take);
            if input.is_some() {
                block["input"] = json!({});
            }
            self.open(Block::Tool, &block, out);
            if let Some(input) = input {
                let delta =
                    json!({ "type": "input_json_delta", "partial_json": input.to_string() });
                self.delta(&delta, out);
            }
            self.close(out);
        }
    }

    fn open(&mut self, block: Block, content: &Value, out: &mut BytesMut) {
        if self.open == Some(block) {
            return;
        }
        self.close(out);
        let start = json!({ "type": "content_block_start", "index": self.begun,
            "content_block": content });
        event(out, &start);
        self.begun += 1;
        self.open = Some(block);
    }

    fn close(&mut self, out: &mut BytesMut) {
        let Some(block) = self.open.take() else {
            return;
        };
        if block == Block::Thinking {
            self.delta(&json!({ "type": "signature_delta", "signature": "" }), out);
        }
        event(
            out,
            &json!({ "type": "content_block_stop", "index": self.begun - 1 }),
        );
    }

    fn delta(&self, delta: &Value, out: &mut BytesMut) {
        let index = self.begun.saturating_sub(1);
        event(
            out,
            &json!({ "type": "content_block_delta", "index": index, "delta": delta }),
        );
    }
}

/// Appends an event; clients dispatch on its name.
pub(super) fn event(out: &mut BytesMut, data: &Value) {
    let name = data["type"].as_str().unwrap_or("error");
    out.put_slice(format!("event: {name}\ndata: {data}\n\n").as_bytes());
}
