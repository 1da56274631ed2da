//! The body of an answer: paced, spoilt where it should be, journalled.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::journal::{JournalGuard, Verdict};
use crate::schedule::{Ending, Piece, Schedule};

/// Between the last byte and a cut.
const FLUSH_TIME: Duration = Duration::from_millis(5);

/// The body of an answer. Dropped before its end, it journals that the client left.
pub(crate) struct AnswerBody {
    source: Source,
    /// The piece that is due next.
    next: Option<Piece>,
    began: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    cut_at: Option<Pin<Box<Sleep>>>,
    /// `None` after the end.
    guard: Option<JournalGuard>,
}

enum Source {
    Pieces(Box<Schedule>),
    /// A body of known length and the verdict on it.
    Whole(Bytes, Verdict),
}

impl AnswerBody {
    /// Pieces, each when it is due.
    pub(crate) fn scheduled(schedule: Schedule, guard: JournalGuard) -> Self {
        Self::new(Source::Pieces(Box::new(schedule)), guard)
    }

    /// Bytes that are sent at once.
    pub(crate) fn whole(body: Bytes, verdict: Verdict, guard: JournalGuard) -> Self {
        Self::new(Source::Whole(body, verdict), guard)
    }

    fn new(source: Source, guard: JournalGuard) -> Self {
        Self {
            source,
            next: None,
            began: Instant::now(),
            timer: None,
            cut_at: None,
            guard: Some(guard),
        }
    }

    fn conclude(&mut self, verdict: Verdict) {
        if let Some(mut guard) = self.guard.take() {
            guard.conclude(verdict);
        }
    }

    fn poll_end(
        &mut self,
        ending: Ending,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match ending {
            Ending::Stall => return Poll::Pending,
            Ending::Cut => {
                // The server drops what it has not written yet when a body fails, so it gets
                // the time to write what came before.
                let pause = self
                    .cut_at
                    .get_or_insert_with(|| Box::pin(sleep(FLUSH_TIME)));
                if pause.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.conclude(Verdict::Fault);
                return Poll::Ready(Some(Err(io::Error::other("cut on purpose"))));
            }
            Ending::Whole => self.conclude(Verdict::Ok),
            Ending::Spoilt => self.conclude(Verdict::Fault),
        }
        Poll::Ready(None)
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        let schedule = match &mut this.source {
            Source::Pieces(schedule) => schedule,
            Source::Whole(body, verdict) => {
                let (body, verdict) = (std::mem::take(body), *verdict);
                if body.is_empty() {
                    return Poll::Ready(None);
                }
                if let Some(guard) = &this.guard {
                    guard.sent(body.len(), 0, 0);
                }
                // A body of known length is not polled again after its last byte.
                this.conclude(verdict);
                return Poll::Ready(Some(Ok(Frame::data(body))));
            }
        };
        let Some(piece) = this.next.take().or_else(|| schedule.next()) else {
            let ending = schedule.ending();
            return this.poll_end(ending, cx);
        };
        let due = this.began + piece.due;
        if !piece.due.is_zero() && Instant::now() < due {
            let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            timer.as_mut().reset(due);
            if timer.as_mut().poll(cx).is_pending() {
                this.next = Some(piece);
                return Poll::Pending;
            }
        }
        if let Some(guard) = &this.guard {
            guard.sent(piece.bytes.len(), piece.frames, piece.tokens);
        }
        Poll::Ready(Some(Ok(Frame::data(piece.bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.source, Source::Whole(body, _) if body.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(body, _) => SizeHint::with_exact(body.len() as u64),
            Source::Pieces(_) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerBody").finish_non_exhaustive()
    }
}
