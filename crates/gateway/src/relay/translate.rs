//! Answers that are read in one dialect and written in another.

use axum::body::Body;
use axum::response::Response;
use bailian_wire::chat::{ChatEvent, ChatResponse, FinishReason, Usage};
use bailian_wire::error::{ApiError, error_in_success};
use bailian_wire::stream::{Accumulator, StreamDecoder, StreamEncoder, StreamError, StreamSurface};
use bailian_wire::translate::{Identity, Losses};
use bailian_wire::{Dialect, anthropic, native, openai, responses};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::response::Parts;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::shape::Answering;
use super::{headers, plain, refuse};
use crate::errors::Refusal;
use crate::finish::FinishReasons;
use crate::metrics::Outcome;
use crate::record::Record;
use crate::route::is_fault;
use crate::upstream::{UpstreamBody, UpstreamError};
use crate::usage::TokenCounts;

/// The dialect behind a surface, for headers and errors.
pub(super) fn dialect_of(surface: StreamSurface) -> Dialect {
    match surface {
        StreamSurface::Native => Dialect::Native,
        StreamSurface::Anthropic => Dialect::Anthropic,
        _ => Dialect::OpenAi,
    }
}

/// The identity of an answer that the gateway writes.
pub(super) fn identity_of(answering: &Answering, record: &Record) -> Identity {
    Identity::new(
        record.request_id.as_str(),
        &*answering.model,
        record.unix_seconds(),
    )
}

