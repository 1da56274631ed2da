//! Answers in the form of each surface: whole, or as the frames of a stream.

mod compat;
mod native;

use bailian_wire::Dialect;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::answer::{Answer, ChoiceAnswer};
use crate::call::Call;
use crate::rejection::Rejection;

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
pub(crate) fn whole(call: &Call, answer: &Answer, identity: &Identity) -> Value {
    match call.dialect {
        Dialect::Native => native::whole(call, answer, identity),
        _ => compat::whole(call, answer, identity),
    }
}

/// The answer as frames. `chunk_tokens` tokens stand in each.
pub(crate) fn stream(
    call: &Call,
    answer: &Answer,
    identity: &Identity,
    chunk_tokens: usize,
) -> Vec<StreamFrame> {
    match call.dialect {
        Dialect::Native => native::stream(call, answer, identity, chunk_tokens),
        _ => compat::stream(call, answer, identity, chunk_tokens),
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
    let mut out = bytes::BytesMut::new();
    match dialect {
        Dialect::Native => bailian_wire::sse::write_native_frame(
            &mut out,
            number,
            "error",
            rejection.status,
            body.as_bytes(),
        ),
        _ => bailian_wire::sse::write_data_frame(&mut out, body.as_bytes()),
    }
    out.freeze()
}

/// What is new in a frame.
#[derive(Clone, Debug)]
enum Piece {
    Reasoning(Vec<String>),
    Text(Vec<String>),
    /// The beginning of a call; arguments follow.
    CallStart {
        index: usize,
        arguments: String,
    },
    CallMore {
        index: usize,
        arguments: String,
    },
}

impl Piece {
    fn tokens(&self) -> u64 {
        match self {
            Self::Reasoning(tokens) | Self::Text(tokens) => tokens.len() as u64,
            Self::CallStart { .. } => 2,
            Self::CallMore { .. } => 1,
        }
    }
}

/// The pieces of one answer, in the order in which they are said.
fn pieces(choice: &ChoiceAnswer, chunk_tokens: usize) -> Vec<Piece> {
    let size = chunk_tokens.max(1);
    let mut pieces = Vec::new();
    pieces.extend(
        choice
            .reasoning
            .chunks(size)
            .map(|tokens| Piece::Reasoning(tokens.to_vec())),
    );
    pieces.extend(
        choice
            .text
            .chunks(size)
            .map(|tokens| Piece::Text(tokens.to_vec())),
    );
    for (index, call) in choice.calls.iter().enumerate() {
        let mut arguments = call.arguments.iter();
        let first = arguments.next().cloned().unwrap_or_default();
        pieces.push(Piece::CallStart {
            index,
            arguments: first,
        });
        pieces.extend(arguments.map(|piece| Piece::CallMore {
            index,
            arguments: piece.clone(),
        }));
    }
    pieces
}

/// All calls of a whole answer.
fn whole_calls(choice: &ChoiceAnswer) -> Option<Value> {
    if choice.calls.is_empty() {
        return None;
    }
    let calls = choice.calls.iter().enumerate().map(|(index, call)| {
        json!({
            "function": { "name": call.name, "arguments": call.arguments.concat() },
            "index": index,
            "id": call.id,
            "type": "function",
        })
    });
    Some(calls.collect())
}

/// Log probabilities of tokens: plausible and the same every time.
fn logprobs(call: &Call, tokens: &[String]) -> Option<Value> {
    if call.flag("logprobs") != Some(true) {
        return None;
    }
    let alternatives = call.count("top_logprobs").unwrap_or(0);
    let content: Vec<Value> = tokens
        .iter()
        .map(|token| {
            let logprob = -0.01 * (token.len() % 7) as f64;
            let top: Vec<Value> = (0..alternatives)
                .map(|rank| {
                    let text = if rank == 0 { token.clone() } else { format!("{token}{rank}") };
                    json!({ "token": text, "bytes": text.as_bytes(), "logprob": logprob - rank as f64 })
                })
                .collect();
            json!({ "token": token, "bytes": token.as_bytes(), "logprob": logprob, "top_logprobs": top })
        })
        .collect();
    Some(json!({ "content": content }))
}
