//! What becomes of upstream's answer: an event stream, a plain answer, or an error.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bailian_wire::Dialect;
use bailian_wire::error::{ApiError, ErrorClass, ErrorView, encode_error, parse_error_body};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, Full};

use super::exchange::Answered;
use super::stream::StreamBody;
use super::{headers, mend, plain, translate};
use crate::account::Account;
use crate::errors::{ERROR_SOURCE, Refusal};
use crate::metrics::Outcome;
use crate::record::Record;
use crate::upstream::UpstreamBody;

/// The largest error body that is read, in bytes; errors are a few hundred.
const MAX_ERROR_BODY_BYTES: usize = 256 * 1024;

/// Makes the client's response out of upstream's.
pub(super) async fn relay(answered: Answered, mut record: Box<Record>) -> Response {
    let Answered {
        answer,
        answering,
        resume,
    } = answered;
    let (head, body) = answer.into_parts();
    record.status = head.status;
    if head.status.is_redirection() {
        let refusal = Refusal::redirected();
        record.status = refusal.status();
        record.error_code = Some(refusal.code().into());
        record.end_as(Outcome::UpstreamError);
        return refusal.to_response(record.dialect, record.request_id.as_str());
    }
    if !head.status.is_success() {
        return relay_error(head.status, &head.headers, body, record).await;
    }
    if answering.translate && !answering.stream {
        return Box::pin(translate::whole(&head, body, &answering, record)).await;
    }
    if headers::is_event_stream(&head.headers) {
        record.begin_stream();
        // From here on frames pass as upstream and the client let them.
        record.leave();
        let mut headers = headers::to_client(&head.headers, true);
        headers::stamp_losses(&mut headers, &answering.losses);
        if answering.translate {
            translate::stamp(&mut headers, &answering);
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        }
        let body = StreamBody::new(body, answering, resume, record);
        let mut response = Response::new(Body::new(body));
        *response.status_mut() = head.status;
        *response.headers_mut() = headers;
        return response;
    }
    plain::relay(&head, body, record).await
}

/// Reads an error answer whole, so that it can be understood before it is passed on.
pub(super) async fn look_at_error(
    answer: http::Response<UpstreamBody>,
    idle: Duration,
    account: Option<&Account>,
) -> (http::Response<UpstreamBody>, ApiError) {
    let (mut head, body) = answer.into_parts();
    let mut bytes = read_error(body, idle).await;
    if let Some(account) = account {
        bytes = account.without_keys(bytes);
    }
    head.headers.remove(CONTENT_LENGTH);
    let error = parse_error_body(head.status.as_u16(), &bytes);
    let body = Full::new(bytes).map_err(|never| match never {});
    (http::Response::from_parts(head, Box::pin(body)), error)
}

/// The body of an error; empty if it does not come.
async fn read_error(body: UpstreamBody, idle: Duration) -> Bytes {
    let limited = http_body_util::Limited::new(body, MAX_ERROR_BODY_BYTES);
    let read = tokio::time::timeout(idle, limited.collect()).await;
    read.ok()
        .and_then(Result::ok)
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default()
}

/// An error of upstream: byte for byte where it speaks the caller's dialect, rewritten else.
async fn relay_error(
    status: StatusCode,
    from: &HeaderMap,
    body: UpstreamBody,
    mut record: Box<Record>,
) -> Response {
    record.leave();
    let bytes = read_error(body, record.idle_limit()).await;
    record.come_back();
    record.note_error(&parse_error_body(status.as_u16(), &bytes));
    record.end_as(Outcome::UpstreamError);
    let mut headers = headers::to_client(from, false);
    headers.remove(CONTENT_LENGTH);
    headers.insert(ERROR_SOURCE, HeaderValue::from_static("upstream"));
    let is_renamed = record.dialect == Dialect::OpenAi
        && record.repairs().quota_code
        && memchr::memmem::find(&bytes, b"insufficient_quota").is_some()
        // Some say the same of an allowance that is used up, which no wait brings back.
        && parse_error_body(status.as_u16(), &bytes).class() == ErrorClass::RateLimitTokens;
    let bytes = if speaks(record.dialect, &bytes) {
        match serde_json::from_slice(&bytes) {
            Ok(mut error) if is_renamed => {
                mend::quota_code(&mut error);
                Bytes::from(error.to_string())
            }
            _ => bytes,
        }
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
        #[serde(rename = "type")]
        kind: Option<String>,
    }
    let Ok(members) = serde_json::from_slice::<Members>(body) else {
        return false;
    };
    match dialect {
        Dialect::Native => members.code.is_some() && members.message.is_some(),
        Dialect::Anthropic => members.kind.as_deref() == Some("error") && members.error.is_some(),
        Dialect::OpenAi => members
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
