//! OpenAI responses events (compat.md §5.3), as far as text, thinking and calls go.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{StreamDecoder, StreamError};
use crate::chat::{ChatEvent, FinishReason, Usage};
use crate::error::parse_error_event;

/// What spans several events.
#[derive(Debug, Default)]
pub(super) struct ResponsesState {
    /// The function calls by item id, or by their output index where events have no id.
    calls: BTreeMap<String, CallState>,
}

#[derive(Debug)]
struct CallState {
    place: u64,
    /// How many bytes of the arguments were delivered.
    delivered: usize,
}

impl StreamDecoder {
    pub(super) fn read_responses(&mut self, event: &Value, raw: &str) -> Result<(), StreamError> {
        let text = |path: &str| event.pointer(path).and_then(Value::as_str);
        let delta = || text("/delta").unwrap_or_default().to_owned();
        match text("/type").unwrap_or_default() {
            "response.created" | "response.in_progress" => {
                // The first event has an empty model; so may all others.
                let model = text("/response/model").filter(|model| !model.is_empty());
                self.start(text("/response/id"), None, model, None);
            }
            "response.output_text.delta" => {
                self.events.push_back(ChatEvent::TextDelta {
                    choice: 0,
                    text: delta(),
                });
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                self.events.push_back(ChatEvent::ReasoningDelta {
                    choice: 0,
                    text: delta(),
                });
            }
            "response.output_item.added" | "response.output_item.done" => {
                self.read_call_item(event);
            }
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                let key = call_key(text("/item_id"), event);
                self.push_call(key, None, None, &delta());
            }
            "response.completed" | "response.incomplete" => {
                if let Some(usage) = Usage::from_member(event.pointer("/response/usage")) {
                    self.events.push_back(ChatEvent::Usage(usage));
                }
                if let Some(status) = event.pointer("/response/status") {
                    self.extra("status", status);
                }
                let reason = match text("/response/incomplete_details/reason") {
                    Some("content_filter") => FinishReason::Other("content_filter".to_owned()),
                    _ if text("/response/status") == Some("incomplete") => FinishReason::Length,
                    _ if !self.responses.calls.is_empty() => FinishReason::ToolCalls,
                    _ => FinishReason::Stop,
                };
                self.delta.end(0, reason, &mut self.events);
            }
            "response.failed" => {
                let response = event.get("response").map(Value::to_string);
                let error = parse_error_event(None, response.as_deref().unwrap_or(raw));
                return Err(match error {
                    Some(error) => StreamError::Api(error),
                    None => self.malformed("response.failed without an error".to_owned()),
                });
            }
            // The other events announce and repeat what the ones above say.
            kind if kind.starts_with("response.") => {}
            _ => self.events.push_back(ChatEvent::Unknown(event.clone())),
        }
        Ok(())
    }

    /// The item that is added names the call, the one that is done has its whole arguments: which
    /// of the pieces between come at all is not settled (compat.md §5.3).
    fn read_call_item(&mut self, event: &Value) {
        let text = |name: &str| event["item"].get(name).and_then(Value::as_str);
        let arguments = match text("type") {
            Some("function_call") => text("arguments"),
            Some("custom_tool_call") => text("input"),
            _ => return,
        };
        let key = call_key(text("id"), event);
        let delivered = self
            .responses
            .calls
            .get(&key)
            .map_or(0, |call| call.delivered);
        let rest = arguments
            .and_then(|arguments| arguments.get(delivered..))
            .unwrap_or_default();
        self.push_call(key, text("call_id"), text("name"), rest);
    }

    fn push_call(&mut self, key: String, id: Option<&str>, name: Option<&str>, arguments: &str) {
        let calls = &mut self.responses.calls;
        let place = calls.len() as u64;
        let is_new = !calls.contains_key(&key);
        let call = calls.entry(key).or_insert(CallState {
            place,
            delivered: 0,
        });
        call.delivered += arguments.len();
        if !is_new && arguments.is_empty() {
            return;
        }
        self.events.push_back(ChatEvent::ToolCallDelta {
            choice: 0,
            index: call.place,
            id: id.filter(|_| is_new).map(str::to_owned),
            name: name.filter(|_| is_new).map(str::to_owned),
            arguments: arguments.to_owned(),
        });
    }
}

fn call_key(item_id: Option<&str>, event: &Value) -> String {
    match item_id {
        Some(id) if !id.is_empty() => id.to_owned(),
        _ => event["output_index"].to_string(),
    }
}
