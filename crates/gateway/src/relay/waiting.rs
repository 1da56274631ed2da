//! A stream whose request still stands in line: comments keep the connection alive, then the
//! answer's own events follow.
//!
//! The head has gone out by then, so what is refused later is told as an event.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bailian_wire::Dialect;
use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, Sleep};

use super::headers;
use crate::errors::{Refusal, error_event};
use crate::keys::VirtualKey;
use crate::record::{Record, RequestId};

/// The rest of the request's way, and how long it waited.
type Rest = Pin<Box<dyn Future<Output = (Response, Duration)> + Send>>;

/// The body of such a stream.
pub(super) struct WaitingBody {
    state: State,
    interval: Duration,
    sleep: Pin<Box<Sleep>>,
    caller: Caller,
}

/// Whose request it is, for errors and the log. The record itself is with the rest of the way.
#[derive(Clone)]
pub(super) struct Caller {
    dialect: Dialect,
    request_id: RequestId,
    key: Option<Arc<VirtualKey>>,
    model: Option<Box<str>>,
}

impl Caller {
    pub(super) fn of(record: &Record) -> Self {
        Self {
            dialect: record.dialect,
            request_id: record.request_id,
            key: record.owner.as_ref().map(|owner| Arc::clone(&owner.key)),
            model: record.model.clone(),
        }
    }
}

enum State {
    /// In line, or on the way to upstream.
    Waiting(Rest),
    /// The answer has begun.
    Answer(Body),
    /// An answer that is no stream of events is read whole.
    Whole(Pin<Box<dyn Future<Output = Bytes> + Send>>),
    Ended,
}

/// What cannot be larger: an error, or an answer that is no stream.
const MAX_WHOLE_BYTES: usize = 4 * 1024 * 1024;

impl WaitingBody {
    pub(super) fn new(rest: Rest, interval: Duration, caller: Caller) -> Self {
        Self {
            state: State::Waiting(rest),
            interval,
            // The first comment goes out with the head.
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            caller,
        }
    }

    /// The answer has come: its events follow a comment that says how long it took.
    fn begin(&mut self, response: Response, queued: Duration) -> Option<Bytes> {
        let (head, body) = response.into_parts();
        if head.status.is_success() && headers::is_event_stream(&head.headers) {
            self.state = State::Answer(body);
            let comment = format!(": x-bailian-queue-ms {}\n\n", queued.as_millis());
            return Some(Bytes::from(comment));
        }
        let (caller, status) = (self.caller.clone(), head.status);
        let dialect = caller.dialect;
        self.state = State::Whole(Box::pin(async move {
            let limited = http_body_util::Limited::new(body, MAX_WHOLE_BYTES);
            let event = match limited.collect().await {
                Ok(whole) if status.is_success() => {
                    let text = String::from_utf8_lossy(&whole.to_bytes()).replace('\n', " ");
                    format!("data: {text}\n\n")
                }
                Ok(whole) => {
                    let text = String::from_utf8_lossy(&whole.to_bytes()).replace('\n', " ");
                    error_event(dialect, status, &text)
                }
                Err(_) => Refusal::internal().to_event(dialect, caller.request_id.as_str()),
            };
            tracing::debug!(
                request_id = caller.request_id.as_str(),
                key = caller.key.as_ref().map(|key| key.name.as_str()),
                tenant = caller.key.as_ref().map(|key| &*key.tenant),
                model = caller.model.as_deref(),
                status = status.as_u16(),
                "a waiting stream ended with an event instead of an answer"
            );
            Bytes::from(event)
        }));
        None
    }
}

impl http_body::Body for WaitingBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        loop {
            match &mut this.state {
                State::Answer(body) => return Pin::new(body).poll_frame(cx),
                State::Ended => return Poll::Ready(None),
                State::Whole(whole) => {
                    let Poll::Ready(event) = whole.as_mut().poll(cx) else {
                        return Poll::Pending;
                    };
                    this.state = State::Ended;
                    return Poll::Ready(Some(Ok(Frame::data(event))));
                }
                State::Waiting(rest) => {
                    if let Poll::Ready((response, queued)) = rest.as_mut().poll(cx) {
                        if let Some(comment) = this.begin(response, queued) {
                            return Poll::Ready(Some(Ok(Frame::data(comment))));
                        }
                        continue;
                    }
                    if this.sleep.as_mut().poll(cx).is_ready() {
                        this.sleep.as_mut().reset(Instant::now() + this.interval);
                        let comment = Bytes::from_static(b": in line\n\n");
                        return Poll::Ready(Some(Ok(Frame::data(comment))));
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}
