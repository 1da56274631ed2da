//! Answers in the form of each surface: whole, or as the frames of a stream.

mod anthropic;
mod compat;
mod native;
mod sound;
mod steps;
mod usage;
mod wrapped;

use std::ops::Range;

use bailian_wire::Dialect;
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

use self::steps::Steps;
pub(crate) use self::wrapped::response_object;
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
    if let Some(body) = wrapped::whole(call, answer, identity) {
        return body;
    }
    match call.dialect {
        Dialect::Native => native::whole(call, answer, identity),
        Dialect::Anthropic => anthropic::whole(call, answer, identity, &config.quirks),
        Dialect::OpenAi => compat::whole(call, answer, identity),
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
    Native(native::Form),
    Compat(compat::Form),
    Anthropic(anthropic::Form),
    Wrapped(Box<wrapped::Form>),
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
        let (form, extras) = match call.dialect {
            _ if !matches!(call.wrap, Wrap::Chat) => {
                let form = wrapped::Form::new(call, identity);
                let extras = form.extras();
                (Form::Wrapped(Box::new(form)), extras)
            }
            Dialect::Native => {
                let form = native::Form::new(call, &answer, identity);
                let extras = form.extras();
                (Form::Native(form), extras)
            }
            Dialect::Anthropic => {
                let form = anthropic::Form::new(call, identity, &config.quirks);
                let extras = form.extras();
                (Form::Anthropic(form), extras)
            }
            Dialect::OpenAi => {
                let form = compat::Form::new(call, identity, config.call_fragments);
                let extras = form.extras();
                (Form::Compat(form), extras)
            }
        };
        Self {
            answer,
            steps: Steps::new(chunk_tokens, extras),
            form,
            out: BytesMut::new(),
        }
    }
}

impl Iterator for FrameStream {
    type Item = StreamFrame;

    fn next(&mut self) -> Option<StreamFrame> {
        let (choice, step) = self.steps.next(&self.answer)?;
        match &mut self.form {
            Form::Native(form) => form.write(&mut self.out, &self.answer, choice, &step),
            Form::Compat(form) => form.write(&mut self.out, &self.answer, choice, &step),
            Form::Anthropic(form) => form.write(&mut self.out, &self.answer, choice, &step),
            Form::Wrapped(form) => form.write(&mut self.out, &self.answer, choice, &step),
        }
        Some(StreamFrame {
            bytes: self.out.split().freeze(),
            tokens: step.tokens(),
        })
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
