//! What the model answers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Extra, Message, Role, ToolCall, Usage};

/// A complete answer, the same whichever protocol and whether it was streamed or not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChatResponse {
    /// The answer's id where the protocol has one (`chatcmpl-…`).
    pub id: Option<String>,
    /// The service's id of the request, for its support.
    pub request_id: Option<String>,
    /// The model that answered, where the protocol says so.
    pub model: Option<String>,
    /// When it was made, in seconds since the Unix epoch.
    pub created: Option<u64>,
    /// The answers; one unless `n` asked for more.
    pub choices: Vec<Choice>,
    /// Token counts.
    pub usage: Option<Usage>,
    /// What a web search found (http-native.md §5.7).
    pub search_info: Option<Value>,
    /// Spoken output, base64, pieces joined as they came.
    pub audio: Option<String>,
    /// Where the whole spoken output can be fetched for a day.
    pub audio_url: Option<String>,
    /// Members of the answer that have no field here, such as `tool_info`, an application's
    /// `session_id`, or the `signature` of a thinking block.
    #[serde(skip_serializing_if = "Extra::is_empty", default)]
    pub extra: Extra,
    /// The answer as received; for a stream, `null`.
    #[serde(skip_serializing_if = "Value::is_null", default)]
    pub raw: Value,
}

/// One of the answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Choice {
    /// Its place among the answers.
    pub index: u64,
    /// What the model says.
    pub message: Message,
    /// Why it ended.
    pub finish_reason: Option<FinishReason>,
    /// Log probabilities, when asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub logprobs: Option<Logprobs>,
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinishReason {
    /// The model was done, or a stop text was met. Also ends a forced tool call.
    Stop,
    /// The token limit was met.
    Length,
    /// The model calls tools.
    ToolCalls,
    /// A reason that this version does not know.
    #[serde(untagged)]
    Other(String),
}

impl FinishReason {
    /// Reads the wire value; `null`, the text `"null"` and an empty text mean "not yet".
    pub fn from_wire(value: Option<&str>) -> Option<Self> {
        match value? {
            "" | "null" => None,
            "stop" => Some(Self::Stop),
            "length" => Some(Self::Length),
            "tool_calls" => Some(Self::ToolCalls),
            other => Some(Self::Other(other.to_owned())),
        }
    }

    /// The wire value.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::Other(reason) => reason,
        }
    }
}

/// Log probabilities of an answer's tokens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Logprobs {
    /// One entry per token.
    #[serde(default)]
    pub content: Vec<TokenLogprob>,
}

/// A token and its probability.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TokenLogprob {
    /// The token's text; can be a piece of a character.
    #[serde(default)]
    pub token: String,
    /// Its UTF-8 bytes.
    #[serde(default)]
    pub bytes: Option<Vec<u8>>,
    /// Natural logarithm; `None` for a very improbable token.
    #[serde(default)]
    pub logprob: Option<f64>,
    /// The alternatives.
    #[serde(default)]
    pub top_logprobs: Vec<TopLogprob>,
}

/// An alternative token.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TopLogprob {
    /// The token's text.
    #[serde(default)]
    pub token: String,
    /// Its UTF-8 bytes.
    #[serde(default)]
    pub bytes: Option<Vec<u8>>,
    /// Natural logarithm.
    #[serde(default)]
    pub logprob: Option<f64>,
}

impl Logprobs {
    /// Reads a `logprobs` member; `null` and what does not fit say nothing.
    pub fn from_member(member: Option<&Value>) -> Option<Self> {
        let content = member?.get("content")?.as_array()?;
        let content = content
            .iter()
            .filter_map(|entry| serde_json::from_value(entry.clone()).ok())
            .collect();
        Some(Self { content })
    }
}

impl ChatResponse {
    /// The first answer's message.
    pub fn message(&self) -> Option<&Message> {
        Some(&self.choices.first()?.message)
    }

    /// The first answer's text.
    pub fn text(&self) -> String {
        self.message().map(Message::text).unwrap_or_default()
    }

    /// The first answer's thinking.
    pub fn reasoning(&self) -> &str {
        self.message()
            .and_then(|message| message.reasoning_content.as_deref())
            .unwrap_or_default()
    }

    /// The first answer's tool calls. Decide by these, not by the finish reason: a forced call
    /// ends with `stop`.
    pub fn tool_calls(&self) -> &[ToolCall] {
        self.message()
            .and_then(|message| message.tool_calls.as_deref())
            .unwrap_or_default()
    }

    /// Why the first answer ended.
    pub fn finish_reason(&self) -> Option<&FinishReason> {
        self.choices.first()?.finish_reason.as_ref()
    }

    /// The answer as received; `null` for an answer that was joined from a stream.
    pub fn raw(&self) -> &Value {
        &self.raw
    }

    /// The choice of that index, made if it is new. Choices stay in the order of their index.
    pub(crate) fn choice_mut(&mut self, index: u64) -> &mut Choice {
        let at = match self
            .choices
            .binary_search_by_key(&index, |choice| choice.index)
        {
            Ok(at) => at,
            Err(at) => {
                let message = Message {
                    role: Role::Assistant,
                    ..Message::default()
                };
                self.choices.insert(
                    at,
                    Choice {
                        index,
                        message,
                        ..Choice::default()
                    },
                );
                at
            }
        };
        &mut self.choices[at]
    }
}
