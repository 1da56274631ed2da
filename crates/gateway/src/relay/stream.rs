//! An event stream on its way to the client, frame by frame.
//!
//! Where both sides speak the same dialect, bytes pass as they arrive, cut between frames; usage is
//! read from them in passing. Else each event is read and written anew. A stream that upstream
//! breaks goes on with another request, or ends with an error in the client's own dialect.

mod silence;
mod tally;
mod writer;

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bailian_wire::chat::ChatEvent;
use bailian_wire::error::ApiError;
use bailian_wire::stream::keep_alive;
use bytes::Bytes;
use http_body::{Body, Frame};
use tokio_util::sync::WaitForCancellationFutureOwned;

use self::silence::{Heard, Silence};
use self::tally::Tally;
use self::writer::{Step, Writer};
use super::progress::{Progress, Standing};
use super::resume::{Resume, Resuming};
use super::shape::{Answering, SoFar};
use super::translate::{Translator, identity_of};
use super::{Chain, exchange};
use crate::errors::Refusal;
use crate::metrics::Outcome;
use crate::record::Record;
use crate::route::is_fault;
use crate::upstream::{UpstreamBody, UpstreamError};

/// How often the lane is told how long the answer is by now.
const TELL_INTERVAL: Duration = Duration::from_millis(500);

/// What tells a client, and whoever reads its log, that an answer was put together.
const RESUMED: &[u8] = b": x-bailian-resumed\n\n";

/// The body of a streamed answer.
pub(super) struct StreamBody {
    state: State,
    writer: Writer,
    answering: Answering,
    /// What the client has, kept while that may be of use: to go on from it, or to bill it.
    progress: Option<Progress>,
    resume: Option<Box<Resume>>,
    /// What follows once the frames before it have gone out.
    next: Option<Box<Step>>,
    silence: Silence,
    told_at: std::time::Instant,
    /// Ends the stream at once when its key is revoked so.
    cut: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// How much of the text, in bytes, earlier parts of the answer brought.
    seam: usize,
    /// Whether what earlier parts cost was guessed.
    has_guessed: bool,
    /// `None` while it is with the request for the rest.
    record: Option<Box<Record>>,
}

enum State {
    Open(UpstreamBody),
    /// The rest is asked for.
    Resuming(Resuming),
    /// The error that cuts the connection, once what came before has been written.
    Cut(Option<UpstreamError>),
}

/// Why a stream cannot go on as it is.
enum Break {
    Lost(UpstreamError),
    /// An error, and the frame that tells it in the client's own words, if upstream wrote one.
    Api(ApiError, Option<Bytes>),
}

type Polled = Poll<Option<Result<Frame<Bytes>, UpstreamError>>>;

fn data(bytes: Bytes) -> Polled {
    Poll::Ready(Some(Ok(Frame::data(bytes))))
}

impl StreamBody {
    pub(super) fn new(
        upstream: UpstreamBody,
        answering: Answering,
        resume: Option<Box<Resume>>,
        record: Box<Record>,
    ) -> Self {
        let repairs = record.repairs();
        let writer = if answering.translate {
            let identity = identity_of(&answering, &record);
            Writer::Translate(Box::new(Translator::new(&answering, identity)))
        } else {
            Writer::relay(&answering, &repairs)
        };
        let progress = (resume.is_some() || record.wants_report()).then(|| {
            let (to, cumulative) = (answering.to, answering.cumulative_to);
            if answering.translate {
                Progress::of_events(answering.is_plain)
            } else {
                Progress::of_frames(to, cumulative, answering.is_plain)
            }
        });
        Self {
            state: State::Open(upstream),
            next: None,
            writer,
            silence: Silence::new(record.idle_limit(), repairs.keep_alive),
            told_at: record.now(),
            cut: record.cut().map(|cut| Box::pin(cut.cancelled_owned())),
            seam: 0,
            has_guessed: false,
            answering,
            progress,
            resume,
            record: Some(record),
        }
    }

    /// Notes how the answer ended. Done here and on drop, whichever comes first.
    fn end(&mut self, outcome: Outcome) {
        self.state = State::Cut(None);
        self.settle(outcome);
    }

