//! One HTTP exchange: the seam between the client and whatever carries its requests.

mod body;
mod error;
#[cfg(feature = "transport-reqwest")]
mod reqwest;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

pub use body::Body;
pub use error::{Sent, TransportError, TransportErrorKind};
#[cfg(feature = "transport-reqwest")]
pub use reqwest::ReqwestTransport;

/// A boxed future, as trait objects need.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Carries one HTTP request and returns its response. Object-safe.
///
/// An implementation does one exchange: it follows no redirects (a redirected request would take
/// the key to another host), repeats nothing that may have been sent, and does not decompress.
/// Time limits above the connection are the client's own.
///
/// # Cancel safety
/// Dropping the future or the response body ends the exchange and, on HTTP/1.1, its connection.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Sends the request and waits for the head of the response.
    ///
    /// # Errors
    /// [`TransportError`], which knows whether the request may have reached the server.
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Body>, TransportError>>;
}
