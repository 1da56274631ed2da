//! Streams: bytes of any surface in, [`ChatEvent`]s out, and the answer they add up to.
//!
//! ```
//! use bailian_wire::stream::{Accumulator, StreamDecoder, StreamSurface};
//!
//! let mut decoder = StreamDecoder::new(StreamSurface::OpenAiChat);
//! decoder.feed(b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\xE4\xBD\xA0\"}}]}\n\n");
//! decoder.feed(b"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n");
//! decoder.finish();
//! let mut answer = Accumulator::new();
//! while let Some(event) = decoder.next_event() {
//!     answer.push(event?);
//! }
//! assert_eq!(answer.finish().text(), "你");
//! # Ok::<(), bailian_wire::stream::StreamError>(())
//! ```

mod accumulate;
mod anthropic;
mod base64;
mod delta;
mod encode;
mod frames;
mod responses;

use std::collections::VecDeque;

use serde_json::Value;

use crate::chat::{ChatEvent, Extra};
use crate::error::{ApiError, parse_error_event};
use crate::sse::{DEFAULT_MAX_EVENT_BYTES, SseDecoder, SseError, SseEvent};

pub use self::accumulate::Accumulator;
pub use self::encode::{StreamEncoder, keep_alive};

/// What a stream's events look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamSurface {
    /// Native generation: text, multimodal, speech, applications (http-native.md §3).
    Native,
    /// OpenAI-compatible chat (compat.md §2.14).
    OpenAiChat,
    /// Anthropic messages (compat.md §6.3).
    Anthropic,
    /// OpenAI responses (compat.md §5.3).
    Responses,
}

