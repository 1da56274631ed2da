//! Answers in the form of each surface: whole, or as the frames of a stream.

mod anthropic;
mod application;
mod compat;
mod completion;
mod native;
mod response;
mod sound;
mod steps;
mod usage;

use std::ops::Range;

use bailian_wire::Dialect;
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

pub(crate) use self::response::{error_event, item_id, response_object};
use self::steps::{Extras, Steps};
use crate::answer::Answer;
use crate::call::{Call, Wrap};
use crate::config::SimConfig;
use crate::rejection::Rejection;
use crate::tokens::Tokens;

/// One frame of a stream.
#[derive(Clone, Debug)]
pub(crate) struct StreamFrame {
    pub(crate) bytes: Bytes,
    /// Output tokens that stand in it, for pacing.
    pub(crate) tokens: u64,
}

/// The identity of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) request_id: String,
    /// Seconds since the Unix epoch.
    pub(crate) created: u64,
}

/// The answer as one JSON object.
pub(crate) fn whole(
    call: &Call,
    answer: &Answer,
    identity: &Identity,
    config: &SimConfig,
) -> Bytes {
    match (&call.wrap, call.dialect) {
        (Wrap::Completion, _) => completion::whole(call, answer, identity),
        (Wrap::Application(ask), _) => application::whole(call, ask, answer, identity),
        (Wrap::Response(ask), _) => {
            Bytes::from(response_object(call, ask, answer, identity).to_string())
        }
        (Wrap::Chat, Dialect::Native) => native::whole(call, answer, identity),
        (Wrap::Chat, Dialect::Anthropic) => {
            anthropic::whole(call, answer, identity, &config.quirks)
        }
        (Wrap::Chat, Dialect::OpenAi) => compat::whole(call, answer, identity, &config.quirks),
    }
}

/// The frames of an answer, written one by one as they are taken: a long cumulative answer would
/// not fit into memory.
#[derive(Debug)]
pub(crate) struct FrameStream {
    answer: Answer,
    steps: Steps,
    form: Form,
    out: BytesMut,
}

#[derive(Debug)]
enum Form {
    Native(Box<native::Form>),
    Compat(compat::Form),
    Anthropic(anthropic::Form),
    Completion(completion::Form),
    Application(application::Form),
    Response(Box<response::Form>),
}

impl Form {
    fn new(call: &Call, answer: &Answer, identity: &Identity, config: &SimConfig) -> Self {
        let quirks = &config.quirks;
        match (&call.wrap, call.dialect) {
            (Wrap::Completion, _) => Self::Completion(completion::Form::new(call, identity)),
            (Wrap::Application(ask), _) => {
                Self::Application(application::Form::new(call, ask, answer, identity))
            }
            (Wrap::Response(ask), _) => {
                let form = response::Form::new(call, ask, answer, identity, quirks);
                Self::Response(Box::new(form))
            }
            (Wrap::Chat, Dialect::Native) => {
                Self::Native(Box::new(native::Form::new(call, answer, identity)))
            }
            (Wrap::Chat, Dialect::Anthropic) => {
                Self::Anthropic(anthropic::Form::new(call, identity, quirks))
            }
            (Wrap::Chat, Dialect::OpenAi) => {
                Self::Compat(compat::Form::new(call, identity, config))
            }
        }
    }

    fn extras(&self) -> Extras {
        match self {
            Self::Native(form) => form.extras(),
            Self::Compat(form) => form.extras(),
            Self::Anthropic(form) => form.extras(),
            Self::Completion(form) => form.extras(),
            Self::Application(form) => form.extras(),
            Self::Response(form) => form.extras(),
        }
    }
}

impl FrameStream {
    /// `chunk_tokens` tokens stand in each frame.
    pub(crate) fn new(
        call: &Call,
        answer: Answer,
        identity: &Identity,
        chunk_tokens: usize,
        config: &SimConfig,
    ) -> Self {
        let form = Form::new(call, &answer, identity, config);
        Self {
            answer,
            steps: Steps::new(chunk_tokens, form.extras()),
            form,
            out: BytesMut::new(),
        }
    }

    /// The number of the next event of a response; `None` for what is no response.
    pub(crate) fn next_event(&self) -> Option<u64> {
        match &self.form {
            Form::Response(form) => Some(form.next_number()),
            _ => None,
        }
    }
}

impl Iterator for FrameStream {
    type Item = StreamFrame;

    fn next(&mut self) -> Option<StreamFrame> {
        // Some steps of some forms say nothing; they are no frame.
        let mut tokens = 0;
        loop {
            let (choice, step) = self.steps.next(&self.answer)?;
            let (out, answer) = (&mut self.out, &self.answer);
            match &mut self.form {
                Form::Native(form) => form.write(out, answer, choice, &step),
                Form::Compat(form) => form.write(out, answer, choice, &step),
                Form::Anthropic(form) => form.write(out, answer, choice, &step),
                Form::Completion(form) => form.write(out, answer, choice, &step),
                Form::Application(form) => form.write(out, answer, choice, &step),
                Form::Response(form) => form.write(out, answer, choice, &step),
            }
            tokens += step.tokens();
            if !self.out.is_empty() {
                return Some(StreamFrame {
                    bytes: self.out.split().freeze(),
                    tokens,
                });
            }
        }
    }
}

/// An error as a frame of a stream that has begun; `number` is the frame's place, from 1.
pub(crate) fn error_frame(
    dialect: Dialect,
    rejection: &Rejection,
    request_id: &str,
    number: u64,
) -> Bytes {
    let body = rejection.body(dialect, request_id);
    let mut out = BytesMut::new();
    match dialect {
        Dialect::Native => bailian_wire::sse::write_native_frame(
            &mut out,
            number,
            "error",
            rejection.status,
            body.as_bytes(),
        ),
        Dialect::Anthropic => {
            out.extend_from_slice(format!("event: error\ndata: {body}\n\n").as_bytes());
        }
        Dialect::OpenAi => bailian_wire::sse::write_data_frame(&mut out, body.as_bytes()),
    }
    out.freeze()
}

/// Appends a JSON value; text mostly.
fn put(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    // Neither text nor a JSON value can fail to be written to memory.
    let _infallible = serde_json::to_writer(out, value);
}

/// How many alternatives log probabilities have, when they are asked for.
fn wanted_logprobs(call: &Call) -> Option<u64> {
    (call.flag("logprobs") == Some(true)).then(|| call.count("top_logprobs").unwrap_or(0))
}

/// Log probabilities of tokens: plausible and the same every time.
fn logprobs(tokens: &Tokens, range: Range<usize>, alternatives: u64) -> Value {
    let content: Vec<Value> = range
        .map(|at| {
            let token = tokens.slice(at..at + 1);
            let logprob = -0.01 * (token.len() % 7) as f64;
            let top: Vec<Value> = (0..alternatives)
                .map(|rank| {
                    let text = if rank == 0 { token.to_owned() } else { format!("{token}{rank}") };
                    json!({ "token": text, "bytes": text.as_bytes(), "logprob": logprob - rank as f64 })
                })
                .collect();
            json!({ "token": token, "bytes": token.as_bytes(), "logprob": logprob, "top_logprobs": top })
        })
        .collect();
    json!({ "content": content })
}
