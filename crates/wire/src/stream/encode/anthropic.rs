//! Anthropic events (compat.md §6.3, §8.9).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Frames, write_named_frame};
use crate::anthropic::{stop_reason, usage_to_value};
use crate::chat::{ChatEvent, FinishReason};

#[derive(Debug, Default)]
pub(super) struct State {
    started: bool,
    open: Option<Block>,
    next_index: u64,
    tools: BTreeMap<u64, Tool>,
    reason: Option<FinishReason>,
    signature: Option<String>,
}

/// A content block that has begun and not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Thinking,
    Text,
    Tool(u64),
}

/// A call: its beginning waits for the name, pieces that come too early wait with it.
#[derive(Debug, Default)]
struct Tool {
    id: String,
    name: String,
    waiting: String,
    begun: bool,
    ended: bool,
}

impl State {
    /// The message has begun, and with it perhaps its first block.
    pub(super) fn continued(&mut self, has_text: bool) {
        self.started = true;
        if has_text {
            self.open = Some(Block::Text);
            self.next_index = 1;
        }
    }

    pub(super) fn push(&mut self, event: &ChatEvent, frames: &mut Frames<'_>) {
        match event {
            ChatEvent::TextDelta { choice: 0, text } => {
                if text.is_empty() {
                    return;
                }
                self.open(Block::Text, frames);
                self.delta(&json!({ "type": "text_delta", "text": text }), frames);
            }
            ChatEvent::ReasoningDelta { choice: 0, text } => {
                if text.is_empty() {
                    return;
                }
                self.open(Block::Thinking, frames);
                self.delta(
                    &json!({ "type": "thinking_delta", "thinking": text }),
                    frames,
                );
            }
            ChatEvent::ToolCallDelta {
                choice: 0,
                index,
                id,
                name,
                arguments,
            } => self.tool(*index, id.as_deref(), name.as_deref(), arguments, frames),
            ChatEvent::Finished { choice: 0, reason } => self.reason = Some(reason.clone()),
            ChatEvent::Started { .. } => self.start(frames),
            ChatEvent::Extra { name, value } if name == "signature" => {
                self.signature = value.as_str().map(str::to_owned);
            }
            ChatEvent::SearchInfo(_) => frames.losses.dropped("search_info"),
            ChatEvent::Logprobs { .. } => frames.losses.dropped("logprobs"),
            ChatEvent::AudioDelta { .. } => frames.losses.changed("audio"),
            ChatEvent::AudioUrl(_) => frames.losses.dropped("audio.url"),
            ChatEvent::Part { .. } => frames.losses.changed("content"),
            ChatEvent::Extra { name, .. } => frames.losses.dropped(name.clone()),
            ChatEvent::TextDelta { .. }
            | ChatEvent::ReasoningDelta { .. }
            | ChatEvent::ToolCallDelta { .. }
            | ChatEvent::Finished { .. } => frames.losses.changed("choices"),
            ChatEvent::Usage(_) | ChatEvent::Unknown(_) => {}
        }
    }

    pub(super) fn finish(&mut self, frames: &mut Frames<'_>) {
        self.start(frames);
        self.close(frames);
        // Calls that never had a name, or came after their block had ended.
        let left: Vec<u64> = self
            .tools
            .iter()
            .filter(|(_, tool)| !tool.begun || !tool.waiting.is_empty())
            .map(|(index, _)| *index)
            .collect();
        for index in left {
            self.begin_tool(index, frames);
            self.close(frames);
        }
        let reason = self
            .reason
            .as_ref()
            .map(|reason| stop_reason(reason, !self.tools.is_empty()));
        let event = json!({
            "type": "message_delta",
            "delta": { "stop_reason": reason, "stop_sequence": null },
            "usage": usage_to_value(frames.usage),
        });
        write_named_frame(frames.out, "message_delta", &event);
        write_named_frame(
            frames.out,
            "message_stop",
            &json!({ "type": "message_stop" }),
        );
    }

    fn start(&mut self, frames: &mut Frames<'_>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let usage = usage_to_value(frames.usage);
        let event = json!({
            "type": "message_start",
            "message": {
                "id": frames.identity.anthropic_id(),
                "type": "message",
                "role": "assistant",
                "model": frames.identity.model,
                "content": [],
                "stop_reason": null,
                "stop_sequence": null,
                "usage": usage,
            },
        });
        write_named_frame(frames.out, "message_start", &event);
    }

    fn open(&mut self, block: Block, frames: &mut Frames<'_>) {
        self.start(frames);
        if self.open == Some(block) {
            return;
        }
        self.close(frames);
        let content = match block {
            Block::Thinking => json!({ "type": "thinking", "thinking": "", "signature": "" }),
            Block::Text => json!({ "type": "text", "text": "" }),
            Block::Tool(index) => {
                let tool = self.tools.entry(index).or_default();
                json!({ "type": "tool_use", "id": tool.id, "name": tool.name, "input": {} })
            }
        };
        let event = json!({
            "type": "content_block_start",
            "index": self.next_index,
            "content_block": content,
        });
        write_named_frame(frames.out, "content_block_start", &event);
        self.next_index += 1;
        self.open = Some(block);
    }

    fn close(&mut self, frames: &mut Frames<'_>) {
        let Some(block) = self.open else { return };
        if block == Block::Thinking {
            let signature = self.signature.take().unwrap_or_default();
            self.delta(
                &json!({ "type": "signature_delta", "signature": signature }),
                frames,
            );
        }
        if let Block::Tool(index) = block
            && let Some(tool) = self.tools.get_mut(&index)
        {
            tool.ended = true;
        }
        let event = json!({ "type": "content_block_stop", "index": self.index() });
        write_named_frame(frames.out, "content_block_stop", &event);
        self.open = None;
    }

    /// The index of the open block.
    fn index(&self) -> u64 {
        self.next_index.saturating_sub(1)
    }

    fn delta(&self, delta: &Value, frames: &mut Frames<'_>) {
        let event = json!({ "type": "content_block_delta", "index": self.index(), "delta": delta });
        write_named_frame(frames.out, "content_block_delta", &event);
    }

    fn tool(
        &mut self,
        index: u64,
        id: Option<&str>,
        name: Option<&str>,
        arguments: &str,
        frames: &mut Frames<'_>,
    ) {
        let tool = self.tools.entry(index).or_default();
        if let Some(id) = id {
            id.clone_into(&mut tool.id);
        }
        if let Some(name) = name {
            name.clone_into(&mut tool.name);
        }
        tool.waiting.push_str(arguments);
        // A block that ended cannot be opened again: what comes late waits for the end.
        if tool.ended || (!tool.begun && tool.name.is_empty()) {
            return;
        }
        self.begin_tool(index, frames);
    }

    fn begin_tool(&mut self, index: u64, frames: &mut Frames<'_>) {
        self.open(Block::Tool(index), frames);
        let Some(tool) = self.tools.get_mut(&index) else {
            return;
        };
        tool.begun = true;
        let piece = std::mem::take(&mut tool.waiting);
        if !piece.is_empty() {
            self.delta(
                &json!({ "type": "input_json_delta", "partial_json": piece }),
                frames,
            );
        }
    }
}
