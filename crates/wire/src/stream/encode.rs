//! Events out: a stream of [`ChatEvent`]s written in a dialect's own frames.
//!
//! ```
//! use bailian_wire::chat::{ChatEvent, FinishReason};
//! use bailian_wire::stream::{StreamEncoder, StreamSurface};
//! use bailian_wire::translate::Identity;
//!
//! let identity = Identity::new("6f2a", "qwen-plus", 1_700_000_000);
//! let mut encoder = StreamEncoder::new(StreamSurface::Anthropic, identity);
//! let mut out = bytes::BytesMut::new();
//! encoder.push(&ChatEvent::TextDelta { choice: 0, text: "你好".to_owned() }, &mut out);
//! encoder.push(&ChatEvent::Finished { choice: 0, reason: FinishReason::Stop }, &mut out);
//! encoder.finish(&mut out);
//! let text = String::from_utf8(out.to_vec())?;
//! assert!(text.starts_with("event: message_start\ndata: {"));
//! assert!(text.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
//! # Ok::<(), std::string::FromUtf8Error>(())
//! ```

mod anthropic;
mod native;
mod openai;
mod responses;

use bytes::{BufMut as _, BytesMut};
use serde_json::Value;

use super::StreamSurface;
use crate::Dialect;
use crate::chat::{ChatEvent, Usage};
use crate::error::{ErrorView, encode_error};
use crate::sse::{write_data_frame, write_native_frame};
use crate::translate::{Identity, Losses};

/// Writes the frames of one answer. Every frame is appended whole.
#[derive(Debug)]
pub struct StreamEncoder {
    answer: Answer,
    ended: bool,
    surface: Surface,
}

/// What every surface says of an answer.
#[derive(Debug)]
struct Answer {
    identity: Identity,
    options: Options,
    usage: Option<Usage>,
    losses: Losses,
}

impl Answer {
    fn frames<'a>(&'a mut self, out: &'a mut BytesMut) -> Frames<'a> {
        Frames {
            identity: &self.identity,
            options: self.options,
            usage: self.usage.as_ref(),
            losses: &mut self.losses,
            out,
        }
    }
}

/// What a caller can choose of its frames.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    include_usage: bool,
    cumulative: bool,
    parts: bool,
}

#[derive(Debug)]
enum Surface {
    OpenAi(openai::State),
    Native(native::State),
    Anthropic(anthropic::State),
    Responses(Box<responses::State>),
}

impl StreamEncoder {
    /// An encoder for `surface`.
    pub fn new(surface: StreamSurface, identity: Identity) -> Self {
        let surface = match surface {
            StreamSurface::OpenAiChat => Surface::OpenAi(openai::State::default()),
            StreamSurface::Native => Surface::Native(native::State::default()),
            StreamSurface::Anthropic => Surface::Anthropic(anthropic::State::default()),
            StreamSurface::Responses => Surface::Responses(Box::default()),
        };
        Self {
            answer: Answer {
                identity,
                options: Options::default(),
                usage: None,
                losses: Losses::new(),
            },
            ended: false,
            surface,
        }
    }

    /// Whether an OpenAI stream ends with its usage (`stream_options.include_usage`).
    #[must_use]
    pub fn include_usage(mut self, include: bool) -> Self {
        self.answer.options.include_usage = include;
        self
    }

    /// Whether each native frame repeats everything so far (`incremental_output: false`).
    #[must_use]
    pub fn cumulative(mut self, cumulative: bool) -> Self {
        self.answer.options.cumulative = cumulative;
        self
    }

    /// Whether contents of native frames are lists of parts (the multimodal path).
    #[must_use]
    pub fn parts(mut self, parts: bool) -> Self {
        self.answer.options.parts = parts;
        self
    }

    /// Goes on with an answer whose first frames were written by somebody else: nothing announces
    /// it again. The client has `text`, in `frames` frames.
    #[must_use]
    pub fn continued(mut self, frames: u64, text: &str) -> Self {
        match &mut self.surface {
            Surface::OpenAi(state) => state.continued(),
            Surface::Native(state) => state.continued(frames, text),
            Surface::Anthropic(state) => state.continued(!text.is_empty()),
            Surface::Responses(_) => {}
        }
        self
    }

    /// What of the answer the dialect has no place for.
    pub fn losses(&self) -> &Losses {
        &self.answer.losses
    }

    /// Appends the frames of one event.
    pub fn push(&mut self, event: &ChatEvent, out: &mut BytesMut) {
        if self.ended {
            return;
        }
        if let ChatEvent::Usage(usage) = event {
            self.answer.usage = Some(usage.clone());
        }
        let mut frames = self.answer.frames(out);
        match &mut self.surface {
            Surface::OpenAi(state) => state.push(event, &mut frames),
            Surface::Native(state) => state.push(event, &mut frames),
            Surface::Anthropic(state) => state.push(event, &mut frames),
            Surface::Responses(state) => state.push(event, &mut frames),
        }
    }

    /// Appends what ends the answer.
    pub fn finish(&mut self, out: &mut BytesMut) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let mut frames = self.answer.frames(out);
        match &mut self.surface {
            Surface::OpenAi(state) => state.finish(&mut frames),
            Surface::Native(state) => state.finish(&mut frames),
            Surface::Anthropic(state) => state.finish(&mut frames),
            Surface::Responses(state) => state.finish(&mut frames),
        }
    }

    /// Appends an error, after which the stream ends without its usual end.
    pub fn fail(&mut self, error: &ErrorView<'_>, out: &mut BytesMut) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        match &mut self.surface {
            Surface::Native(state) => {
                let (status, body) = encode_error(Dialect::Native, error);
                let id = state.next_id();
                write_native_frame(out, id, "error", status, body.to_string().as_bytes());
            }
            Surface::Anthropic(_) => {
                let (_, body) = encode_error(Dialect::Anthropic, error);
                write_named_frame(out, "error", &body);
            }
            Surface::OpenAi(_) => {
                let (_, body) = encode_error(Dialect::OpenAi, error);
                write_data_frame(out, body.to_string().as_bytes());
            }
            Surface::Responses(state) => state.fail(error, &mut self.answer.frames(out)),
        }
    }
}

/// The event that Anthropic clients know as a sign of life (compat.md §8.9).
const PING_EVENT: &[u8] = b"event: ping\ndata: {\"type\":\"ping\"}\n\n";
/// A comment, which every client passes over.
const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// A sign of life that may stand between any two frames of a dialect.
pub fn keep_alive(dialect: Dialect) -> &'static [u8] {
    match dialect {
        Dialect::Anthropic => PING_EVENT,
        Dialect::Native | Dialect::OpenAi => KEEP_ALIVE,
    }
}

/// What the surfaces write with.
struct Frames<'a> {
    identity: &'a Identity,
    options: Options,
    usage: Option<&'a Usage>,
    losses: &'a mut Losses,
    out: &'a mut BytesMut,
}

/// Appends `event: <name>` and the data in a line each.
fn write_named_frame(out: &mut BytesMut, name: &str, data: &Value) {
    let data = data.to_string();
    out.reserve(data.len() + name.len() + 18);
    out.put_slice(b"event: ");
    out.put_slice(name.as_bytes());
    out.put_slice(b"\ndata: ");
    out.put_slice(data.as_bytes());
    out.put_slice(b"\n\n");
}
