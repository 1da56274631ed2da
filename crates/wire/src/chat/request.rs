//! What a caller asks for.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Extra, Message, ToolChoice, ToolDefinition};

/// A chat request, in the words that both protocols share.
///
/// A parameter that is `None` is not sent: the model's own default holds (http-native.md §4.3).
/// The JSON form is that of the OpenAI-compatible protocol, unknown members in `extra`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChatRequest {
    /// The model's id, such as `qwen-plus`.
    #[serde(default)]
    pub model: String,
    /// The conversation, oldest first.
    #[serde(default)]
    pub messages: Vec<Message>,
    /// Randomness, 0 up to but not including 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Nucleus sampling, above 0 up to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Candidates per token; above 100 means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u64>,
    /// The most answer tokens; thinking is not counted by most models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// The most tokens of thinking and answer together, on newer models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_completion_tokens: Option<u64>,
    /// For repeatable answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Where to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
    /// Number of answers, 1 to 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
    /// Above 0; larger repeats less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repetition_penalty: Option<f64>,
    /// -2 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    /// Whether to return log probabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<bool>,
    /// Alternatives per token, 0 to 5; with `logprobs` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_logprobs: Option<u64>,
    /// Text, JSON, or JSON of a schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_format: Option<ResponseFormat>,
    /// Functions that the model may call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<ToolDefinition>>,
    /// Which of them it may or must call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<ToolChoice>,
    /// Whether several calls may come in one answer. The service's default is `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel_tool_calls: Option<bool>,
    /// Whether tool arguments are streamed, on models where that is a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_stream: Option<bool>,
    /// Switches thinking on hybrid models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_thinking: Option<bool>,
    /// The most thinking tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking_budget: Option<u64>,
    /// `low`, `medium`, `high` and so on, by model; not together with `thinking_budget`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_effort: Option<String>,
    /// Whether the thinking of earlier turns is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preserve_thinking: Option<bool>,
    /// Web search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_search: Option<bool>,
    /// How to search (http-native.md §4.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search_options: Option<Value>,
    /// Languages and terms of a translation model (http-native.md §4.5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub translation_options: Option<Value>,
    /// Native streams: whether frames hold only what is new. Sent as `true` unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incremental_output: Option<bool>,
    /// Native answers: `message` (sent unless set) or `text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_format: Option<String>,
    /// OpenAI-compatible streams: what they report. Usage is asked for unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_options: Option<StreamOptions>,
    /// Parameters without a field here, sent as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What a stream of the OpenAI-compatible protocol reports beyond text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StreamOptions {
    /// Whether the last chunk reports usage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_usage: Option<bool>,
    /// Further options.
    #[serde(flatten)]
    pub extra: Extra,
}

impl StreamOptions {
    /// Asks for usage, or for none.
    pub fn include_usage(include: bool) -> Self {
        Self {
            include_usage: Some(include),
            extra: Extra::new(),
        }
    }
}

/// Where an answer ends early. Texts and token ids cannot be mixed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Stop {
    /// At this text.
    Text(String),
    /// At any of these texts.
    Texts(Vec<String>),
    /// At any of these tokens.
    Tokens(Vec<u64>),
    /// At any of these sequences of tokens.
    TokenSequences(Vec<Vec<u64>>),
    /// A form that this version does not know.
    Other(Value),
}

impl From<&str> for Stop {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl<const N: usize> From<[&str; N]> for Stop {
    fn from(texts: [&str; N]) -> Self {
        Self::Texts(texts.map(str::to_owned).to_vec())
    }
}

/// The form of the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResponseFormat {
    /// Plain text.
    Text,
    /// Some JSON object. The word "json" must stand in the messages.
    JsonObject,
    /// JSON of a schema.
    JsonSchema {
        /// The schema and its name.
        json_schema: JsonSchema,
    },
    /// A form that this version does not know, sent as it is.
    #[serde(untagged)]
    Other(Value),
}

