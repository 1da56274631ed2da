//! Reads chat completions and their chunks.

use serde_json::Value;

use crate::chat::{ChatResponse, Choice, Content, FinishReason, Logprobs, Message, Usage};

/// A chat completion or a chunk of one, borrowed from its JSON (compat.md §2.12, §2.14).
#[derive(Clone, Copy, Debug)]
pub struct OpenAiFrame<'a> {
    frame: &'a Value,
}

/// One choice of a completion or chunk.
#[derive(Clone, Copy, Debug)]
pub struct OpenAiChoice<'a> {
    /// Its index.
    pub index: u64,
    message: &'a Value,
    choice: &'a Value,
}

impl<'a> OpenAiFrame<'a> {
    /// Looks at a completion or chunk.
    pub fn new(frame: &'a Value) -> Self {
        Self { frame }
    }

    fn text(self, name: &str) -> Option<&'a str> {
        self.frame.get(name)?.as_str()
    }

    /// The answer's id.
    pub fn id(self) -> Option<&'a str> {
        self.text("id")
    }

    /// The service's id of the request, where the body says it.
    pub fn request_id(self) -> Option<&'a str> {
        self.text("request_id")
    }

    /// The model.
    pub fn model(self) -> Option<&'a str> {
        self.text("model")
    }

    /// Seconds since the Unix epoch.
    pub fn created(self) -> Option<u64> {
        self.frame.get("created")?.as_u64()
    }

    /// Token counts.
    pub fn usage(self) -> Option<Usage> {
        Usage::from_member(self.frame.get("usage"))
    }

    /// The choices.
    pub fn choices(self) -> Vec<OpenAiChoice<'a>> {
        let choices = self.frame.get("choices").and_then(Value::as_array);
        choices
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .zip(0u64..)
            .map(|(choice, place)| OpenAiChoice {
                index: choice.get("index").and_then(Value::as_u64).unwrap_or(place),
                message: choice
                    .get("delta")
                    .or_else(|| choice.get("message"))
                    .unwrap_or(&Value::Null),
                choice,
            })
            .collect()
    }
}

impl<'a> OpenAiChoice<'a> {
    /// The text.
    pub fn text(self) -> String {
        match self.message.get("content") {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(parts)) => parts
                .iter()
                .filter_map(|part| part.get("text")?.as_str())
                .collect(),
            _ => String::new(),
        }
    }

    /// The thinking.
    pub fn reasoning(self) -> &'a str {
        self.message
            .get("reasoning_content")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The tool calls, or pieces of them.
    pub fn tool_calls(self) -> &'a [Value] {
        self.message
            .get("tool_calls")
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    /// Base64 sound.
    pub fn audio(self) -> Option<&'a str> {
        self.message
            .pointer("/audio/data")?
            .as_str()
            .filter(|data| !data.is_empty())
    }

    /// Why it ended; `None` while it goes on.
    pub fn finish_reason(self) -> Option<FinishReason> {
        FinishReason::from_wire(self.choice.get("finish_reason").and_then(Value::as_str))
    }

    /// Log probabilities.
    pub fn logprobs(self) -> Option<Logprobs> {
        Logprobs::from_member(self.choice.get("logprobs"))
    }

    fn to_message(self) -> Message {
        // Sound has a field of the answer; `function_call` and the like are always null.
        Message::from_answer(self.message, Content::Text(self.text()), &["audio"])
    }
}

/// The canonical form of a complete chat completion. Members without a field stay in `raw`.
pub fn decode_response(answer: Value) -> ChatResponse {
    let frame = OpenAiFrame::new(&answer);
    let choices: Vec<Choice> = frame
        .choices()
        .into_iter()
        .map(|choice| Choice {
            index: choice.index,
            message: choice.to_message(),
            finish_reason: choice.finish_reason(),
            logprobs: choice.logprobs(),
        })
        .collect();
    let audio = frame
        .choices()
        .into_iter()
        .find_map(OpenAiChoice::audio)
        .map(str::to_owned);
    ChatResponse {
        id: frame.id().map(str::to_owned),
        request_id: frame.request_id().map(str::to_owned),
        model: frame.model().map(str::to_owned),
        created: frame.created(),
        choices,
        usage: frame.usage(),
        audio,
        raw: answer,
        ..ChatResponse::default()
    }
}
