//! Chunks of chat completions (compat.md §2.14, §8.9).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Frames;
use crate::chat::ChatEvent;
use crate::openai::{finish_reason, usage_to_value};
use crate::sse::write_data_frame;

#[derive(Debug, Default)]
pub(super) struct State {
    /// Choices that have been announced.
    announced: BTreeSet<u64>,
    is_continued: bool,
}

impl State {
    pub(super) fn continued(&mut self) {
        self.is_continued = true;
    }

    pub(super) fn push(&mut self, event: &ChatEvent, frames: &mut Frames<'_>) {
        let (choice, delta) = match event {
            ChatEvent::TextDelta { choice, text } => (*choice, json!({ "content": text })),
            ChatEvent::ReasoningDelta { choice, text } => {
                let delta = json!({ "content": null, "reasoning_content": text });
                (*choice, delta)
            }
            ChatEvent::ToolCallDelta {
                choice,
                index,
                id,
                name,
                arguments,
            } => (
                *choice,
                tool_call(*index, id.as_deref(), name.as_deref(), arguments),
            ),
            ChatEvent::AudioDelta { choice, data } => {
                (*choice, json!({ "audio": { "data": data } }))
            }
            ChatEvent::Logprobs { choice, logprobs } => {
                self.announce(*choice, frames);
                let choice = json!({ "index": choice, "delta": {}, "finish_reason": null,
                    "logprobs": logprobs });
                chunk(&[choice], None, frames);
                return;
            }
            ChatEvent::Finished { choice, reason } => {
                self.announce(*choice, frames);
                let choice = json!({ "index": choice, "delta": {},
                    "finish_reason": finish_reason(reason), "logprobs": null });
                chunk(&[choice], None, frames);
                return;
            }
            ChatEvent::Started { .. } => {
                self.announce(0, frames);
                return;
            }
            ChatEvent::SearchInfo(_) => return frames.losses.dropped("search_info"),
            ChatEvent::AudioUrl(_) => return frames.losses.dropped("audio.url"),
            ChatEvent::Part { .. } => return frames.losses.changed("content"),
            ChatEvent::Extra { name, .. } => return frames.losses.dropped(name.clone()),
            ChatEvent::Usage(_) | ChatEvent::Unknown(_) => return,
        };
        self.announce(choice, frames);
        let choice =
            json!({ "index": choice, "delta": delta, "finish_reason": null, "logprobs": null });
        chunk(&[choice], None, frames);
    }

    /// The first chunk of a choice names the role.
    fn announce(&mut self, choice: u64, frames: &mut Frames<'_>) {
        if self.is_continued || !self.announced.insert(choice) {
            return;
        }
        let choice = json!({ "index": choice, "delta": { "role": "assistant", "content": "" },
            "finish_reason": null, "logprobs": null });
        chunk(&[choice], None, frames);
    }

    #[expect(clippy::unused_self, reason = "as the other surfaces")]
    pub(super) fn finish(&mut self, frames: &mut Frames<'_>) {
        if let Some(usage) = frames.usage.filter(|_| frames.options.include_usage) {
            chunk(&[], Some(&usage_to_value(usage)), frames);
        }
        write_data_frame(frames.out, b"[DONE]");
    }
}

/// The first piece of a call names it, the others have arguments only (compat.md §8.9).
fn tool_call(index: u64, id: Option<&str>, name: Option<&str>, arguments: &str) -> Value {
    let mut call = json!({ "index": index, "function": { "arguments": arguments } });
    if let Some(id) = id {
        call["id"] = id.into();
        call["type"] = "function".into();
    }
    if let Some(name) = name {
        call["function"]["name"] = name.into();
    }
    json!({ "tool_calls": [call] })
}

fn chunk(choices: &[Value], usage: Option<&Value>, frames: &mut Frames<'_>) {
    let chunk = json!({
        "id": frames.identity.openai_id(),
        "object": "chat.completion.chunk",
        "created": frames.identity.created,
        "model": frames.identity.model,
        "choices": choices,
        "usage": usage,
        "system_fingerprint": null,
    });
    write_data_frame(frames.out, chunk.to_string().as_bytes());
}
