//! The body of an answer: paced, spoilt where it should be, journalled.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::journal::{JournalGuard, Verdict};

/// Between the last byte and a cut.
const FLUSH_TIME: Duration = Duration::from_millis(5);

/// One piece of a body.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) bytes: Bytes,
    /// When it is due, after the head of the answer.
    pub(crate) due: Duration,
    pub(crate) frames: u64,
    pub(crate) tokens: u64,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// As it should.
    Whole,
    /// Well-formed, but on purpose not whole, or with an error.
    Spoilt,
    /// The connection is cut.
    Cut,
    /// Nothing comes any more, and it does not end.
    Stall,
}

/// The body of an answer.
pub(crate) struct AnswerBody {
    pieces: VecDeque<Piece>,
    ending: Ending,
    verdict: Verdict,
    began: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    cut_at: Option<Pin<Box<Sleep>>>,
    /// `None` after the end.
    guard: Option<JournalGuard>,
    /// Known where the body is one JSON object.
    length: Option<u64>,
}

impl AnswerBody {
    pub(crate) fn stream(pieces: VecDeque<Piece>, ending: Ending, guard: JournalGuard) -> Self {
        let verdict = if ending == Ending::Whole {
            Verdict::Ok
        } else {
            Verdict::Fault
        };
        Self {
            pieces,
            ending,
            verdict,
            began: Instant::now(),
            timer: None,
            cut_at: None,
            guard: Some(guard),
            length: None,
        }
    }

    /// One JSON object.
    pub(crate) fn whole(body: Bytes, verdict: Verdict, guard: JournalGuard) -> Self {
        let length = body.len() as u64;
        let piece = Piece {
            bytes: body,
            due: Duration::ZERO,
            frames: 0,
            tokens: 0,
        };
        let mut whole = Self::stream(VecDeque::from([piece]), Ending::Whole, guard);
        whole.verdict = verdict;
        whole.length = Some(length);
        whole
    }

    fn conclude(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            guard.conclude(self.verdict);
        }
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
        let Some(next) = this.pieces.front() else {
            return match this.ending {
                Ending::Stall => Poll::Pending,
                Ending::Cut => {
                    // The server drops what it has not written yet when a body fails, so it gets
                    // the time to write what came before.
                    let pause = this
                        .cut_at
                        .get_or_insert_with(|| Box::pin(sleep(FLUSH_TIME)));
                    if pause.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    this.conclude();
                    Poll::Ready(Some(Err(io::Error::other("cut on purpose"))))
                }
                Ending::Whole | Ending::Spoilt => {
                    this.conclude();
                    Poll::Ready(None)
                }
            };
        };
        let due = this.began + next.due;
        if !next.due.is_zero() && Instant::now() < due {
            let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            timer.as_mut().reset(due);
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        let Some(piece) = this.pieces.pop_front() else {
            return Poll::Ready(None);
        };
        if let Some(guard) = &this.guard {
            guard.sent(piece.bytes.len(), piece.frames, piece.tokens);
        }
        // A body of known length is not polled again after its last byte.
        if this.length.is_some() && this.pieces.is_empty() {
            this.conclude();
        }
        Poll::Ready(Some(Ok(Frame::data(piece.bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.ending == Ending::Whole && self.guard.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.length {
            Some(length) if !self.pieces.is_empty() => SizeHint::with_exact(length),
            Some(_) => SizeHint::with_exact(0),
            None => SizeHint::default(),
        }
    }
}