/// Why a stream did not give a whole answer. What came before it counts.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The service ended the stream with an error.
    #[error(transparent)]
    Api(ApiError),
    /// An event is not what it should be.
    #[error("malformed event {event} in the stream: {problem}")]
    Malformed {
        /// Its place in the stream, from 1.
        event: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// The bytes are no event stream.
    #[error(transparent)]
    Sse(#[from] SseError),
    /// The stream ended before the answer did.
    #[error("the stream ended without a finish reason: the answer is cut off")]
    Truncated,
}

/// Turns the bytes of a stream into events.
///
/// An error ends the stream: it is delivered after all events before it, then nothing more.
#[derive(Debug)]
pub struct StreamDecoder {
    surface: StreamSurface,
    sse: SseDecoder,
    events: VecDeque<ChatEvent>,
    failure: Option<StreamError>,
    /// Nothing more is looked at: the stream failed, or said that it is done.
    closed: bool,
    frames: u64,
    started: bool,
    delta: delta::DeltaState,
    anthropic: anthropic::AnthropicState,
    responses: responses::ResponsesState,
    /// The members without an event of their own, as last delivered.
    extra: Extra,
}

impl StreamDecoder {
    /// A decoder for a stream of increments.
    pub fn new(surface: StreamSurface) -> Self {
        Self {
            surface,
            sse: SseDecoder::with_max_event_bytes(DEFAULT_MAX_EVENT_BYTES),
            events: VecDeque::new(),
            failure: None,
            closed: false,
            frames: 0,
            started: false,
            delta: delta::DeltaState::default(),
            anthropic: anthropic::AnthropicState::default(),
            responses: responses::ResponsesState::default(),
            extra: Extra::new(),
        }
    }

    /// Says that every frame repeats everything so far: native streams without
    /// `incremental_output`, and some translation models on every surface.
    #[must_use]
    pub fn cumulative(mut self, cumulative: bool) -> Self {
        self.delta.cumulative = cumulative;
        self
    }

    /// Sets the largest event that is accepted, in bytes.
    #[must_use]
    pub fn max_event_bytes(mut self, limit: usize) -> Self {
        self.sse = SseDecoder::with_max_event_bytes(limit);
        self
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.closed {
            return;
        }
        let fed = self.sse.feed(bytes);
        self.drain();
        if let Err(error) = fed {
            self.fail(error.into());
        }
    }

    /// Ends the stream: what is missing becomes a [`StreamError::Truncated`].
    pub fn finish(&mut self) {
        if self.closed {
            return;
        }
        let ended = self.sse.finish();
        self.drain();
        match ended {
            Err(error) => self.fail(error.into()),
            Ok(_) if !self.closed && !self.delta.is_complete() => self.fail(StreamError::Truncated),
            Ok(_) => self.closed = true,
        }
    }

    /// The next event. `None` means that more bytes are needed or, after
    /// [`finish`](Self::finish) or an error, that there are no more.
    pub fn next_event(&mut self) -> Option<Result<ChatEvent, StreamError>> {
        match self.events.pop_front() {
            Some(event) => Some(Ok(event)),
            None => self.failure.take().map(Err),
        }
    }

    /// Whether nothing more is read: the stream failed, or ended as it should.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether every answer so far has its finish reason.
    pub fn is_complete(&self) -> bool {
        self.delta.is_complete()
    }

    fn drain(&mut self) {
        while !self.closed
            && let Some(event) = self.sse.next_event()
        {
            self.frames += 1;
            if let Err(error) = self.read_event(&event) {
                self.fail(error);
            }
        }
    }

    fn fail(&mut self, error: StreamError) {
        if self.closed {
            return;
        }
        // An error that is the first thing to come still says which request it was.
        if let StreamError::Api(api) = &error {
            self.start(None, api.request_id(), None, None);
        }
        self.failure = Some(error);
        self.closed = true;
    }

    fn read_event(&mut self, event: &SseEvent) -> Result<(), StreamError> {
        let data = event.data.trim();
        if data == "[DONE]" {
            self.closed = self.delta.is_complete();
            return Ok(());
        }
        if data.is_empty() || event.name() == "done" {
            return Ok(());
        }
        let status = event.status.filter(|status| *status != 200);
        let is_error = event.name() == "error" || status.is_some_and(|status| status >= 400);
        let frame: Value = match serde_json::from_str(data) {
            Ok(frame) => frame,
            Err(error) => return Err(self.malformed(error.to_string())),
        };
        if (is_error || is_error_frame(&frame))
            && let Some(error) = parse_error_event(status, data)
        {
            return Err(StreamError::Api(error));
        }
        if is_error {
            return Err(self.malformed("an error event without a code or message".to_owned()));
        }
        match self.surface {
            StreamSurface::Native => self.read_native(&frame),
            StreamSurface::OpenAiChat => self.read_openai(&frame),
            StreamSurface::Anthropic => self.read_anthropic(&frame),
            StreamSurface::Responses => return self.read_responses(&frame, data),
        }
        Ok(())
    }

    fn malformed(&self, problem: String) -> StreamError {
        StreamError::Malformed {
            event: self.frames,
            problem,
        }
    }

    /// Delivers a member without an event of its own, once for each value.
    fn extra(&mut self, name: &str, value: &Value) {
        if self.extra.get(name) == Some(value) {
            return;
        }
        self.extra.insert(name.to_owned(), value.clone());
        self.events.push_back(ChatEvent::Extra {
            name: name.to_owned(),
            value: value.clone(),
        });
    }

    fn start(
        &mut self,
        id: Option<&str>,
        request_id: Option<&str>,
        model: Option<&str>,
        created: Option<u64>,
    ) {
        if self.started || (id.is_none() && request_id.is_none() && model.is_none()) {
            return;
        }
        self.started = true;
        self.events.push_back(ChatEvent::Started {
            id: id.map(str::to_owned),
            request_id: request_id.map(str::to_owned),
            model: model.map(str::to_owned),
            created,
        });
    }
}

/// Whether a frame without an error name is an error all the same.
fn is_error_frame(frame: &Value) -> bool {
    let has = |name: &str| frame.get(name).is_some_and(|member| !member.is_null());
    if has("error") && !has("choices") && !has("output") {
        return true;
    }
    let coded = frame
        .get("code")
        .and_then(Value::as_str)
        .is_some_and(|code| !code.is_empty());
    coded && !has("output") && !has("choices") && !has("type")
}

#[cfg(test)]
mod tests;
