//! Why an attempt failed, and the error that it becomes.

use std::time::{Duration, SystemTime};

use bailian_wire::error::ApiError;
use bailian_wire::stream::StreamError;

use crate::attempt::{Attempt, Outcome};
use crate::error::{DecodeError, Error, Failed, StreamFailure, TimeoutError, TimeoutPart};
use crate::retry::ServerHints;
use crate::transport::{Sent, TransportError, TransportErrorKind};

/// Why an attempt failed, with what decides whether there is another one.
#[derive(Debug)]
pub(crate) struct AttemptFailure {
    pub(crate) cause: Cause,
    pub(crate) hints: ServerHints,
    pub(crate) request_id: Option<String>,
}

/// The cause of a failed attempt, before it becomes an [`Error`].
#[derive(Debug)]
pub(crate) enum Cause {
    Transport(TransportError),
    Timeout(TimeoutError),
    Api(ApiError),
    Stream(StreamFailure),
    Decode(DecodeError),
}

// === impl Cause ===

impl From<StreamError> for Cause {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Api(error) => Self::Api(error),
            StreamError::Truncated => Self::Stream(StreamFailure::Truncated),
            other => Self::Stream(StreamFailure::Malformed(other)),
        }
    }
}

// === impl AttemptFailure ===

impl AttemptFailure {
    pub(crate) fn new(cause: impl Into<Cause>) -> Self {
        Self {
            cause: cause.into(),
            hints: ServerHints::default(),
            request_id: None,
        }
    }

    /// Adds what the head of the response says.
    pub(crate) fn with_head(mut self, head: &http::HeaderMap, now: SystemTime) -> Self {
        self.hints = ServerHints::read(head, now);
        self.request_id = self.request_id.or_else(|| request_id(head));
        self
    }

    pub(super) fn as_attempt(&self, waited: Duration) -> Attempt {
        let (outcome, possibly_billed) = match &self.cause {
            Cause::Transport(error) => (
                Outcome::Disconnected(error.kind()),
                error.sent() != Sent::No,
            ),
            Cause::Timeout(error) => (
                Outcome::TimedOut(error.part),
                error.part != TimeoutPart::Connect,
            ),
            Cause::Api(error) => (
                Outcome::Refused {
                    status: error.status(),
                    code: error.code().map(str::to_owned),
                },
                false,
            ),
            // It ended before its first event.
            Cause::Stream(StreamFailure::Truncated) => {
                (Outcome::Disconnected(TransportErrorKind::Closed), true)
            }
            Cause::Stream(StreamFailure::Malformed(_)) | Cause::Decode(_) => {
                (Outcome::Undecodable, true)
            }
        };
        Attempt {
            outcome,
            possibly_billed,
            request_id: self.request_id.clone(),
            waited,
        }
    }

    pub(crate) fn into_error(self, attempts: Vec<Attempt>) -> Error {
        let Self {
            cause,
            hints,
            request_id: id,
        } = self;
        match cause {
            Cause::Transport(error) if error.sent() == Sent::No => {
                Error::Connect(Box::new(Failed::new(error, attempts)))
            }
            Cause::Transport(error) => {
                Error::Disconnected(Box::new(Failed::new(error, attempts).with_request_id(id)))
            }
            Cause::Timeout(error) => {
                Error::Timeout(Box::new(Failed::new(error, attempts).with_request_id(id)))
            }
            Cause::Api(error) => {
                let error = error.with_request_id(id.as_deref());
                let failed = Failed::new(error, attempts).with_retry_after(hints.after);
                Error::Api(Box::new(failed))
            }
            Cause::Stream(failure) => {
                Error::Stream(Box::new(Failed::new(failure, attempts).with_request_id(id)))
            }
            Cause::Decode(error) => {
                Error::Decode(Box::new(Failed::new(error, attempts).with_request_id(id)))
            }
        }
    }
}

/// The service's id of the request, from the head of a response.
pub(crate) fn request_id(head: &http::HeaderMap) -> Option<String> {
    ["x-request-id", "x-dashscope-request-id", "req-id"]
        .iter()
        .find_map(|name| head.get(*name)?.to_str().ok())
        .map(str::to_owned)
}
