//! One HTTP exchange under the call's time limits.

use std::time::SystemTime;

use bailian_wire::error::parse_error_body;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::HeaderMap;
use tokio::time::Instant;

use super::{AttemptFailure, Cause, Settings};
use crate::client::Client;
use crate::error::{DecodeError, TimeoutError, TimeoutPart};
use crate::transport::{Body, TransportErrorKind};

/// Longer answers are read as streams; inline audio is the longest that is not.
const LONGEST_ANSWER: usize = 64 * 1024 * 1024;
/// Errors are short; what is longer comes from something else than the service.
const LONGEST_ERROR: usize = 64 * 1024;

/// A response that is no error by its status.
pub(crate) struct Opened {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

/// Sends the request and waits, up to `limit`, for the head of a good response.
pub(crate) async fn open(
    client: &Client,
    settings: &Settings,
    limit: Limit,
    request: http::Request<Bytes>,
) -> Result<Opened, AttemptFailure> {
    let sending = client.shared.transport.send(request);
    let response = limit.over(sending).await?.map_err(|error| {
        let timeout = TimeoutError {
            part: TimeoutPart::Connect,
            limit: client.shared.config.timeouts.connect,
        };
        AttemptFailure::new(match error.kind() {
            TransportErrorKind::ConnectTimeout => Cause::Timeout(timeout),
            TransportErrorKind::Dns
            | TransportErrorKind::Connect
            | TransportErrorKind::Tls
            | TransportErrorKind::Reset
            | TransportErrorKind::Closed
            | TransportErrorKind::Request
            | TransportErrorKind::Other => Cause::Transport(error),
        })
    })?;
    let (head, body) = response.into_parts();
    if head.status.is_success() {
        return Ok(Opened {
            headers: head.headers,
            body,
        });
    }
    // What could be read of a broken error body still says more than the broken connection does.
    let text = match read_up_to(settings, body, LONGEST_ERROR).await {
        Ok(text) | Err(Partial { text, .. }) => text,
    };
    let error = parse_error_body(head.status.as_u16(), &text);
    Err(AttemptFailure::new(Cause::Api(error)).with_head(&head.headers, SystemTime::now()))
}

/// Reads a whole body.
pub(crate) async fn read_all(settings: &Settings, body: Body) -> Result<Bytes, AttemptFailure> {
    read_up_to(settings, body, LONGEST_ANSWER)
        .await
        .map_err(|partial| AttemptFailure::new(partial.cause))
}

struct Partial {
    text: Bytes,
    cause: Cause,
}

async fn read_up_to(settings: &Settings, mut body: Body, limit: usize) -> Result<Bytes, Partial> {
    let mut text = BytesMut::new();
    loop {
        let idle = settings.limit(TimeoutPart::Idle, settings.idle);
        let cause = match idle.over(body.next()).await {
            Ok(None) => return Ok(text.freeze()),
            Ok(Some(Ok(part))) if text.len() + part.len() <= limit => {
                text.extend_from_slice(&part);
                continue;
            }
            Ok(Some(Ok(_))) => Cause::Decode(DecodeError::TooLong { limit }),
            Ok(Some(Err(error))) => Cause::Transport(error),
            Err(failure) => failure.cause,
        };
        return Err(Partial {
            text: text.freeze(),
            cause,
        });
    }
}

/// The end of a wait, and the error when it comes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) end: Option<Instant>,
    pub(crate) error: TimeoutError,
}

impl Limit {
    /// Waits for a future until the end.
    pub(crate) async fn over<T>(
        self,
        future: impl Future<Output = T>,
    ) -> Result<T, AttemptFailure> {
        match self.end {
            None => Ok(future.await),
            Some(end) => tokio::time::timeout_at(end, future)
                .await
                .map_err(|_| AttemptFailure::new(Cause::Timeout(self.error))),
        }
    }
}