    /// Counts the answer, once.
    fn settle(&mut self, outcome: Outcome) {
        if self.record.as_ref().is_none_or(|record| record.is_closed()) {
            return;
        }
        let tally = self.tally();
        let report = tally.is_some_and(|tally| !tally.is_guessed);
        let report = report.then(|| self.writer.report()).flatten();
        if let Some(record) = &mut self.record {
            record.is_estimated = tally.is_some_and(|tally| tally.is_guessed);
            record.usage = tally.map(|tally| tally.counts);
            record.finish.extend(self.writer.finish_reasons());
            if record.wants_report() {
                record.report = report.map(Box::new);
            }
            if outcome == Outcome::Completed {
                record.note_first_byte();
                record.note_health();
            }
            record.end_as(outcome);
        }
    }

    /// Some streams report usage as they go: then the lane need not guess.
    fn tell_lane(&mut self) {
        let (Some(record), true) = (&mut self.record, self.writer.has_report()) else {
            return;
        };
        let now = record.now();
        if now.saturating_duration_since(self.told_at) >= TELL_INTERVAL {
            self.told_at = now;
            if let Some(usage) = self.writer.usage() {
                record.observe(usage.output_tokens);
            }
        }
    }

    /// What a step of the writer means for the stream. `None`: nothing goes out yet.
    fn take(&mut self, step: Step, cx: &Context<'_>) -> Option<Polled> {
        match step {
            Step::Frames(frames) => {
                if let Some(record) = self.record.as_mut().filter(|_| !frames.is_empty()) {
                    record.note_first_byte();
                }
                self.tell_lane();
                if self.writer.has_ended() {
                    // What a client has the end of is in the ledger.
                    self.settle(Outcome::Completed);
                }
                (!frames.is_empty()).then(|| data(frames))
            }
            Step::Then(frames, next) => {
                self.next = Some(next);
                self.take(Step::Frames(frames), cx)
            }
            Step::Complete(frames) => {
                self.keep_response(&frames);
                self.end(Outcome::Completed);
                Some(if frames.is_empty() {
                    Poll::Ready(None)
                } else {
                    data(frames)
                })
            }
            Step::Error(error, told) => Some(self.break_off(Break::Api(error, told), cx)),
            Step::Lost(error) => Some(self.break_off(Break::Lost(error), cx)),
        }
    }

    /// A response that is whole stands in the last frame of its stream.
    fn keep_response(&mut self, frames: &[u8]) {
        let (Some(turn), Some(record)) = (self.answering.turn.take(), &self.record) else {
            return;
        };
        let last = super::frames::split(frames).last();
        let event = last.and_then(super::frames::data_of);
        let event = event.and_then(|data| serde_json::from_slice::<serde_json::Value>(data).ok());
        if let Some(mut event) = event {
            record.keep_response(*turn, event["response"].take());
        }
    }

