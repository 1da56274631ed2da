//! Anthropic message events (compat.md §6.3).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::StreamDecoder;
use crate::anthropic::{finish_reason, usage_of};
use crate::chat::ChatEvent;

/// What spans several events.
#[derive(Debug, Default)]
pub(super) struct AnthropicState {
    /// Block index → place among the tool calls.
    tools: BTreeMap<u64, u64>,
    /// The start reports input, the end output; together they are the usage.
    usage: Map<String, Value>,
}

impl StreamDecoder {
    pub(super) fn read_anthropic(&mut self, event: &Value) {
        let text = |path: &str| event.pointer(path).and_then(Value::as_str);
        let block = event.get("index").and_then(Value::as_u64).unwrap_or(0);
        match text("/type").unwrap_or_default() {
            "message_start" => {
                self.start(text("/message/id"), None, text("/message/model"), None);
                self.merge_usage(event.pointer("/message/usage"));
            }
            "content_block_start" if text("/content_block/type") == Some("tool_use") => {
                let index = self.anthropic.tools.len() as u64;
                self.anthropic.tools.insert(block, index);
                self.events.push_back(ChatEvent::ToolCallDelta {
                    choice: 0,
                    index,
                    id: text("/content_block/id").map(str::to_owned),
                    name: text("/content_block/name").map(str::to_owned),
                    arguments: String::new(),
                });
            }
            "content_block_delta" => self.read_anthropic_delta(block, event),
            "message_delta" => {
                self.merge_usage(event.get("usage"));
                if let Some(reason) = text("/delta/stop_reason") {
                    self.delta.end(0, finish_reason(reason), &mut self.events);
                }
            }
            "content_block_start" | "content_block_stop" | "message_stop" | "ping" => {}
            _ => self.events.push_back(ChatEvent::Unknown(event.clone())),
        }
    }

    fn read_anthropic_delta(&mut self, block: u64, event: &Value) {
        let piece = |name: &str| {
            event
                .pointer(&format!("/delta/{name}"))
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let kind = piece("type").unwrap_or_default();
        // The service's own are empty (compat.md §6.2).
        if kind == "signature_delta" && event["delta"]["signature"] != "" {
            self.extra("signature", &event["delta"]["signature"]);
        }
        let delta = match kind.as_str() {
            "text_delta" => piece("text").map(|text| ChatEvent::TextDelta { choice: 0, text }),
            "thinking_delta" => {
                piece("thinking").map(|text| ChatEvent::ReasoningDelta { choice: 0, text })
            }
            "input_json_delta" => piece("partial_json").map(|arguments| ChatEvent::ToolCallDelta {
                choice: 0,
                index: self.anthropic.tools.get(&block).copied().unwrap_or(0),
                id: None,
                name: None,
                arguments,
            }),
            _ => None,
        };
        self.events.extend(delta);
    }

    fn merge_usage(&mut self, report: Option<&Value>) {
        let Some(report) = report.and_then(Value::as_object) else {
            return;
        };
        let known = report.iter().filter(|(_, count)| !count.is_null());
        self.anthropic
            .usage
            .extend(known.map(|(name, count)| (name.clone(), count.clone())));
        let merged = Value::Object(self.anthropic.usage.clone());
        self.events
            .extend(usage_of(Some(&merged)).map(ChatEvent::Usage));
    }
}
