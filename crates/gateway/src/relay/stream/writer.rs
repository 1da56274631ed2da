//! What is written of what upstream sends: its own frames, or a translation.

use bailian_wire::chat::Usage;
use bailian_wire::error::{ApiError, ErrorClass, parse_error_event};
use bailian_wire::stream::StreamSurface;
use bytes::{Bytes, BytesMut};
use memchr::memmem;
use serde_json::Value;

use super::super::frames::{self, FrameCutter};
use super::super::mend::{self, ToolCalls};
use super::super::progress::Progress;
use super::super::scan::{Marks, scan};
use super::super::shape::Answering;
use super::super::tap::EventTap;
use super::super::translate::{Flow, Translator, dialect_of};
use crate::config::Repairs;
use crate::errors::Refusal;
use crate::finish::FinishReasons;
use crate::upstream::UpstreamError;
use crate::usage::TokenCounts;

/// What a piece of upstream's stream comes to.
pub(super) enum Step {
    /// Frames for the client; none yet, if empty.
    Frames(Bytes),
    /// The last frames of a complete answer.
    Complete(Bytes),
    /// An error, and the frame that tells it as the client reads it, where upstream wrote it so.
    Error(ApiError, Option<Bytes>),
    /// The stream cannot be read on.
    Lost(UpstreamError),
    /// Frames for the client, and then another step.
    Then(Bytes, Box<Self>),
}

impl Step {
    /// This step, once what came before it has gone out.
    fn after(self, frames: BytesMut) -> Self {
        if frames.is_empty() {
            self
        } else {
            Self::Then(frames.freeze(), Box::new(self))
        }
    }
}

/// Writes the client's frames.
pub(super) enum Writer {
    Relay(Box<Relay>),
    Translate(Box<Translator>),
}

impl Writer {
    pub(super) fn relay(answering: &Answering, repairs: &Repairs) -> Self {
        let is_chat = answering.to == StreamSurface::OpenAiChat;
        Self::Relay(Box::new(Relay {
            surface: answering.to,
            cutter: FrameCutter::default(),
            tap: EventTap::default(),
            tool_calls: (is_chat && repairs.tool_calls).then(ToolCalls::default),
            hide_usage: is_chat && repairs.usage && !answering.include_usage,
            quota_code: is_chat && repairs.quota_code,
            prior: TokenCounts::default(),
            answers: answering.answers,
            finished: 0,
            reasons: FinishReasons::default(),
            has_ended: false,
        }))
    }

    pub(super) fn feed(&mut self, piece: Bytes, progress: Option<&mut Progress>) -> Step {
        match self {
            Self::Relay(relay) => {
                let whole = relay.cutter.push(piece);
                relay.pass(whole, progress)
            }
            Self::Translate(translator) => {
                let mut out = BytesMut::new();
                let flow = translator.feed(&piece, &mut out, see(progress));
                step(flow, out)
            }
        }
    }

    /// Upstream pauses: a frame that is whole but for its blank line goes out without it.
    pub(super) fn flush(&mut self, progress: Option<&mut Progress>) -> Option<Step> {
        match self {
            Self::Relay(relay) => {
                let frame = relay.cutter.complete_but_for_blank_line()?;
                Some(relay.pass(frame, progress))
            }
            Self::Translate(_) => None,
        }
    }

    /// Upstream's stream ended.
    pub(super) fn finish(&mut self, progress: Option<&mut Progress>) -> Step {
        match self {
            Self::Relay(relay) => relay.finish(progress),
            Self::Translate(translator) => {
                let mut out = BytesMut::new();
                let flow = translator.finish(&mut out, see(progress));
                step(flow, out)
            }
        }
    }

    /// Tokens that were reported so far.
    pub(super) fn usage(&self) -> Option<TokenCounts> {
        match self {
            Self::Relay(relay) => relay.tap.usage(),
            Self::Translate(translator) => translator.usage(),
        }
    }

    /// The whole report.
    pub(super) fn report(&self) -> Option<Usage> {
        match self {
            Self::Relay(relay) => relay.tap.report(dialect_of(relay.surface)),
            Self::Translate(translator) => translator.report(),
        }
    }

    /// Why its answers ended, as far as upstream has said so.
    pub(super) fn finish_reasons(&self) -> FinishReasons {
        match self {
            Self::Relay(relay) => relay.reasons,
            Self::Translate(translator) => translator.finish_reasons(),
        }
    }

    pub(super) fn has_report(&self) -> bool {
        match self {
            Self::Relay(relay) => relay.tap.has_report(),
            Self::Translate(translator) => translator.usage().is_some(),
        }
    }

    /// Whether the answer is whole but for what closes its stream.
    pub(super) fn is_finished(&self) -> bool {
        match self {
            Self::Relay(relay) => relay.is_finished(),
            Self::Translate(translator) => translator.is_finished(),
        }
    }

