//! An event stream on its way to the client: bytes as they arrive, usage read from them in passing.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep};

use super::Chain;
use super::tap::EventTap;
use crate::errors::Refusal;
use crate::metrics::Outcome;
use crate::record::Record;
use crate::upstream::{UpstreamBody, UpstreamError};

/// The body of a streamed answer.
pub(super) struct StreamBody {
    /// `None` after the answer's end.
    upstream: Option<UpstreamBody>,
    /// Why the stream is cut, once what came before has been written.
    cut: Option<UpstreamError>,
    tap: EventTap,
    idle: IdleGuard,
    /// When the lane was told last how long the answer is by now.
    told_at: std::time::Instant,
    record: Record,
}

/// How often the lane is told.
const TELL_INTERVAL: Duration = Duration::from_millis(500);

type Polled = Poll<Option<Result<Frame<Bytes>, UpstreamError>>>;

impl StreamBody {
    pub(super) fn new(upstream: UpstreamBody, record: Record) -> Self {
        Self {
            upstream: Some(upstream),
            cut: None,
            tap: EventTap::default(),
            idle: IdleGuard::new(record.idle_limit()),
            told_at: record.now(),
            record,
        }
    }

    /// Notes how the answer ended. Done here and on drop, whichever comes first.
    fn end(&mut self, outcome: Outcome) {
        self.upstream = None;
        self.record.usage = self.tap.usage();
        self.record.end_as(outcome);
    }

    /// Native streams report usage as they go: then the lane need not guess.
    fn tell_lane(&mut self) {
        if !self.tap.has_report() {
            return;
        }
        let now = self.record.now();
        if now.saturating_duration_since(self.told_at) >= TELL_INTERVAL {
            self.told_at = now;
            if let Some(usage) = self.tap.usage() {
                self.record.observe(usage.output_tokens);
            }
        }
    }

    /// Upstream broke off. Between two events the client is told in its own dialect; inside one
    /// nothing well-formed can follow, so the connection is cut.
    fn break_off(&mut self, error: UpstreamError, cx: &Context<'_>) -> Polled {
        tracing::warn!(
            request_id = self.record.request_id.as_str(),
            error = %Chain(&error),
            "upstream broke off a stream"
        );
        self.end(Outcome::UpstreamLost);
        if self.tap.is_between_lines() {
            let refusal = Refusal::upstream(&error);
            let event = refusal.to_event(self.record.dialect, self.record.request_id.as_str());
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from(event)))));
        }
        // A server drops what it has not written yet when a body fails. Waiting for one more poll
        // lets it write the events that came before.
        self.cut = Some(error);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let this = self.get_mut();
        let Some(upstream) = this.upstream.as_mut() else {
            return Poll::Ready(this.cut.take().map(Err));
        };
        match upstream.as_mut().poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    this.idle.touch();
                    this.record.note_first_byte();
                    this.tap.feed(data);
                    this.tell_lane();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => this.break_off(error, cx),
            Poll::Ready(None) => {
                this.end(Outcome::Completed);
                Poll::Ready(None)
            }
            Poll::Pending => match this.idle.poll_expired(cx) {
                Poll::Ready(limit) => this.break_off(UpstreamError::Idle { limit }, cx),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.upstream.is_none() && self.cut.is_none()
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        if let Some(upstream) = &self.upstream {
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

/// Notices that an answer stands still. A timer per period, not per frame: it only looks whether
/// anything came since it looked last.
struct IdleGuard {
    sleep: Option<Pin<Box<Sleep>>>,
    limit: Duration,
    touched: bool,
}

impl IdleGuard {
    fn new(limit: Duration) -> Self {
        Self {
            sleep: None,
            limit,
            touched: false,
        }
    }

    fn touch(&mut self) {
        self.touched = true;
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<Duration> {
        let limit = self.limit;
        let sleep = self.sleep.get_or_insert_with(|| {
            self.touched = false;
            Box::pin(tokio::time::sleep(limit))
        });
        while sleep.as_mut().poll(cx).is_ready() {
            if !self.touched {
                return Poll::Ready(limit);
            }
            self.touched = false;
            sleep.as_mut().reset(Instant::now() + limit);
        }
        Poll::Pending
    }
}