/// An answer that the caller wants whole.
pub(super) async fn whole(
    head: &Parts,
    body: UpstreamBody,
    answering: &Answering,
    mut record: Box<Record>,
) -> Response {
    record.leave();
    let read = if headers::is_event_stream(&head.headers) {
        join_stream(body, answering, &record).await
    } else {
        read_whole(body, answering, &record).await
    };
    record.come_back();
    let response = match read {
        Ok(response) => response,
        Err(Failure::Api(error)) => {
            if is_fault(error.class()) {
                record.note_fault();
            }
            return refuse(&record.refusal_of(&error), record);
        }
        Err(Failure::Lost(error)) => return plain::broken_off(&error, record),
    };
    record.usage = response.usage.as_ref().map(counts);
    record.report = response.usage.clone().map(Box::new);
    for choice in &response.choices {
        if let Some(reason) = &choice.finish_reason {
            record.finish.note(reason.as_str().as_bytes());
        }
    }
    record.note_first_byte();
    record.note_health();
    record.end_as(Outcome::Completed);
    let identity = identity_of(answering, &record);
    let (body, more) = encode(&response, answering, &identity);
    if let Some(turn) = &answering.turn {
        record.keep_response((**turn).clone(), body.clone());
    }
    let mut losses = answering.losses.clone();
    losses.extend(more);
    let mut answer = Response::new(Body::from(body.to_string()));
    *answer.status_mut() = head.status;
    *answer.headers_mut() = headers::to_client(&head.headers, false);
    stamp(answer.headers_mut(), answering);
    headers::stamp_losses(answer.headers_mut(), &losses);
    let kind = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

/// Says between which dialects an answer was translated.
pub(super) fn stamp(headers: &mut http::HeaderMap, answering: &Answering) {
    let (from, to) = (dialect_of(answering.from), dialect_of(answering.to));
    if answering.from != answering.to {
        headers::stamp_translation(headers, from, to);
    }
}

enum Failure {
    Api(ApiError),
    Lost(UpstreamError),
}

/// The largest whole answer that is translated, in bytes; the longest published output is far
/// below.
const MAX_WHOLE_BYTES: usize = 16 * 1024 * 1024;

fn cut(problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::Lost(UpstreamError::Cut {
        source: problem.into(),
    })
}

async fn read_whole(
    body: UpstreamBody,
    answering: &Answering,
    record: &Record,
) -> Result<ChatResponse, Failure> {
    let limited = http_body_util::Limited::new(body, MAX_WHOLE_BYTES);
    // A whole answer is silent until it comes, so the limit of the answer's head is its limit too.
    let limit = record.idle_limit();
    let bytes = match tokio::time::timeout(limit, limited.collect()).await {
        Ok(collected) => collected.map_err(cut)?.to_bytes(),
        Err(_) => return Err(Failure::Lost(UpstreamError::Idle { limit })),
    };
    let value: Value = serde_json::from_slice(&bytes).map_err(cut)?;
    if let Some(error) = error_in_success(&value) {
        return Err(Failure::Api(error));
    }
    Ok(match answering.from {
        StreamSurface::Native => native::decode_response(value),
        StreamSurface::Anthropic => anthropic::decode_response(value),
        _ => openai::decode_response(value),
    })
}

/// Joins the stream of a model that answers in no other way.
async fn join_stream(
    mut body: UpstreamBody,
    answering: &Answering,
    record: &Record,
) -> Result<ChatResponse, Failure> {
    let mut decoder = StreamDecoder::new(answering.from).cumulative(answering.cumulative_from);
    let mut answer = Accumulator::new();
    let limit = record.idle_limit();
    loop {
        let Ok(frame) = tokio::time::timeout(limit, body.frame()).await else {
            return Err(Failure::Lost(UpstreamError::Idle { limit }));
        };
        let Some(frame) = frame.transpose().map_err(Failure::Lost)? else {
            break;
        };
        if let Some(data) = frame.data_ref() {
            decoder.feed(data);
        }
        take_events(&mut decoder, &mut answer)?;
    }
    decoder.finish();
    take_events(&mut decoder, &mut answer)?;
    Ok(answer.finish())
}

fn take_events(decoder: &mut StreamDecoder, answer: &mut Accumulator) -> Result<(), Failure> {
    while let Some(event) = decoder.next_event() {
        match event {
            Ok(event) => answer.push(event),
            Err(StreamError::Api(error)) => return Err(Failure::Api(error)),
            Err(error) => return Err(cut(error)),
        }
    }
    Ok(())
}

fn encode(response: &ChatResponse, answering: &Answering, identity: &Identity) -> (Value, Losses) {
    match answering.to {
        StreamSurface::Native => native::encode_response(response, identity, answering.parts_to),
        StreamSurface::Anthropic => anthropic::encode_response(response, identity),
        StreamSurface::Responses => responses::encode_response(response, identity),
        _ => openai::encode_response(response, identity),
    }
}

/// The two counts that the gateway keeps.
pub(super) fn counts(usage: &Usage) -> TokenCounts {
    TokenCounts {
        input_tokens: usage.input_tokens,
        output_tokens: usage.output_tokens,
        cached_tokens: usage.cached_tokens.unwrap_or(0),
        reasoning_tokens: usage.reasoning_tokens.unwrap_or(0),
    }
}

/// A stream that is read in one dialect and written in another.
#[derive(Debug)]
pub(super) struct Translator {
    decoder: StreamDecoder,
    encoder: StreamEncoder,
    /// What an earlier part of the same answer cost.
    prior: Option<TokenCounts>,
    usage: Option<TokenCounts>,
    /// The whole of the last report.
    report: Option<Usage>,
    /// How many answers were asked for, and how many said why they end.
    answers: u32,
    finished: u32,
    reasons: FinishReasons,
}

/// How a stream stands after a piece.
#[derive(Debug)]
pub(super) enum Flow {
    /// It goes on.
    On,
    /// It is complete.
    Complete,
    /// Upstream sent an error.
    Error(ApiError),
    /// It cannot be read on.
    Broken(StreamError),
}

impl Translator {
    pub(super) fn new(answering: &Answering, identity: Identity) -> Self {
        let decoder = StreamDecoder::new(answering.from).cumulative(answering.cumulative_from);
        let encoder = StreamEncoder::new(answering.to, identity)
            .include_usage(answering.include_usage)
            .cumulative(answering.cumulative_to)
            .parts(answering.parts_to);
        Self {
            decoder,
            encoder,
            prior: None,
            usage: None,
            report: None,
            answers: answering.answers,
            finished: 0,
            reasons: FinishReasons::default(),
        }
    }

    /// For the rest of an answer of which the client has something already.
    pub(super) fn continued(
        answering: &Answering,
        identity: Identity,
        frames: u64,
        text: &str,
        prior: TokenCounts,
    ) -> Self {
        let mut this = Self::new(answering, identity);
        this.encoder = this.encoder.continued(frames, text);
        this.prior = Some(prior);
        this
    }

    /// Tokens that were reported so far, those of an earlier part with them.
    pub(super) fn usage(&self) -> Option<TokenCounts> {
        self.usage
    }

    /// The whole of the last report.
    pub(super) fn report(&self) -> Option<Usage> {
        self.report.clone()
    }

    pub(super) fn finish_reasons(&self) -> FinishReasons {
        self.reasons
    }

    /// Whether every answer has said why it ends.
    pub(super) fn is_finished(&self) -> bool {
        self.finished >= self.answers.max(1)
    }

    /// Keeps what this part of the answer cost until the next begins.
    pub(super) fn note_prior(&mut self, prior: TokenCounts) {
        self.prior = Some(prior);
    }

    pub(super) fn prior(&self) -> TokenCounts {
        self.prior.unwrap_or_default()
    }

    /// Reads a piece and writes its frames.
    pub(super) fn feed(
        &mut self,
        piece: &[u8],
        out: &mut BytesMut,
        seen: impl FnMut(&ChatEvent),
    ) -> Flow {
        self.decoder.feed(piece);
        self.write(out, seen)
    }

    /// Upstream's stream ended.
    pub(super) fn finish(&mut self, out: &mut BytesMut, seen: impl FnMut(&ChatEvent)) -> Flow {
        self.decoder.finish();
        match self.write(out, seen) {
            // One of several answers may have come to its end.
            Flow::On | Flow::Complete if !self.is_finished() => {
                Flow::Broken(StreamError::Truncated)
            }
            Flow::On | Flow::Complete => {
                self.encoder.finish(out);
                Flow::Complete
            }
            other => other,
        }
    }

    fn write(&mut self, out: &mut BytesMut, mut seen: impl FnMut(&ChatEvent)) -> Flow {
        while let Some(event) = self.decoder.next_event() {
            let mut event = match event {
                Ok(event) => event,
                Err(StreamError::Api(error)) => return Flow::Error(error),
                Err(error) => return Flow::Broken(error),
            };
            if let ChatEvent::Usage(usage) = &mut event {
                if let Some(prior) = self.prior {
                    *usage = sum(usage, prior);
                }
                self.usage = Some(counts(usage));
                self.report = Some(usage.clone());
            }
            if let ChatEvent::Finished { reason, .. } = &event {
                self.finished += 1;
                self.reasons.note(reason.as_str().as_bytes());
            }
            seen(&event);
            self.encoder.push(&event, out);
        }
        Flow::On
    }

    /// Ends the stream with an error.
    pub(super) fn fail(&mut self, refusal: &Refusal, request_id: &str) -> Bytes {
        let mut out = BytesMut::new();
        self.encoder.fail(&refusal.view(request_id), &mut out);
        out.freeze()
    }

    /// Ends an answer that is as long as it may be.
    pub(super) fn end_for_length(&mut self) -> Bytes {
        let mut out = BytesMut::new();
        let usage = sum(&Usage::default(), self.prior());
        for event in [
            ChatEvent::Usage(usage),
            ChatEvent::Finished {
                choice: 0,
                reason: FinishReason::Length,
            },
        ] {
            self.encoder.push(&event, &mut out);
        }
        self.encoder.finish(&mut out);
        out.freeze()
    }

    /// Ends an answer that was complete but for its end.
    pub(super) fn close(&mut self) -> Bytes {
        let mut out = BytesMut::new();
        self.encoder.finish(&mut out);
        out.freeze()
    }
}

/// Both parts of an answer together: both were billed.
fn sum(usage: &Usage, prior: TokenCounts) -> Usage {
    let input = usage.input_tokens.saturating_add(prior.input_tokens);
    let output = usage.output_tokens.saturating_add(prior.output_tokens);
    let cached = usage.cached_tokens.unwrap_or(0);
    Usage::from_value(json!({
        "prompt_tokens": input,
        "completion_tokens": output,
        "total_tokens": input.saturating_add(output),
        "prompt_tokens_details": { "cached_tokens": cached },
    }))
}