    /// Whether the last frame of the answer has been written, though upstream has not closed.
    pub(super) fn has_ended(&self) -> bool {
        match self {
            Self::Relay(relay) => {
                relay.has_ended || (relay.surface == StreamSurface::Native && relay.is_finished())
            }
            Self::Translate(_) => false,
        }
    }

    /// What closes the stream of such an answer.
    pub(super) fn close(&mut self) -> Bytes {
        match self {
            Self::Relay(relay) => Bytes::from_static(relay.closing()),
            Self::Translate(translator) => translator.close(),
        }
    }

    pub(super) fn is_between_frames(&self) -> bool {
        match self {
            Self::Relay(relay) => relay.cutter.is_between_frames(),
            Self::Translate(_) => true,
        }
    }

    /// Keeps what a part of the answer cost until the next begins.
    pub(super) fn note_prior(&mut self, prior: TokenCounts) {
        match self {
            Self::Relay(relay) => relay.prior = prior,
            Self::Translate(translator) => translator.note_prior(prior),
        }
    }

    pub(super) fn prior(&self) -> TokenCounts {
        match self {
            Self::Relay(relay) => relay.prior,
            Self::Translate(translator) => translator.prior(),
        }
    }
}

fn see(progress: Option<&mut Progress>) -> impl FnMut(&bailian_wire::chat::ChatEvent) {
    let mut progress = progress;
    move |event| {
        if let Some(progress) = progress.as_deref_mut() {
            progress.push(event);
        }
    }
}

fn step(flow: Flow, out: BytesMut) -> Step {
    match flow {
        Flow::On => Step::Frames(out.freeze()),
        Flow::Complete => Step::Complete(out.freeze()),
        Flow::Error(error) => Step::Error(error, None).after(out),
        Flow::Broken(error) => Step::Lost(UpstreamError::Cut {
            source: Box::new(error),
        })
        .after(out),
    }
}

/// Passes frames as they are, but for what has to be mended.
pub(super) struct Relay {
    surface: StreamSurface,
    cutter: FrameCutter,
    tap: EventTap,
    tool_calls: Option<ToolCalls>,
    hide_usage: bool,
    quota_code: bool,
    prior: TokenCounts,
    /// How many answers were asked for, and how many said why they end.
    answers: u32,
    finished: u32,
    reasons: FinishReasons,
    /// The frame that ends such streams was seen.
    has_ended: bool,
}

impl Relay {
    fn pass(&mut self, whole: Bytes, progress: Option<&mut Progress>) -> Step {
        if whole.is_empty() {
            return Step::Frames(whole);
        }
        let mut progress = progress;
        let marks = match &mut progress {
            Some(Progress::Relayed(relayed)) => relayed.scan(&whole),
            _ => scan(&whole, |_| {}),
        };
        if let Some(report) = marks.report.and_then(|at| whole.get(at..)) {
            self.tap.note(report);
        }
        self.finished = self.finished.saturating_add(marks.finishes);
        self.reasons.extend(marks.reasons);
        self.has_ended |= ends(self.surface, &whole, marks);
        let mends = (marks.report.is_some() && self.hide_usage)
            || (self.tool_calls.is_some() && marks.calls)
            || marks.maybe_error;
        if mends {
            return self.mend(&whole, progress);
        }
        if let Some(progress) = progress {
            progress.note_sent(&whole);
        }
        Step::Frames(whole)
    }

    /// Looks at each frame of `whole` on its own.
    fn mend(&mut self, whole: &Bytes, progress: Option<&mut Progress>) -> Step {
        let mut out = BytesMut::with_capacity(whole.len());
        for frame in frames::split(whole) {
            let parsed = frames::data_of(frame)
                .and_then(|data| Some((data, serde_json::from_slice::<Value>(data).ok()?)));
            let Some((data, mut value)) = parsed else {
                out.extend_from_slice(frame);
                continue;
            };
            if let Some(error) = error_of(frame, data, &value) {
                if let Some(progress) = progress {
                    progress.note_sent(&out);
                }
                let told = self.told(frame, &mut value, &error);
                return Step::Error(error, told).after(out);
            }
            if self.hide_usage && is_usage_chunk(&value) {
                continue;
            }
            let mended = self
                .tool_calls
                .as_mut()
                .is_some_and(|calls| calls.mend(&mut value));
            if mended {
                bailian_wire::sse::write_data_frame(&mut out, value.to_string().as_bytes());
            } else {
                out.extend_from_slice(frame);
            }
        }
        let out = out.freeze();
        if let Some(progress) = progress {
            progress.note_sent(&out);
        }
        Step::Frames(out)
    }

