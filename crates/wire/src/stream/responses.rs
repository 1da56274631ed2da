//! OpenAI responses events (compat.md §5.3), as far as text, thinking and calls go.

use serde_json::Value;

use super::{StreamDecoder, StreamError};
use crate::chat::{ChatEvent, FinishReason, Usage};
use crate::error::parse_error_event;

impl StreamDecoder {
    pub(super) fn read_responses(&mut self, event: &Value, raw: &str) -> Result<(), StreamError> {
        let text = |path: &str| event.pointer(path).and_then(Value::as_str);
        let delta = || text("/delta").unwrap_or_default().to_owned();
        match text("/type").unwrap_or_default() {
            "response.created" | "response.in_progress" => {
                self.start(text("/response/id"), None, text("/response/model"), None);
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
            "response.completed" | "response.incomplete" => {
                if let Some(usage) = Usage::from_member(event.pointer("/response/usage")) {
                    self.events.push_back(ChatEvent::Usage(usage));
                }
                let reason = match text("/response/status") {
                    Some("incomplete") => FinishReason::Length,
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
}