    /// Upstream broke off. Where the answer can go on, it does; else the client is told.
    fn break_off(&mut self, why: Break, cx: &Context<'_>) -> Polled {
        // What upstream says of an error may quote the request, so the log has its class only.
        let (lost, class, what) = match &why {
            Break::Lost(error) => (Some(Chain(error)), None, "upstream broke off a stream"),
            Break::Api(error, _) => {
                let what = "upstream ended a stream with an error";
                (None, Some(error.class().as_str()), what)
            }
        };
        if let Some(record) = &self.record {
            tracing::warn!(
                request_id = record.request_id.as_str(),
                key = record.key_name(),
                tenant = record.tenant(),
                model = record.model.as_deref(),
                class,
                error = lost.map(tracing::field::display),
                "{what}"
            );
        }
        let standing = self
            .progress
            .as_ref()
            .map_or(Standing::Other, Progress::standing);
        if self.writer.is_finished() {
            return self.complete();
        }
        let faulty = match &why {
            Break::Lost(_) => true,
            Break::Api(error, _) => is_fault(error.class()),
        };
        if let Some(record) = self.record.as_ref().filter(|_| faulty) {
            record.note_fault();
        }
        if let Some(going_on) = self.go_on(&why, standing) {
            return going_on;
        }
        let (refusal, outcome) = match &why {
            Break::Lost(error) => (Refusal::upstream(error), Outcome::UpstreamLost),
            Break::Api(error, _) => {
                let refusal = match &self.record {
                    Some(record) => record.refusal_of(error),
                    None => Refusal::of_api(error),
                };
                (refusal, Outcome::UpstreamError)
            }
        };
        if let Some(record) = &mut self.record {
            match &why {
                Break::Lost(_) => record.error_code = Some(refusal.code().into()),
                Break::Api(error, _) => record.note_error(error),
            }
        }
        self.end(outcome);
        if let Break::Api(_, Some(told)) = why {
            return data(match &self.record {
                Some(record) => record.without_keys(told),
                None => told,
            });
        }
        if self.writer.is_between_frames() {
            return self.tell(&refusal);
        }
        // Inside a frame nothing well-formed can follow. A server drops what it has not written yet
        // when a body fails; waiting for one more poll lets it write what came before.
        if let Break::Lost(error) = why {
            self.state = State::Cut(Some(error));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes the error that ends the stream.
    fn tell(&mut self, refusal: &Refusal) -> Polled {
        let Some(record) = &self.record else {
            return Poll::Ready(None);
        };
        let request_id = record.request_id;
        let event = match &mut self.writer {
            Writer::Translate(translator) => translator.fail(refusal, request_id.as_str()),
            Writer::Relay(relay) => Bytes::from(relay.error_event(refusal, request_id.as_str())),
        };
        data(event)
    }

    /// An answer of which only the end is missing gets one.
    fn complete(&mut self) -> Polled {
        let end = self.writer.close();
        self.end(Outcome::Completed);
        if end.is_empty() {
            return Poll::Ready(None);
        }
        data(end)
    }

    /// Ends an answer that is as long as the caller allows, in the words of its dialect.
    fn end_for_length(&mut self) -> Polled {
        let (Some(progress), Some(record)) = (&self.progress, &self.record) else {
            return Poll::Ready(None);
        };
        let identity = progress.identity(identity_of(&self.answering, record));
        let usage = self.writer.usage().unwrap_or_default();
        let end = Translator::continued(
            &self.answering,
            identity,
            progress.frames(),
            &progress.text(),
            usage,
        )
        .end_for_length();
        if let Some(record) = &mut self.record {
            record.finish.note(b"length");
        }
        self.end(Outcome::Completed);
        data(end)
    }

    /// Asks for the rest, if there is a way.
    fn go_on(&mut self, why: &Break, standing: Standing) -> Option<Polled> {
        let may = match why {
            Break::Lost(_) => true,
            Break::Api(error, _) => error.class().is_throttle() || is_fault(error.class()),
        };
        let resume = self
            .resume
            .as_ref()
            .filter(|resume| may && resume.left() > 0)?;
        let has_begun = !matches!(standing, Standing::Nothing);
        let so_far = match standing {
            Standing::Nothing if resume.has_another_target() => None,
            Standing::Nothing if !self.answering.can_continue => return None,
            Standing::Nothing => Some(SoFar::default()),
            Standing::Text(text) if self.answering.can_continue => Some(SoFar { text, tokens: 0 }),
            Standing::Text(text) if text.is_empty() && resume.has_another_target() => {
                Some(SoFar::default())
            }
            Standing::Text(_) | Standing::Other => return None,
        };
        let Tally {
            counts: prior,
            is_guessed,
        } = match so_far {
            Some(_) if has_begun => self.spent(|| tally::input_of(&resume.call)),
            _ => Tally::default(),
        };
        let is_used_up = |most| self.writer.has_report() && prior.output_tokens >= most;
        if resume.call.demand.max_output.is_some_and(is_used_up) {
            return Some(self.end_for_length());
        }
        let resume = self.resume.take()?;
        let mut record = self.record.take()?;
        self.seam = so_far.as_ref().map_or(0, |so_far| so_far.text.len());
        let so_far = so_far.map(|so_far| SoFar {
            tokens: prior.output_tokens,
            ..so_far
        });
        record.note_failed(match why {
            Break::Lost(_) => Outcome::UpstreamLost,
            Break::Api(..) => Outcome::UpstreamError,
        });
        record.settle_part(prior);
        self.has_guessed |= is_guessed;
        self.writer.note_prior(prior);
        self.state = State::Resuming(resume.resume(record, so_far));
        Some(Poll::Pending)
    }

    /// The rest of an answer is written anew: what the client has so far is known as events, too.
    fn follow_events(&mut self, translated: bool) {
        let Some(Progress::Relayed(_)) = &self.progress else {
            return;
        };
        let Some(progress) = self.progress.take() else {
            return;
        };
        if progress.frames() == 0 && !translated {
            self.progress = Some(progress);
            return;
        }
        let mut events = Progress::of_events(self.answering.is_plain);
        if progress.frames() > 0 {
            let identity = progress.identity(bailian_wire::translate::Identity::default());
            events.push(&ChatEvent::Started {
                id: Some(identity.id),
                request_id: None,
                model: Some(identity.model),
                created: Some(identity.created),
            });
            let text = progress.text();
            events.push(&ChatEvent::TextDelta { choice: 0, text });
        }
        self.progress = Some(events);
    }

    /// The rest is on its way, or will not come.
    fn poll_resuming(&mut self, cx: &mut Context<'_>) -> Polled {
        let State::Resuming(resuming) = &mut self.state else {
            return Poll::Ready(None);
        };
        let (mut record, result) = ready!(resuming.as_mut().poll(cx));
        record.leave();
        let prior = self.writer.prior();
        match result {
            Ok(exchange::Answered {
                answer,
                answering,
                resume,
            }) => {
                record.count_resumed();
                let otherwise = identity_of(&answering, &record);
                let progress = self.progress.as_ref();
                self.writer = match progress {
                    Some(progress) if progress.frames() > 0 => {
                        let identity = progress.identity(otherwise);
                        let text = progress.text();
                        let frames = progress.frames();
                        let translator =
                            Translator::continued(&answering, identity, frames, &text, prior);
                        Writer::Translate(Box::new(translator))
                    }
                    _ if answering.translate => {
                        Writer::Translate(Box::new(Translator::new(&answering, otherwise)))
                    }
                    _ => Writer::relay(&answering, &record.repairs()),
                };
                self.follow_events(answering.translate);
                self.answering = answering;
                self.record = Some(record);
                self.resume = resume;
                self.state = State::Open(answer.into_body());
                data(Bytes::from_static(RESUMED))
            }
            Err(refusal) => {
                record.error_code = Some(refusal.code().into());
                self.record = Some(record);
                self.end(match refusal.outcome() {
                    // It was upstream that broke off, whoever could not go on.
                    Outcome::Refused => Outcome::UpstreamLost,
                    outcome => outcome,
                });
                self.tell(&refusal)
            }
        }
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let this = self.get_mut();
        if let Some(cut) = &mut this.cut
            && cut.as_mut().poll(cx).is_ready()
        {
            this.cut = None;
            let refusal = Refusal::unauthenticated();
            if let Some(record) = &mut this.record {
                record.error_code = Some(refusal.code().into());
            }
            this.end(Outcome::Refused);
            return this.tell(&refusal);
        }
        loop {
            let upstream = match &mut this.state {
                State::Open(upstream) => upstream,
                State::Cut(error) => return Poll::Ready(error.take().map(Err)),
                State::Resuming(_) => match this.poll_resuming(cx) {
                    Poll::Pending => {
                        // How long the rest may take is for its own request to say.
                        return match this.silence.poll(cx) {
                            Poll::Ready(_) => this.sign_of_life(),
                            Poll::Pending => Poll::Pending,
                        };
                    }
                    ready @ Poll::Ready(_) => return ready,
                },
            };
            let step = if let Some(next) = this.next.take() {
                *next
            } else {
                match upstream.as_mut().poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => {
                        let Ok(piece) = frame.into_data() else {
                            continue;
                        };
                        this.silence.touch();
                        this.writer.feed(piece, this.progress.as_mut())
                    }
                    Poll::Ready(Some(Err(error))) => Step::Lost(error),
                    Poll::Ready(None) => this.writer.finish(this.progress.as_mut()),
                    Poll::Pending => match this.writer.flush(this.progress.as_mut()) {
                        Some(step) => step,
                        None => match this.silence.poll(cx) {
                            Poll::Pending => return Poll::Pending,
                            Poll::Ready(Heard::KeepAlive) => return this.sign_of_life(),
                            Poll::Ready(Heard::TooLong(limit)) => {
                                Step::Lost(UpstreamError::Idle { limit })
                            }
                        },
                    },
                }
            };
            if let Some(polled) = this.take(step, cx) {
                if matches!(this.state, State::Resuming(_)) && polled.is_pending() {
                    continue;
                }
                return polled;
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Cut(None))
    }
}

impl StreamBody {
    /// Something for a client that has heard nothing for long, in words that it passes over.
    fn sign_of_life(&self) -> Polled {
        let dialect = super::translate::dialect_of(self.answering.to);
        data(Bytes::from_static(keep_alive(dialect)))
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        if let State::Open(upstream) = &self.state {
            // A body of known length is not polled again after its last byte; else the client left.
            let outcome = if upstream.is_end_stream() {
                Outcome::Completed
            } else {
                Outcome::ClientLeft
            };
            self.end(outcome);
        }
    }
}
