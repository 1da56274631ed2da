//! What was tried for one call, for accounting and for error reports.

use std::time::Duration;

use crate::error::TimeoutPart;
use crate::transport::TransportErrorKind;

/// One try of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// How it ended.
    pub outcome: Outcome,
    /// Whether it was sent but never answered: the service may have done the work and billed it,
    /// and no report of its usage will ever come.
    pub possibly_billed: bool,
    /// The service's id of the request, where an answer gave one.
    pub request_id: Option<String>,
    /// The pause before it; zero for the first.
    pub waited: Duration,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// With an answer, or, for a stream, with its first event.
    Answered,
    /// With an error of the service.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The service's code.
        code: Option<String>,
    },
    /// Without an answer, because the connection failed.
    Disconnected(TransportErrorKind),
    /// Without an answer in time.
    TimedOut(TimeoutPart),
    /// With an answer that could not be understood.
    Undecodable,
}
