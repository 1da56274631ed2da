//! What a request used, and under which circumstances.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

/// What a request used. Counts that the price's unit does not count cost nothing: the pictures of
/// a model that is paid by tokens, say.
///
/// ```
/// use bailian_prices::Usage;
///
/// let mut usage = Usage::tokens(1_200, 300);
/// usage.implicit_cached_tokens = 1_024;
/// usage.tool_calls.insert("web_search".to_owned(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// All input, in tokens: cached input and what was written to the cache are part of it, as the
    /// native and the OpenAI dialect count. Anthropic's dialect counts them apart; add them.
    pub input_tokens: u64,
    /// Input found in the implicit cache.
    pub implicit_cached_tokens: u64,
    /// Input found in the explicit cache (`cache_type` is `ephemeral`).
    pub explicit_cached_tokens: u64,
    /// Input written to the explicit cache.
    pub cache_creation_tokens: u64,
    /// What the input is made of; `None` if it was not told.
    pub input_split: Option<InputSplit>,
    /// All output, in tokens, thinking included.
    pub output_tokens: u64,
    /// Thinking among the output. It costs what output costs; it tells that the request thought.
    pub reasoning_tokens: u64,
    /// Sound among the output; `None` if it was not told.
    pub output_audio_tokens: Option<u64>,
    /// Pictures sent.
    pub input_images: u64,
    /// Pictures produced.
    pub output_images: u64,
    /// Sound or video sent, in seconds.
    pub input_seconds: Decimal,
    /// Sound or video produced, in seconds.
    pub output_seconds: Decimal,
    /// Characters of text, counted as the service counts: an ideograph is two.
    pub characters: u64,
    /// Calls, for what is paid by the call.
    pub calls: u64,
    /// Voices made.
    pub voices: u64,
    /// Cloned voices that were used for the first time, which some models charge once.
    pub first_used_voices: u64,
    /// Calls of built-in tools, by name, such as `web_search`. Not all are counted in calls:
    /// `pdf_parse` counts pages.
    pub tool_calls: BTreeMap<String, u64>,
}

impl Usage {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A text request.
    pub fn tokens(input: u64, output: u64) -> Self {
        Self {
            input_tokens: input,
            output_tokens: output,
            ..Self::default()
        }
    }
}

/// The media of an input, in tokens. What they do not account for is text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InputSplit {
    /// Pictures.
    pub image: u64,
    /// Video.
    pub video: u64,
    /// Sound.
    pub audio: u64,
}

impl InputSplit {
    /// Nothing but text.
    pub fn text() -> Self {
        Self::default()
    }

    /// Pictures, video and sound, in tokens; the rest is text.
    pub fn new(image: u64, video: u64, audio: u64) -> Self {
        Self {
            image,
            video,
            audio,
        }
    }
}

/// How the request was made, as far as prices depend on it. What is `None` was not said: where the
/// price depends on it, [`PriceBook::cost`](crate::PriceBook::cost) refuses and
/// [`PriceBook::estimate`](crate::PriceBook::estimate) takes the dearest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Context {
    /// Whether the request ran in thinking mode. `None`: it did if it has reasoning tokens.
    pub thinking: Option<bool>,
    /// Whether it came through the Batch API.
    pub batch: bool,
    /// Of video (`720P`) or pictures (`2K`); case does not matter.
    pub resolution: Option<String>,
    /// Whether video has sound.
    pub audio: Option<bool>,
    /// Whether a video was given as reference.
    pub reference_video: Option<bool>,
    /// Such as `wan-std`.
    pub service_mode: Option<String>,
    /// Such as `text-to-3d`.
    pub task: Option<String>,
    /// Such as `standard+hd-texture`.
    pub spec: Option<String>,
    /// Of video, such as `3:4`.
    pub aspect: Option<String>,
    /// Whether the prompt was rewritten before a picture was made.
    pub prompt_extend: Option<bool>,
    /// What was used of the model before in the counting period, for prices that fall with
    /// volume. In units of the price, this request included.
    pub volume: Option<u64>,
}

impl Context {
    /// Nothing said.
    pub fn new() -> Self {
        Self::default()
    }
}
