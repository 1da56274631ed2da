//! What can go wrong with a call, by what the caller can do about it.

mod kinds;

use std::fmt;
use std::time::Duration;

use bailian_wire::error::ApiError;
use thiserror::Error as ThisError;

pub use kinds::{
    DecodeError, ErrorKind, RetryAdvice, StreamFailure, TimeoutError, TimeoutPart, ValidationError,
};

use crate::attempt::Attempt;
use crate::config::ConfigError;
use crate::transport::TransportError;

/// An error of the client. Every message says what to do next, and none contains a key, a prompt
/// or an answer.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// A setting is missing or wrong. Nothing was sent.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The model cannot take the request as it is. Nothing was sent.
    #[error(transparent)]
    Validation(#[from] ValidationError),
    /// The server was not reached. Nothing was sent.
    #[error("{}; {}", .0.cause, .0.cause.kind().guidance())]
    Connect(#[source] Box<Failed<TransportError>>),
    /// The connection was lost after the request may have been sent.
    #[error(
        "{}; the request may have been processed and billed; {}",
        .0.cause,
        .0.cause.kind().guidance()
    )]
    Disconnected(#[source] Box<Failed<TransportError>>),
    /// A time limit passed.
    #[error("{}", .0.cause)]
    Timeout(Box<Failed<TimeoutError>>),
    /// The service answered with an error.
    #[error("{}", .0.cause)]
    Api(Box<Failed<ApiError>>),
    /// A stream broke off or cannot be understood, after its first event.
    #[error("{}", .0.cause)]
    Stream(#[source] Box<Failed<StreamFailure>>),
    /// The answer is not what the protocol promises.
    #[error("{}", .0.cause)]
    Decode(#[source] Box<Failed<DecodeError>>),
}

/// The cause of a failed call, and everything that was tried.
pub struct Failed<E> {
    pub(crate) cause: E,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) request_id: Option<String>,
    pub(crate) retry_after: Option<Duration>,
}

// === impl Failed ===

impl<E> Failed<E> {
    pub(crate) fn new(cause: E, attempts: Vec<Attempt>) -> Self {
        Self {
            cause,
            attempts,
            request_id: None,
            retry_after: None,
        }
    }

    pub(crate) fn with_request_id(mut self, request_id: Option<String>) -> Self {
        self.request_id = request_id;
        self
    }

    pub(crate) fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// What failed in the end.
    pub fn cause(&self) -> &E {
        &self.cause
    }
}

impl<E: fmt::Debug> fmt::Debug for Failed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failed")
            .field("cause", &self.cause)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

impl<E: fmt::Display> fmt::Display for Failed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl<E: std::error::Error> std::error::Error for Failed<E> {
    // The text of the cause is this level's own text, so the chain goes on behind it.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.source()
    }
}

// === impl Error ===

impl Error {
    /// What kind of error it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Config(_) => ErrorKind::Config,
            Self::Validation(_) => ErrorKind::Validation,
            Self::Connect(_) => ErrorKind::Connect,
            Self::Disconnected(_) => ErrorKind::Disconnected,
            Self::Timeout(_) => ErrorKind::Timeout,
            Self::Api(_) => ErrorKind::Api,
            Self::Stream(_) => ErrorKind::Stream,
            Self::Decode(_) => ErrorKind::Decode,
        }
    }

    /// The error of the service, if it is one.
    pub fn api(&self) -> Option<&ApiError> {
        match self {
            Self::Api(failed) => Some(&failed.cause),
            Self::Config(_)
            | Self::Validation(_)
            | Self::Connect(_)
            | Self::Disconnected(_)
            | Self::Timeout(_)
            | Self::Stream(_)
            | Self::Decode(_) => None,
        }
    }

    /// The HTTP status of the service's error; inside a stream, the one that the event names.
    pub fn status(&self) -> Option<http::StatusCode> {
        self.api()
            .and_then(|error| http::StatusCode::from_u16(error.status()).ok())
    }

    /// The service's code, for example `Throttling.RateQuota`.
    pub fn code(&self) -> Option<&str> {
        self.api().and_then(ApiError::code)
    }

    /// The service's id of the request, for its support.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Api(failed) => failed.cause.request_id(),
            Self::Stream(failed) => failed.request_id.as_deref(),
            Self::Decode(failed) => failed.request_id.as_deref(),
            Self::Disconnected(failed) => failed.request_id.as_deref(),
            Self::Timeout(failed) => failed.request_id.as_deref(),
            Self::Config(_) | Self::Validation(_) | Self::Connect(_) => None,
        }
    }

    /// Everything that was tried, in order; empty when nothing was sent for want of a good request.
    pub fn attempts(&self) -> &[Attempt] {
        match self {
            Self::Connect(failed) | Self::Disconnected(failed) => &failed.attempts,
            Self::Timeout(failed) => &failed.attempts,
            Self::Api(failed) => &failed.attempts,
            Self::Stream(failed) => &failed.attempts,
            Self::Decode(failed) => &failed.attempts,
            Self::Config(_) | Self::Validation(_) => &[],
        }
    }

    /// Whether the caller may try again, on top of what the client tried already.
    pub fn retry_advice(&self) -> RetryAdvice {
        match self {
            // The same input meets the same refusal.
            Self::Config(_) | Self::Validation(_) | Self::Decode(_) => RetryAdvice::Never,
            Self::Connect(failed) => {
                if failed.cause.kind().is_transient() {
                    RetryAdvice::Same { after: None }
                } else {
                    RetryAdvice::Never
                }
            }
            // The work may have been done and billed once already: the caller has to decide.
            Self::Disconnected(_) | Self::Stream(_) => RetryAdvice::MayBillTwice,
            Self::Timeout(failed) => failed.cause.part.retry_advice(),
            Self::Api(failed) => RetryAdvice::of_api(&failed.cause, failed.retry_after),
        }
    }
}
