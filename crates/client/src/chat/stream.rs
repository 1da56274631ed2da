//! Streams of chat events.

mod open;
mod whole;

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bailian_wire::chat::{ChatEvent, ChatResponse, Usage};
use bailian_wire::stream::{Accumulator, StreamDecoder, StreamError};
use futures_core::{FusedStream, Stream};
use futures_util::StreamExt as _;
use http::HeaderMap;
use tokio::time::{Instant, Sleep};

pub(super) use open::open;

use crate::attempt::Attempt;
use crate::call::{AttemptFailure, Cause, Settings, Spending};
use crate::error::{Error, TimeoutError, TimeoutPart};
use crate::response::Response;
use crate::transport::Body;

/// The parts of an answer as they arrive.
///
/// A stream that ends without saying why the answer ended yields an error; the events before it
/// count. Nothing runs in the background: bytes are read when the stream is polled, so a slow
/// reader slows the sender.
///
/// # Cancel safety
/// Dropping the stream closes the request at once. The service may bill what it did until then.
pub struct ChatStream {
    /// Events that were there when the stream was opened.
    ready: VecDeque<Result<ChatEvent, StreamError>>,
    decoder: StreamDecoder,
    body: Option<Body>,
    idle: Pin<Box<Sleep>>,
    /// Whether the caller waits for bytes, and the idle limit runs.
    waits: bool,
    deadline: Option<Pin<Box<Sleep>>>,
    settings: Settings,
    head: Head,
    /// What it cost, and the permit that is settled with that at the end.
    spending: Spending,
    ended: bool,
}

/// What is known besides the events.
#[derive(Debug)]
struct Head {
    headers: HeaderMap,
    request_id: Option<String>,
    attempts: Vec<Attempt>,
}

// === impl ChatStream ===

impl ChatStream {
    fn new(
        ready: VecDeque<Result<ChatEvent, StreamError>>,
        decoder: StreamDecoder,
        body: Option<Body>,
        settings: &Settings,
        head: Head,
        spending: Spending,
    ) -> Self {
        let idle = Box::pin(tokio::time::sleep(settings.idle));
        let deadline = settings
            .deadline
            .map(|end| Box::pin(tokio::time::sleep_until(end)));
        let settings = settings.clone();
        Self {
            ready,
            decoder,
            body,
            idle,
            waits: false,
            deadline,
            settings,
            head,
            spending,
            ended: false,
        }
    }

    /// The service's id of the request, for its support.
    pub fn request_id(&self) -> Option<&str> {
        self.head.request_id.as_deref()
    }

    /// The headers of the response.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// Everything that was tried, the successful attempt last.
    pub fn attempts(&self) -> &[Attempt] {
        &self.head.attempts
    }

    /// The newest report of token counts. Reports are running totals; the last one counts.
    pub fn usage(&self) -> Option<&Usage> {
        self.spending.usage.as_ref()
    }

    /// Reads the stream to its end and joins it into the answer that the call without streaming
    /// would have given. Events that were taken from the stream before are missing in it.
    ///
    /// # Errors
    /// The first error of the stream.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the request.
    pub async fn collect(mut self) -> Result<Response<ChatResponse>, Error> {
        let mut answer = Accumulator::new();
        while let Some(event) = self.next().await {
            answer.push(event?);
        }
        let mut answer = answer.finish();
        if answer.request_id.is_none() {
            answer.request_id.clone_from(&self.head.request_id);
        }
        let Head {
            headers,
            request_id,
            attempts,
        } = self.head;
        Ok(Response::new(answer, request_id, headers, attempts))
    }

    fn next_decoded(&mut self) -> Option<Result<ChatEvent, StreamError>> {
        self.ready.pop_front().or_else(|| self.decoder.next_event())
    }

    fn note(&mut self, event: &ChatEvent) {
        match event {
            ChatEvent::Started {
                request_id: Some(id),
                ..
            } if self.head.request_id.is_none() => {
                self.head.request_id = Some(id.clone());
            }
            ChatEvent::Usage(usage) => {
                self.spending.usage = Some(usage.clone());
            }
            _ => {}
        }
    }

    /// Ends the stream: closes the request and drops what is left.
    fn end(&mut self) {
        self.body = None;
        self.spending.settle();
        self.ended = true;
    }

    fn end_with(&mut self, cause: impl Into<Cause>) -> Error {
        self.end();
        let mut failure = AttemptFailure::new(cause);
        failure.request_id.clone_from(&self.head.request_id);
        failure.into_error(std::mem::take(&mut self.head.attempts))
    }

    /// Starts the idle limit when the caller begins to wait, so that a caller who was busy
    /// elsewhere is not told that the service was silent.
    fn begin_to_wait(&mut self) {
        if !std::mem::replace(&mut self.waits, true)
            && let Some(end) = Instant::now().checked_add(self.settings.idle)
        {
            self.idle.as_mut().reset(end);
        }
    }

    fn poll_timers(&mut self, cx: &mut Context<'_>) -> Poll<TimeoutError> {
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(self.settings.total_error());
        }
        ready!(self.idle.as_mut().poll(cx));
        Poll::Ready(TimeoutError {
            part: TimeoutPart::Idle,
            limit: self.settings.idle,
        })
    }
}

impl Stream for ChatStream {
    type Item = Result<ChatEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if this.ended {
                return Poll::Ready(None);
            }
            match this.next_decoded() {
                Some(Ok(event)) => {
                    this.note(&event);
                    return Poll::Ready(Some(Ok(event)));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(this.end_with(error)))),
                None => {}
            }
            let Some(body) = &mut this.body else {
                this.end();
                return Poll::Ready(None);
            };
            if this.decoder.is_closed() {
                // The protocol's own end was seen. Taking the end of the body along, where it is
                // there already, lets the connection be used again.
                let _ = body.poll_next_unpin(cx);
                this.end();
                return Poll::Ready(None);
            }
            match body.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(bytes))) => {
                    this.decoder.feed(&bytes);
                    this.waits = false;
                }
                // Every answer had ended; only the goodbye was lost.
                Poll::Ready(Some(Err(_))) if this.decoder.is_complete() => this.body = None,
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Some(Err(this.end_with(Cause::Transport(error)))));
                }
                Poll::Ready(None) => {
                    this.body = None;
                    this.decoder.finish();
                }
                Poll::Pending => {
                    this.begin_to_wait();
                    let error = ready!(this.poll_timers(cx));
                    return Poll::Ready(Some(Err(this.end_with(Cause::Timeout(error)))));
                }
            }
        }
    }
}

impl FusedStream for ChatStream {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl fmt::Debug for ChatStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatStream")
            .field("request_id", &self.head.request_id)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
