//! What was already delivered of each answer: cumulative frames become increments, pieces of tool
//! calls get their names once.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use crate::chat::{ChatEvent, ContentPart, FinishReason, Logprobs};

/// State of all answers of a stream.
#[derive(Debug, Default)]
pub(super) struct DeltaState {
    /// Whether each frame repeats everything so far.
    pub(super) cumulative: bool,
    choices: BTreeMap<u64, ChoiceState>,
}

#[derive(Debug, Default)]
struct ChoiceState {
    /// What was delivered; kept for cumulative streams only.
    text: String,
    reasoning: String,
    logprobs: usize,
    parts: usize,
    tools: BTreeMap<u64, ToolState>,
    finished: bool,
}

#[derive(Debug, Default)]
struct ToolState {
    has_id: bool,
    has_name: bool,
    arguments: String,
}

/// What one frame says of one answer.
#[derive(Debug)]
pub(super) struct ChoiceFrame<'a> {
    pub(super) index: u64,
    pub(super) text: &'a str,
    pub(super) reasoning: &'a str,
    /// The parts that are not just text; their text is in `text`.
    pub(super) parts: Vec<ContentPart>,
    pub(super) tool_calls: &'a [Value],
    pub(super) logprobs: Option<Logprobs>,
    pub(super) finish_reason: Option<FinishReason>,
}

impl DeltaState {
    /// Whether at least one answer came and every one has ended.
    pub(super) fn is_complete(&self) -> bool {
        !self.choices.is_empty() && self.choices.values().all(|choice| choice.finished)
    }

    /// Delivers what is new in a frame.
    pub(super) fn read(&mut self, frame: ChoiceFrame<'_>, events: &mut VecDeque<ChatEvent>) {
        let cumulative = self.cumulative;
        let choice = frame.index;
        let state = self.choices.entry(choice).or_default();
        let reasoning = increment(cumulative, &mut state.reasoning, frame.reasoning);
        if !reasoning.is_empty() {
            events.push_back(ChatEvent::ReasoningDelta {
                choice,
                text: reasoning,
            });
        }
        let text = increment(cumulative, &mut state.text, frame.text);
        if !text.is_empty() {
            events.push_back(ChatEvent::TextDelta { choice, text });
        }
        let known = if cumulative { state.parts } else { 0 };
        for mut part in frame.parts.into_iter().skip(known) {
            state.parts += 1;
            if let ContentPart::Text { text, .. } = &mut part {
                text.clear();
            }
            events.push_back(ChatEvent::Part { choice, part });
        }
        for (call, place) in frame.tool_calls.iter().zip(0u64..) {
            let index = call.get("index").and_then(Value::as_u64).unwrap_or(place);
            let state = state.tools.entry(index).or_default();
            events.extend(state.read(cumulative, choice, index, call));
        }
        if let Some(mut logprobs) = frame.logprobs {
            if cumulative {
                let known = state.logprobs.min(logprobs.content.len());
                logprobs.content.drain(..known);
                state.logprobs += logprobs.content.len();
            }
            if !logprobs.content.is_empty() {
                events.push_back(ChatEvent::Logprobs { choice, logprobs });
            }
        }
        if let Some(reason) = frame.finish_reason
            && !state.finished
        {
            state.finished = true;
            events.push_back(ChatEvent::Finished { choice, reason });
        }
    }

    /// Delivers the end of an answer.
    pub(super) fn end(
        &mut self,
        choice: u64,
        reason: FinishReason,
        events: &mut VecDeque<ChatEvent>,
    ) {
        let frame = ChoiceFrame {
            index: choice,
            text: "",
            reasoning: "",
            parts: Vec::new(),
            tool_calls: &[],
            logprobs: None,
            finish_reason: Some(reason),
        };
        self.read(frame, events);
    }
}

impl ToolState {
    /// The call is known by its index alone: an id can be empty, repeated or absent later
    /// (compat.md §2.14).
    fn read(
        &mut self,
        cumulative: bool,
        choice: u64,
        index: u64,
        call: &Value,
    ) -> Option<ChatEvent> {
        let text = |value: Option<&Value>| {
            value
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let id = text(call.get("id")).filter(|_| !self.has_id);
        let name = text(call.pointer("/function/name")).filter(|_| !self.has_name);
        let arguments = call
            .pointer("/function/arguments")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let arguments = increment(cumulative, &mut self.arguments, arguments);
        self.has_id |= id.is_some();
        self.has_name |= name.is_some();
        if id.is_none() && name.is_none() && arguments.is_empty() {
            return None;
        }
        Some(ChatEvent::ToolCallDelta {
            choice,
            index,
            id,
            name,
            arguments,
        })
    }
}

/// What of `text` is new. Cumulative frames repeat what was delivered, or leave a finished part
/// empty.
fn increment(cumulative: bool, delivered: &mut String, text: &str) -> String {
    if !cumulative {
        return text.to_owned();
    }
    if text.len() <= delivered.len() {
        return String::new();
    }
    if let Some(new) = text.strip_prefix(delivered.as_str()) {
        delivered.push_str(new);
        return new.to_owned();
    }
    let common = delivered
        .bytes()
        .zip(text.bytes())
        .take_while(|(old, new)| old == new)
        .count();
    // A rewritten text cannot be taken back; the seam must not cut a character.
    let common = text.floor_char_boundary(common);
    let new = text[common..].to_owned();
    text.clone_into(delivered);
    new
}
