//! Passes upstream's answer on: bytes as they arrive, usage read from them on the way.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bailian_wire::Dialect;
use bailian_wire::error::{ErrorView, encode_error, parse_error_body};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, Sleep};

use super::headers;
use super::tap::Tap;
use crate::errors::{ERROR_SOURCE, Refusal};
use crate::metrics::Outcome;
use crate::record::Record;
use crate::upstream::{UpstreamBody, UpstreamError};

/// The largest error body that is read, in bytes; errors are a few hundred.
const MAX_ERROR_BODY_BYTES: usize = 256 * 1024;

/// Makes the client's response out of upstream's.
pub(super) async fn relay(answer: http::Response<UpstreamBody>, mut record: Record) -> Response {
    let (head, body) = answer.into_parts();
    record.status = head.status;
    if head.status.is_redirection() {
        let refusal = Refusal::redirected();
        record.status = refusal.status();
        record.end_as(Outcome::UpstreamError);
        return refusal.to_response(record.dialect, record.request_id.as_str());
    }
    if !head.status.is_success() {
        return relay_error(head.status, &head.headers, body, record).await;
    }
    let is_event_stream = headers::is_event_stream(&head.headers);
    if is_event_stream {
        record.begin_stream();
    }
    let idle = record.idle_limit();
    let body = RelayBody {
        upstream: Some(body),
        tap: Tap::new(is_event_stream),
        idle: IdleGuard::new(idle),
        record,
    };
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = head.status;
    *response.headers_mut() = headers::to_client(&head.headers, is_event_stream);
    response
}

/// An error of upstream: byte for byte where it speaks the caller's dialect, rewritten else.
async fn relay_error(
    status: StatusCode,
    from: &HeaderMap,
    body: UpstreamBody,
    mut record: Record,
) -> Response {
    record.end_as(Outcome::UpstreamError);
    let limited = http_body_util::Limited::new(body, MAX_ERROR_BODY_BYTES);
    let read = tokio::time::timeout(record.idle_limit(), limited.collect()).await;
    let bytes = read
        .ok()
        .and_then(Result::ok)
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let mut headers = headers::to_client(from, false);
    headers.remove(CONTENT_LENGTH);
    headers.insert(ERROR_SOURCE, HeaderValue::from_static("upstream"));
    let bytes = if speaks(record.dialect, &bytes) {
        bytes
    } else {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        rewrite(record.dialect, status, from, &bytes, &record)
    };
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Whether an error body has the form that clients of `dialect` read.
fn speaks(dialect: Dialect, body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Members {
        code: Option<serde::de::IgnoredAny>,
        message: Option<serde::de::IgnoredAny>,
        error: Option<serde_json::Map<String, serde_json::Value>>,
    }
    let Ok(members) = serde_json::from_slice::<Members>(body) else {
        return false;
    };
    match dialect {
        Dialect::Native => members.code.is_some() && members.message.is_some(),
        _ => members
            .error
            .is_some_and(|error| error.contains_key("message")),
    }
}

fn rewrite(
    dialect: Dialect,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    record: &Record,
) -> Bytes {
    let header_id = headers
        .get(headers::X_REQUEST_ID)
        .and_then(|id| id.to_str().ok());
    let error = parse_error_body(status.as_u16(), body).with_request_id(header_id);
    let code = error
        .native_code()
        .or(error.code())
        .unwrap_or(error.class().as_str());
    let mut view = ErrorView::new(status.as_u16(), code, error.message());
    view.request_id = Some(error.request_id().unwrap_or(record.request_id.as_str()));
    view.param = error.param();
    let (_, body) = encode_error(dialect, &view);
    Bytes::from(body.to_string())
}

/// The body of an answer on its way to the client.
struct RelayBody {
    /// `None` after the answer's end.
    upstream: Option<UpstreamBody>,
    tap: Tap,
    idle: IdleGuard,
    record: Record,
}

impl RelayBody {
    /// Notes how the answer ended. Done here and on drop, whichever comes first.
    fn end(&mut self, outcome: Outcome) {
        self.upstream = None;
        self.record.usage = self.tap.usage();
        self.record.end_as(outcome);
    }

    /// Upstream broke off. Between two events the client is told in its own dialect; inside one,
    /// or in a plain answer, only a broken connection says that the answer is not whole.
    fn break_off(
        &mut self,
        error: UpstreamError,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        tracing::warn!(
            request_id = self.record.request_id.as_str(),
            error = %super::Chain(&error),
            "upstream broke off an answer"
        );
        let told = self.tap.is_between_lines();
        self.end(Outcome::UpstreamLost);
        if !told {
            return Poll::Ready(Some(Err(error)));
        }
        let refusal = Refusal::upstream(&error);
        let event = refusal.to_event(self.record.dialect, self.record.request_id.as_str());
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(event)))))
    }
}

impl http_body::Body for RelayBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let this = self.get_mut();
        let Some(upstream) = this.upstream.as_mut() else {
            return Poll::Ready(None);
        };
        match upstream.as_mut().poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    this.idle.touch();
                    this.record.note_first_byte();
                    this.tap.feed(data);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => this.break_off(error),
            Poll::Ready(None) => {
                this.end(Outcome::Completed);
                Poll::Ready(None)
            }
            Poll::Pending => match this.idle.poll_expired(cx) {
                Poll::Ready(limit) => this.break_off(UpstreamError::Idle { limit }),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.upstream
            .as_ref()
            .is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.upstream {
            Some(upstream) => upstream.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl Drop for RelayBody {
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
