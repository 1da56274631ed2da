//! The causes behind the variants of [`Error`](super::Error).

use std::fmt;
use std::time::Duration;

use bailian_wire::error::{ApiError, Failover};
use bailian_wire::validate::Violation;
use thiserror::Error;

/// The variants of [`Error`](super::Error) without their details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "each is documented at the variant of `Error` of the same name"
)]
pub enum ErrorKind {
    Config,
    Validation,
    Connect,
    Disconnected,
    Timeout,
    Api,
    Stream,
    Decode,
}

/// What a caller may do after a failed call. No variant means "maybe".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryAdvice {
    /// Do not send this request again.
    Never,
    /// Send it again, after this long where the server asks for it or the service's rules say so.
    Same {
        /// How long to wait at least.
        after: Option<Duration>,
    },
    /// Useless here, but it may succeed elsewhere.
    Elsewhere(Failover),
    /// Sending it again may help, but the first one may have been billed.
    MayBillTwice,
}

/// Which time limit passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeoutPart {
    /// The connection was not made in time.
    Connect,
    /// No answer, or no first event of a stream, came in time.
    FirstByte,
    /// The answer stopped and did not go on in time.
    Idle,
    /// The whole call took too long.
    Total,
    /// The client's own request limit would send the request too late.
    OwnLimit,
}

/// A time limit passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimeoutError {
    /// Which one.
    pub part: TimeoutPart,
    /// How long it was; for [`TimeoutPart::OwnLimit`] how long the request would have to wait.
    pub limit: Duration,
}

/// The model cannot take the request as it is; the catalogue says so.
///
/// Where the catalogue is wrong, switch the check off with
/// [`RequestOptions::validate`](crate::RequestOptions::validate).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ValidationError {
    /// The model.
    pub model: String,
    /// Everything that does not fit.
    pub violations: Vec<Violation>,
}

/// A stream that cannot be used to its end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StreamFailure {
    /// It ended without saying why the answer ended: a part of the answer is missing.
    #[error(
        "the stream ended before the answer was complete; ask again, or go on from the text so far"
    )]
    Truncated,
    /// A part of it is not what the protocol promises.
    #[error("the stream cannot be understood; report this with the request id")]
    Malformed(#[source] bailian_wire::stream::StreamError),
}

/// An answer that is not what the protocol promises.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It is not the JSON of an answer.
    #[error(
        "the answer is not the expected JSON; check that the base URL is a Model Studio endpoint"
    )]
    Json(#[source] serde_json::Error),
    /// It is longer than the client reads.
    #[error("the answer is longer than {limit} bytes; use streaming")]
    TooLong {
        /// The limit.
        limit: usize,
    },
}

// === impl RetryAdvice ===

impl RetryAdvice {
    pub(crate) fn of_api(error: &ApiError, asked: Option<Duration>) -> Self {
        match (error.retry(), error.classification().failover) {
            (Some(backoff), _) => Self::Same {
                after: asked.or(Some(backoff.initial)),
            },
            (None, Failover::Nowhere) => Self::Never,
            (None, elsewhere) => Self::Elsewhere(elsewhere),
        }
    }
}

// === impl TimeoutPart ===

impl TimeoutPart {
    pub(crate) fn retry_advice(self) -> RetryAdvice {
        match self {
            Self::Connect | Self::OwnLimit => RetryAdvice::Same { after: None },
            Self::FirstByte | Self::Idle | Self::Total => RetryAdvice::MayBillTwice,
        }
    }
}

// === impl TimeoutError ===

impl fmt::Display for TimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.limit;
        match self.part {
            TimeoutPart::Connect => write!(
                f,
                "no connection within {limit:?}; check the base URL, the network and the proxy variables"
            ),
            TimeoutPart::FirstByte => write!(
                f,
                "no answer within {limit:?}; use streaming, ask for less at once, or raise DASHSCOPE_TIMEOUT (the request may have been billed)"
            ),
            TimeoutPart::Idle => write!(
                f,
                "the answer stopped for {limit:?}; try again, or raise DASHSCOPE_TIMEOUT (the request may have been billed)"
            ),
            TimeoutPart::Total => write!(
                f,
                "the call was not done within {limit:?}; raise the total timeout, or ask for less at once"
            ),
            TimeoutPart::OwnLimit => write!(
                f,
                "the client's own request limit would send this request in {limit:?} only; raise DASHSCOPE_REQUESTS_PER_MINUTE or DASHSCOPE_REQUESTS_PER_DAY, or send less"
            ),
        }
    }
}

impl std::error::Error for TimeoutError {}

// === impl ValidationError ===

impl fmt::Display for ValidationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "model {} cannot take this request", self.model)?;
        for violation in &self.violations {
            write!(f, "; {violation}")?;
        }
        f.write_str("; change it, or switch the check off with RequestOptions::validate(false)")
    }
}

impl std::error::Error for ValidationError {}
