//! What happens in a streamed answer.

use serde_json::Value;

use super::{ContentPart, FinishReason, Logprobs, Usage};

/// One thing that happened in a stream. `choice` is the answer's index, 0 unless `n` asked for
/// more.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ChatEvent {
    /// The answer began; sent once, with what the first frame said.
    Started {
        /// The answer's id (`chatcmpl-…`), where the protocol has one.
        id: Option<String>,
        /// The service's id of the request.
        request_id: Option<String>,
        /// The model that answers.
        model: Option<String>,
        /// Seconds since the Unix epoch.
        created: Option<u64>,
    },
    /// More of the answer's text.
    TextDelta {
        /// The answer's index.
        choice: u64,
        /// What is new.
        text: String,
    },
    /// A part of the answer that is not just text: a picture, or the `ocr_result` of a text. The
    /// text itself comes as a [`TextDelta`](Self::TextDelta) and is empty here.
    Part {
        /// The answer's index.
        choice: u64,
        /// The part.
        part: ContentPart,
    },
    /// More of the thinking.
    ReasoningDelta {
        /// The answer's index.
        choice: u64,
        /// What is new.
        text: String,
    },
    /// More of a tool call. Join by `index`, never by `id`.
    ToolCallDelta {
        /// The answer's index.
        choice: u64,
        /// The call's place among the answer's calls.
        index: u64,
        /// The call's id, in its first piece.
        id: Option<String>,
        /// The function's name, in its first piece.
        name: Option<String>,
        /// What is new of the arguments.
        arguments: String,
    },
    /// More of the spoken output.
    AudioDelta {
        /// The answer's index.
        choice: u64,
        /// Base64 of raw PCM.
        data: String,
    },
    /// Where the whole spoken output can be fetched for a day.
    AudioUrl(String),
    /// Log probabilities of new tokens.
    Logprobs {
        /// The answer's index.
        choice: u64,
        /// The new tokens.
        logprobs: Logprobs,
    },
    /// What a web search found.
    SearchInfo(Value),
    /// Token counts so far; a running total.
    Usage(Usage),
    /// An answer ended.
    Finished {
        /// The answer's index.
        choice: u64,
        /// Why.
        reason: FinishReason,
    },
    /// A member of the answer that has no event of its own: `tool_info`, an application's
    /// `session_id`, the `signature` of a thinking block. The last one of a name counts.
    Extra {
        /// Its name on the wire.
        name: String,
        /// What it says.
        value: Value,
    },
    /// A frame that this version has no event for, as received.
    Unknown(Value),
}