    /// The frame that tells an error, if it does so in the client's own words; `None` for one that
    /// has to be rewritten.
    fn told(&self, frame: &[u8], value: &mut Value, error: &ApiError) -> Option<Bytes> {
        let is_spoken = match self.surface {
            StreamSurface::OpenAiChat => {
                value.pointer("/error/message").is_some() && !frame.starts_with(b"id:")
            }
            StreamSurface::Native => {
                value.get("code").is_some() && memmem::find(frame, b"event:error").is_some()
            }
            _ => value["type"] == "error",
        };
        if !is_spoken {
            return None;
        }
        if !self.quota_code || error.class() != ErrorClass::RateLimitTokens {
            return Some(Bytes::copy_from_slice(frame));
        }
        mend::quota_code(value);
        let mut mended = BytesMut::new();
        bailian_wire::sse::write_data_frame(&mut mended, value.to_string().as_bytes());
        Some(mended.freeze())
    }

    /// An error as the event that ends a stream of this kind.
    pub(super) fn error_event(&self, refusal: &Refusal, request_id: &str) -> String {
        match self.surface {
            StreamSurface::Responses => {
                let body = refusal.to_body(bailian_wire::Dialect::OpenAi, request_id);
                let error: Value = serde_json::from_str(&body).unwrap_or_default();
                let event = serde_json::json!({ "type": "error", "code": error["error"]["code"],
                    "message": error["error"]["message"], "param": null });
                format!("event: error\ndata: {event}\n\n")
            }
            surface => refusal.to_event(dialect_of(surface), request_id),
        }
    }

    /// Whether every answer has said why it ends, so that nothing but the end can be missing.
    fn is_finished(&self) -> bool {
        self.has_ended || self.finished >= self.answers.max(1)
    }

    /// What ends such a stream, if it has not come.
    fn closing(&self) -> &'static [u8] {
        match self.surface {
            _ if self.has_ended => b"",
            StreamSurface::OpenAiChat => b"data: [DONE]\n\n",
            StreamSurface::Anthropic => {
                b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
            }
            _ => b"",
        }
    }

    fn finish(&mut self, mut progress: Option<&mut Progress>) -> Step {
        let rest = self.cutter.rest();
        let is_frame = frames::data_of(&rest)
            .is_some_and(|data| data == b"[DONE]" || serde_json::from_slice::<Value>(data).is_ok());
        let mut last = Bytes::new();
        if is_frame {
            // It may lack its blank line.
            let mut whole = BytesMut::from(rest);
            while !whole.ends_with(b"\n\n") {
                whole.extend_from_slice(b"\n");
            }
            match self.pass(whole.freeze(), progress.as_deref_mut()) {
                Step::Frames(frames) => last = frames,
                other => return other,
            }
        }
        // What passes without being followed may be anything: a task, speech, a search.
        let may_end_so = progress.is_none() && self.surface == StreamSurface::Native;
        if self.is_finished() || may_end_so {
            let mut end = BytesMut::from(last);
            end.extend_from_slice(self.closing());
            return Step::Complete(end.freeze());
        }
        Step::Lost(UpstreamError::Cut {
            source: "the stream ended before its answer was complete".into(),
        })
        .after(BytesMut::from(last))
    }
}

/// Whether whole frames hold the one that ends a stream of this kind.
fn ends(surface: StreamSurface, whole: &[u8], marks: Marks) -> bool {
    match surface {
        StreamSurface::OpenAiChat => marks.done,
        StreamSurface::Anthropic => memmem::find(whole, b"\"message_stop\"").is_some(),
        StreamSurface::Responses => ["completed", "incomplete", "failed"]
            .iter()
            .any(|end| memmem::find(whole, format!("\"response.{end}\"").as_bytes()).is_some()),
        // Running native frames say `"null"`, and whether one ends is for its events to say.
        _ => false,
    }
}

/// The error that a frame tells.
fn error_of(frame: &[u8], data: &[u8], value: &Value) -> Option<ApiError> {
    let is_there = |name: &str| value.get(name).is_some_and(|member| !member.is_null());
    if is_there("choices") || is_there("output") || is_there("response") {
        return None;
    }
    let names_error = memmem::find(frame, b"event:error").is_some()
        || memmem::find(frame, b"event: error").is_some();
    if !(names_error || is_there("error") || (is_there("code") && is_there("message"))) {
        return None;
    }
    let status = memmem::find(frame, b":HTTP_STATUS/")
        .and_then(|at| frame.get(at + 13..at + 16))
        .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok())
        .filter(|status| *status != 200);
    parse_error_event(status, &String::from_utf8_lossy(data))
}

/// The chunk that has usage and nothing else (compat.md §2.14).
fn is_usage_chunk(chunk: &Value) -> bool {
    chunk.get("usage").is_some_and(Value::is_object)
        && chunk
            .get("choices")
            .and_then(Value::as_array)
            .is_none_or(Vec::is_empty)
}