/// A JSON schema that an answer must fit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JsonSchema {
    /// Up to 64 letters, digits, `_` and `-`.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The schema itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// Whether the answer must fit in every detail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
    /// Further members.
    #[serde(flatten)]
    pub extra: Extra,
}

impl JsonSchema {
    /// A schema with a name.
    pub fn new(name: impl Into<String>, schema: Value) -> Self {
        Self {
            name: name.into(),
            schema: Some(schema),
            ..Self::default()
        }
    }
}

/// One setter per optional parameter: `request.temperature(0.7)`.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty),* $(,)?) => {
        impl ChatRequest {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $name(mut self, $name: impl Into<$type>) -> Self {
                    self.$name = Some($name.into());
                    self
                }
            )*
        }
    };
}

setters! {
    /// Sets [`temperature`](Self::temperature).
    temperature: f64,
    /// Sets [`top_p`](Self::top_p).
    top_p: f64,
    /// Sets [`top_k`](Self::top_k).
    top_k: u64,
    /// Sets [`max_tokens`](Self::max_tokens).
    max_tokens: u64,
    /// Sets [`max_completion_tokens`](Self::max_completion_tokens).
    max_completion_tokens: u64,
    /// Sets [`seed`](Self::seed).
    seed: u64,
    /// Sets [`stop`](Self::stop).
    stop: Stop,
    /// Sets [`n`](Self::n).
    n: u64,
    /// Sets [`repetition_penalty`](Self::repetition_penalty).
    repetition_penalty: f64,
    /// Sets [`presence_penalty`](Self::presence_penalty).
    presence_penalty: f64,
    /// Sets [`logprobs`](Self::logprobs).
    logprobs: bool,
    /// Sets [`top_logprobs`](Self::top_logprobs).
    top_logprobs: u64,
    /// Sets [`response_format`](Self::response_format).
    response_format: ResponseFormat,
    /// Sets [`tools`](Self::tools).
    tools: Vec<ToolDefinition>,
    /// Sets [`tool_choice`](Self::tool_choice).
    tool_choice: ToolChoice,
    /// Sets [`parallel_tool_calls`](Self::parallel_tool_calls).
    parallel_tool_calls: bool,
    /// Sets [`tool_stream`](Self::tool_stream).
    tool_stream: bool,
    /// Sets [`enable_thinking`](Self::enable_thinking).
    enable_thinking: bool,
    /// Sets [`thinking_budget`](Self::thinking_budget).
    thinking_budget: u64,
    /// Sets [`reasoning_effort`](Self::reasoning_effort).
    reasoning_effort: String,
    /// Sets [`preserve_thinking`](Self::preserve_thinking).
    preserve_thinking: bool,
    /// Sets [`enable_search`](Self::enable_search).
    enable_search: bool,
    /// Sets [`search_options`](Self::search_options).
    search_options: Value,
    /// Sets [`translation_options`](Self::translation_options).
    translation_options: Value,
    /// Sets [`incremental_output`](Self::incremental_output).
    incremental_output: bool,
    /// Sets [`result_format`](Self::result_format).
    result_format: String,
    /// Sets [`stream_options`](Self::stream_options).
    stream_options: StreamOptions,
}

impl ChatRequest {
    /// A request to `model` with a conversation.
    pub fn new(model: impl Into<String>, messages: impl IntoIterator<Item = Message>) -> Self {
        Self {
            model: model.into(),
            messages: messages.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Adds a message at the end.
    #[must_use]
    pub fn message(mut self, message: Message) -> Self {
        self.messages.push(message);
        self
    }

    /// Adds a parameter that has no field, sent as it is.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra.insert(name.into(), value.into());
        self
    }

    /// Whether any message carries a picture, sound or video.
    pub fn has_media(&self) -> bool {
        self.messages.iter().any(Message::has_media)
    }
}
