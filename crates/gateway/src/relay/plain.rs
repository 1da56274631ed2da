//! A plain answer: received whole before its head goes out, so that an answer which breaks off
//! becomes a clear error and not half a JSON object.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bailian_wire::error::{ApiError, error_in_success};
use bytes::Bytes;
use http::response::Parts;
use http_body::Frame;
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;

use super::scan::scan;
use super::{Chain, headers, refuse, tap};
use crate::errors::Refusal;
use crate::metrics::Outcome;
use crate::record::Record;
use crate::route::is_fault;
use crate::upstream::{UpstreamBody, UpstreamError};

/// A longer answer is passed on while it arrives, and not searched for usage. The longest
/// published output, 64 Ki tokens, is below half a megabyte.
const MAX_WHOLE_BYTES: usize = 4 * 1024 * 1024;

/// The longest answer in which an error is looked for, which may quote the account's key; errors are
/// a few hundred bytes.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// Makes the client's response.
pub(super) async fn relay(head: &Parts, body: UpstreamBody, mut record: Box<Record>) -> Response {
    record.leave();
    let received = receive(body, record.idle_limit()).await;
    record.come_back();
    let body = match received {
        Ok(Received::Whole(mut bytes)) => {
            if bytes.len() <= MAX_ERROR_BYTES {
                bytes = record.without_keys(bytes);
            }
            if record.wants_report() {
                let read = tap::report_of(&bytes, record.dialect);
                (record.usage, record.report) = read.map_or((None, None), |(counts, report)| {
                    (Some(counts), report.map(Box::new))
                });
            } else {
                record.usage = tap::usage_of(&bytes);
            }
            if record.is_traced() {
                record.finish = scan(&bytes, |_| {}).reasons;
            }
            // Whatever reports its usage is an answer.
            match record.usage.is_none().then(|| error_of(&bytes)).flatten() {
                Some(error) => {
                    if is_fault(error.class()) {
                        record.note_fault();
                    } else {
                        record.note_health();
                    }
                    record.note_error(&error);
                    record.end_as(Outcome::UpstreamError);
                }
                None => {
                    record.note_health();
                    record.note_first_byte();
                    record.end_as(Outcome::Completed);
                }
            }
            Body::from(bytes)
        }
        Ok(Received::Long(rest)) => {
            record.leave();
            Body::new(LongBody { rest, record })
        }
        Err(error) => return broken_off(&error, record),
    };
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = headers::to_client(&head.headers, false);
    response
}

/// The error that stands in the place of an answer though the status says that all is well.
fn error_of(body: &[u8]) -> Option<ApiError> {
    if body.len() > MAX_ERROR_BYTES {
        return None;
    }
    let value: Value = serde_json::from_slice(body).ok()?;
    let is_answer = ["output", "choices", "content", "data", "results"]
        .iter()
        .any(|member| value.get(member).is_some_and(|member| !member.is_null()));
    error_in_success(&value).filter(|_| !is_answer)
}

/// The response when an answer did not come whole.
pub(super) fn broken_off(error: &UpstreamError, record: Box<Record>) -> Response {
    tracing::warn!(
        request_id = record.request_id.as_str(),
        key = record.key_name(),
        tenant = record.tenant(),
        model = record.model.as_deref(),
        error = %Chain(error),
        "upstream broke off an answer"
    );
    record.note_fault();
    refuse(&Refusal::upstream(error), record)
}

enum Received {
    Whole(Bytes),
    Long(Rest),
}

/// Receives an answer before anything of it is passed on, so that another target can be asked if it
/// does not come whole.
pub(super) async fn hold(
    answer: http::Response<UpstreamBody>,
    idle: Duration,
) -> Result<http::Response<UpstreamBody>, UpstreamError> {
    let (head, body) = answer.into_parts();
    let body: UpstreamBody = match receive(body, idle).await? {
        Received::Whole(bytes) => Box::pin(Full::new(bytes).map_err(|never| match never {})),
        Received::Long(rest) => Box::pin(rest),
    };
    Ok(http::Response::from_parts(head, body))
}

async fn receive(mut body: UpstreamBody, limit: Duration) -> Result<Received, UpstreamError> {
    let mut pieces = VecDeque::new();
    let mut length = 0usize;
    while !body.is_end_stream() {
        let Ok(frame) = tokio::time::timeout(limit, body.frame()).await else {
            return Err(UpstreamError::Idle { limit });
        };
        let Some(frame) = frame.transpose()? else {
            break;
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length = length.saturating_add(data.len());
        pieces.push_back(data);
        if length > MAX_WHOLE_BYTES {
            return Ok(Received::Long(Rest { pieces, body }));
        }
    }
    // Dropping the body at its end lets its connection be used again.
    drop(body);
    Ok(Received::Whole(match pieces.len() {
        0 | 1 => pieces.pop_front().unwrap_or_default(),
        _ => pieces.make_contiguous().concat().into(),
    }))
}

/// What has arrived of a long answer, and what is still to come.
struct Rest {
    pieces: VecDeque<Bytes>,
    body: UpstreamBody,
}

impl http_body::Body for Rest {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        if let Some(piece) = self.pieces.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        self.body.as_mut().poll_frame(cx)
    }
}

/// A long answer on its way to the client.
struct LongBody {
    rest: Rest,
    record: Box<Record>,
}

impl http_body::Body for LongBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        self.record.note_first_byte();
        let polled = Pin::new(&mut self.rest).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => {
                self.record.note_health();
                self.record.end_as(Outcome::Completed);
            }
            Poll::Ready(Some(Err(error))) => {
                let refusal = Refusal::upstream(error);
                self.record.error_code = Some(refusal.code().into());
                self.record.note_fault();
                self.record.end_as(Outcome::UpstreamLost);
            }
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }
}
