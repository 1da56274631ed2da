//! Events of OpenAI responses (compat.md §5.3, §8.9).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Frames, write_named_frame};
use crate::Dialect;
use crate::chat::{ChatEvent, FinishReason};
use crate::error::{ErrorView, encode_error};
use crate::responses::{Envelope, function_call_item, message_item, reasoning_item};

#[derive(Debug, Default)]
pub(super) struct State {
    sequence: u64,
    started: bool,
    /// Items that ended, in order.
    output: Vec<Value>,
    open: Option<Item>,
    text: String,
    calls: BTreeMap<u64, Call>,
    reason: Option<FinishReason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Reasoning,
    Message,
    Call(u64),
}

#[derive(Debug, Default)]
struct Call {
    id: String,
    name: String,
    arguments: String,
    ended: bool,
}

impl State {
    pub(super) fn push(&mut self, event: &ChatEvent, frames: &mut Frames<'_>) {
        match event {
            ChatEvent::Started { .. } => self.start(frames),
            ChatEvent::ReasoningDelta { choice: 0, text } if !text.is_empty() => {
                self.open(Item::Reasoning, frames);
                self.text.push_str(text);
                let event = self.of_item(frames, json!({ "delta": text }));
                self.event("response.reasoning_text.delta", event, frames);
            }
            ChatEvent::TextDelta { choice: 0, text } if !text.is_empty() => {
                self.open(Item::Message, frames);
                self.text.push_str(text);
                let event = self.of_item(
                    frames,
                    json!({ "content_index": 0, "delta": text, "logprobs": [] }),
                );
                self.event("response.output_text.delta", event, frames);
            }
            ChatEvent::ToolCallDelta {
                choice: 0,
                index,
                id,
                name,
                arguments,
            } => {
                let call = self.calls.entry(*index).or_default();
                call.id.push_str(id.as_deref().unwrap_or_default());
                call.name.push_str(name.as_deref().unwrap_or_default());
                if call.ended {
                    return;
                }
                call.arguments.push_str(arguments);
                self.open(Item::Call(*index), frames);
                if !arguments.is_empty() {
                    let event = self.of_item(frames, json!({ "delta": arguments }));
                    self.event("response.function_call_arguments.delta", event, frames);
                }
            }
            ChatEvent::Finished { choice: 0, reason } => self.reason = Some(reason.clone()),
            ChatEvent::SearchInfo(_) => frames.losses.dropped("search_info"),
            ChatEvent::Logprobs { .. } => frames.losses.dropped("logprobs"),
            ChatEvent::AudioDelta { .. } => frames.losses.changed("audio"),
            ChatEvent::Part { .. } => frames.losses.changed("content"),
            ChatEvent::Extra { name, .. } => frames.losses.dropped(name.clone()),
            _ => {}
        }
    }

    pub(super) fn finish(&mut self, frames: &mut Frames<'_>) {
        self.start(frames);
        self.close(frames);
        let envelope = Envelope {
            output: std::mem::take(&mut self.output),
            usage: frames.usage,
            reason: self.reason.as_ref(),
        };
        let response = envelope.to_value(frames.identity);
        let name = if response["status"] == "incomplete" {
            "response.incomplete"
        } else {
            "response.completed"
        };
        self.event(name, json!({ "response": response }), frames);
    }

    pub(super) fn fail(&mut self, error: &ErrorView<'_>, frames: &mut Frames<'_>) {
        self.start(frames);
        let (_, body) = encode_error(Dialect::OpenAi, error);
        let mut response = self.running("failed", frames);
        response["error"] = json!({
            "code": body["error"]["code"],
            "message": body["error"]["message"],
            "type": body["error"]["type"],
        });
        self.event("response.failed", json!({ "response": response }), frames);
    }

    fn start(&mut self, frames: &mut Frames<'_>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let created = self.running("queued", frames);
        self.event("response.created", json!({ "response": created }), frames);
        let running = self.running("in_progress", frames);
        self.event(
            "response.in_progress",
            json!({ "response": running }),
            frames,
        );
    }

    fn running(&self, status: &str, frames: &Frames<'_>) -> Value {
        let envelope = Envelope {
            output: self.output.clone(),
            usage: None,
            reason: None,
        };
        let mut response = envelope.to_value(frames.identity);
        response["status"] = status.into();
        response["output"] = json!([]);
        response
    }

    fn event(&mut self, name: &str, mut event: Value, frames: &mut Frames<'_>) {
        event["type"] = name.into();
        event["sequence_number"] = self.sequence.into();
        self.sequence += 1;
        write_named_frame(frames.out, name, &event);
    }

    /// An event about the open item.
    fn of_item(&self, frames: &Frames<'_>, mut event: Value) -> Value {
        event["item_id"] = self.item_id(frames).into();
        event["output_index"] = self.output.len().into();
        event
    }

    fn item_id(&self, frames: &Frames<'_>) -> String {
        format!("msg_{}_{}", frames.identity.id, self.output.len())
    }

    fn open(&mut self, item: Item, frames: &mut Frames<'_>) {
        self.start(frames);
        if self.open == Some(item) {
            return;
        }
        self.close(frames);
        self.open = Some(item);
        let id = self.item_id(frames);
        let value = self.item(item, &id, "in_progress");
        let event = json!({ "output_index": self.output.len(), "item": value });
        self.event("response.output_item.added", event, frames);
        if item == Item::Message {
            let part = json!({ "type": "output_text", "text": "", "annotations": [] });
            let event = self.of_item(frames, json!({ "content_index": 0, "part": part }));
            self.event("response.content_part.added", event, frames);
        }
    }

    fn item(&self, item: Item, id: &str, status: &str) -> Value {
        match item {
            Item::Reasoning => reasoning_item(id, &self.text),
            Item::Message => message_item(id, &self.text, status),
            Item::Call(index) => {
                let call = self.calls.get(&index);
                let of = |read: fn(&Call) -> &str| call.map_or("", read);
                let arguments = if status == "in_progress" {
                    ""
                } else {
                    of(|call| &call.arguments)
                };
                function_call_item(
                    id,
                    of(|call| &call.id),
                    of(|call| &call.name),
                    arguments,
                    status,
                )
            }
        }
    }

    fn close(&mut self, frames: &mut Frames<'_>) {
        let Some(item) = self.open.take() else { return };
        let id = self.item_id(frames);
        match item {
            Item::Reasoning => {
                let event = self.of_item(frames, json!({ "text": self.text }));
                self.event("response.reasoning_text.done", event, frames);
            }
            Item::Message => {
                let text = self.text.clone();
                let event = self.of_item(frames, json!({ "content_index": 0, "text": text }));
                self.event("response.output_text.done", event, frames);
                let part = json!({ "type": "output_text", "text": text, "annotations": [] });
                let event = self.of_item(frames, json!({ "content_index": 0, "part": part }));
                self.event("response.content_part.done", event, frames);
            }
            Item::Call(index) => {
                let arguments = self.calls.get_mut(&index).map_or_else(String::new, |call| {
                    call.ended = true;
                    call.arguments.clone()
                });
                let event = self.of_item(frames, json!({ "arguments": arguments }));
                self.event("response.function_call_arguments.done", event, frames);
            }
        }
        let value = self.item(item, &id, "completed");
        let event = json!({ "output_index": self.output.len(), "item": value });
        self.event("response.output_item.done", event, frames);
        self.output.push(value);
        self.text.clear();
    }
}
