//! The way to the model service: one request out, one answer in.

mod connect;
mod exchange;
mod origin;
mod pool;

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;

pub use self::origin::{Origin, OriginError};
pub use self::pool::HttpUpstream;

/// A future that the caller owns: dropping it gives the attempt up.
pub type UpstreamFuture<'a> =
    Pin<Box<dyn Future<Output = Result<http::Response<UpstreamBody>, UpstreamError>> + Send + 'a>>;

/// The bytes of an answer as they arrive. Dropping it before its end closes the connection, which
/// is how HTTP/1.1 tells a server that nobody listens any more.
pub type UpstreamBody = Pin<Box<dyn Body<Data = Bytes, Error = UpstreamError> + Send>>;

/// Sends one HTTP request to an origin.
///
/// # Cancel safety
///
/// Dropping the future, or the body that it answers with, must end the request on the wire at once.
pub trait Upstream: fmt::Debug + Send + Sync + 'static {
    /// Sends `request`, whose URI is in origin form (`/path?query`), and waits for the head of the
    /// answer. An HTTP error status is an answer, not an error.
    fn send<'a>(&'a self, origin: &'a Origin, request: http::Request<Bytes>) -> UpstreamFuture<'a>;
}

/// How long each part of an exchange may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpstreamTimeouts {
    /// DNS, TCP and TLS together.
    pub connect: Duration,
    /// From the request's last byte to the head of the answer.
    pub response: Duration,
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            // The service ends a call on a shared host after 600 s (catalogue, `timeouts`).
            response: Duration::from_secs(620),
        }
    }
}

impl UpstreamError {
    /// Whether it is certain that nothing was sent.
    pub(crate) fn sent_nothing(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::ConnectTimeout { .. })
    }
}

/// Why no answer, or no whole answer, came.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// No connection: nothing was sent, so nothing can have been billed.
    #[error("cannot connect to {origin}")]
    Connect {
        /// Scheme, host and port.
        origin: String,
        /// What the network said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No connection within the time allowed; nothing was sent.
    #[error("no connection to {origin} within {} s", limit.as_secs_f64())]
    ConnectTimeout {
        /// Scheme, host and port.
        origin: String,
        /// The time allowed.
        limit: Duration,
    },
    /// The request was sent and no answer began within the time allowed. It may have been billed.
    #[error("{origin} did not begin to answer within {} s", limit.as_secs_f64())]
    ResponseTimeout {
        /// Scheme, host and port.
        origin: String,
        /// The time allowed.
        limit: Duration,
    },
    /// The connection broke after the request was, or may have been, sent.
    #[error("{origin} broke the connection before it answered")]
    Closed {
        /// Scheme, host and port.
        origin: String,
        /// What the connection said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer began and did not end.
    #[error("the answer was cut off")]
    Cut {
        /// What the connection said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nothing more of the answer came for too long.
    #[error("the answer stood still for {} s", limit.as_secs_f64())]
    Idle {
        /// The time allowed between two pieces.
        limit: Duration,
    },
}
